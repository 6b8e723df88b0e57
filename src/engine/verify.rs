//! Mandatory profiles after the injection: whether a finished pod has them, and what nobody may do to a live one.
//!
//! A pod's author may write anything before the injection, a status annotation included; [`super::inject`] puts that
//! right. Between the injection and the stored pod come only the cluster's other webhooks. Afterwards the status
//! annotation is protected, so it says what belongs to whom.

mod live;

pub use live::{verify_change, verify_entry};

use super::merge::Merged;
use super::pod::{self, Pod, Seen};
use super::reason::{Level, Owner};
use super::second_pass::{is_unchanged, status};
use super::{Ending, Namespace, Purpose, Reason, Settings, Trace, decide};
use crate::api::{InjectedProfile, Scope, keys};
use crate::fields::{ContainerField, ContainerKind, Map, Place};
use crate::json::Json;
use crate::profiles::{Entry, Profile, ProfileSet};

/// Checks a pod that is about to be stored: every Mandatory profile that is for it must be in it, whole.
///
/// What other webhooks added to its elements, and the images that they rewrote, do not matter.
///
/// # Errors
/// What is missing, or why nothing can be said of it.
pub fn verify(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
) -> Result<(), Reason> {
    let remembered = at_injected_revisions(pod, profiles);
    let profiles = remembered.as_ref().unwrap_or(profiles);
    match decide(pod, namespace, profiles, settings, Purpose::Verify, &mut Trace::brief()) {
        Err(Ending { reason, .. }) if reason.level() == Level::Denial => Err(reason),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The profiles, with those at an earlier revision that were changed between the pod's injection and this look; `None`
/// where there are none.
fn at_injected_revisions(pod: &Json<'_>, profiles: &ProfileSet) -> Option<ProfileSet> {
    pod::check(pod).ok()?;
    let status = status(&Pod::new(pod)).ok().flatten()?;
    let mut set = None;
    for injected in status.profiles.iter().filter(|injected| injected.scope == Scope::Cluster) {
        if let Some(earlier) = profiles.earlier(&injected.name, &injected.revision) {
            let set = set.get_or_insert_with(|| profiles.clone());
            set.insert(None, &injected.name, Entry::Ready(earlier));
        }
    }
    set
}

/// Whether all that the protected profiles say came with the pod.
pub(super) fn whole(merged: &Merged<'_>, protected: &[&Profile]) -> Result<(), Reason> {
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
        let injected_label = merged.pod.came_in(Map::Labels, keys::INJECTED).and_then(Json::as_str);
        if injected_label != Some("true") {
            return Err(incomplete(format!("the label {}=true is missing", keys::INJECTED)));
        }
    }
    Ok(())
}

/// What a profile put into a pod: elements of lists, keys of maps, and scalars that it changed.
fn added(injected: &InjectedProfile) -> Vec<(Place, String)> {
    let lists = injected.added.iter().filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)));
    let elements = lists.flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key.clone())));
    let scalars = injected.replaced.keys().filter_map(|path| path.strip_prefix("spec."));
    elements.chain(scalars.map(|key| (Place::Map(Map::Spec), key.to_owned()))).collect()
}

/// Checks that only protected profiles mount the volumes of a protected one: whoever writes into them could change what
/// its containers read.
pub(super) fn volumes(merged: &Merged<'_>, protected: &[&Profile]) -> Result<(), Reason> {
    let is_ours = |place: &Place, key: &str| match merged.owner(place, key) {
        Owner::Profile(owner) => protected.iter().any(|profile| profile.name.as_str() == owner),
        Owner::Pod => false,
    };
    let refused = |mount: Seen<'_>, container: &str| {
        let volume = mount.name()?;
        let has =
            |profile: &&&Profile| profile.template.list(&Place::VOLUMES).iter().any(|v| v.name == volume);
        let profile = protected.iter().find(has)?;
        let (profile, volume) = (profile.name.to_string(), volume.to_owned());
        Some(Reason::VolumeProtected { profile, volume, container: container.to_owned() })
    };
    if protected.is_empty() {
        return Ok(());
    }
    for kind in ContainerKind::ALL {
        let list = Place::Spec(kind.list());
        for container in merged.pod.elements(&list) {
            let name = container.name().unwrap_or_default();
            if is_ours(&list, name) {
                continue;
            }
            let field = ContainerField::VolumeMounts;
            let place = Place::Container { kind, name: name.to_owned(), field };
            let of_list = merged
                .pod
                .elements(&place)
                .filter(|mount| mount.text("mountPath").is_none_or(|path| !is_ours(&place, path)));
            let of_profile = matches!(container, Seen::Put(_)).then(|| container.items("volumeMounts"));
            let mut mounts =
                of_list.chain(of_profile.into_iter().flatten()).chain(container.items("volumeDevices"));
            if let Some(reason) = mounts.find_map(|mount| refused(mount, name)) {
                return Err(reason);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
