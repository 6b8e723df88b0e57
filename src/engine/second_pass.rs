//! A pod that comes again: what an earlier injection added is taken away before anything is decided.
//!
//! A pod can come again by reinvocation, or because someone exported it. The annotation
//! `outrigger.dev/status` says what was added; it is believed only as far as the profiles that it names
//! add just that, so a forged one takes nothing of others' away. What was taken away is kept: an element
//! that still holds all that its profile says goes back as it was, byte for byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::holds::{holds, is_exactly};
use super::merge::AUTO;
use super::pod::{Pod, Seen, Slot};
use super::{Purpose, Reason, Trace};
use crate::api::{InjectedProfile, InjectionStatus, Replaced, keys};
use crate::fields::lists::merge_key;
use crate::fields::{ContainerField, ContainerKind, Map, Place, SpecList};
use crate::json::{Json, lent, owned, same, text};
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
    /// The profile is Mandatory, and whoever wrote the pod may have written this, too: nothing may have been
    /// added but by the API server.
    IfItIsExactly,
    /// The pod is finished, and its author had no hand in it since the profile was put in: other webhooks may have
    /// added to it, and may have rewritten its image.
    IfItHoldsButForTheImage,
}

impl Trust {
    fn takes(self, rendered: &Json<'_>, live: &Json<'_>) -> bool {
        match self {
            Self::Never => false,
            Self::IfItHolds => holds(rendered, live),
            Self::IfItIsExactly => is_exactly(rendered, live),
            Self::IfItHoldsButForTheImage => holds_but_for_the_image(rendered, live),
        }
    }
}

fn holds_but_for_the_image(rendered: &Json<'_>, live: &Json<'_>) -> bool {
    let mut rendered = lent(rendered);
    if let (Json::Object(fields), Some(live)) = (&mut rendered, text(live, "image"))
        && let Some(image) = fields.get_mut("image")
    {
        *image = live.into();
    }
    holds(&rendered, live)
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

/// Whether the profile adds an element of this key there; `name` is that of the volume that a mount shows.
fn renders(profile: &Profile, place: &Place, key: &str, name: Option<&str>) -> bool {
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
                ContainerField::VolumeMounts => {
                    item.field_could_be("mountPath", key)
                        && name.is_some_and(|name| item.field_could_be("name", name))
                }
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
                if live.is_none_or(|live| !renders(profile, &place, key, live.text("name"))) {
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
    pub(super) fn trust(&self, injected: &InjectedProfile, mandatory: bool) -> Trust {
        match (self.is_same(injected), mandatory, self.purpose) {
            (false, ..) => Trust::Never,
            (true, _, Purpose::Verify) => Trust::IfItHoldsButForTheImage,
            (true, false, Purpose::Inject) => Trust::IfItHolds,
            (true, true, Purpose::Inject) => Trust::IfItIsExactly,
        }
    }

    /// Whether the pod had the profile before, at the same revision and with the same parameters.
    fn is_same(&self, injected: &InjectedProfile) -> bool {
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
        match index.and_then(|index| Some((index, pod.came_at(place, index)?))) {
            Some((index, live)) if trust.takes(&rendered, live) => Slot::Kept(index),
            _ => Slot::Added(rendered),
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
        if was_taken && live.is_some_and(|live| trust.takes(&rendered, live)) {
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

fn is_kept(merged: &Pod<'_>, place: &Place, index: usize) -> bool {
    let slots = merged.changed_lists().get(place);
    slots.is_none_or(|slots| slots.iter().any(|slot| matches!(slot, Slot::Kept(kept) if *kept == index)))
}
