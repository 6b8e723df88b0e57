//! Selection: whether a pod is injected, and with which profiles. Steps 1 to 5 of a decision.

mod choice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::choice::Chosen;
use super::inputs::{Namespace, Settings};
use super::pod::{OriginalPod, PodView as _, SubmittedPod};
use super::reason::{ChoicePlace, Reason};
use super::trace::Trace;
use crate::api::{HostNetwork, OnError, ProfileName, Scope, keys, nearest};
use crate::expression::{Budget, Variables};
use crate::profiles::{Labels, Profile, ProfileEntry, ProfileSet};

/// Steps 1 and 2: checks for pods that are never injected, regardless of labels and annotations.
pub(super) fn excluded(pod: SubmittedPod<'_>, namespace: &Namespace, settings: &Settings) -> Option<Reason> {
    let name = namespace.name.as_str();
    if keys::ALWAYS_EXCLUDED_NAMESPACES.contains(&name) || settings.excluded_namespaces.contains(name) {
        return Some(Reason::NamespaceExcluded { namespace: namespace.name.clone() });
    }
    pod.annotation(keys::MIRROR_POD).map(|_| Reason::MirrorPod)
}

/// Step 4: evaluates the pod's label, or the namespace's if the pod has none.
pub(super) fn enabled(pod: OriginalPod<'_>, namespace: &Namespace, trace: &mut Trace) -> Result<(), Reason> {
    match pod.label(keys::INJECT) {
        Some(keys::ENABLED) => {
            trace.add(Reason::EnabledByPod);
            return Ok(());
        }
        Some(keys::DISABLED) => return Err(Reason::DisabledByPod),
        Some(other) => return Err(Reason::InvalidInjectLabel { value: other.to_owned() }),
        None => {}
    }
    let name = || namespace.name.clone();
    match namespace.labels.get(keys::INJECT) {
        Some(keys::ENABLED) => {
            trace.add_detail(|| Reason::EnabledByNamespace { namespace: name() });
            Ok(())
        }
        Some(keys::DISABLED) => Err(Reason::DisabledByNamespace { namespace: name() }),
        other => {
            if let Some(value) = other {
                let value = value.to_owned();
                trace.add(Reason::InvalidNamespaceLabel { value, namespace: name() });
            }
            Err(Reason::NamespaceNotEnabled { namespace: name() })
        }
    }
}

/// Selected profiles of a decision.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Profiles to inject, by name.
    pub(super) profiles: BTreeMap<ProfileName, Arc<Profile>>,
    /// Profiles among them that are injected only because another one requires them.
    pub(super) along: BTreeSet<ProfileName>,
    /// Profiles that a Mandatory profile requires, and that are protected like it.
    protected: BTreeSet<ProfileName>,
    /// Profiles that were left out, with the reason.
    pub(super) absent: BTreeMap<String, Reason>,
}

impl Selection {
    /// Leaves a profile out, by its `onError`, or by that of the profiles which require it.
    ///
    /// # Errors
    /// The cause, if the profile's `onError` is Fail.
    pub(super) fn leave_out(
        &mut self,
        profile: &Profile,
        cause: Reason,
        trace: &mut Trace,
    ) -> Result<(), Reason> {
        self.profiles.remove(&profile.name);
        self.absent.insert(profile.name.to_string(), cause.clone());
        // For a required profile, the profile that requires it reports the cause.
        if self.along.contains(&profile.name) {
            return Ok(());
        }
        left_out(profile.name.as_str(), profile.on_error, cause, trace)
    }

    /// Checks whether pod and namespace cannot override anything of a profile.
    pub(super) fn is_protected(&self, profile: &Profile) -> bool {
        profile.mandatory || self.protected.contains(&profile.name)
    }

    /// Returns the profiles that pod and namespace cannot override.
    pub(super) fn protected<'p>(&self, profiles: &'p [Arc<Profile>]) -> Vec<&'p Profile> {
        profiles.iter().map(AsRef::as_ref).filter(|profile| self.is_protected(profile)).collect()
    }

    /// Returns the reason for the first required profile that was left out.
    pub(super) fn missing(&self, profile: &Profile) -> Option<Reason> {
        let absent = |required: &&String| self.absent.contains_key(*required);
        let required = profile.requires.iter().find(absent)?;
        Some(Reason::RequiredLeftOut {
            profile: profile.name.to_string(),
            required: required.clone(),
            cause: Box::new(self.absent.get(required)?.clone()),
        })
    }
}

/// Step 3: selects the matching Mandatory profiles.
///
/// # Errors
/// One of them cannot be injected, or a condition cannot be evaluated.
pub(super) fn mandatory(matching: &mut Matches<'_>) -> Result<Vec<Arc<Profile>>, Reason> {
    let mut kept = Vec::new();
    for (name, entry) in matching.selected.clone() {
        match entry {
            ProfileEntry::Invalid(invalid) if invalid.mandatory => {
                let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                return Err(Reason::MandatoryInvalid { name: name.to_owned(), finding });
            }
            ProfileEntry::Ready(profile)
                if profile.mandatory && matching.false_condition(profile)?.is_none() =>
            {
                kept.push(Arc::clone(profile));
            }
            _ => {}
        }
    }
    Ok(kept)
}

/// Profiles whose selectors select the pod, with the inputs of their conditions.
pub(super) struct Matches<'a> {
    selected: BTreeMap<&'a str, &'a ProfileEntry>,
    variables: Variables<'a>,
    budget: &'a mut Budget,
}

impl<'a> Matches<'a> {
    pub(super) fn new(
        profiles: &'a ProfileSet,
        namespace: &'a Namespace,
        pod_labels: &Labels<'a>,
        variables: Variables<'a>,
        budget: &'a mut Budget,
    ) -> Self {
        let selected = profiles.selecting(&namespace.name, &namespace.labels.pairs(), pod_labels);
        Self { selected, variables, budget }
    }

    /// Returns the name of a profile's condition that is false.
    fn false_condition<'p>(&mut self, profile: &'p Profile) -> Result<Option<&'p str>, Reason> {
        let Some(matching) = &profile.matching else { return Ok(None) };
        if !matching.has_conditions() {
            return Ok(None);
        }
        let variables = Variables { profile: profile.name.as_str(), ..self.variables };
        matching.false_condition(&variables, self.budget).map_err(|(condition, failed)| {
            Reason::ConditionFailed {
                profile: profile.name.to_string(),
                condition,
                failed,
                mandatory: profile.mandatory,
            }
        })
    }
}

/// Step 5: applies the pod's choice to the namespace's default, and adds matching and required profiles.
pub(super) fn choose(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    mandatory: Vec<Arc<Profile>>,
    matching: &mut Matches<'_>,
    trace: &mut Trace,
) -> Result<Selection, Reason> {
    let choosing = Choosing { pod, namespace, profiles };
    let choice = choice::chosen(pod, namespace, profiles, trace)?;
    let mut selection = Selection::default();
    let mut any = !choice.names.is_empty();
    for profile in mandatory {
        any = true;
        if choice.removed.contains(&profile.name) {
            let despite = "the annotation outrigger.dev/profiles on the pod".to_owned();
            trace.add(Reason::MandatoryKept { profile: profile.name.to_string(), despite });
        }
        choosing.take_mandatory(profile, &mut selection, trace)?;
    }
    choosing.take_chosen(&choice.names, &mut selection, trace)?;
    any |= choosing.take_matching(&choice, matching, &mut selection, trace)?;
    choosing.bring_required(&mut selection, &choice.removed, trace)?;
    choosing.trace_shadows(&selection, trace);
    match (any, selection.profiles.is_empty()) {
        (false, _) => Err(Reason::NoProfileChosen { namespace: namespace.name.clone() }),
        (true, true) => Err(Reason::NothingLeft),
        (true, false) => Ok(selection),
    }
}

/// Steps 3 and 4 if neither pod nor namespace enables injection: selects only the Mandatory profiles.
pub(super) fn insist(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    mandatory: Vec<Arc<Profile>>,
    despite: &Reason,
    trace: &mut Trace,
) -> Result<Selection, Reason> {
    let choosing = Choosing { pod, namespace, profiles };
    let mut selection = Selection::default();
    for profile in mandatory {
        if matches!(despite, Reason::DisabledByPod | Reason::DisabledByNamespace { .. }) {
            let (profile, despite) = (profile.name.to_string(), despite.to_string());
            trace.add(Reason::MandatoryKept { profile, despite });
        }
        choosing.take_mandatory(profile, &mut selection, trace)?;
    }
    choosing.bring_required(&mut selection, &[], trace)?;
    if selection.profiles.is_empty() { Err(Reason::NothingLeft) } else { Ok(selection) }
}

fn matched(profile: &Profile) -> Reason {
    let selectors = profile.matching.as_ref().map(ToString::to_string).unwrap_or_default();
    Reason::Matched { profile: profile.name.to_string(), selectors, mandatory: profile.mandatory }
}

struct Choosing<'a> {
    pod: OriginalPod<'a>,
    namespace: &'a Namespace,
    profiles: &'a ProfileSet,
}

impl Choosing<'_> {
    /// Adds the named profiles.
    ///
    /// # Errors
    /// All errors in the names.
    fn take_chosen(
        &self,
        names: &[(ProfileName, ChoicePlace)],
        selection: &mut Selection,
        trace: &mut Trace,
    ) -> Result<(), Reason> {
        let mut problems = Vec::new();
        for (name, place) in names {
            if selection.profiles.contains_key(name) {
                continue;
            }
            let found = self.find_ready(name, place, trace).and_then(|found| match found {
                Some(profile) => Ok(self.suits(&profile, trace)?.then_some(profile)),
                None => Ok(None),
            });
            match found {
                Ok(None) => {}
                Ok(Some(profile)) => {
                    trace.add_detail(|| Reason::Chosen { profile: name.to_string(), place: place.clone() });
                    selection.profiles.insert(name.clone(), profile);
                }
                Err(problem) => problems.push(problem),
            }
        }
        Reason::all_of(problems)
    }

    /// Adds the profiles that select the pod by themselves. Returns whether there are any.
    fn take_matching(
        &self,
        choice: &Chosen,
        matching: &mut Matches<'_>,
        selection: &mut Selection,
        trace: &mut Trace,
    ) -> Result<bool, Reason> {
        let mut any = false;
        for entry in matching.selected.clone().into_values() {
            let is = |known: &ProfileName| known.as_str() == entry.name();
            let is_named = choice.names.iter().any(|(known, _)| is(known));
            if choice.removed.iter().any(is) || is_named || selection.profiles.keys().any(is) {
                continue;
            }
            let profile = match entry {
                ProfileEntry::Ready(profile) => profile,
                ProfileEntry::Invalid(invalid) => {
                    any = true;
                    let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                    let name = invalid.name.clone();
                    let cause = Reason::ProfileInvalid { name, place: ChoicePlace::Match, finding };
                    // Regardless of its `onError`: an invalid profile must not block pods that did not choose it.
                    left_out(&invalid.name, OnError::Ignore, cause, trace)?;
                    continue;
                }
            };
            match matching.false_condition(profile) {
                Ok(Some(condition)) => {
                    let (profile, condition) = (profile.name.to_string(), condition.to_owned());
                    trace.add(Reason::ConditionFalse { profile, condition });
                    continue;
                }
                Err(failed) => {
                    trace.add(failed);
                    continue;
                }
                Ok(None) => {}
            }
            any = true;
            if self.suits(profile, trace)? {
                trace.add_detail(|| matched(profile));
                selection.profiles.insert(profile.name.clone(), Arc::clone(profile));
            }
        }
        Ok(any)
    }

    /// Traces the selected profiles of the namespace that shadow a cluster profile.
    fn trace_shadows(&self, selection: &Selection, trace: &mut Trace) {
        let namespace = &self.namespace.name;
        for profile in selection.profiles.values().filter(|profile| profile.scope == Scope::Namespace) {
            if self.profiles.find_in(Scope::Cluster, namespace, profile.name.as_str()).is_some() {
                trace.add_detail(|| Reason::Shadows {
                    profile: profile.name.to_string(),
                    namespace: namespace.clone(),
                });
            }
        }
    }

    fn take_mandatory(
        &self,
        profile: Arc<Profile>,
        selection: &mut Selection,
        trace: &mut Trace,
    ) -> Result<(), Reason> {
        if self.suits(&profile, trace)? {
            trace.add_detail(|| matched(&profile));
            selection.profiles.insert(profile.name.clone(), profile);
        }
        Ok(())
    }

    /// Adds the required profiles; a profile whose requirement cannot be met is left out.
    fn bring_required(
        &self,
        selection: &mut Selection,
        removed: &[ProfileName],
        trace: &mut Trace,
    ) -> Result<(), Reason> {
        let mut waiting: Vec<Arc<Profile>> = selection.profiles.values().rev().cloned().collect();
        while let Some(profile) = waiting.pop() {
            for required in &profile.requires {
                if !selection.profiles.contains_key(&profile.name) {
                    break;
                }
                if let Some(brought) = self.required(&profile, required, selection, removed, trace)? {
                    if selection.is_protected(&profile) {
                        selection.protected.insert(brought.name.clone());
                    }
                    selection.along.insert(brought.name.clone());
                    selection.profiles.insert(brought.name.clone(), Arc::clone(&brought));
                    waiting.push(brought);
                }
            }
        }
        selection.drop_orphans();
        Ok(())
    }

    /// Returns a required profile to add; `None` if it is already selected or not available.
    fn required(
        &self,
        profile: &Profile,
        required: &str,
        selection: &mut Selection,
        removed: &[ProfileName],
        trace: &mut Trace,
    ) -> Result<Option<Arc<Profile>>, Reason> {
        let (by, required_name) = (profile.name.to_string(), required.to_owned());
        let namespace = &self.namespace.name;
        let is_protected = selection.is_protected(profile);
        if let Some(there) = selection.profiles.values().find(|known| known.name.as_str() == required) {
            // A Mandatory profile requires the cluster profile, and not the namespace's profile of that name.
            if !is_protected || there.scope == Scope::Cluster {
                let name = there.name.clone();
                selection.protected.extend(is_protected.then_some(name));
                return Ok(None);
            }
        }
        if removed.iter().any(|name| name.as_str() == required) && !is_protected {
            return Err(Reason::RequiredTakenAway { profile: required_name, by });
        }
        let found = if is_protected {
            self.profiles.find_in(Scope::Cluster, namespace, required)
        } else {
            self.profiles.find(namespace, required)
        };
        let cause = match found {
            Some(ProfileEntry::Ready(found)) if self.suits(found, trace)? => {
                trace.add(Reason::Required { profile: required_name, by });
                return Ok(Some(Arc::clone(found)));
            }
            Some(ProfileEntry::Ready(_)) => {
                if is_protected {
                    let finding = "it is not for pods like this one".to_owned();
                    return Err(Reason::RequiredInvalid { profile: by, required: required_name, finding });
                }
                let cause = Reason::RequiredSkipped { profile: by, required: required_name };
                trace.add(cause.clone());
                selection.absent.insert(profile.name.to_string(), cause);
                selection.profiles.remove(&profile.name);
                return Ok(None);
            }
            Some(ProfileEntry::Invalid(invalid)) => {
                let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                Reason::RequiredInvalid { profile: by, required: required_name, finding }
            }
            None => Reason::RequiredNotFound {
                profile: by,
                required: required_name,
                namespace: namespace.clone(),
                probably: nearest(required, self.profiles.names(namespace)).map(str::to_owned),
            },
        };
        selection.leave_out(profile, cause, trace).map(|()| None)
    }

    /// Returns the profile with a name, if it can be injected.
    fn find_ready(
        &self,
        name: &ProfileName,
        place: &ChoicePlace,
        trace: &mut Trace,
    ) -> Result<Option<Arc<Profile>>, Reason> {
        match choice::find(self.profiles, self.namespace, name, place)? {
            ProfileEntry::Ready(profile) => Ok(Some(Arc::clone(profile))),
            ProfileEntry::Invalid(invalid) => {
                let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                let reason = Reason::ProfileInvalid { name: name.to_string(), place: place.clone(), finding };
                left_out(name.as_str(), invalid.on_error, reason, trace).map(|()| None)
            }
        }
    }

    /// Checks whether the profile applies to the pod.
    fn suits(&self, profile: &Profile, trace: &mut Trace) -> Result<bool, Reason> {
        let name = || profile.name.to_string();
        let os = self.pod.os();
        if profile.template.os != os {
            let wanted = profile.template.os.clone();
            trace.add(Reason::OsMismatch { profile: name(), wanted, os: os.to_owned() });
            return Ok(false);
        }
        if self.pod.host_network() {
            match profile.host_network {
                HostNetwork::Allow => {}
                HostNetwork::Deny => return Err(Reason::HostNetworkDenied { profile: name() }),
                HostNetwork::Skip => {
                    trace.add(Reason::HostNetworkSkipped { profile: name() });
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Selection {
    /// Removes required profiles whose dependents are gone.
    fn drop_orphans(&mut self) {
        if self.along.is_empty() {
            return;
        }
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let own = self.profiles.keys().filter(|name| !self.along.contains(*name));
        let mut waiting: Vec<String> = own.map(ToString::to_string).collect();
        while let Some(name) = waiting.pop() {
            let profile = self.profiles.iter().find(|(known, _)| known.as_str() == name);
            if let Some((_, profile)) = profile
                && wanted.insert(name)
            {
                waiting.extend(profile.requires.iter().cloned());
            }
        }
        self.profiles.retain(|name, _| wanted.contains(name.as_str()));
    }
}

/// Applies a profile's `onError`: a denial, or a warning in the trace.
fn left_out(profile: &str, on_error: OnError, cause: Reason, trace: &mut Trace) -> Result<(), Reason> {
    match on_error {
        OnError::Fail => Err(cause),
        OnError::Ignore => {
            trace.add(Reason::ProfileLeftOut { profile: profile.to_owned(), cause: Box::new(cause) });
            Ok(())
        }
    }
}
