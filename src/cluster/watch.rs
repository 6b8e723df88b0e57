use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource};
use kube_runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::follow::{Lost, Update, follow};
use super::kept::KeptProfiles;
use super::watch_health::WatchHealth;
use super::{Observations, Observed, ProfileKey, ProfileMemory, Snapshot, profile_resources};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::polling::RepeatedFailure;
use crate::profiles::{ProfileEntry, ProfileSet, Quota};
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// The part of [`Health`] that becomes ready with the first lists.
const PART: &str = "watches";
/// Page size of lists. While it is parsed, a page is in memory twice, as text and as values, and a profile may have a megabyte.
const NAMESPACES_PAGE: u32 = 500;
const PROFILES_PAGE: u32 = 16;
/// Maximum number of events that are combined in one new snapshot.
const BATCH: usize = 512;

/// Names of the watched resources in metrics and messages.
const NAMESPACES: &str = "namespaces";
const CLUSTER_PROFILES: &str = "clustersidecarprofiles";
const PROFILES: &str = "sidecarprofiles";

enum WatchedChange {
    Namespace(Event<PartialObjectMeta<KubeNamespace>>),
    Profile(Scope, Event<DynamicObject>),
    /// The resource is watched without a gap since its last list.
    Synced(&'static str),
    /// The API server does not serve the resource.
    Missing(&'static str),
}

/// Watches profiles and namespaces and publishes a snapshot after every change, until `stop`.
///
/// # Errors
/// None: after a broken watch, the resource is listed again, and the last snapshot remains in use meanwhile.
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
        let contact = WatchHealth::default();
        metrics.collect(contact.clone());
        let remarks = contact.clone();
        health.remark(move || remarks.remarks());
        let mut state = WatchedState::new(memory);
        // Marks all resources as not synced, so that no decision is made from the empty snapshot before the first lists.
        snapshot.store(Arc::new(state.snapshot(&snapshot.load())));
        let changes = changes(&client, &contact, &metrics).take_until(stop.cancelled_owned());
        let mut changes = Box::pin(changes.ready_chunks(BATCH));
        while let Some(batch) = changes.next().await {
            // Compilation would block a thread that answers pods.
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
                if next.unsynced.is_empty() {
                    health.ready(PART);
                }
                snapshot.store(Arc::new(next));
            }
        }
        Ok(())
    }
}

fn changes(
    client: &Client,
    contact: &WatchHealth,
    metrics: &Arc<Metrics>,
) -> impl Stream<Item = WatchedChange> + use<> {
    let api: Api<PartialObjectMeta<KubeNamespace>> = Api::all(contact.listening(client.clone(), NAMESPACES));
    let namespaces =
        followed((NAMESPACES, NAMESPACES_PAGE), contact, metrics, api, WatchedChange::Namespace).boxed();
    let profiles = profile_resources().map(|(scope, resource)| {
        let name = match scope {
            Scope::Cluster => CLUSTER_PROFILES,
            Scope::Namespace => PROFILES,
        };
        let api: Api<DynamicObject> = Api::all_with(contact.listening(client.clone(), name), &resource);
        followed((name, PROFILES_PAGE), contact, metrics, api, move |event| {
            WatchedChange::Profile(scope, event)
        })
        .boxed()
    });
    futures::stream::select_all(profiles.into_iter().chain([namespaces]))
}

/// Returns the changes of one resource; records and logs failures.
fn followed<K, F>(
    (resource, page): (&'static str, u32),
    contact: &WatchHealth,
    metrics: &Arc<Metrics>,
    api: Api<K>,
    change: F,
) -> impl Stream<Item = WatchedChange> + Send + use<K, F>
where
    F: Fn(Event<K>) -> WatchedChange + Send + 'static,
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (contact, metrics, mut failure) = (contact.clone(), Arc::clone(metrics), RepeatedFailure::default());
    follow(api, None, page).filter_map(move |update| {
        let changed = match update {
            Update::Event(event) => Some(change(event)),
            Update::Synced => {
                failure.reset();
                contact.found(resource);
                Some(WatchedChange::Synced(resource))
            }
            Update::Lost(lost) => {
                contact.lost(resource, matches!(lost, Lost::Missing(_)));
                if matches!(lost, Lost::Backwards { .. }) {
                    metrics.count_rollback(resource);
                }
                if let Some(error) = failure.changed_message(&lost) {
                    warn!(resource, error, "watch interrupted; listing the resource again");
                }
                matches!(lost, Lost::Missing(_)).then_some(WatchedChange::Missing(resource))
            }
        };
        futures::future::ready(changed)
    })
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

/// The objects of one watch, and the next list during its transfer.
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

/// The stored form of an object.
trait Kept {
    /// Returns a copy that shares no memory: see [`ProfileEntry::copied`].
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

struct WatchedState {
    namespaces: Listed<String, Arc<Namespace>>,
    cluster: Profiles,
    namespaced: Profiles,
    /// True if profiles have changed since the last snapshot.
    other_profiles: bool,
    /// Resources that are watched without a gap since their last list.
    synced: BTreeSet<&'static str>,
}

/// The profiles of one watch, and the next list during its transfer.
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

impl WatchedState {
    fn new(memory: ProfileMemory) -> Self {
        Self {
            namespaces: Listed::default(),
            cluster: Profiles::new(Scope::Cluster, memory.cluster),
            namespaced: Profiles::new(Scope::Namespace, memory.namespaced),
            other_profiles: false,
            synced: BTreeSet::new(),
        }
    }

    fn apply_all(&mut self, changes: Vec<WatchedChange>, observations: &Observations) {
        let mut seen = Vec::new();
        let mut profiles_changed = false;
        for change in changes {
            match change {
                WatchedChange::Synced(resource) => {
                    self.synced.insert(resource);
                }
                WatchedChange::Missing(resource) => {
                    self.synced.remove(resource);
                }
                WatchedChange::Namespace(event) => self.namespaces.apply(map(event, |object| {
                    let namespace = namespace_of(&object.metadata);
                    (namespace.name.clone(), Arc::new(namespace))
                })),
                WatchedChange::Profile(scope, event) => {
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
        let unsynced = [CLUSTER_PROFILES, PROFILES, NAMESPACES];
        let unsynced = unsynced.into_iter().filter(|resource| !self.synced.contains(resource)).collect();
        Snapshot { profiles, namespaces: namespaces.collect(), unsynced }
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
        let ready = entries().filter(|(_, _, entry)| matches!(entry, ProfileEntry::Ready(_))).count();
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
