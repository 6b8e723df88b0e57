//! Verification of Mandatory profiles after the injection: in finished pods, and for changes of live pods.
//!
//! The original pod may contain anything, even a status annotation; [`super::inject`] corrects that. Between the injection and
//! the stored pod, only other webhooks of the cluster change the pod. After that, the status annotation is protected, so it
//! identifies the profiles' elements.

mod live_pod;

pub use live_pod::{verify_binding, verify_change, verify_entry};

use super::decide::{Ending, order, strip};
use super::inputs::{DecisionInputs, Namespace, Purpose, Settings};
use super::merged::{Merged, elements_of};
use super::pod::{PodView as _, SubmittedPod};
use super::reason::{Level, Reason};
use super::reinvocation::{Previous, is_in_order, is_unchanged, status};
use super::select::{self, Matches};
use super::trace::Trace;
use super::{merge, parameters, protect, shape};
use crate::api::{Scope, keys};
use crate::expression::Budget;
use crate::fields::{Map, Place};
use crate::json::Json;
use crate::profiles::{Profile, ProfileEntry, ProfileSet};

/// Verifies a finished pod: it must have every element of each Mandatory profile that selects it.
///
/// The elements must equal the rendered ones, since changes by later webhooks cannot be told from changes by an attacker.
///
/// # Errors
/// The missing or changed element, or the reason why the pod cannot be verified.
pub fn verify(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
) -> Result<(), Reason> {
    let remembered = at_injected_revisions(pod, profiles);
    let profiles = remembered.as_ref().unwrap_or(profiles);
    let by = DecisionInputs { namespace, profiles, settings };
    match verify_finished(pod, by, &mut Trace::brief()) {
        Err(Ending { reason, .. }) if reason.level() == Level::Denial => Err(reason),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks the Mandatory profiles of a finished pod.
fn verify_finished(finished: &Json<'_>, by: DecisionInputs<'_>, trace: &mut Trace) -> Result<(), Ending> {
    let stripped = strip(SubmittedPod(finished), by, Purpose::Verify, trace)?;
    let materialized = stripped.materialized();
    let (draft, original) = stripped.pods(materialized.as_ref());
    let mut budget = Budget::new();
    let variables = by.variables(original);
    let labels = original.labels();
    let mut matches = Matches::new(by.profiles, by.namespace, &labels, variables, &mut budget);
    let mandatory = select::mandatory(&mut matches)?;
    if mandatory.is_empty() {
        return Ok(());
    }
    // The other profiles of a finished pod are not verified.
    let others = Reason::NothingLeft;
    let mut selection = select::insist(original, by.namespace, by.profiles, mandatory, &others, trace)?;
    let resolved = parameters::resolve(original, by.namespace, &mut selection, &mut budget, trace)?;
    let ordered = order(&selection, trace)?;
    let inputs = merge::MergeInputs { variables, parameters: &resolved, previous: &stripped.previous };
    let merged =
        merge::merge(Merged::new(draft, original), &ordered, &inputs, &mut selection, &mut budget, trace)?;
    let protected = selection.protected(&ordered);
    check_complete(&merged, &protected, &stripped.previous)?;
    protect::check(&merged, &protected)?;
    Ok(())
}

/// Returns the profiles, with earlier revisions of those that were changed between the pod's injection and its verification;
/// `None` if there are none.
fn at_injected_revisions(pod: &Json<'_>, profiles: &ProfileSet) -> Option<ProfileSet> {
    shape::check(pod).ok()?;
    let status = status(SubmittedPod(pod)).ok().flatten()?;
    let mut set = None;
    for injected in status.profiles.iter().filter(|injected| injected.scope == Scope::Cluster) {
        if let Some(earlier) = profiles.earlier(&injected.name, &injected.revision) {
            let set = set.get_or_insert_with(|| profiles.clone());
            set.insert(None, &injected.name, ProfileEntry::Ready(earlier));
        }
    }
    set
}

/// Checks that the submitted pod has all elements of the protected profiles, and the status that protects them.
fn check_complete(merged: &Merged<'_>, protected: &[&Profile], previous: &Previous) -> Result<(), Reason> {
    for injected in &merged.profiles {
        if !protected.iter().any(|profile| profile.name.as_str() == injected.name) {
            continue;
        }
        let incomplete = |what: String| Reason::MandatoryIncomplete { profile: injected.name.clone(), what };
        for (place, key) in elements_of(injected) {
            if !is_unchanged(&merged.draft, &place, &key) {
                return Err(incomplete(format!("{place}[{key}] is missing or was changed")));
            }
        }
        if let Some(place) = Place::RESOLUTION.iter().find(|place| !is_in_order(&merged.draft, place)) {
            return Err(incomplete(format!("the order of {place} was changed")));
        }
        let injected_label =
            merged.draft.submitted().value_in(Map::Labels, keys::INJECTED).and_then(Json::as_str);
        if injected_label != Some("true") {
            return Err(incomplete(format!("the label {}=true is missing", keys::INJECTED)));
        }
        if !previous.has(injected) {
            return Err(incomplete(format!(
                "the annotation {} does not name the profile at its revision",
                keys::STATUS
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
