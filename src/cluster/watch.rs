use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Snapshot, entry_of, profile_resources};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::profiles::{Entry, Finding, ProfileSet};
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// A profile that was seen, for whoever writes its status.
#[derive(Debug)]
pub struct Observed {
    /// Where it is defined.
    pub scope: Scope,
    /// As the API server holds it.
    pub object: DynamicObject,
    /// Compiled.
    pub entry: Entry,
    /// What was found in it.
    pub findings: Vec<Finding>,
}

/// The part of [`Health`] that the first lists make ready.
const PART: &str = "watches";
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
    observed: mpsc::UnboundedSender<Observed>,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(
        PART,
        "the first lists of profiles and namespaces (are the CRDs installed, and may the server read them?)",
    );
    async move {
        let mut state = Known::default();
        let mut changes = Box::pin(changes(client).take_until(stop.cancelled_owned()).ready_chunks(BATCH));
        while let Some(batch) = changes.next().await {
            for change in batch {
                state.apply(change, &observed);
            }
            if state.is_complete() {
                let next = state.snapshot();
                state.count(&metrics);
                snapshot.store(Arc::new(next));
                health.ready(PART);
            }
        }
        Ok(())
    }
}

fn changes(client: Client) -> impl Stream<Item = Change> {
    let namespaces = retrying(
        "namespaces",
        watcher::watcher(
            Api::<PartialObjectMeta<KubeNamespace>>::all(client.clone()),
            watcher::Config::default(),
        ),
    )
    .map(Change::Namespace);
    let profiles = profile_resources().into_iter().map(move |(scope, resource)| {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let name = match scope {
            Scope::Cluster => "clustersidecarprofiles",
            Scope::Namespace => "sidecarprofiles",
        };
        retrying(name, watcher::watcher(api, watcher::Config::default()))
            .map(move |event| Change::Profile(scope, event))
            .boxed()
    });
    futures::stream::select_all(profiles.chain([namespaces.boxed()]))
}

fn retrying<K: Send>(
    what: &'static str,
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
) -> impl Stream<Item = Event<K>> + Send {
    stream.default_backoff().filter_map(move |result| {
        futures::future::ready(
            result.map_err(|error| warn!(what, %error, "a watch broke and is taken up again")).ok(),
        )
    })
}

pub(crate) fn namespace_of(metadata: &ObjectMeta) -> Namespace {
    Namespace {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone().unwrap_or_default(),
        annotations: metadata.annotations.clone().unwrap_or_default(),
    }
}

/// Objects of one watch, and the list that is coming in.
struct Listed<V> {
    current: BTreeMap<(String, String), V>,
    incoming: BTreeMap<(String, String), V>,
    complete: bool,
}

impl<V> Default for Listed<V> {
    fn default() -> Self {
        Self { current: BTreeMap::new(), incoming: BTreeMap::new(), complete: false }
    }
}

impl<V> Listed<V> {
    fn apply(&mut self, event: Event<((String, String), V)>) {
        match event {
            Event::Init => self.incoming.clear(),
            Event::InitApply((key, value)) => {
                self.incoming.insert(key, value);
            }
            Event::InitDone => {
                self.current = std::mem::take(&mut self.incoming);
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

#[derive(Default)]
struct Known {
    namespaces: Listed<Arc<Namespace>>,
    cluster: Listed<Entry>,
    namespaced: Listed<Entry>,
}

impl Known {
    fn apply(&mut self, change: Change, observed: &mpsc::UnboundedSender<Observed>) {
        match change {
            Change::Namespace(event) => self.namespaces.apply(map(event, |object| {
                let namespace = namespace_of(&object.metadata);
                ((String::new(), namespace.name.clone()), Arc::new(namespace))
            })),
            Change::Profile(scope, event) => {
                let mut seen = None;
                let live = matches!(event, Event::Apply(_) | Event::InitApply(_));
                let event = map(event, |object: DynamicObject| {
                    let metadata = &object.metadata;
                    let key = (
                        metadata.namespace.clone().unwrap_or_default(),
                        metadata.name.clone().unwrap_or_default(),
                    );
                    let (entry, findings) = entry_of(&object, scope);
                    seen = Some(Observed { scope, object, entry: entry.clone(), findings });
                    (key, entry)
                });
                match scope {
                    Scope::Cluster => self.cluster.apply(event),
                    Scope::Namespace => self.namespaced.apply(event),
                }
                if let Some(seen) = seen.filter(|_| live)
                    && observed.send(seen).is_err()
                {
                    info!("nobody writes the status of profiles any more");
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.namespaces.complete && self.cluster.complete && self.namespaced.complete
    }

    fn snapshot(&self) -> Snapshot {
        let mut profiles = ProfileSet::default();
        for ((_, name), entry) in &self.cluster.current {
            profiles.insert(None, name, entry.clone());
        }
        for ((namespace, name), entry) in &self.namespaced.current {
            profiles.insert(Some(namespace), name, entry.clone());
        }
        let namespaces: HashMap<String, Arc<Namespace>> = self
            .namespaces
            .current
            .iter()
            .map(|((_, name), namespace)| (name.clone(), Arc::clone(namespace)))
            .collect();
        Snapshot { profiles: Arc::new(profiles), namespaces }
    }

    fn count(&self, metrics: &Metrics) {
        let entries = || self.cluster.current.values().chain(self.namespaced.current.values());
        let ready = entries().filter(|entry| matches!(entry, Entry::Ready(_))).count();
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
