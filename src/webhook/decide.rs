use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tracing::{error, warn};

use super::{State, review};
use crate::api::{Scope, keys};
use crate::cluster::Snapshot;
use crate::engine::{Decision, Namespace, inject};
use crate::json::Json;
use crate::profiles::{self, ProfileSet};
use crate::telemetry::Verdict;

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
    /// The namespace; `None` where it does not exist.
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>>;
    /// The profiles of a name, in the cluster and in the namespace.
    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Looking<'a, Vec<(Option<String>, profiles::Entry)>>;
}

/// What a live look will bring.
pub type Looking<'a, T> = BoxFuture<'a, Result<T, LookupError>>;

/// The API server did not say what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);

/// How long live looks may take for one review, well below the webhook's own timeout of 5 s.
const LOOKUP_LIMIT: Duration = Duration::from_millis(1500);
/// How many unknown names one pod may have looked up.
const MOST_LOOKUPS: usize = 8;

/// A review that nobody answered yet. One that is dropped so, by a panic or because its time was over, is counted and
/// logged, too.
pub(super) struct Unanswered<'a> {
    state: &'a State,
    webhook: &'static str,
    body: &'a [u8],
    started: Instant,
}

impl<'a> Unanswered<'a> {
    pub(super) fn new(state: &'a State, webhook: &'static str, body: &'a [u8]) -> Self {
        Self { state, webhook, body, started: Instant::now() }
    }

    /// It is answered.
    pub(super) fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { "Panicked" } else { "TimedOut" };
        let request = review::read::<IgnoredAny>(self.body).ok();
        let uid = request.as_ref().map(|request| request.uid.as_ref());
        error!(uid, webhook = self.webhook, reason, "a review was not answered");
        self.state.metrics.observe(&Verdict::errored(self.webhook, reason), self.started.elapsed());
    }
}

/// What one review is decided from: the snapshot, and what live looks added to it.
pub(super) struct Known<'s> {
    pub(super) state: &'s State,
    pub(super) started: Instant,
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
        Self { state, started, entry, snapshot, namespace: Looked::NotYet, profiles: None, looked_up }
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

    /// Where a profile is defined that pods of a namespace can get; nowhere if it does not exist.
    pub(super) fn scope_of(&self, namespace: &str, profile: &str) -> Option<Scope> {
        let profiles = self.profiles.as_ref().unwrap_or(&self.snapshot.profiles);
        profiles.find(namespace, profile).map(|entry| match entry {
            profiles::Entry::Ready(profile) => profile.scope,
            profiles::Entry::Invalid(invalid) => invalid.scope,
        })
    }

    fn may_look_up(&self, profile: &str) -> bool {
        self.looked_up.len() < MOST_LOOKUPS && !self.looked_up.iter().any(|name| name == profile)
    }

    /// Looks in the cluster itself, and remembers what it finds.
    pub(super) async fn look(&mut self, uid: &str, look: Look) {
        match look {
            Look::Namespace(name) => {
                let found = self.in_time(self.state.lookup.namespace(&name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace = name, %error, "a live look at a namespace failed");
                    None
                });
                self.namespace = found.map_or(Looked::Nothing, |found| Looked::Found(Arc::new(found)));
            }
            Look::Profile { namespace, name } => {
                let found = self.in_time(self.state.lookup.profiles(&namespace, &name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace, profile = name, %error, "a live look at a profile failed");
                    Vec::new()
                });
                for (scope, entry) in found {
                    let set = self.profiles.get_or_insert_with(|| ProfileSet::clone(&self.snapshot.profiles));
                    set.insert(scope.as_deref(), &name, entry);
                }
                self.looked_up.push(name);
            }
        }
    }

    async fn in_time<T>(&self, look: Looking<'_, T>) -> Result<T, LookupError> {
        let late = |_| LookupError("the API server did not answer in time".to_owned());
        tokio::time::timeout_at(self.started + LOOKUP_LIMIT, look).await.map_err(late)?
    }
}
