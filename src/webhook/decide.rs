use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::State;
use crate::api::keys;
use crate::cluster::Snapshot;
use crate::engine::{Decision, Namespace, inject};
use crate::json::Json;
use crate::profiles::{self, ProfileSet};

/// Which of the webhook's entries called: each says something of the namespace's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The namespace carries the key `outrigger.dev/inject`.
    Namespace,
    /// The pod carries the key, and the namespace does not.
    Pod,
    /// A configuration of the user's own, which says nothing.
    Any,
}

impl Entry {
    /// Whether what the snapshot knows of the namespace agrees with what the entry says of it.
    fn agrees(self, namespace: &Namespace) -> bool {
        let labelled = namespace.labels.contains_key(keys::INJECT);
        match self {
            Self::Namespace => labelled,
            Self::Pod => !labelled,
            Self::Any => true,
        }
    }
}

/// A live look at the cluster, for what the snapshot does not hold yet.
pub trait Lookup: Send + Sync {
    /// The namespace; `None` where it does not exist or the API server does not answer.
    fn namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Namespace>>;
    /// The profiles of a name, in the cluster and in the namespace.
    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Vec<(Option<String>, profiles::Entry)>>;
}

/// How long live looks may take for one review, well below the webhook's own timeout of 5 s.
const LOOKUP_LIMIT: Duration = Duration::from_millis(1500);
/// How many unknown names one pod may have looked up.
const MOST_LOOKUPS: usize = 8;

/// Nothing certain is known of a namespace, so nothing can be decided about its pods.
///
/// It is an error and not a skipped pod: the webhook's failure policy says what becomes of the pod, and with
/// Fail none slips in without its sidecars.
#[derive(Debug, thiserror::Error)]
#[error("namespace {0:?} is not known yet, and the API server does not say in time what its labels are")]
pub(super) struct UnknownNamespace(String);

/// Runs the engine, and again after a live look where the snapshot was behind.
///
/// # Errors
/// [`UnknownNamespace`] where neither snapshot nor live look tells the namespace's labels.
pub(super) async fn decide(
    state: &State,
    entry: Entry,
    namespace: &str,
    pod: &Json<'_>,
) -> Result<Decision, UnknownNamespace> {
    let snapshot = state.snapshot.load_full();
    let deadline = tokio::time::Instant::now() + LOOKUP_LIMIT;
    let namespace = namespace_of(state, entry, &snapshot, namespace, deadline).await?;
    let mut decision = inject(pod, &namespace, &snapshot.profiles, &state.settings);
    let mut profiles: Option<ProfileSet> = None;
    for _ in 0..MOST_LOOKUPS {
        let unknown: Vec<String> = decision.unknown_profiles().into_iter().map(str::to_owned).collect();
        if unknown.is_empty() {
            break;
        }
        let mut found_any = false;
        for name in unknown {
            let look = state.lookup.profiles(&namespace.name, &name);
            let found = tokio::time::timeout_at(deadline, look).await.unwrap_or_default();
            for (scope, entry) in found {
                found_any = true;
                let set = profiles.get_or_insert_with(|| ProfileSet::clone(&snapshot.profiles));
                set.insert(scope.as_deref(), &name, entry);
            }
        }
        let Some(set) = profiles.as_ref().filter(|_| found_any) else { break };
        decision = inject(pod, &namespace, set, &state.settings);
    }
    Ok(decision)
}

/// The namespace, with labels that agree with the entry that called, or else as the cluster has it now.
async fn namespace_of(
    state: &State,
    entry: Entry,
    snapshot: &Snapshot,
    name: &str,
    deadline: tokio::time::Instant,
) -> Result<Arc<Namespace>, UnknownNamespace> {
    if let Some(known) = snapshot.namespaces.get(name).filter(|known| entry.agrees(known)) {
        return Ok(Arc::clone(known));
    }
    let live = tokio::time::timeout_at(deadline, state.lookup.namespace(name)).await.ok().flatten();
    live.map(Arc::new).ok_or_else(|| UnknownNamespace(name.to_owned()))
}
