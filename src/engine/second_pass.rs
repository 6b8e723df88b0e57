//! A pod that comes again: what an earlier injection added is taken away before anything is decided.
//!
//! A pod can come again by reinvocation, or because someone exported it. The annotation
//! `outrigger.dev/status` says what was added; it is believed only as far as the profiles that it names
//! add just that, so a forged one takes nothing of others' away. What was taken away is kept: an element
//! that still holds all that its profile says goes back as it was, byte for byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exact::Additions;
use super::holds::holds;
use super::merge::AUTO;
use super::pod::{Pod, Seen, Slot};
use super::{Purpose, Reason, Trace};
use crate::api::{InjectedProfile, InjectionStatus, Replaced, keys};
use crate::fields::lists::merge_key;
use crate::fields::{ContainerField, ContainerKind, Map, Place, SpecList};
use crate::json::{Json, owned, same};
use crate::profiles::{Element, Entry, Profile, ProfileSet, Rendered};

/// What an earlier injection left in the pod.
#[derive(Debug, Default)]
pub(super) struct Previous {
    profiles: Vec<InjectedProfile>,
    /// What was taken away; of a list's element the index at which it came.
    elements: BTreeMap<(Place, String), Option<usize>>,
    /// Containers that were taken up, and the index at which they came.
    overlays: BTreeMap<(Place, String), usize>,
    purpose: Purpose,
}

/// How far an element that came with the pod is taken for what a profile put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The profile, its revision or its parameters are others now: it is replaced.
    Never,
    /// It has everything that the profile says; what others added to it stays.
    IfItHolds,
    /// The profile is Mandatory, and the pod's author may have written the element: it must equal the rendered one, except
    /// for additions of the API server.
    IfItIsExactly,
}

/// The status that a pod came with.
///
/// # Errors
/// It cannot be read.
pub(super) fn status(pod: &Pod<'_>) -> Result<Option<InjectionStatus>, Reason> {
    let Some(text) = pod.annotation(keys::STATUS) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|_| Reason::StatusMalformed)
}

/// Takes away what an earlier injection added.
pub(super) fn take_away(
    pod: &mut Pod<'_>,
    status: Result<Option<InjectionStatus>, Reason>,
    namespace: &str,
    profiles: &ProfileSet,
    purpose: Purpose,
    trace: &mut Trace,
) -> Previous {
    let mut previous = Previous { purpose, ..Previous::default() };
    let status = match status {
        Ok(None) => return previous,
        Ok(Some(status)) => Some(status),
        Err(malformed) => {
            trace.add(malformed);
            None
        }
    };
    pod.unset(Map::Annotations, keys::STATUS);
    pod.unset(Map::Labels, keys::INJECTED);
    let Some(status) = status else { return previous };
    for injected in status.profiles.iter().rev() {
        if let Some(Entry::Ready(profile)) = profiles.find_in(injected.scope, namespace, &injected.name) {
            previous.take_added(pod, profile, injected);
            previous.take_overlays(pod, profile, injected);
            for (path, replaced) in &injected.replaced {
                put_back(pod, profile, path, replaced);
            }
        }
    }
    trace.add(Reason::InjectedBefore { profiles: super::names(&status.profiles) });
    previous.profiles = status.profiles;
    previous
}

/// Gives a scalar its old value back, unless somebody changed it since.
fn put_back(pod: &mut Pod<'_>, profile: &Profile, path: &str, replaced: &Replaced) {
    let Some(key) = path.strip_prefix("spec.") else { return };
    let sets = profile.template.sets(Map::Spec, key);
    let is_ours = match pod.get(&Place::Map(Map::Spec), key) {
        Some(live) => same(live.json(), &Json::from(&replaced.after)),
        None => false,
    };
    match (sets && is_ours, &replaced.before) {
        (false, _) => {}
        (true, Value::Null) => pod.unset(Map::Spec, key),
        (true, before) => {
            pod.set(Map::Spec, Cow::Owned(key.to_owned()), Rendered::Made(owned(before.clone())));
        }
    }
}

/// Whether the profile adds an element of this key there; `mount` has the volume and the path of a mount as they are
/// written in the pod.
fn renders(profile: &Profile, place: &Place, key: &str, mount: Option<(&str, &str)>) -> bool {
    let template = &profile.template;
    match place {
        Place::Map(Map::Annotations) if key == keys::DEFAULT_CONTAINER && profile.classic => true,
        Place::Map(map) => template.sets(*map, key),
        Place::Spec(SpecList::Containers) if profile.classic => {
            let sidecars = template.list(&Place::INIT_CONTAINERS).iter().filter(|c| c.is_native_sidecar());
            sidecars.chain(template.list(place)).any(|element| element.name == key)
        }
        Place::Spec(_) | Place::Dns(_) => {
            template.list(place).iter().any(|element| is_element(element, place, key))
        }
        Place::Container { kind, name: container, field } => profile
            .app_containers
            .iter()
            .filter(|app| app.selects(container) && (*kind == ContainerKind::App || app.init_containers))
            .flat_map(|app| app.lists.iter().filter(|(list, _)| list == field))
            .flat_map(|(_, items)| items)
            .any(|item| match field {
                ContainerField::Env => item.field_could_be("name", key),
                ContainerField::EnvFrom => could_be_whole(item, key),
                ContainerField::VolumeMounts => mount.is_some_and(|(volume, path)| {
                    item.field_could_be("mountPath", path) && item.field_could_be("name", volume)
                }),
            }),
    }
}

fn is_element(element: &Element, place: &Place, key: &str) -> bool {
    if !element.name.is_empty() {
        return element.name == key;
    }
    match merge_key(place.field()) {
        Some([single]) => element.value.field_could_be(single, key),
        _ => could_be_whole(&element.value, key),
    }
}

/// Whether an element whose key is all of it can be rendered as this text.
fn could_be_whole(value: &crate::profiles::TemplateValue, key: &str) -> bool {
    value.could_be(&key.into()) || serde_json::from_str(key).is_ok_and(|key: Json<'_>| value.could_be(&key))
}

impl Previous {
    pub(super) fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.elements.is_empty()
    }

    fn take_added(&mut self, pod: &mut Pod<'_>, profile: &Profile, injected: &InjectedProfile) {
        for (place, added) in &injected.added {
            let Ok(place) = place.parse::<Place>() else { continue };
            for key in added {
                let live = pod.get(&place, key);
                let mount = live.and_then(|live| Some((live.text("name")?, live.text("mountPath")?)));
                if live.is_none() || !renders(profile, &place, key, mount) {
                    continue;
                }
                let came = match place {
                    Place::Map(map) => {
                        pod.unset(map, key);
                        None
                    }
                    _ => pod.take(&place, key),
                };
                self.elements.insert((place.clone(), key.clone()), came);
            }
        }
    }

    /// Gives containers that were taken up back to their author, as he wrote them.
    fn take_overlays(&mut self, pod: &mut Pod<'_>, profile: &Profile, injected: &InjectedProfile) {
        for (place, authored) in &injected.overlays {
            let Ok(place) = place.parse::<Place>() else { continue };
            for author in authored {
                let name = author.get("name").and_then(Value::as_str).unwrap_or_default();
                let is_auto = author.get("image").and_then(Value::as_str) == Some(AUTO);
                if !is_auto || !renders(profile, &place, name, None) {
                    continue;
                }
                let Some(index) = pod.index_of(&place, name) else { continue };
                pod.replace(&place, index, Slot::Changed(index, Rendered::Made(owned(author.clone()))));
                self.overlays.insert((place.clone(), name.to_owned()), index);
            }
        }
    }

    /// How far an element is taken for a profile's own that came with the pod.
    pub(super) fn trust(&self, injected: &InjectedProfile, protected: bool) -> Trust {
        match (protected, self.has(injected)) {
            (true, _) => Trust::IfItIsExactly,
            (false, true) => Trust::IfItHolds,
            (false, false) => Trust::Never,
        }
    }

    /// Whether the pod had the profile before, at the same revision and with the same parameters.
    pub(super) fn has(&self, injected: &InjectedProfile) -> bool {
        self.profiles.iter().any(|before| {
            before.name == injected.name
                && before.scope == injected.scope
                && before.revision == injected.revision
                && before.parameters == injected.parameters
        })
    }

    /// What to put in for an element that a profile renders: the live one, where it comes from the same
    /// profile and still holds all that is rendered.
    pub(super) fn slot<'a>(
        &self,
        pod: &Pod<'a>,
        place: &Place,
        key: &str,
        rendered: Rendered<'a>,
        trust: Trust,
    ) -> Slot<'a> {
        if self.elements.is_empty() {
            return Slot::Added(rendered);
        }
        let index = self.elements.get(&(place.clone(), key.to_owned())).copied().flatten();
        let Some((index, live)) = index.and_then(|index| Some((index, pod.came_at(place, index)?))) else {
            return Slot::Added(rendered);
        };
        let additions = match self.purpose {
            Purpose::InjectSubmitted => Additions::of(pod).without_plugins(),
            Purpose::Inject | Purpose::Verify => Additions::of(pod),
        };
        match trust {
            Trust::IfItHolds if holds(&rendered, live) => Slot::Kept(index),
            Trust::IfItIsExactly if additions.is_exactly(place, &rendered, live) => Slot::Kept(index),
            Trust::IfItIsExactly => Slot::Added(additions.keep(place, rendered, live)),
            Trust::IfItHolds | Trust::Never => Slot::Added(rendered),
        }
    }

    /// The same for a container that was taken up.
    pub(super) fn overlay_slot<'a>(
        &self,
        pod: &Pod<'a>,
        place: &Place,
        key: &str,
        index: usize,
        rendered: Json<'a>,
        trust: Trust,
    ) -> Slot<'a> {
        let was_taken = self.overlays.get(&(place.clone(), key.to_owned())) == Some(&index);
        let live = pod.came_at(place, index);
        if was_taken && trust == Trust::IfItHolds && live.is_some_and(|live| holds(&rendered, live)) {
            return Slot::Kept(index);
        }
        Slot::Changed(index, Rendered::Made(rendered))
    }

    /// Whether the pod as it came already is what the merge made of it: the same profiles at the same
    /// revisions, the same elements in the same start order, each still holding what its profile says.
    ///
    /// With a Mandatory profile the order counts of all init containers: what the pod's author put before its sidecars
    /// would run without them.
    pub(super) fn holds(&self, merged: &Pod<'_>, profiles: &[InjectedProfile], any_protected: bool) -> bool {
        if self.profiles.is_empty() || self.profiles != profiles {
            return false;
        }
        let keys = |map: &BTreeMap<String, Vec<String>>| -> Vec<(Place, String)> {
            let places = map.iter().filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)));
            places
                .flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key.clone())))
                .collect()
        };
        let added: BTreeSet<(Place, String)> =
            profiles.iter().flat_map(|profile| keys(&profile.added)).collect();
        added.len() == self.elements.len()
            && self.elements.iter().all(|((place, key), came)| {
                added.contains(&(place.clone(), key.clone())) && is_as_it_came(merged, place, key, *came)
            })
            && self.overlays.iter().all(|((place, _), index)| is_kept(merged, place, *index))
            && self.starts_in_the_same_order(merged, any_protected)
    }

    fn starts_in_the_same_order(&self, merged: &Pod<'_>, all: bool) -> bool {
        let slots = merged.changed_lists().get(&Place::INIT_CONTAINERS).into_iter().flatten();
        let ours = slots.filter_map(|slot| match slot {
            Slot::Kept(index) if all || self.took(*index) => Some(*index),
            _ => None,
        });
        ours.is_sorted() && Place::RESOLUTION.iter().all(|place| is_in_order(merged, place))
    }

    fn took(&self, init_container: usize) -> bool {
        self.elements
            .iter()
            .any(|((place, _), index)| *place == Place::INIT_CONTAINERS && *index == Some(init_container))
    }
}

fn is_as_it_came(merged: &Pod<'_>, place: &Place, key: &str, index: Option<usize>) -> bool {
    match (place, index) {
        (Place::Map(map), _) => merged
            .get(place, key)
            .zip(merged.came_in(*map, key))
            .is_some_and(|(now, came)| same(now.json(), came)),
        (_, Some(index)) => is_kept(merged, place, index),
        (_, None) => false,
    }
}

/// Whether the element of a key is the one that the pod came with.
pub(super) fn is_unchanged(merged: &Pod<'_>, place: &Place, key: &str) -> bool {
    match merged.get(place, key) {
        Some(Seen::Came(_)) => true,
        Some(put) => match place {
            Place::Map(map) => merged.came_in(*map, key).is_some_and(|came| same(put.json(), came)),
            _ => false,
        },
        None => false,
    }
}

/// Whether no element of a list that came with the pod stands elsewhere now.
pub(super) fn is_in_order(merged: &Pod<'_>, place: &Place) -> bool {
    let slots = merged.changed_lists().get(place).into_iter().flatten();
    let kept = slots.filter_map(|slot| match slot {
        Slot::Kept(index) => Some(*index),
        _ => None,
    });
    kept.is_sorted()
}

fn is_kept(merged: &Pod<'_>, place: &Place, index: usize) -> bool {
    let slots = merged.changed_lists().get(place);
    slots.is_none_or(|slots| slots.iter().any(|slot| matches!(slot, Slot::Kept(kept) if *kept == index)))
}
