//! Already injected pods: the elements of the earlier injection are removed before any decision.
//!
//! An already injected pod is the result of a reinvocation or an exported manifest. The annotation `outrigger.dev/status`
//! lists what was added. An entry is accepted only if the named profile adds such an element, so a forged annotation cannot
//! remove other elements. The removed elements are kept: an element that still contains all that its profile renders is added
//! back unchanged, byte for byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Draft, Slot};
use super::exact::Additions;
use super::inputs::Purpose;
use super::merged::{Merged, names};
use super::pod::{IMAGE_AUTO, PodElement, PodView as _, SubmittedPod};
use super::reason::{Owner, Reason};
use super::superset::is_contained;
use super::trace::Trace;
use crate::api::{InjectedProfile, InjectionStatus, Replaced, Scope, keys};
use crate::fields::lists::merge_key;
use crate::fields::{ContainerField, ContainerKind, Map, Place, SpecList};
use crate::json::{Json, owned, same, text};
use crate::profiles::{Element, Profile, ProfileEntry, ProfileSet, Rendered};

/// Elements of an earlier injection in the pod.
#[derive(Debug, Default)]
pub(super) struct Previous {
    profiles: Vec<InjectedProfile>,
    /// Removed elements; for an element of a list, its index in the submitted pod.
    elements: BTreeMap<(Place, String), Option<usize>>,
    /// Overlaid containers, with their index in the submitted pod.
    overlays: BTreeMap<(Place, String), usize>,
    purpose: Purpose,
}

/// Condition under which an element of the submitted pod counts as the profile's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Never, because the profile, its revision or its parameters have changed: the element is replaced.
    Never,
    /// If it contains everything that the profile renders; additions by others are kept.
    IfContained,
    /// If it equals the rendered element, except for additions of the API server: the profile is Mandatory, and the element
    /// may be part of the original pod.
    IfItIsExactly,
}

/// Returns the status annotation of the submitted pod.
///
/// # Errors
/// The annotation cannot be parsed.
pub(super) fn status(pod: SubmittedPod<'_>) -> Result<Option<InjectionStatus>, Reason> {
    let Some(text) = pod.annotation(keys::STATUS) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|_| Reason::StatusMalformed)
}

/// Removes the elements of an earlier injection.
pub(super) fn strip(
    draft: &mut Draft<'_>,
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
    draft.unset(Map::Annotations, keys::STATUS);
    draft.unset(Map::Labels, keys::INJECTED);
    let Some(status) = status else { return previous };
    for injected in status.profiles.iter().rev() {
        let mut left = unknown_elements(injected);
        if let Some(ProfileEntry::Ready(profile)) = profile_of(injected, namespace, profiles) {
            left.extend(previous.strip_added(draft, profile, injected));
            previous.strip_overlays(draft, profile, injected);
            for (path, replaced) in &injected.replaced {
                if !restore_value(draft, profile, path, replaced) {
                    left.push(path.clone());
                }
            }
        } else {
            left.extend(present_elements(draft, injected));
        }
        if !left.is_empty() {
            trace.add(Reason::Leftover { profile: injected.name.clone(), elements: left });
        }
    }
    trace.add(Reason::InjectedBefore { profiles: names(&status.profiles) });
    previous.profiles = status.profiles;
    previous
}

/// Returns the profile that an earlier injection names; it may have moved between the cluster and the namespace since.
fn profile_of<'p>(
    injected: &InjectedProfile,
    namespace: &str,
    profiles: &'p ProfileSet,
) -> Option<&'p ProfileEntry> {
    let other = match injected.scope {
        Scope::Cluster => Scope::Namespace,
        Scope::Namespace => Scope::Cluster,
    };
    let find = |scope| profiles.find_in(scope, namespace, &injected.name);
    find(injected.scope).or_else(|| find(other))
}

/// Returns the elements of an injection in lists, containers and fields that this version does not know: a newer version
/// injected them.
fn unknown_elements(injected: &InjectedProfile) -> Vec<String> {
    let is_unknown = |place: &&String| place.parse::<Place>().is_err();
    let name =
        |container: &Value| container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let added = injected.added.iter().map(|(place, keys)| (place, keys.clone()));
    let overlays = injected.overlays.iter().map(|(place, all)| (place, all.iter().map(name).collect()));
    let in_lists = added.chain(overlays).filter(|(place, _)| is_unknown(place));
    let in_lists = in_lists.flat_map(|(place, keys): (_, Vec<String>)| {
        keys.into_iter().map(move |key| format!("{place}[{key}]"))
    });
    let fields = injected.replaced.keys().filter(|path| replaced_key(path).is_none()).cloned();
    in_lists.chain(fields).collect()
}

/// Returns the elements of a profile that no longer exists or has errors: they cannot be told from the pod's own.
fn present_elements(draft: &Draft<'_>, injected: &InjectedProfile) -> Vec<String> {
    let places = injected.added.iter().filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)));
    let elements = places
        .flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key)))
        .filter(|(place, key)| draft.get(place, key).is_some())
        .map(|(place, key)| format!("{place}[{key}]"));
    let fields = injected.replaced.iter().filter(|(path, replaced)| is_injected_value(draft, path, replaced));
    let fields = fields.map(|(path, _)| path.clone());
    elements.chain(fields).collect()
}

/// Returns the map and the key of a value that a profile replaced.
pub(super) fn replaced_key(path: &str) -> Option<(Map, &str)> {
    [Map::Spec, Map::Annotations].into_iter().find_map(|map| {
        let key = path.strip_prefix(&*Place::Map(map).text())?.strip_prefix('.')?;
        Some((map, key))
    })
}

/// Restores the old value of a scalar, unless it was changed later. Returns `false` if the value of the injection stays,
/// because the profile no longer sets it.
fn restore_value(draft: &mut Draft<'_>, profile: &Profile, path: &str, replaced: &Replaced) -> bool {
    let Some((map, key)) = replaced_key(path) else { return true };
    if !is_injected_value(draft, path, replaced) {
        return true;
    }
    if !profile.template.sets(map, key) && key != keys::SAFE_TO_EVICT_VOLUMES {
        return false;
    }
    match &replaced.before {
        Value::Null => draft.unset(map, key),
        before => draft.set(map, Cow::Owned(key.to_owned()), Rendered::Made(owned(before.clone()))),
    }
    true
}

/// Returns whether a scalar still has the value of the injection.
fn is_injected_value(draft: &Draft<'_>, path: &str, replaced: &Replaced) -> bool {
    let live = replaced_key(path).and_then(|(map, key)| draft.get(&Place::Map(map), key));
    live.is_some_and(|live| same(live.json(), &Json::from(&replaced.after)))
}

/// Checks whether the profile adds an element with this key there; `mount` has the volume and the path of a mount as written
/// in the pod.
fn renders(profile: &Profile, place: &Place, key: &str, mount: Option<(&str, &str)>) -> bool {
    let template = &profile.template;
    match place {
        // The annotation of a classic profile, which may have become a native one.
        Place::Map(Map::Annotations) if key == keys::DEFAULT_CONTAINER => true,
        Place::Map(Map::Annotations) if key == keys::SAFE_TO_EVICT_VOLUMES => true,
        Place::Map(map) => template.sets(*map, key),
        // A profile may have moved a container from one list to the other.
        Place::Spec(SpecList::InitContainers | SpecList::Containers) => {
            containers_of(profile).any(|element| element.name == key)
        }
        Place::Spec(_) | Place::Dns(_) => {
            template.list(place).iter().any(|element| is_element(element, place, key))
        }
        Place::Container { kind, name: container, field } => profile
            .app_containers
            .iter()
            .filter(|app| app.selects(*kind, container).is_some())
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

fn containers_of(profile: &Profile) -> impl Iterator<Item = &Element> {
    [&Place::INIT_CONTAINERS, &Place::CONTAINERS].into_iter().flat_map(|place| profile.template.list(place))
}

/// Checks whether a container that the status attributes to an earlier revision of the profile was renamed: the profile still
/// has a container of that image under another name.
fn was_renamed(profile: &Profile, place: &Place, live: Option<PodElement<'_>>) -> bool {
    if !matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers)) {
        return false;
    }
    let Some(image) = live.and_then(|live| live.text("image")) else { return false };
    let has_image = |element: &Element| {
        element.value.literal_field("image").is_some_and(|own| repository(own) == repository(image))
            || element.value.field_could_be("image", image)
    };
    containers_of(profile).any(has_image)
}

/// Returns an image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
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

/// Checks whether an element that consists only of its key can be rendered as this text.
fn could_be_whole(value: &crate::profiles::TemplateValue, key: &str) -> bool {
    value.could_be(&key.into()) || serde_json::from_str(key).is_ok_and(|key: Json<'_>| value.could_be(&key))
}

impl Previous {
    pub(super) fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.elements.is_empty()
    }

    /// Removes the added elements. Returns those that the profile no longer adds, which stay.
    fn strip_added(
        &mut self,
        draft: &mut Draft<'_>,
        profile: &Profile,
        injected: &InjectedProfile,
    ) -> Vec<String> {
        let mut left = Vec::new();
        for (place, added) in &injected.added {
            let Ok(place) = place.parse::<Place>() else { continue };
            for key in added {
                let live = draft.get(&place, key);
                if live.is_none() {
                    continue;
                }
                let mount = live.and_then(|live| Some((live.text("name")?, live.text("mountPath")?)));
                if !renders(profile, &place, key, mount) && !was_renamed(profile, &place, live) {
                    left.push(format!("{place}[{key}]"));
                    continue;
                }
                let index = match place {
                    Place::Map(map) => {
                        draft.unset(map, key);
                        None
                    }
                    _ => draft.take(&place, key),
                };
                self.elements.insert((place.clone(), key.clone()), index);
            }
        }
        left
    }

    /// Restores overlaid containers to the form of the original pod.
    fn strip_overlays(&mut self, draft: &mut Draft<'_>, profile: &Profile, injected: &InjectedProfile) {
        for (place, originals) in &injected.overlays {
            let Ok(place) = place.parse::<Place>() else { continue };
            for original in originals {
                let name = original.get("name").and_then(Value::as_str).unwrap_or_default();
                let is_auto = original.get("image").and_then(Value::as_str) == Some(IMAGE_AUTO);
                if !is_auto || !renders(profile, &place, name, None) {
                    continue;
                }
                let Some(index) = draft.index_of(&place, name) else { continue };
                draft.replace(&place, index, Slot::Changed(index, Rendered::Made(owned(original.clone()))));
                self.overlays.insert((place.clone(), name.to_owned()), index);
            }
        }
    }

    /// Returns the condition under which an element of the submitted pod counts as the profile's.
    pub(super) fn trust(&self, injected: &InjectedProfile, protected: bool) -> Trust {
        match (protected, self.has(injected)) {
            (true, _) => Trust::IfItIsExactly,
            (false, true) => Trust::IfContained,
            (false, false) => Trust::Never,
        }
    }

    /// Checks whether the pod had the profile before, at the same revision and with the same parameters.
    pub(super) fn has(&self, injected: &InjectedProfile) -> bool {
        self.profiles.iter().any(|before| {
            before.name == injected.name
                && before.scope == injected.scope
                && before.revision == injected.revision
                && before.parameters == injected.parameters
        })
    }

    /// Returns the slot for a rendered element: the live element if it is from the same profile and still contains the
    /// rendered one.
    pub(super) fn slot<'a>(
        &self,
        pod: SubmittedPod<'a>,
        place: &Place,
        key: &str,
        rendered: Rendered<'a>,
        trust: Trust,
    ) -> Slot<'a> {
        if self.elements.is_empty() {
            return Slot::Added(rendered);
        }
        let index = self.elements.get(&(place.clone(), key.to_owned())).copied().flatten();
        let Some((index, live)) = index.and_then(|index| Some((index, pod.at(place, index)?))) else {
            return Slot::Added(rendered);
        };
        let additions = self.additions(pod);
        match trust {
            Trust::IfContained if is_contained(&rendered, live) => Slot::Kept(index),
            Trust::IfItIsExactly if additions.is_exactly(place, &rendered, live) => Slot::Kept(index),
            Trust::IfItIsExactly => Slot::Added(additions.keep(place, rendered, live)),
            Trust::IfContained | Trust::Never => Slot::Added(rendered),
        }
    }

    /// Checks whether a slot replaces an element of the same revision that was changed later: by another webhook before a
    /// reinvocation, or in an exported pod.
    pub(super) fn undoes_a_change(&self, place: &Place, key: &str, slot: &Slot<'_>, trust: Trust) -> bool {
        matches!(slot, Slot::Added(_))
            && trust != Trust::Never
            && matches!(self.elements.get(&(place.clone(), key.to_owned())), Some(Some(_)))
    }

    /// Warns about the pod's own init containers that preceded a profile's container and follow it now: another webhook put
    /// them there after the earlier injection.
    pub(super) fn moved_behind(&self, merged: &Merged<'_>, trace: &mut Trace) {
        let place = &Place::INIT_CONTAINERS;
        if self.elements.is_empty() {
            return;
        }
        let index_of = |name: &str| {
            merged
                .draft
                .submitted()
                .list(place)
                .iter()
                .position(|container| text(container, "name") == Some(name))
        };
        // Containers of profiles in the new order so far, with their index in the submitted pod.
        let mut before: Vec<(&str, usize, String)> = Vec::new();
        for name in merged.draft.container_names(ContainerKind::Init) {
            let Some(index) = index_of(name) else { continue };
            match merged.owner(place, name) {
                Owner::Profile(profile) => before.push((name, index, profile)),
                Owner::Pod => {
                    let first = before.iter().find(|(_, other, _)| index < *other);
                    if let Some((own, _, profile)) = first {
                        let (own, container) = ((*own).to_owned(), name.to_owned());
                        trace.add(Reason::MovedBehind { profile: profile.clone(), own, container });
                    }
                }
            }
        }
    }

    fn additions<'p>(&self, pod: SubmittedPod<'p>) -> Additions<'p> {
        match self.purpose {
            Purpose::InjectSubmitted => Additions::of(pod).without_plugins(),
            Purpose::Inject | Purpose::Verify => Additions::of(pod),
        }
    }

    /// Returns the slot for a container of the submitted pod, at an index, that has no status entry and equals the rendered
    /// one.
    pub(super) fn adopted_slot<'a>(
        &self,
        pod: SubmittedPod<'a>,
        place: &Place,
        index: Option<usize>,
        rendered: Rendered<'a>,
        protected: bool,
    ) -> Slot<'a> {
        match index.and_then(|index| Some((index, pod.at(place, index)?))) {
            None => Slot::Added(rendered),
            Some((index, live)) if !protected && is_contained(&rendered, live) => Slot::Kept(index),
            Some((_, live)) => Slot::Added(self.additions(pod).keep(place, rendered, live)),
        }
    }

    /// Returns the slot for an overlaid container.
    pub(super) fn overlay_slot<'a>(
        &self,
        pod: SubmittedPod<'a>,
        place: &Place,
        key: &str,
        index: usize,
        rendered: Json<'a>,
        trust: Trust,
    ) -> Slot<'a> {
        let was_taken = self.overlays.get(&(place.clone(), key.to_owned())) == Some(&index);
        let live = pod.at(place, index);
        if was_taken && trust == Trust::IfContained && live.is_some_and(|live| is_contained(&rendered, live))
        {
            return Slot::Kept(index);
        }
        Slot::Changed(index, Rendered::Made(rendered))
    }

    /// Checks whether the submitted pod already equals the merge: the same profiles at the same revisions, and the same
    /// elements in the same start order, each containing the rendered element.
    ///
    /// With a Mandatory profile, the order of all init containers counts: a container of the original pod that precedes its
    /// sidecars would run without them.
    pub(super) fn is_same_as(&self, merged: &Merged<'_>, any_protected: bool) -> bool {
        let Merged { draft, profiles, .. } = merged;
        if self.profiles.is_empty() || self.profiles != *profiles {
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
            && self.elements.iter().all(|((place, key), index)| {
                added.contains(&(place.clone(), key.clone())) && is_as_submitted(draft, place, key, *index)
            })
            && self.overlays.iter().all(|((place, _), index)| is_kept(draft, place, *index))
            && self.starts_in_the_same_order(draft, any_protected)
    }

    fn starts_in_the_same_order(&self, draft: &Draft<'_>, all: bool) -> bool {
        let slots = draft.changed_lists().get(&Place::INIT_CONTAINERS).into_iter().flatten();
        let ours = slots.filter_map(|slot| match slot {
            Slot::Kept(index) if all || self.took(*index) => Some(*index),
            _ => None,
        });
        ours.is_sorted() && Place::RESOLUTION.iter().all(|place| is_in_order(draft, place))
    }

    fn took(&self, init_container: usize) -> bool {
        self.elements
            .iter()
            .any(|((place, _), index)| *place == Place::INIT_CONTAINERS && *index == Some(init_container))
    }
}

fn is_as_submitted(draft: &Draft<'_>, place: &Place, key: &str, index: Option<usize>) -> bool {
    match (place, index) {
        (Place::Map(map), _) => draft
            .get(place, key)
            .zip(draft.submitted().value_in(*map, key))
            .is_some_and(|(now, before)| same(now.json(), before)),
        (_, Some(index)) => is_kept(draft, place, index),
        (_, None) => false,
    }
}

/// Checks whether the element with a key is the one of the submitted pod.
pub(super) fn is_unchanged(draft: &Draft<'_>, place: &Place, key: &str) -> bool {
    match draft.get(place, key) {
        Some(PodElement::Submitted(_)) => true,
        Some(changed) => match place {
            Place::Map(map) => {
                draft.submitted().value_in(*map, key).is_some_and(|before| same(changed.json(), before))
            }
            _ => false,
        },
        None => false,
    }
}

/// Checks whether all elements of the submitted pod's list keep their order.
pub(super) fn is_in_order(draft: &Draft<'_>, place: &Place) -> bool {
    let slots = draft.changed_lists().get(place).into_iter().flatten();
    let kept = slots.filter_map(|slot| match slot {
        Slot::Kept(index) => Some(*index),
        _ => None,
    });
    kept.is_sorted()
}

fn is_kept(draft: &Draft<'_>, place: &Place, index: usize) -> bool {
    let slots = draft.changed_lists().get(place);
    slots.is_none_or(|slots| slots.iter().any(|slot| matches!(slot, Slot::Kept(kept) if *kept == index)))
}
