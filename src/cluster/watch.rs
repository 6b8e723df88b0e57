use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::utils::{Backoff, ResetTimerBackoff};
use kube_runtime::watcher::{self, Event, ExponentialBackoff};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::contact::Contact;
use super::kept::KeptProfiles;
use super::{Observations, Observed, ProfileKey, ProfileMemory, Snapshot, profile_resources};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::profiles::{Entry, ProfileSet, Quota};
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// The part of [`Health`] that the first lists make ready.
const PART: &str = "watches";
/// How long one watch lasts until it is taken up again where it was, in seconds. One that brings nothing, not even its
/// end, is given up five seconds later: a connection may be dead without anybody saying so.
const WATCH_SECONDS: u32 = 90;
/// How many namespaces, and how many profiles, come at once in a list. A page is in memory twice, as text and parsed, and a
/// profile may have a megabyte.
const NAMESPACES: u32 = 500;
const PROFILES: u32 = 16;
/// How many events make one new snapshot at the most.
const BATCH: usize = 512;

enum Change {
    Namespace(Event<PartialObjectMeta<KubeNamespace>>),
    Profile(Scope, Event<DynamicObject>),
}

/// Watches profiles and namespaces and publishes a snapshot after every change, until `stop`.
///
/// # Errors
/// None: a watch that breaks is taken up again, and the last snapshot stays in service.
pub fn watch(
    client: Client,
    snapshot: Arc<ArcSwap<Snapshot>>,
    observations: Observations,
    memory: ProfileMemory,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(
        PART,
        "the first lists of profiles and namespaces (are the CRDs installed, and may the server read them?)",
    );
    async move {
        let contact = Contact::default();
        metrics.collect(contact.clone());
        let remarks = contact.clone();
        health.remark(move || remarks.remarks());
        let mut state = Known::new(memory);
        let changes = changes(&client, &contact).take_until(stop.cancelled_owned());
        let mut changes = Box::pin(changes.ready_chunks(BATCH));
        while let Some(batch) = changes.next().await {
            // Compiling takes its time, and the threads that answer have pods waiting.
            let observations = observations.clone();
            state = tokio::task::spawn_blocking(move || {
                state.apply_all(batch, &observations);
                state
            })
            .await
            .context("compiling profiles failed")?;
            if state.is_complete() {
                let next = state.snapshot(&snapshot.load());
                state.count(&metrics);
                snapshot.store(Arc::new(next));
                health.ready(PART);
            }
        }
        Ok(())
    }
}

fn changes(client: &Client, contact: &Contact) -> impl Stream<Item = Change> + use<> {
    let name = "namespaces";
    let api: Api<PartialObjectMeta<KubeNamespace>> = Api::all(contact.listening(client.clone(), name));
    let namespaces = retrying(name, contact.clone(), api, NAMESPACES).map(Change::Namespace);
    let profiles = profile_resources().map(|(scope, resource)| {
        let name = match scope {
            Scope::Cluster => "clustersidecarprofiles",
            Scope::Namespace => "sidecarprofiles",
        };
        let api: Api<DynamicObject> = Api::all_with(contact.listening(client.clone(), name), &resource);
        retrying(name, contact.clone(), api, PROFILES).map(move |event| Change::Profile(scope, event)).boxed()
    });
    futures::stream::select_all(profiles.into_iter().chain([namespaces.boxed()]))
}

fn retrying<K>(
    what: &'static str,
    contact: Contact,
    api: Api<K>,
    page: u32,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Clone,
{
    // The watcher lists anew when a watch says that it begins too far back, but not when the API server refuses to
    // begin it for that reason.
    let watched = futures::stream::repeat_with(move || {
        let mut gone = false;
        let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(page);
        watcher::watcher(api.clone(), config).take_while(move |result| {
            let goes_on = !gone;
            gone = is_gone(result);
            futures::future::ready(goes_on)
        })
    });
    watched.flatten().backoff(Patience::default()).filter_map(move |result| {
        let event = result.map_err(|error| {
            contact.lost(what);
            warn!(what, %error, "a watch broke and is taken up again");
        });
        futures::future::ready(event.ok())
    })
}

fn is_gone<K>(result: &watcher::Result<Event<K>>) -> bool {
    matches!(result, Err(watcher::Error::WatchStartFailed(kube::Error::Api(answer))) if answer.code == 410)
}

/// How long a broken watch waits: from under a second to ten or twenty, so that a cluster whose API server comes back
/// is not left with old profiles for long.
struct Patience(ResetTimerBackoff<ExponentialBackoff>);

impl Default for Patience {
    fn default() -> Self {
        let growing = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(800))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter()
            .without_max_times();
        Self(ResetTimerBackoff::new(growing.into(), Duration::from_mins(1)))
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for Patience {
    /// Only time makes it short again. It is called for every event, and the watcher announces a list before it asks
    /// for one, so lists that fail would be tried without end at the shortest wait.
    fn reset(&mut self) {}
}

pub(crate) fn namespace_of(metadata: &ObjectMeta) -> Namespace {
    let texts = |map: Option<&BTreeMap<String, String>>| {
        map.into_iter().flatten().map(|(key, text)| (key.as_str(), text.as_str())).collect()
    };
    Namespace {
        name: metadata.name.clone().unwrap_or_default(),
        labels: texts(metadata.labels.as_ref()),
        annotations: texts(metadata.annotations.as_ref()),
    }
}

/// Objects of one watch, and the list that is coming in.
struct Listed<K, V> {
    current: BTreeMap<K, V>,
    incoming: BTreeMap<K, V>,
    complete: bool,
}

impl<K, V> Default for Listed<K, V> {
    fn default() -> Self {
        Self { current: BTreeMap::new(), incoming: BTreeMap::new(), complete: false }
    }
}

/// What is kept of an object.
trait Kept {
    /// The same in memory of its own: see [`Entry::copied`].
    fn copied(&self) -> Self;
}

impl Kept for Arc<Namespace> {
    fn copied(&self) -> Self {
        Self::new(Namespace::clone(self))
    }
}

impl<K: Ord + Clone, V: Kept> Listed<K, V> {
    fn apply(&mut self, event: Event<(K, V)>) {
        match event {
            Event::Init => self.incoming.clear(),
            Event::InitApply((key, value)) => {
                self.incoming.insert(key, value);
            }
            Event::InitDone => {
                self.current =
                    self.incoming.iter().map(|(key, value)| (key.clone(), value.copied())).collect();
                self.incoming = BTreeMap::new();
                self.complete = true;
            }
            Event::Apply((key, value)) => {
                self.current.insert(key, value);
            }
            Event::Delete((key, _)) => {
                self.current.remove(&key);
            }
        }
    }
}

struct Known {
    namespaces: Listed<String, Arc<Namespace>>,
    cluster: Profiles,
    namespaced: Profiles,
    /// Whether the last snapshot has other profiles.
    other_profiles: bool,
}

/// The profiles of one watch, and the list that is coming in.
struct Profiles {
    current: KeptProfiles,
    incoming: KeptProfiles,
    complete: bool,
}

impl Profiles {
    fn new(scope: Scope, quota: Quota) -> Self {
        let current = KeptProfiles::new(scope, quota);
        Self { incoming: current.emptied(), current, complete: false }
    }

    fn apply(
        &mut self,
        event: Event<DynamicObject>,
        observations: &Observations,
        scope: Scope,
        seen: &mut Vec<(ProfileKey, Observed)>,
    ) {
        match event {
            Event::Init => self.incoming = self.current.emptied(),
            Event::InitApply(object) => self.incoming.apply(object, Some(&self.current), seen),
            Event::InitDone => {
                self.incoming.copy_fresh();
                let none = self.incoming.emptied();
                self.current = std::mem::replace(&mut self.incoming, none);
                self.complete = true;
            }
            Event::Apply(object) => self.current.apply(object, None, seen),
            Event::Delete(object) => {
                let key = ProfileKey::of(scope, &object.metadata);
                self.current.remove(&key);
                seen.retain(|(other, _)| *other != key);
                observations.forget(&key);
            }
        }
    }
}

impl Known {
    fn new(memory: ProfileMemory) -> Self {
        Self {
            namespaces: Listed::default(),
            cluster: Profiles::new(Scope::Cluster, memory.cluster),
            namespaced: Profiles::new(Scope::Namespace, memory.namespaced),
            other_profiles: false,
        }
    }

    fn apply_all(&mut self, changes: Vec<Change>, observations: &Observations) {
        let mut seen = Vec::new();
        let mut profiles_changed = false;
        for change in changes {
            match change {
                Change::Namespace(event) => self.namespaces.apply(map(event, |object| {
                    let namespace = namespace_of(&object.metadata);
                    (namespace.name.clone(), Arc::new(namespace))
                })),
                Change::Profile(scope, event) => {
                    profiles_changed = true;
                    let profiles = match scope {
                        Scope::Cluster => &mut self.cluster,
                        Scope::Namespace => &mut self.namespaced,
                    };
                    profiles.apply(event, observations, scope, &mut seen);
                }
            }
        }
        if profiles_changed {
            self.other_profiles = true;
            for profiles in [&mut self.cluster, &mut self.namespaced] {
                profiles.current.limit(&mut seen);
                profiles.current.recall(&mut seen);
                profiles.incoming.limit(&mut seen);
            }
        }
        for (key, seen) in seen {
            observations.put(key, seen);
        }
    }

    fn is_complete(&self) -> bool {
        self.namespaces.complete && self.cluster.complete && self.namespaced.complete
    }

    fn snapshot(&mut self, last: &Snapshot) -> Snapshot {
        let profiles = if std::mem::take(&mut self.other_profiles) {
            let mut profiles = self.profiles();
            profiles.remember_changed(&last.profiles);
            Arc::new(profiles)
        } else {
            Arc::clone(&last.profiles)
        };
        let namespaces = self.namespaces.current.iter();
        let namespaces = namespaces.map(|(name, namespace)| (name.clone(), Arc::clone(namespace)));
        Snapshot { profiles, namespaces: namespaces.collect() }
    }

    fn profiles(&self) -> ProfileSet {
        let mut profiles = ProfileSet::default();
        for (_, name, entry) in self.cluster.current.entries() {
            profiles.insert(None, name, entry.clone());
        }
        for (namespace, name, entry) in self.namespaced.current.entries() {
            profiles.insert(Some(namespace), name, entry.clone());
        }
        profiles
    }

    fn count(&self, metrics: &Metrics) {
        let entries = || self.cluster.current.entries().chain(self.namespaced.current.entries());
        let ready = entries().filter(|(_, _, entry)| matches!(entry, Entry::Ready(_))).count();
        metrics.known(ready, entries().count() - ready, self.namespaces.current.len());
    }
}

fn map<A, B>(event: Event<A>, mut convert: impl FnMut(A) -> B) -> Event<B> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
    }
}

#[cfg(test)]
mod tests;
