//! Live lookups at a bounded rate: any client that reaches the webhook's port can name unknown namespaces and profiles in a
//! review.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::bucket::TokenBucket;
use super::{Judgment, Looking, Lookup, LookupError, Snapshot};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::profiles::{ProfileEntry, ProfileSet};
use crate::telemetry::Metrics;

/// Maximum burst of API calls of one kind, and calls per second after that.
const BURST: u32 = 100;
const RATE: f64 = 20.0;
/// API calls of one lookup of a profile: in the cluster and in the namespace.
const CALLS_FOR_PROFILE: u32 = 2;
/// API calls of one lookup of a namespace's bounds: its `LimitRange`s and its `ResourceQuota`s.
const CALLS_FOR_BOUNDS: u32 = 2;
/// Maximum burst of profiles that the API server validates, and profiles per second after that.
const JUDGMENTS: u32 = 20;
const JUDGMENT_RATE: f64 = 2.0;
/// Time for which an absent namespace is not looked up again.
const ABSENT: Duration = Duration::from_secs(2);
/// Maximum number of absent namespaces that are remembered.
const MOST_ABSENT: usize = 1000;
/// Longest wait for the watches to deliver a name that may not be looked up.
const WAIT: Duration = Duration::from_millis(500);
/// Maximum number of reviews that wait at once, because they take places from other reviews.
const MOST_WAITING: usize = 64;
/// Interval at which a waiting review reads the snapshot.
const POLL: Duration = Duration::from_millis(10);

/// A limit on the API calls that reviews cause. Beyond the limit, a review waits briefly for the watches, which deliver new
/// namespaces and profiles within milliseconds even without a lookup.
pub struct LimitedLookup {
    lookup: Arc<dyn Lookup>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    namespaces: Mutex<TokenBucket>,
    profiles: Mutex<TokenBucket>,
    bounds: Mutex<TokenBucket>,
    judgments: Mutex<TokenBucket>,
    absent: Mutex<HashMap<String, Instant>>,
    waiting: Semaphore,
}

impl LimitedLookup {
    /// Wraps a lookup with a rate limit. Results of the watches are preferred.
    pub fn new(lookup: Arc<dyn Lookup>, snapshot: Arc<ArcSwap<Snapshot>>, metrics: Arc<Metrics>) -> Self {
        let bucket = || Mutex::new(TokenBucket::new(BURST, RATE, Instant::now()));
        let judgments = Mutex::new(TokenBucket::new(JUDGMENTS, JUDGMENT_RATE, Instant::now()));
        let waiting = Semaphore::new(MOST_WAITING);
        Self {
            lookup,
            snapshot,
            metrics,
            namespaces: bucket(),
            profiles: bucket(),
            bounds: bucket(),
            judgments,
            absent: Mutex::default(),
            waiting,
        }
    }

    /// Returns whether a recent lookup found the namespace absent.
    fn is_absent(&self, name: &str) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.get(name).is_some_and(|since| since.elapsed() < ABSENT)
    }

    fn remember_absent(&self, name: &str) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= MOST_ABSENT {
            absent.retain(|_, since| since.elapsed() < ABSENT);
        }
        if absent.len() < MOST_ABSENT {
            absent.insert(name.to_owned(), Instant::now());
        }
    }

    /// Waits until the watches have delivered the name.
    async fn wait<T>(&self, mut found: impl FnMut(&Snapshot) -> Option<T>) -> Result<T, LookupError> {
        let limited =
            || LookupError("too many lookups at once; the watches have not brought it either".to_owned());
        let _place = self.waiting.try_acquire().map_err(|_| limited())?;
        let end = Instant::now() + WAIT;
        loop {
            if let Some(found) = found(&self.snapshot.load()) {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(limited());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn find_namespace(&self, name: &str) -> Result<Option<Namespace>, LookupError> {
        let is_allowed = !self.is_absent(name) && take(&self.namespaces, 1);
        if is_allowed {
            let found = self.lookup.namespace(name).await;
            self.count("namespaces", &found.as_ref().map(Option::is_some));
            if let Ok(None) = found {
                self.remember_absent(name);
            }
            return found;
        }
        self.metrics.count_lookup("namespaces", "limited");
        // A known namespace is looked up because its labels contradict the webhook entry that called.
        let known = self.snapshot.load().namespaces.get(name).cloned();
        self.wait(|snapshot| {
            let found = snapshot.namespaces.get(name)?;
            let is_news = known.as_ref().is_none_or(|known| known.labels != found.labels);
            is_news.then(|| Some(Namespace::clone(found)))
        })
        .await
    }

    async fn find_profiles(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<(Option<String>, ProfileEntry)>, LookupError> {
        if take(&self.profiles, CALLS_FOR_PROFILE) {
            let found = self.lookup.profiles(namespace, name).await;
            self.count("profiles", &found.as_ref().map(|found| !found.is_empty()));
            return found;
        }
        self.metrics.count_lookup("profiles", "limited");
        // A known profile is looked up because the pod was injected by a server with a newer version of it.
        let known = Arc::clone(&self.snapshot.load().profiles);
        let was_known = !entries(&known, namespace, name).is_empty();
        self.wait(|snapshot| {
            let is_news = !was_known || !Arc::ptr_eq(&known, &snapshot.profiles);
            Some(entries(&snapshot.profiles, namespace, name)).filter(|found| is_news && !found.is_empty())
        })
        .await
    }

    async fn find_bounds(&self, namespace: &str) -> Result<Vec<Value>, LookupError> {
        if !take(&self.bounds, CALLS_FOR_BOUNDS) {
            self.metrics.count_lookup("bounds", "limited");
            return Err(LookupError("too many workloads are being applied".to_owned()));
        }
        let found = self.lookup.bounds(namespace).await;
        self.count("bounds", &found.as_ref().map(|found| !found.is_empty()));
        found
    }

    async fn find_judgment(&self, template: &Value) -> Result<Option<Judgment>, LookupError> {
        if !take(&self.judgments, 1) {
            self.metrics.count_lookup("podtemplates", "limited");
            return Err(LookupError("too many profiles are being applied".to_owned()));
        }
        let judgment = self.lookup.judge(template).await;
        self.count("podtemplates", &judgment.as_ref().map(Option::is_some));
        judgment
    }

    fn count<E>(&self, resource: &'static str, found: &Result<bool, E>) {
        let outcome = match found {
            Ok(true) => "found",
            Ok(false) => "absent",
            Err(_) => "failed",
        };
        self.metrics.count_lookup(resource, outcome);
    }
}

fn take(bucket: &Mutex<TokenBucket>, calls: u32) -> bool {
    bucket.lock().unwrap_or_else(PoisonError::into_inner).take(calls, Instant::now())
}

fn entries(profiles: &ProfileSet, namespace: &str, name: &str) -> Vec<(Option<String>, ProfileEntry)> {
    let scopes = [(Scope::Cluster, None), (Scope::Namespace, Some(namespace.to_owned()))];
    scopes
        .into_iter()
        .filter_map(|(scope, owner)| Some((owner, profiles.find_in(scope, namespace, name)?.clone())))
        .collect()
}

impl Lookup for LimitedLookup {
    fn minor_version(&self) -> Option<u32> {
        self.lookup.minor_version()
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        self.find_namespace(name).boxed()
    }

    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
        self.find_profiles(namespace, name).boxed()
    }

    fn bounds<'a>(&'a self, namespace: &'a str) -> Looking<'a, Vec<Value>> {
        self.find_bounds(namespace).boxed()
    }

    fn judge<'a>(&'a self, template: &'a Value) -> Looking<'a, Option<Judgment>> {
        self.find_judgment(template).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A lookup that counts the calls and finds nothing.
    #[derive(Default)]
    struct Counted(AtomicU32);

    impl Lookup for Counted {
        fn namespace<'a>(&'a self, _: &'a str) -> Looking<'a, Option<Namespace>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            futures::future::ready(Ok(None)).boxed()
        }

        fn profiles<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
        ) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
            self.0.fetch_add(CALLS_FOR_PROFILE, Ordering::Relaxed);
            futures::future::ready(Ok(Vec::new())).boxed()
        }
    }

    fn limited() -> (Arc<Counted>, Arc<ArcSwap<Snapshot>>, LimitedLookup) {
        let (counted, snapshot) = (Arc::new(Counted::default()), Arc::new(ArcSwap::default()));
        let lookup = LimitedLookup::new(counted.clone(), Arc::clone(&snapshot), Arc::default());
        (counted, snapshot, lookup)
    }

    fn snapshot(name: &str, labels: &[(&str, &str)]) -> Arc<Snapshot> {
        let namespace = Namespace {
            name: name.to_owned(),
            labels: labels.iter().copied().collect(),
            ..Namespace::default()
        };
        Arc::new(Snapshot {
            namespaces: [(name.to_owned(), Arc::new(namespace))].into(),
            ..Snapshot::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_names_causes_a_bounded_number_of_calls() {
        let (counted, _, lookup) = limited();
        let names: Vec<String> = (0..1000).map(|number| format!("unknown-{number}")).collect();
        let flood = futures::future::join_all(names.iter().map(|name| lookup.namespace(name)));
        let began = Instant::now();
        assert!(flood.await.iter().filter(|found| found.is_err()).count() >= 900);
        assert!(began.elapsed() <= WAIT + POLL, "{:?}", began.elapsed());
        let flood = futures::future::join_all(names.iter().map(|name| lookup.profiles("shop", name)));
        flood.await;
        let calls = counted.0.load(Ordering::Relaxed);
        assert!((200..=230).contains(&calls), "{calls}");
    }

    #[tokio::test(start_paused = true)]
    async fn lookups_of_a_nonexistent_namespace_are_limited() {
        let (counted, snapshot_of, lookup) = limited();
        assert_eq!(lookup.namespace("soon").await.unwrap(), None);
        assert!(lookup.namespace("soon").await.is_err());
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        // A result of the watches takes precedence over an earlier lookup.
        let (found, ()) = tokio::join!(lookup.namespace("soon"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            snapshot_of.store(snapshot("soon", &[]));
        });
        assert_eq!(found.unwrap().unwrap().name, "soon");
        tokio::time::sleep(ABSENT).await;
        assert_eq!(lookup.namespace("soon").await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_a_known_namespace_is_used_after_its_labels_change() {
        let (_, snapshot_of, lookup) = limited();
        while take(&lookup.namespaces, 1) {}
        snapshot_of.store(snapshot("shop", &[]));
        assert!(lookup.namespace("shop").await.is_err(), "its labels contradict the webhook entry");
        while take(&lookup.namespaces, 1) {}
        let (found, ()) = tokio::join!(lookup.namespace("shop"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            snapshot_of.store(snapshot("shop", &[("outrigger.dev/inject", "enabled")]));
        });
        assert!(found.unwrap().unwrap().labels.contains_key("outrigger.dev/inject"));
    }
}
