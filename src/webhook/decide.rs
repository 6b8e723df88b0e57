use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

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
/// What is left for the answer after them.
const ANSWER: Duration = Duration::from_millis(50);
/// How many unknown names one pod may have looked up.
const MOST_LOOKUPS: usize = 8;

/// What one review is decided from: the snapshot, and what live looks added to it.
pub(super) struct Known<'s> {
    pub(super) state: &'s State,
    pub(super) started: Instant,
    /// When live looks have to end.
    deadline: Instant,
    entry: Entry,
    snapshot: Arc<Snapshot>,
    namespace: Looked,
    /// The snapshot's profiles with those that live looks found.
    profiles: Option<ProfileSet>,
    looked_up: Vec<String>,
}

/// What a live look at the namespace brought.
enum Looked {
    NotYet,
    Nothing,
    Found(Arc<Namespace>),
}

/// Why there is no decision.
pub(super) enum Undecided {
    /// This has to be looked up first.
    Look(Look),
    /// Nothing certain is known of the namespace, so nothing can be decided about its pods.
    ///
    /// It is an error and not a skipped pod: the webhook's failure policy says what becomes of the pod, and
    /// with Fail none slips in without its sidecars.
    UnknownNamespace,
}

/// What has to be looked up.
pub(super) enum Look {
    /// A namespace that the snapshot does not hold, or whose labels contradict the entry that called.
    Namespace(String),
    /// A profile that the pod or its namespace names.
    Profile { namespace: String, name: String },
}

impl<'s> Known<'s> {
    pub(super) fn new(state: &'s State, entry: Entry) -> Self {
        let snapshot = state.snapshot.load_full();
        let (started, looked_up) = (Instant::now(), Vec::new());
        let deadline = started + LOOKUP_LIMIT;
        Self {
            state,
            started,
            deadline,
            entry,
            snapshot,
            namespace: Looked::NotYet,
            profiles: None,
            looked_up,
        }
    }

    /// Leaves time for an answer before the request's own deadline.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = self.deadline.min(deadline.checked_sub(ANSWER).unwrap_or(deadline));
        self
    }

    /// Runs the engine.
    ///
    /// # Errors
    /// Something has to be looked up first, or a look found nothing where nothing can be decided without.
    pub(super) fn decide(&self, namespace: &str, pod: &Json<'_>) -> Result<Decision, Undecided> {
        let namespace = match &self.namespace {
            Looked::NotYet => {
                let known = self.snapshot.namespaces.get(namespace).filter(|known| self.entry.agrees(known));
                known.ok_or_else(|| Undecided::Look(Look::Namespace(namespace.to_owned())))?
            }
            Looked::Nothing => return Err(Undecided::UnknownNamespace),
            Looked::Found(found) => found,
        };
        let profiles = self.profiles.as_ref().unwrap_or(&self.snapshot.profiles);
        let decision = inject(pod, namespace, profiles, &self.state.settings);
        match decision.unknown_profiles().into_iter().find(|name| self.may_look_up(name)) {
            Some(name) => {
                let (namespace, name) = (namespace.name.clone(), name.to_owned());
                Err(Undecided::Look(Look::Profile { namespace, name }))
            }
            None => Ok(decision),
        }
    }

    fn may_look_up(&self, profile: &str) -> bool {
        self.looked_up.len() < MOST_LOOKUPS && !self.looked_up.iter().any(|name| name == profile)
    }

    /// Looks in the cluster itself, and remembers what it finds.
    pub(super) async fn look(&mut self, look: Look) {
        let deadline = self.deadline;
        match look {
            Look::Namespace(name) => {
                let look = self.state.lookup.namespace(&name);
                let found = tokio::time::timeout_at(deadline, look).await.ok().flatten();
                self.namespace = found.map_or(Looked::Nothing, |found| Looked::Found(Arc::new(found)));
            }
            Look::Profile { namespace, name } => {
                let look = self.state.lookup.profiles(&namespace, &name);
                for (scope, entry) in tokio::time::timeout_at(deadline, look).await.unwrap_or_default() {
                    let set = self.profiles.get_or_insert_with(|| ProfileSet::clone(&self.snapshot.profiles));
                    set.insert(scope.as_deref(), &name, entry);
                }
                self.looked_up.push(name);
            }
        }
    }
}
