use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::State;
use crate::api::{Scope, keys};
use crate::cluster::{Looking, LookupError, Snapshot};
use crate::engine::{
    Decision, Namespace, Outcome, Reason, admit, admit_submitted, verify, verify_binding, verify_change,
    verify_entry,
};
use crate::json::Json;
use crate::profiles::{self, ProfileSet};
use crate::workload::{Facts, foreseen};

/// The webhook entry that called. Each entry implies something about the labels of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEntry {
    /// The namespace has the key `outrigger.dev/inject`.
    Namespace,
    /// The pod has the key, and the namespace does not.
    Pod,
    /// A webhook configuration of the user's own, which implies nothing.
    Any,
    /// The Mandatory profile of this name selects the namespace.
    Mandatory(String),
    /// The Mandatory profile of this name selects the namespace of a submitted pod, before admission plugins have changed any
    /// injected container.
    Submitted(String),
}

impl WebhookEntry {
    /// Returns the Mandatory profile whose entry called.
    fn mandatory(&self) -> Option<&String> {
        match self {
            Self::Mandatory(profile) | Self::Submitted(profile) => Some(profile),
            Self::Namespace | Self::Pod | Self::Any => None,
        }
    }

    /// Returns whether the snapshot's labels of the namespace agree with the entry that called.
    fn agrees(&self, namespace: &Namespace, profiles: &ProfileSet) -> bool {
        let labelled = namespace.labels.contains_key(keys::INJECT);
        match self {
            Self::Namespace => labelled,
            Self::Pod => !labelled,
            Self::Any => true,
            Self::Mandatory(name) | Self::Submitted(name) => profiles
                .find_in(Scope::Cluster, &namespace.name, name)
                .filter(|entry| entry.is_mandatory())
                .and_then(profiles::ProfileEntry::matching)
                .is_none_or(|matching| matching.selects_namespace(&namespace.labels.pairs())),
        }
    }
}

/// Time limit for all live lookups of one review, well below the webhook's own timeout of 5 s.
const LOOKUP_LIMIT: Duration = Duration::from_millis(1500);
/// Time that is reserved for the answer after the lookups.
const ANSWER: Duration = Duration::from_millis(50);
/// Maximum number of unknown names that are looked up for one pod.
const MOST_LOOKUPS: usize = 8;

/// The data for one review: the snapshot and the results of live lookups.
pub(super) struct ReviewContext<'s> {
    pub(super) state: &'s State,
    pub(super) started: Instant,
    /// Time by which live lookups must end.
    deadline: Instant,
    entry: WebhookEntry,
    snapshot: Arc<Snapshot>,
    namespace: Looked,
    /// Profiles of the snapshot and of live lookups.
    profiles: Option<ProfileSet>,
    looked_up: Vec<String>,
    /// Profiles whose lookup failed.
    missed: Vec<String>,
}

/// The result of a live lookup of the namespace.
enum Looked {
    NotYet,
    Nothing,
    Found(Arc<Namespace>),
}

/// The reason for which there is no decision.
pub(super) enum Undecided {
    /// A lookup is needed first.
    Look(Look),
    /// The namespace is unknown, so nothing can be decided about its pods.
    ///
    /// This is an error and not a skipped pod: the webhook's failure policy decides about the pod. With Fail, no pod is
    /// admitted without its sidecars.
    UnknownNamespace,
    /// The profile is unknown: its lookup failed, or the review needs too many lookups.
    UnknownProfile(String),
    /// A resource is not synced, so profiles may be missing that the pod must have.
    NotSynced(&'static str),
}

impl Undecided {
    /// Returns the code and message for a name that stays unknown; `None` if it can still be looked up.
    pub(super) fn message(&self, namespace: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Look(_) => None,
            Self::UnknownNamespace => Some((
                "UnknownNamespace",
                format!(
                    "namespace {namespace:?} is not known yet, and the API server does not say in time what its labels are"
                ),
            )),
            Self::UnknownProfile(name) => Some((
                "UnknownProfile",
                format!(
                    "profile {name:?} is not known yet, and the API server does not say in time what it is"
                ),
            )),
            Self::NotSynced(resource) => Some((
                "NotSynced",
                format!(
                    "cannot decide about pods in namespace {namespace:?}: the server has no current list of {resource}; if that lasts, check that the CustomResourceDefinitions of the release exist"
                ),
            )),
        }
    }
}

/// Result of a decision: the value, or the code and message of what is unknown.
pub(super) type Settled<T> = Result<T, (&'static str, String)>;

/// Separates a settled decision from one that needs a lookup first.
///
/// # Errors
/// The lookup that is needed, with the request's UID.
pub(super) fn settled<T>(
    decided: Result<T, Undecided>,
    uid: &str,
    namespace: &str,
) -> Result<Settled<T>, (String, Look)> {
    match decided {
        Ok(done) => Ok(Ok(done)),
        Err(Undecided::Look(look)) => Err((uid.to_owned(), look)),
        Err(unknown) => Ok(Err(unknown.message(namespace).unwrap_or_default())),
    }
}

/// A lookup that a decision needs.
pub(super) enum Look {
    /// A namespace that the snapshot does not contain, or whose labels contradict the entry that called.
    Namespace(String),
    /// A profile that the pod or its namespace names.
    Profile { namespace: String, name: String },
}

impl<'s> ReviewContext<'s> {
    pub(super) fn new(state: &'s State, entry: WebhookEntry) -> Self {
        let snapshot = state.snapshot.load_full();
        let (started, namespace) = (Instant::now(), Looked::NotYet);
        let (profiles, looked_up, missed) = (None, Vec::new(), Vec::new());
        let deadline = started + LOOKUP_LIMIT;
        Self { state, started, deadline, entry, snapshot, namespace, profiles, looked_up, missed }
    }

    /// Sets the request's own deadline, less the time for the answer.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = self.deadline.min(deadline.checked_sub(ANSWER).unwrap_or(deadline));
        self
    }

    /// Runs the engine.
    ///
    /// # Errors
    /// A lookup is needed first, or a required name is still unknown after its lookup.
    pub(super) fn decide(&self, namespace: &str, pod: &Json<'_>) -> Result<Decision, Undecided> {
        let (namespace, profiles) = (self.namespace(namespace)?, self.profiles());
        let admit = if matches!(self.entry, WebhookEntry::Submitted(_)) { admit_submitted } else { admit };
        let decision = admit(pod, namespace, profiles, &self.state.settings);
        if !self.needs_no_profile(&decision.reason) {
            self.synced()?;
        }
        let unknown = decision.unknown_profiles();
        if let Some(name) = unknown.iter().find(|name| self.may_look_up(name)) {
            let (namespace, name) = (namespace.name.clone(), (*name).to_owned());
            return Err(Undecided::Look(Look::Profile { namespace, name }));
        }
        // A denial whose cause is certain stays a denial, even if other names are unknown.
        let is_certain = |name: &&str| self.is_absent(name);
        let is_denial_certain = decision.reason.unknown_profiles().iter().all(is_certain);
        match unknown.iter().find(|name| !is_certain(name)) {
            Some(_) if decision.outcome == Outcome::Denied && is_denial_certain => {}
            Some(name) => return Err(Undecided::UnknownProfile((*name).to_owned())),
            None => {}
        }
        Ok(decision)
    }

    /// Verifies a finished pod.
    ///
    /// # Errors
    /// A lookup is needed first, or a required name is still unknown after its lookup.
    pub(super) fn verify(&self, namespace: &str, pod: &Json<'_>) -> Result<Result<(), Reason>, Undecided> {
        let namespace = self.namespace(namespace)?;
        self.synced()?;
        let verdict = verify(pod, namespace, self.profiles(), &self.state.settings);
        match &verdict {
            // The pod may have been injected by a server that has a newer version of the profile.
            Err(reason)
                if let Some(profile) = reason.incomplete_profile()
                    && self.may_look_up(profile) =>
            {
                let (namespace, name) = (namespace.name.clone(), profile.to_owned());
                Err(Undecided::Look(Look::Profile { namespace, name }))
            }
            Err(reason)
                if let Some(profile) = reason.incomplete_profile()
                    && self.missed.iter().any(|name| name == profile) =>
            {
                Err(Undecided::UnknownProfile(profile.to_owned()))
            }
            _ => Ok(verdict),
        }
    }

    /// Verifies a change of a live pod.
    ///
    /// # Errors
    /// See [`Self::verify`].
    pub(super) fn verify_change(
        &self,
        namespace: &str,
        (old, new): (&Json<'_>, &Json<'_>),
    ) -> Result<Result<(), Reason>, Undecided> {
        Ok(verify_change(old, new, self.namespace(namespace)?, self.profiles()))
    }

    /// Verifies a binding of a pod to a node.
    ///
    /// # Errors
    /// See [`Self::verify`].
    pub(super) fn verify_binding(
        &self,
        namespace: &str,
        binding: &Json<'_>,
    ) -> Result<Result<(), Reason>, Undecided> {
        Ok(verify_binding(binding, self.namespace(namespace)?, self.profiles()))
    }

    /// Verifies an `exec` or `attach`.
    ///
    /// # Errors
    /// See [`Self::verify`].
    pub(super) fn verify_entry(
        &self,
        namespace: &str,
        (verb, container): (&str, &str),
    ) -> Result<Result<(), Reason>, Undecided> {
        Ok(verify_entry(container, verb, self.namespace(namespace)?, self.profiles()))
    }

    /// # Errors
    /// A resource is not synced.
    fn synced(&self) -> Result<(), Undecided> {
        self.snapshot.unsynced.first().map_or(Ok(()), |resource| Err(Undecided::NotSynced(resource)))
    }

    /// Returns whether the decision does not depend on profiles.
    fn needs_no_profile(&self, reason: &Reason) -> bool {
        match reason {
            Reason::NamespaceExcluded { .. } | Reason::MirrorPod => true,
            // A Mandatory profile is injected even so.
            Reason::DisabledByPod
            | Reason::DisabledByNamespace { .. }
            | Reason::NamespaceNotEnabled { .. } => !matches!(self.entry, WebhookEntry::Mandatory(_)),
            _ => false,
        }
    }

    fn profiles(&self) -> &ProfileSet {
        self.profiles.as_ref().unwrap_or(&self.snapshot.profiles)
    }

    /// Returns the namespace. The profile whose entry called is looked up first, because the entry depends on its selector.
    fn namespace(&self, name: &str) -> Result<&Namespace, Undecided> {
        if let Some(profile) = self.entry.mandatory()
            && !self
                .profiles()
                .find_in(Scope::Cluster, name, profile)
                .is_some_and(profiles::ProfileEntry::is_mandatory)
        {
            if self.may_look_up(profile) {
                let (namespace, name) = (name.to_owned(), profile.clone());
                return Err(Undecided::Look(Look::Profile { namespace, name }));
            }
            if self.missed.contains(profile) {
                return Err(Undecided::UnknownProfile(profile.clone()));
            }
        }
        match &self.namespace {
            Looked::NotYet => {
                let known = self.snapshot.namespaces.get(name);
                let known = known.filter(|known| self.entry.agrees(known, self.profiles()));
                known.map(AsRef::as_ref).ok_or_else(|| Undecided::Look(Look::Namespace(name.to_owned())))
            }
            Looked::Nothing => Err(Undecided::UnknownNamespace),
            Looked::Found(found) => Ok(found),
        }
    }

    /// Returns the scope of the profile that pods of a namespace get by this name; `None` if it does not exist.
    pub(super) fn scope_of(&self, namespace: &str, profile: &str) -> Option<Scope> {
        self.profiles().find(namespace, profile).map(|entry| match entry {
            profiles::ProfileEntry::Ready(profile) => profile.scope,
            profiles::ProfileEntry::Invalid(invalid) => invalid.scope,
        })
    }

    /// Returns whether the API server answered that no profile of this name exists.
    fn is_absent(&self, profile: &str) -> bool {
        self.looked_up.iter().any(|name| name == profile) && !self.missed.iter().any(|name| name == profile)
    }

    fn may_look_up(&self, profile: &str) -> bool {
        self.looked_up.len() < MOST_LOOKUPS && !self.looked_up.iter().any(|name| name == profile)
    }

    /// Answers a request, and repeats it after each lookup that the answer needs.
    pub(super) async fn with_lookups<T>(
        &mut self,
        mut answer: impl FnMut(&Self) -> Result<T, (String, Look)>,
    ) -> T {
        loop {
            match answer(self) {
                Ok(answered) => return answered,
                Err((uid, look)) => self.look(&uid, look).await,
            }
        }
    }

    /// Looks up the name with an API call and stores the result.
    async fn look(&mut self, uid: &str, look: Look) {
        match look {
            Look::Namespace(name) => {
                let found = self.in_time(self.state.lookup.namespace(&name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace = name, %error, "failed to look up a namespace");
                    None
                });
                self.namespace = found.map_or(Looked::Nothing, |found| Looked::Found(Arc::new(found)));
            }
            Look::Profile { namespace, name } => {
                let found = self.in_time(self.state.lookup.profiles(&namespace, &name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace, profile = name, %error, "failed to look up a profile");
                    self.missed.push(name.clone());
                    Vec::new()
                });
                for (scope, entry) in found {
                    let set = self.profiles.get_or_insert_with(|| ProfileSet::clone(&self.snapshot.profiles));
                    let earlier = set.find_in(Scope::Cluster, "", &name).filter(|_| scope.is_none());
                    if let Some(profiles::ProfileEntry::Ready(earlier)) = earlier.cloned() {
                        set.remember(earlier);
                    }
                    set.insert(scope.as_deref(), &name, entry);
                }
                self.looked_up.push(name);
            }
        }
    }

    /// Returns the refusals by the namespace's own rules that a decision's injection causes, each with its code.
    ///
    /// If the API server does not return the rules in time, refusals that depend on them are left out: they are advice.
    pub(super) async fn foreseen(
        &self,
        uid: &str,
        namespace: &str,
        mut pod: Value,
        decision: &Decision,
    ) -> Vec<(&'static str, String)> {
        let Ok(known) = self.namespace(namespace) else { return Vec::new() };
        if decision.profiles.is_empty() || json_patch::patch(&mut pod, &decision.patch.operations()).is_err()
        {
            return Vec::new();
        }
        let mut facts = Facts::default();
        match self.in_time(self.state.lookup.bounds(namespace)).await {
            Ok(bounds) => bounds.iter().for_each(|bound| facts.add(bound, namespace)),
            Err(error) => warn!(uid, namespace, %error, "failed to look up limit ranges and quotas"),
        }
        foreseen(&pod, &decision.profiles, known, &facts)
    }

    async fn in_time<T>(&self, look: Looking<'_, T>) -> Result<T, LookupError> {
        let late = |_| LookupError("the API server did not answer in time".to_owned());
        tokio::time::timeout_at(self.deadline, look).await.map_err(late)?
    }
}
