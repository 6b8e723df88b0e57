//! The data for one review: the snapshot, and the results of live lookups.

mod lookups;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::state::State;
use super::webhook_entry::WebhookEntry;
use crate::api::Scope;
use crate::cluster::Snapshot;
use crate::engine::Namespace;
use crate::profiles::{ProfileEntry, ProfileSet};
use crate::telemetry::Verdict;

/// Time limit for all live lookups of one review, well below the webhook's own timeout of 5 s.
const LOOKUP_LIMIT: Duration = Duration::from_millis(1500);
/// Time that is reserved for the answer after the lookups.
const ANSWER: Duration = Duration::from_millis(50);
/// Maximum number of unknown names that are looked up for one pod.
const MOST_LOOKUPS: usize = 8;

/// The data for one review: the snapshot and the results of live lookups.
pub(super) struct ReviewContext<'s> {
    pub(super) state: &'s State,
    pub(super) entry: WebhookEntry,
    pub(super) started: Instant,
    /// Time by which live lookups must end.
    deadline: Instant,
    snapshot: Arc<Snapshot>,
    namespace: LookedUp,
    /// Profiles of the snapshot and of live lookups.
    profiles: Option<ProfileSet>,
    looked_up: Vec<String>,
    /// Profiles whose lookup failed.
    missed: Vec<String>,
}

/// The result of a live lookup of the namespace.
enum LookedUp {
    NotYet,
    Nothing,
    Found(Arc<Namespace>),
}

/// The reason for which there is no decision.
pub(super) enum Undecided {
    /// A lookup is needed first.
    Missing(MissingName),
    /// A lookup does not help.
    Unknown(Unknown),
}

/// A name that a decision needs and that can be looked up.
pub(super) enum MissingName {
    /// A namespace that the snapshot does not contain, or whose labels contradict the entry that called.
    Namespace(String),
    /// A profile that the pod or its namespace names.
    Profile { namespace: String, name: String },
}

/// Data that a decision needs and that stays unknown.
pub(super) enum Unknown {
    /// The namespace is unknown, so nothing can be decided about its pods.
    ///
    /// This is an error and not a skipped pod: the webhook's failure policy decides about the pod. With Fail, no pod is
    /// admitted without its sidecars.
    Namespace,
    /// The profile is unknown: its lookup failed, or the review needs too many lookups.
    Profile(String),
    /// A resource is not synced, so profiles may be missing that the pod must have.
    NotSynced(&'static str),
}

impl Undecided {
    pub(super) fn missing_profile(namespace: &str, name: &str) -> Self {
        Self::Missing(MissingName::Profile { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    pub(super) fn unknown_profile(name: &str) -> Self {
        Self::Unknown(Unknown::Profile(name.to_owned()))
    }
}

impl Unknown {
    /// Returns the code for metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Namespace => "UnknownNamespace",
            Self::Profile(_) => "UnknownProfile",
            Self::NotSynced(_) => "NotSynced",
        }
    }

    /// Returns the message about a pod in this namespace.
    pub(super) fn message(&self, namespace: &str) -> String {
        match self {
            Self::Namespace => format!(
                "namespace {namespace:?} is not known yet, and the API server does not say in time what its labels are"
            ),
            Self::Profile(name) => format!(
                "profile {name:?} is not known yet, and the API server does not say in time what it is"
            ),
            Self::NotSynced(resource) => format!(
                "cannot decide about pods in namespace {namespace:?}: the server has no current list of {resource}; if that lasts, check that the CustomResourceDefinitions of the release exist"
            ),
        }
    }
}

impl<'s> ReviewContext<'s> {
    pub(super) fn new(state: &'s State, entry: WebhookEntry) -> Self {
        let snapshot = state.snapshot.load_full();
        let (started, namespace) = (Instant::now(), LookedUp::NotYet);
        let (profiles, looked_up, missed) = (None, Vec::new(), Vec::new());
        let deadline = started + LOOKUP_LIMIT;
        Self { state, entry, started, deadline, snapshot, namespace, profiles, looked_up, missed }
    }

    /// Sets the request's own deadline, less the time for the answer.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = self.deadline.min(deadline.checked_sub(ANSWER).unwrap_or(deadline));
        self
    }

    /// Counts the review, and its time until now, in the metrics.
    pub(super) fn observe(&self, verdict: &Verdict) {
        self.state.metrics.observe(verdict, self.started.elapsed());
    }

    /// # Errors
    /// A resource is not synced.
    pub(super) fn synced(&self) -> Result<(), Undecided> {
        let unsynced = self.snapshot.unsynced.first();
        unsynced.map_or(Ok(()), |resource| Err(Undecided::Unknown(Unknown::NotSynced(resource))))
    }

    pub(super) fn profiles(&self) -> &ProfileSet {
        self.profiles.as_ref().unwrap_or(&self.snapshot.profiles)
    }

    /// Returns the namespace. The profile whose entry called is looked up first, because the entry depends on its selector.
    ///
    /// # Errors
    /// A lookup is needed first, or the namespace or the entry's profile is still unknown after its lookup.
    pub(super) fn namespace(&self, name: &str) -> Result<&Namespace, Undecided> {
        if let Some(profile) = self.entry.mandatory()
            && !self.profiles().find_in(Scope::Cluster, name, profile).is_some_and(ProfileEntry::is_mandatory)
        {
            if self.may_look_up(profile) {
                return Err(Undecided::missing_profile(name, profile));
            }
            if self.has_missed(profile) {
                return Err(Undecided::unknown_profile(profile));
            }
        }
        match &self.namespace {
            LookedUp::NotYet => {
                let known = self.snapshot.namespaces.get(name);
                let known = known.filter(|known| self.entry.agrees(known, self.profiles()));
                let missing = || Undecided::Missing(MissingName::Namespace(name.to_owned()));
                known.map(AsRef::as_ref).ok_or_else(missing)
            }
            LookedUp::Nothing => Err(Undecided::Unknown(Unknown::Namespace)),
            LookedUp::Found(found) => Ok(found),
        }
    }

    /// Returns the scope of the profile that pods of a namespace get by this name; `None` if it does not exist.
    pub(super) fn scope_of(&self, namespace: &str, profile: &str) -> Option<Scope> {
        self.profiles().find(namespace, profile).map(|entry| match entry {
            ProfileEntry::Ready(profile) => profile.scope,
            ProfileEntry::Invalid(invalid) => invalid.scope,
        })
    }

    pub(super) fn may_look_up(&self, profile: &str) -> bool {
        self.looked_up.len() < MOST_LOOKUPS && !self.looked_up.iter().any(|name| name == profile)
    }

    /// Returns whether the lookup of a profile failed.
    pub(super) fn has_missed(&self, profile: &str) -> bool {
        self.missed.iter().any(|name| name == profile)
    }

    /// Returns whether the API server answered that no profile of this name exists.
    pub(super) fn is_absent(&self, profile: &str) -> bool {
        self.looked_up.iter().any(|name| name == profile) && !self.has_missed(profile)
    }
}
