//! Verification of Mandatory profiles after the injection: in finished pods, and for changes of live pods.
//!
//! The original pod may contain anything, even a status annotation; [`super::inject`] corrects that. Between the injection and
//! the stored pod, only other webhooks of the cluster change the pod. After that, the status annotation is protected, so it
//! identifies the profiles' elements.

mod live_pod;

pub use live_pod::{verify_binding, verify_change, verify_entry};

use super::merge::Merged;
use super::pod::{self, Pod};
use super::reason::Level;
use super::reinvocation::{Previous, is_in_order, is_unchanged, status};
use super::{DecidedBy, Ending, Namespace, Reason, Settings, Trace, verify_finished};
use crate::api::{InjectedProfile, Scope, keys};
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
    let by = DecidedBy { namespace, profiles, settings };
    match verify_finished(pod, by, &mut Trace::brief()) {
        Err(Ending { reason, .. }) if reason.level() == Level::Denial => Err(reason),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the profiles, with earlier revisions of those that were changed between the pod's injection and its verification;
/// `None` if there are none.
fn at_injected_revisions(pod: &Json<'_>, profiles: &ProfileSet) -> Option<ProfileSet> {
    pod::check(pod).ok()?;
    let status = status(&Pod::new(pod)).ok().flatten()?;
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
pub(super) fn whole(merged: &Merged<'_>, protected: &[&Profile], previous: &Previous) -> Result<(), Reason> {
    for injected in &merged.profiles {
        if !protected.iter().any(|profile| profile.name.as_str() == injected.name) {
            continue;
        }
        let incomplete = |what: String| Reason::MandatoryIncomplete { profile: injected.name.clone(), what };
        for (place, key) in added(injected) {
            if !is_unchanged(&merged.pod, &place, &key) {
                return Err(incomplete(format!("{place}[{key}] is missing or was changed")));
            }
        }
        if let Some(place) = Place::RESOLUTION.iter().find(|place| !is_in_order(&merged.pod, place)) {
            return Err(incomplete(format!("the order of {place} was changed")));
        }
        let injected_label = merged.pod.came_in(Map::Labels, keys::INJECTED).and_then(Json::as_str);
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

/// Returns the elements, map keys and scalars that a profile added to a pod, changed in it or shares with it.
fn added(injected: &InjectedProfile) -> Vec<(Place, String)> {
    let lists = injected
        .added
        .iter()
        .chain(&injected.shared)
        .filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)));
    let elements = lists.flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key.clone())));
    let scalars = injected.replaced.keys().filter_map(|path| path.strip_prefix("spec."));
    let all = elements.chain(scalars.map(|key| (Place::Map(Map::Spec), key.to_owned())));
    // Excludes a list that others may extend, and that does not affect the profile's function.
    all.filter(|(place, key)| *place != Place::ANNOTATIONS || key != keys::SAFE_TO_EVICT_VOLUMES).collect()
}

#[cfg(test)]
mod tests;
