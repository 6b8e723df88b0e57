//! Access to a pod's JSON.
//!
//! [`check`] validates the shape of every part that a decision reads or changes; after that, no access can fail. The pod
//! itself is never copied: its changes are kept beside it, per list or map, and [`super::patch`] computes the patch from them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json_borrow::ObjectAsVec;

use super::Reason;
use crate::api::keys;
use crate::fields::lists::key_of;
use crate::fields::{ContainerKind, DnsList, Map, Place, SpecList};
use crate::json::{Json, field, items, text};
use crate::profiles::Rendered;
use crate::quantity::Quantity;
pub(super) use crate::validation::quantity;

/// Submitted pod with its pending changes.
#[derive(Clone, Debug)]
pub(super) struct Pod<'a> {
    came: &'a Json<'a>,
    /// Original pod: without the elements of an earlier injection.
    author: &'a Json<'a>,
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

/// Element of the draft, with its origin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'s> {
    /// From the submitted pod.
    Came(&'s Json<'s>),
    /// From a profile.
    Put(&'s Json<'s>),
}

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

impl<'a> Pod<'a> {
    /// Returns the pod without changes. Its shape must have been checked.
    pub(super) fn new(came: &'a Json<'a>) -> Self {
        Self { came, author: came, lists: BTreeMap::new(), maps: BTreeMap::new() }
    }

    /// Sets the original pod.
    pub(super) fn with_author(self, author: &'a Json<'a>) -> Self {
        Self { author, ..self }
    }

    pub(super) fn author(&self) -> &'a Json<'a> {
        self.author
    }

    pub(super) fn came(&self) -> &'a Json<'a> {
        self.came
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

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        text(field(field(self.author, "metadata")?, "labels")?, key)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        text(field(field(self.author, "metadata")?, "annotations")?, key)
    }

    pub(super) fn labels(&self) -> Vec<(&'a str, &'a str)> {
        let labels = field(self.author, "metadata").and_then(|metadata| field(metadata, "labels"));
        let pairs = labels.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::iter);
        pairs.filter_map(|(key, value)| Some((key, value.as_str()?))).collect()
    }

    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let annotations = field(self.author, "metadata").and_then(|metadata| field(metadata, "annotations"));
        let pairs = annotations.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::iter);
        pairs.filter_map(|(key, value)| Some((key, value.as_str()?)))
    }

    /// Returns the current keys of the annotations.
    pub(super) fn annotation_keys(&self) -> Vec<&str> {
        let came = field(self.came, "metadata").and_then(|metadata| field(metadata, "annotations"));
        let came = came.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::keys);
        let changed = self.maps.get(&Map::Annotations);
        let stays = |key: &&str| changed.is_none_or(|changed| !changed.contains_key(*key));
        let set = changed.into_iter().flatten().filter(|(_, value)| value.is_some());
        came.filter(stays).chain(set.map(|(key, _)| key.as_ref())).collect()
    }

    pub(super) fn label_keys(&self) -> impl Iterator<Item = &'a str> {
        let labels = field(self.author, "metadata").and_then(|metadata| field(metadata, "labels"));
        labels.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::keys)
    }

    pub(super) fn host_network(&self) -> bool {
        self.spec("hostNetwork").and_then(Json::as_bool).unwrap_or_default()
    }

    /// Returns the operating system of the nodes on which the pod can run, from `spec.os`, node selector and required node
    /// affinity; linux by default. The API server has added a `RuntimeClass`'s node selector to the pod's own.
    pub(super) fn os(&self) -> &'a str {
        let named = self.spec("os").and_then(|os| text(os, "name"));
        let selected = self
            .spec("nodeSelector")
            .and_then(|selector| keys::NODE_OS.into_iter().find_map(|label| text(selector, label)));
        named.or(selected).or_else(|| self.os_by_affinity()).unwrap_or("linux")
    }

    /// Returns the operating system that every term of the required node affinity names. The terms are alternatives, so all
    /// must name the same.
    fn os_by_affinity(&self) -> Option<&'a str> {
        let affinity = field(field(self.spec("affinity")?, "nodeAffinity")?, REQUIRED_AFFINITY)?;
        let mut systems = items(field(affinity, "nodeSelectorTerms")).iter().map(os_of_term);
        let first = systems.next()??;
        systems.all(|other| other == Some(first)).then_some(first)
    }

    /// Returns the names in one of the lists of containers, in order.
    pub(super) fn container_names(&self, kind: ContainerKind) -> Vec<&str> {
        self.elements(&Place::Spec(kind.list())).filter_map(Seen::name).collect()
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
        let ephemeral = items(self.spec("ephemeralContainers"));
        ephemeral.iter().any(|item| text(item, "name") == Some(name)).then_some("an ephemeral container")
    }

    /// Returns the element with a key.
    pub(super) fn get(&self, place: &Place, key: &str) -> Option<Seen<'_>> {
        if let Place::Map(map) = place {
            return match self.maps.get(map).and_then(|changed| changed.get(key)) {
                Some(change) => change.as_deref().map(Seen::Put),
                None => self.came_in(*map, key).map(Seen::Came),
            };
        }
        let name = place.field();
        self.elements(place).find(|seen| key_of(name, seen.json()) == key)
    }

    /// Returns all elements with a key: a list may have duplicates.
    pub(super) fn all<'s>(&'s self, place: &Place, key: &str) -> Vec<Seen<'s>> {
        if matches!(place, Place::Map(_)) {
            return self.get(place, key).into_iter().collect();
        }
        let name = place.field();
        self.elements(place).filter(|seen| key_of(name, seen.json()) == key).collect()
    }

    /// Returns the current elements of a list.
    pub(super) fn elements<'s>(&'s self, place: &Place) -> impl Iterator<Item = Seen<'s>> + use<'s, 'a> {
        let came = self.list(place);
        let slots = self.lists.get(place);
        let untouched = if slots.is_none() { came } else { &[] };
        let changed = slots.into_iter().flatten().filter_map(|slot| match slot {
            Slot::Kept(index) => came.get(*index).map(Seen::Came),
            Slot::Changed(_, value) | Slot::Added(value) => Some(Seen::Put(value)),
        });
        untouched.iter().map(Seen::Came).chain(changed)
    }

    /// Returns an element of the submitted pod by its index.
    pub(super) fn came_at(&self, place: &Place, index: usize) -> Option<&'a Json<'a>> {
        self.list(place).get(index)
    }

    /// Returns the value of a map's key in the submitted pod.
    pub(super) fn came_in(&self, map: Map, key: &str) -> Option<&'a Json<'a>> {
        map.path()
            .iter()
            .try_fold(self.came, |value, name| field(value, name))
            .and_then(|map| field(map, key))
    }

    /// Sets a key of a map.
    pub(super) fn set(&mut self, map: Map, key: Cow<'a, str>, value: Rendered<'a>) {
        self.maps.entry(map).or_default().insert(key, Some(value));
    }

    /// Removes a key from a map.
    pub(super) fn unset(&mut self, map: Map, key: &str) {
        if self.came_in(map, key).is_some() {
            self.maps.entry(map).or_default().insert(Cow::Owned(key.to_owned()), None);
        }
    }

    /// Inserts a slot into a list at a position, or at the end if the position is too large. An unchanged element keeps its
    /// index in the submitted pod, except in lists of containers, whose order is their start order.
    pub(super) fn insert(&mut self, place: &Place, at: usize, slot: Slot<'a>) {
        let is_ordered = matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers));
        let came = match slot {
            Slot::Kept(index) if !is_ordered => self.slots(place).iter().position(
                |other| matches!(other, Slot::Kept(later) | Slot::Changed(later, _) if *later > index),
            ),
            _ => Some(at),
        };
        self.insert_at(place, came.unwrap_or(usize::MAX), slot);
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
        let index = self.list(place).iter().position(|item| key_of(place.field(), item) == key)?;
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
            return self.list(place).iter().position(|item| key_of(name, item) == key);
        };
        slots.iter().find_map(|slot| match slot {
            Slot::Kept(index) => {
                self.came_at(place, *index).filter(|item| key_of(name, *item) == key).map(|_| *index)
            }
            Slot::Changed(index, value) => (key_of(name, &**value) == key).then_some(*index),
            Slot::Added(_) => None,
        })
    }

    pub(super) fn spec(&self, name: &str) -> Option<&'a Json<'a>> {
        field(field(self.came, "spec")?, name)
    }

    fn slots(&mut self, place: &Place) -> &mut Vec<Slot<'a>> {
        if !self.lists.contains_key(place) {
            let slots = (0..self.list(place).len()).map(Slot::Kept).collect();
            self.lists.insert(place.clone(), slots);
        }
        self.lists.entry(place.clone()).or_default()
    }

    /// Returns a list of the submitted pod.
    pub(super) fn list(&self, place: &Place) -> &'a [Json<'a>] {
        items(match place {
            Place::Map(_) => None,
            Place::Spec(list) => self.spec(list.name()),
            Place::Dns(list) => self.dns(*list),
            Place::Container { kind, name, field: list } => items(self.spec(kind.list().name()))
                .iter()
                .find(|container| text(container, "name") == Some(name))
                .and_then(|container| field(container, list.name())),
        })
    }

    fn dns(&self, list: DnsList) -> Option<&'a Json<'a>> {
        field(self.spec("dnsConfig")?, list.name())
    }
}

impl<'s> Seen<'s> {
    /// Returns the value, regardless of its origin.
    pub(super) fn json(self) -> &'s Json<'s> {
        match self {
            Self::Came(value) | Self::Put(value) => value,
        }
    }

    fn part(self, value: &'s Json<'s>) -> Self {
        match self {
            Self::Came(_) => Self::Came(value),
            Self::Put(_) => Self::Put(value),
        }
    }

    /// Returns the field of an object if it is present and not null.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        field(self.json(), name).map(|value| self.part(value))
    }

    /// Returns the fields of an object; none if the value is not an object.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'s str, Self)> {
        let fields = self.json().as_object().into_iter().flat_map(ObjectAsVec::iter);
        fields.map(move |(name, value)| (name, self.part(value)))
    }

    /// Returns the elements of the list in a field; none if there is no list.
    pub(super) fn items(self, name: &str) -> impl Iterator<Item = Self> + use<'s> {
        items(field(self.json(), name)).iter().map(move |value| self.part(value))
    }

    /// Returns the text if the value is a string.
    pub(super) fn as_text(self) -> Option<&'s str> {
        self.json().as_str()
    }

    /// Returns the text in a field.
    pub(super) fn text(self, name: &str) -> Option<&'s str> {
        text(self.json(), name)
    }

    /// Returns the number if the value is an integer.
    pub(super) fn integer(self) -> Option<i64> {
        self.json().as_i64()
    }

    /// Returns the quantity, from text or a number.
    pub(super) fn quantity(self) -> Option<Quantity> {
        quantity(self.json())
    }

    pub(super) fn name(self) -> Option<&'s str> {
        self.text("name")
    }
}

const REQUIRED_AFFINITY: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Returns the operating system that a node selector term requires; `None` if it allows several.
fn os_of_term<'a>(term: &'a Json<'a>) -> Option<&'a str> {
    let is_os =
        |expression: &&'a Json<'a>| text(expression, "key").is_some_and(|key| keys::NODE_OS.contains(&key));
    items(field(term, "matchExpressions")).iter().filter(is_os).find_map(|expression| {
        let values = items(field(expression, "values"));
        match (text(expression, "operator")?, values) {
            ("In", [single]) => single.as_str(),
            // Kubernetes has nodes of two operating systems.
            ("NotIn", values) if values.iter().any(|value| value.as_str() == Some("linux")) => {
                Some("windows")
            }
            _ => None,
        }
    })
}

/// Checks that a value has the shape of a pod, in the parts that decisions read.
///
/// # Errors
/// [`Reason::MalformedPod`] if a part that a decision reads has the wrong type.
pub(super) fn check(pod: &Json<'_>) -> Result<(), Reason> {
    if !pod.is_object() {
        return Err(malformed("object", "it must be an object"));
    }
    if let Some(metadata) = check_map("metadata", field(pod, "metadata"))? {
        for name in ["labels", "annotations"] {
            let map = check_map(format_args!("metadata.{name}"), field(metadata, name))?;
            let mut pairs = map.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::iter);
            if let Some((key, _)) = pairs.find(|(_, value)| !value.is_string()) {
                return Err(malformed(format_args!("metadata.{name}[{key}]"), "it must be a string"));
            }
        }
    }
    let spec = check_map("spec", field(pod, "spec"))?.ok_or_else(|| malformed("spec", "it is missing"))?;
    check_map("spec.securityContext", field(spec, "securityContext"))?;
    for list in CONTAINER_LISTS {
        for (index, container) in check_named_list(list, field(spec, list))?.iter().enumerate() {
            for name in ["env", "envFrom", "volumeMounts", "ports"] {
                let value = field(container, name);
                if !are_objects(value) {
                    return Err(malformed(format_args!("spec.{list}[{index}].{name}"), LIST_OF_OBJECTS));
                }
            }
        }
    }
    check_named_list("volumes", field(spec, "volumes"))?;
    for list in ["imagePullSecrets", "hostAliases", "tolerations", "readinessGates", "resourceClaims"] {
        check_objects(format_args!("spec.{list}"), field(spec, list))?;
    }
    if let Some(dns) = check_map("spec.dnsConfig", field(spec, "dnsConfig"))? {
        for name in ["nameservers", "searches", "options"] {
            if field(dns, name).is_some_and(|value| !value.is_array()) {
                return Err(malformed(format_args!("spec.dnsConfig.{name}"), "it must be a list"));
            }
        }
    }
    Ok(())
}

const LIST_OF_OBJECTS: &str = "it must be a list of objects";

fn malformed(field: impl fmt::Display, problem: &'static str) -> Reason {
    Reason::MalformedPod { field: field.to_string(), problem }
}

fn check_map<'a, 'b>(
    field: impl fmt::Display,
    value: Option<&'a Json<'b>>,
) -> Result<Option<&'a Json<'b>>, Reason> {
    match value {
        None | Some(Json::Object(_)) => Ok(value),
        Some(_) => Err(malformed(field, "it must be an object")),
    }
}

fn are_objects(value: Option<&Json<'_>>) -> bool {
    value.is_none_or(|value| value.as_array().is_some_and(|items| items.iter().all(Json::is_object)))
}

fn check_objects<'a, 'b>(
    field: impl fmt::Display,
    value: Option<&'a Json<'b>>,
) -> Result<&'a [Json<'b>], Reason> {
    if are_objects(value) { Ok(items(value)) } else { Err(malformed(field, LIST_OF_OBJECTS)) }
}

fn check_named_list<'a, 'b>(list: &str, value: Option<&'a Json<'b>>) -> Result<&'a [Json<'b>], Reason> {
    let items = check_objects(format_args!("spec.{list}"), value)?;
    if items.iter().all(|item| text(item, "name").is_some()) {
        Ok(items)
    } else {
        Err(malformed(format_args!("spec.{list}"), "every element needs a name"))
    }
}
