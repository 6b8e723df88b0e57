//! A pod that comes again: what an earlier injection added is taken away before anything is decided.
//!
//! A pod can come again by reinvocation, or because someone exported it. The annotation
//! `outrigger.dev/status` says what was added; it is believed only as far as the profiles that it names
//! add just that, so a forged one takes nothing of others' away. What was taken away is kept: an element
//! that still holds all that its profile says goes back as it was, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::holds::holds;
use super::place::{ContainerField, ContainerKind, Place};
use super::pod::Pod;
use super::{Reason, Step, Trace};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::engine::lists::key_of;
use crate::profiles::{Entry, Profile, ProfileSet};

/// What an earlier injection left in the pod.
#[derive(Debug, Default)]
pub(super) struct Previous {
    profiles: Vec<InjectedProfile>,
    elements: BTreeMap<(Place, String), Value>,
}

/// Takes away what an earlier injection added.
pub(super) fn take_away(
    original: &Pod,
    namespace: &str,
    profiles: &ProfileSet,
    trace: &mut Trace,
) -> (Pod, Previous) {
    let mut pod = original.clone();
    let mut previous = Previous::default();
    let Some(text) = original.annotation(keys::STATUS) else { return (pod, previous) };
    pod.remove(&Place::Annotations, keys::STATUS);
    pod.remove(&Place::Labels, keys::INJECTED);
    let Ok(status) = serde_json::from_str::<InjectionStatus>(text) else {
        trace.add(Step::Read, Reason::StatusMalformed);
        return (pod, previous);
    };
    for injected in &status.profiles {
        let Some(Entry::Ready(profile)) = profiles.find_in(injected.scope, namespace, &injected.name) else {
            continue;
        };
        for (place, added) in &injected.added {
            let Ok(place) = place.parse::<Place>() else { continue };
            for key in added.iter().filter(|key| renders(profile, &place, key)) {
                if let Some(element) = pod.remove(&place, key) {
                    previous.elements.insert((place.clone(), key.clone()), element);
                }
            }
        }
    }
    trace.add(Step::Read, Reason::InjectedBefore { profiles: super::names(&status.profiles) });
    previous.profiles = status.profiles;
    (pod, previous)
}

/// Whether the profile adds an element of this key there.
fn renders(profile: &Profile, place: &Place, key: &str) -> bool {
    let template = &profile.template;
    match place {
        Place::Labels => template.labels.contains_key(key),
        Place::Annotations => template.annotations.contains_key(key),
        Place::InitContainers => template.init_containers.iter().any(|element| element.name == key),
        Place::Containers => template.containers.iter().any(|element| element.name == key),
        Place::Volumes => template.volumes.iter().any(|element| element.name == key),
        Place::Container { kind, name, field } => profile
            .app_containers
            .iter()
            .filter(|app| app.selects(name) && (*kind == ContainerKind::App || app.init_containers))
            .flat_map(|app| match field {
                ContainerField::Env => &app.env,
                ContainerField::EnvFrom => &app.env_from,
                ContainerField::VolumeMounts => &app.volume_mounts,
            })
            .any(|item| key_of(place.field(), item) == key),
    }
}

impl Previous {
    pub(super) fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.elements.is_empty()
    }

    /// What to put in for an element that a profile renders: the live one where it still holds it.
    pub(super) fn live_or(&self, place: &Place, key: &str, rendered: &Value) -> Value {
        self.elements
            .get(&(place.clone(), key.to_owned()))
            .filter(|live| holds(rendered, live))
            .unwrap_or(rendered)
            .clone()
    }

    /// Whether the pod as it came already is what the merge made of it: the same profiles at the same
    /// revisions, the same elements in the same start order, each still holding what its profile says.
    pub(super) fn holds(&self, original: &Pod, merged: &Pod, profiles: &[InjectedProfile]) -> bool {
        if self.is_empty() || self.profiles != profiles {
            return false;
        }
        let added: BTreeSet<(Place, &str)> = profiles
            .iter()
            .flat_map(|profile| &profile.added)
            .filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)))
            .flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key.as_str())))
            .collect();
        added.len() == self.elements.len()
            && self.elements.iter().all(|((place, key), live)| {
                added.contains(&(place.clone(), key)) && merged.get(place, key) == Some(live)
            })
            && self.start_order(original) == self.start_order(merged)
    }

    fn start_order(&self, pod: &Pod) -> Vec<usize> {
        let ours: Vec<&str> = self
            .elements
            .keys()
            .filter(|(place, _)| *place == Place::InitContainers)
            .map(|(_, key)| key.as_str())
            .collect();
        pod.container_names(ContainerKind::Init)
            .filter_map(|name| ours.iter().position(|own| *own == name))
            .collect()
    }
}
