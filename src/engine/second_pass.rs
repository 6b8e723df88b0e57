//! A pod that comes again: what an earlier injection added is taken away before anything is decided.
//!
//! A pod can come again by reinvocation, or because someone exported it. The annotation
//! `outrigger.dev/status` says what was added; it is believed only as far as the profiles that it names
//! add just that, so a forged one takes nothing of others' away. What was taken away is kept: an element
//! that still holds all that its profile says goes back as it was, byte for byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::holds::holds;
use super::pod::{Pod, Slot};
use super::{Reason, Step, Trace};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, Map, Place, SpecList};
use crate::profiles::{Entry, Profile, ProfileSet};

/// What an earlier injection left in the pod.
#[derive(Debug, Default)]
pub(super) struct Previous {
    profiles: Vec<InjectedProfile>,
    /// What was taken away; of a list's element the index at which it came.
    elements: BTreeMap<(Place, String), Option<usize>>,
}

/// Takes away what an earlier injection added.
pub(super) fn take_away(
    pod: &mut Pod<'_>,
    namespace: &str,
    profiles: &ProfileSet,
    trace: &mut Trace,
) -> Previous {
    let mut previous = Previous::default();
    let Some(text) = pod.annotation(keys::STATUS) else { return previous };
    let status = serde_json::from_str::<InjectionStatus>(text);
    pod.unset(Map::Annotations, keys::STATUS);
    pod.unset(Map::Labels, keys::INJECTED);
    let Ok(status) = status else {
        trace.add(Step::Read, Reason::StatusMalformed);
        return previous;
    };
    for injected in &status.profiles {
        let Some(Entry::Ready(profile)) = profiles.find_in(injected.scope, namespace, &injected.name) else {
            continue;
        };
        for (place, added) in &injected.added {
            let Ok(place) = place.parse::<Place>() else { continue };
            for key in added.iter().filter(|key| renders(profile, &place, key)) {
                let came = match place {
                    Place::Map(map) => pod.came_in(map, key).map(|_| {
                        pod.unset(map, key);
                        None
                    }),
                    _ => pod.take(&place, key).map(Some),
                };
                if let Some(came) = came {
                    previous.elements.insert((place.clone(), key.clone()), came);
                }
            }
        }
    }
    trace.add(Step::Read, Reason::InjectedBefore { profiles: super::names(&status.profiles) });
    previous.profiles = status.profiles;
    previous
}

/// Whether the profile adds an element of this key there.
fn renders(profile: &Profile, place: &Place, key: &str) -> bool {
    let template = &profile.template;
    match place {
        Place::Map(Map::Labels) => template.labels.contains_key(key),
        Place::Map(Map::Annotations) => template.annotations.contains_key(key),
        Place::Spec(SpecList::InitContainers) => {
            template.init_containers.iter().any(|element| element.name == key)
        }
        Place::Spec(SpecList::Containers) => template.containers.iter().any(|element| element.name == key),
        Place::Spec(SpecList::Volumes) => template.volumes.iter().any(|element| element.name == key),
        Place::Map(_) | Place::Spec(_) | Place::Dns(_) => false,
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
    pub(super) fn slot<'a>(
        &self,
        pod: &Pod<'a>,
        place: &Place,
        key: &str,
        rendered: Cow<'a, Value>,
    ) -> Slot<'a> {
        let index = self.elements.get(&(place.clone(), key.to_owned())).copied().flatten();
        match index.and_then(|index| Some((index, pod.came_at(place, index)?))) {
            Some((index, live)) if holds(&rendered, live) => Slot::Kept(index),
            _ => Slot::Added(rendered),
        }
    }

    /// Whether the pod as it came already is what the merge made of it: the same profiles at the same
    /// revisions, the same elements in the same start order, each still holding what its profile says.
    pub(super) fn holds(&self, merged: &Pod<'_>, profiles: &[InjectedProfile]) -> bool {
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
            && self.elements.iter().all(|((place, key), came)| {
                added.contains(&(place.clone(), key)) && is_as_it_came(merged, place, key, *came)
            })
            && self.starts_in_the_same_order(merged)
    }

    fn starts_in_the_same_order(&self, merged: &Pod<'_>) -> bool {
        let slots = merged.changed_lists().get(&Place::INIT_CONTAINERS).into_iter().flatten();
        let ours = slots.filter_map(|slot| match slot {
            Slot::Kept(index) if self.took(*index) => Some(*index),
            _ => None,
        });
        ours.is_sorted()
    }

    fn took(&self, init_container: usize) -> bool {
        self.elements
            .iter()
            .any(|((place, _), index)| *place == Place::INIT_CONTAINERS && *index == Some(init_container))
    }
}

fn is_as_it_came(merged: &Pod<'_>, place: &Place, key: &str, index: Option<usize>) -> bool {
    match (place, index) {
        (Place::Map(map), _) => {
            merged.get(place, key).zip(merged.came_in(*map, key)).is_some_and(|(now, came)| now.is_like(came))
        }
        (_, Some(index)) => merged
            .changed_lists()
            .get(place)
            .is_none_or(|slots| slots.iter().any(|slot| matches!(slot, Slot::Kept(kept) if *kept == index))),
        (_, None) => false,
    }
}
