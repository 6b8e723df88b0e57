//! Draft of the injected pod: the submitted pod with pending changes.
//!
//! The pod itself is never copied: its changes are kept beside it, per list or map, and [`super::patch`] computes the patch
//! from them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::pod::{PodElement, PodView as _, SubmittedPod};
use crate::fields::lists::key_of;
use crate::fields::{ContainerKind, Map, Place, SpecList};
use crate::json::{items, text};
use crate::profiles::Rendered;

/// Submitted pod with its pending changes.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    submitted: SubmittedPod<'a>,
    lists: BTreeMap<Place, Vec<Slot<'a>>>,
    maps: BTreeMap<Map, BTreeMap<Cow<'a, str>, Option<Rendered<'a>>>>,
}

/// Element of a list that changes.
#[derive(Clone, Debug)]
pub(super) enum Slot<'a> {
    /// Element of the submitted pod, at this index.
    Kept(usize),
    /// Element of the submitted pod at this index, with another value.
    Changed(usize, Rendered<'a>),
    /// New element.
    Added(Rendered<'a>),
}

impl<'a> Draft<'a> {
    /// Returns the draft without changes.
    pub(super) fn new(submitted: SubmittedPod<'a>) -> Self {
        Self { submitted, lists: BTreeMap::new(), maps: BTreeMap::new() }
    }

    /// Returns the submitted pod, without the changes.
    pub(super) fn submitted(&self) -> SubmittedPod<'a> {
        self.submitted
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.lists.is_empty() || !self.maps.is_empty()
    }

    pub(super) fn changed_lists(&self) -> &BTreeMap<Place, Vec<Slot<'a>>> {
        &self.lists
    }

    /// Returns the changed keys of a map; removed keys have no value.
    pub(super) fn changed_keys(&self, map: Map) -> impl Iterator<Item = (&str, Option<&Rendered<'a>>)> {
        self.maps.get(&map).into_iter().flatten().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// Returns the current keys of the annotations.
    pub(super) fn annotation_keys(&self) -> Vec<&str> {
        let changed = self.maps.get(&Map::Annotations);
        let stays = |key: &&str| changed.is_none_or(|changed| !changed.contains_key(*key));
        let set = changed.into_iter().flatten().filter(|(_, value)| value.is_some());
        self.submitted.annotation_keys().filter(stays).chain(set.map(|(key, _)| key.as_ref())).collect()
    }

    /// Returns the names in one of the lists of containers, in order.
    pub(super) fn container_names(&self, kind: ContainerKind) -> Vec<&str> {
        self.elements(&Place::Spec(kind.list())).filter_map(PodElement::name).collect()
    }

    /// Returns a description, for messages, of the container with a name.
    pub(super) fn container_of_name(&self, name: &str) -> Option<&'static str> {
        let taken = |list| self.elements(&Place::Spec(list)).any(|seen| seen.name() == Some(name));
        if taken(SpecList::InitContainers) {
            return Some("an init container");
        }
        if taken(SpecList::Containers) {
            return Some("a container");
        }
        let ephemeral = items(self.submitted.spec("ephemeralContainers"));
        ephemeral.iter().any(|item| text(item, "name") == Some(name)).then_some("an ephemeral container")
    }

    /// Returns the element with a key.
    pub(super) fn get(&self, place: &Place, key: &str) -> Option<PodElement<'_>> {
        if let Place::Map(map) = place {
            return match self.maps.get(map).and_then(|changed| changed.get(key)) {
                Some(change) => change.as_deref().map(PodElement::Rendered),
                None => self.submitted.get(place, key),
            };
        }
        let name = place.field();
        self.elements(place).find(|seen| key_of(name, seen.json()) == key)
    }

    /// Returns all elements with a key: a list may have duplicates.
    pub(super) fn all<'s>(&'s self, place: &Place, key: &str) -> Vec<PodElement<'s>> {
        if matches!(place, Place::Map(_)) {
            return self.get(place, key).into_iter().collect();
        }
        let name = place.field();
        self.elements(place).filter(|seen| key_of(name, seen.json()) == key).collect()
    }

    /// Returns the current elements of a list.
    pub(super) fn elements<'s>(
        &'s self,
        place: &Place,
    ) -> impl Iterator<Item = PodElement<'s>> + use<'s, 'a> {
        let submitted = self.submitted.list(place);
        let slots = self.lists.get(place);
        let untouched = if slots.is_none() { submitted } else { &[] };
        let changed = slots.into_iter().flatten().filter_map(|slot| match slot {
            Slot::Kept(index) => submitted.get(*index).map(PodElement::Submitted),
            Slot::Changed(_, value) | Slot::Added(value) => Some(PodElement::Rendered(value)),
        });
        untouched.iter().map(PodElement::Submitted).chain(changed)
    }

    /// Sets a key of a map.
    pub(super) fn set(&mut self, map: Map, key: Cow<'a, str>, value: Rendered<'a>) {
        self.maps.entry(map).or_default().insert(key, Some(value));
    }

    /// Removes a key from a map.
    pub(super) fn unset(&mut self, map: Map, key: &str) {
        if self.submitted.value_in(map, key).is_some() {
            self.maps.entry(map).or_default().insert(Cow::Owned(key.to_owned()), None);
        }
    }

    /// Inserts a slot into a list at a position, or at the end if the position is too large. An unchanged element keeps its
    /// index in the submitted pod, except in lists of containers, whose order is their start order.
    pub(super) fn insert(&mut self, place: &Place, at: usize, slot: Slot<'a>) {
        let is_ordered = matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers));
        let position = match slot {
            Slot::Kept(index) if !is_ordered => self.slots(place).iter().position(
                |other| matches!(other, Slot::Kept(later) | Slot::Changed(later, _) if *later > index),
            ),
            _ => Some(at),
        };
        self.insert_at(place, position.unwrap_or(usize::MAX), slot);
    }

    /// Inserts a slot at a position of a list, or at the end if the position is too large.
    pub(super) fn insert_at(&mut self, place: &Place, at: usize, slot: Slot<'a>) {
        let slots = self.slots(place);
        slots.insert(at.min(slots.len()), slot);
    }

    /// Replaces the slots of a list.
    pub(super) fn set_list(&mut self, place: &Place, slots: Vec<Slot<'a>>) {
        self.lists.insert(place.clone(), slots);
    }

    /// Removes the element with a key and returns its index in the submitted pod.
    pub(super) fn take(&mut self, place: &Place, key: &str) -> Option<usize> {
        let index = self.submitted.list(place).iter().position(|item| key_of(place.field(), item) == key)?;
        let slots = self.slots(place);
        let position = slots.iter().position(|slot| matches!(slot, Slot::Kept(kept) if *kept == index))?;
        slots.remove(position);
        Some(index)
    }

    /// Replaces the element with this index in the submitted pod.
    pub(super) fn replace(&mut self, place: &Place, index: usize, value: Slot<'a>) {
        let slots = self.slots(place);
        let position = slots
            .iter()
            .position(|slot| matches!(slot, Slot::Kept(kept) | Slot::Changed(kept, _) if *kept == index));
        if let Some(slot) = position.and_then(|position| slots.get_mut(position)) {
            *slot = value;
        }
    }

    /// Returns the index in the submitted pod of the element with a key, if the list still has it.
    pub(super) fn index_of(&self, place: &Place, key: &str) -> Option<usize> {
        let name = place.field();
        let Some(slots) = self.lists.get(place) else {
            return self.submitted.list(place).iter().position(|item| key_of(name, item) == key);
        };
        slots.iter().find_map(|slot| match slot {
            Slot::Kept(index) => {
                self.submitted.at(place, *index).filter(|item| key_of(name, *item) == key).map(|_| *index)
            }
            Slot::Changed(index, value) => (key_of(name, &**value) == key).then_some(*index),
            Slot::Added(_) => None,
        })
    }

    fn slots(&mut self, place: &Place) -> &mut Vec<Slot<'a>> {
        if !self.lists.contains_key(place) {
            let slots = (0..self.submitted.list(place).len()).map(Slot::Kept).collect();
            self.lists.insert(place.clone(), slots);
        }
        self.lists.entry(place.clone()).or_default()
    }
}
