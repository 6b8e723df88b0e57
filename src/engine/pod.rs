//! The one way to a pod's JSON.
//!
//! The shape of everything that a decision reads or changes is checked once, in [`Pod::new`]; after that no
//! access can fail, and a missing list or map is made where something is put into it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Reason;
use super::lists::key_of;
use super::place::{ContainerKind, Place};
use crate::api::keys;

/// A pod, shaped like one.
#[derive(Clone, Debug)]
pub(super) struct Pod(Value);

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

impl Pod {
    /// # Errors
    /// [`Reason::MalformedPod`] where a part that a decision reads has the wrong type.
    pub(super) fn new(value: Value) -> Result<Self, Reason> {
        check_map("metadata", value.get("metadata"))?;
        for field in ["labels", "annotations"] {
            let map = value.get("metadata").and_then(|metadata| metadata.get(field));
            let map = check_map(&format!("metadata.{field}"), map)?;
            if let Some((key, _)) = map.into_iter().flatten().find(|(_, value)| !value.is_string()) {
                return Err(malformed(format!("metadata.{field}[{key}]"), "it must be a string"));
            }
        }
        let spec = check_map("spec", value.get("spec"))?.ok_or_else(|| malformed("spec", "it is missing"))?;
        for list in CONTAINER_LISTS {
            for (index, container) in check_named_list(list, spec.get(list))?.iter().enumerate() {
                for field in ["env", "envFrom", "volumeMounts", "ports"] {
                    check_objects(&format!("spec.{list}[{index}].{field}"), container.get(field))?;
                }
            }
        }
        check_named_list("volumes", spec.get("volumes"))?;
        Ok(Self(value))
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let labels =
            self.0.get("metadata").and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
        let pairs = labels.into_iter().flatten();
        pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    pub(super) fn set_label(&mut self, key: &str, value: String) {
        if let Some(labels) = self.map_mut(&Place::Labels) {
            labels.insert(key.to_owned(), Value::String(value));
        }
    }

    pub(super) fn set_annotation(&mut self, key: &str, value: String) {
        if let Some(annotations) = self.map_mut(&Place::Annotations) {
            annotations.insert(key.to_owned(), Value::String(value));
        }
    }

    pub(super) fn host_network(&self) -> bool {
        self.spec("hostNetwork").and_then(Value::as_bool).unwrap_or_default()
    }

    /// The operating system that the pod says it is for, by `spec.os` or its node selector; linux unless said.
    pub(super) fn os(&self) -> &str {
        let named = self.spec("os").and_then(|os| os.get("name")).and_then(Value::as_str);
        let selected = self
            .spec("nodeSelector")
            .and_then(|selector| selector.get(keys::NODE_OS))
            .and_then(Value::as_str);
        named.or(selected).unwrap_or("linux")
    }

    /// The names in one of the lists of containers, in order.
    pub(super) fn container_names(&self, kind: ContainerKind) -> impl Iterator<Item = &str> {
        names(self.spec(kind.list()))
    }

    /// What the pod has under a container's name: the words for a message.
    pub(super) fn container_of_name(&self, name: &str) -> Option<&'static str> {
        let words = ["an init container", "a container", "an ephemeral container"];
        CONTAINER_LISTS
            .into_iter()
            .zip(words)
            .find(|(list, _)| names(self.spec(list)).any(|taken| taken == name))
            .map(|(_, words)| words)
    }

    /// The element of a key.
    pub(super) fn get(&self, place: &Place, key: &str) -> Option<&Value> {
        match place {
            Place::Labels | Place::Annotations => self.0.get("metadata")?.get(place.field())?.get(key),
            _ => self.list(place).iter().find(|item| key_of(place.field(), item) == key),
        }
    }

    /// Puts an element in; `at` is a position in a list, its end if too large.
    pub(super) fn insert(&mut self, place: &Place, at: usize, key: &str, value: Value) {
        match place {
            Place::Labels | Place::Annotations => {
                if let Some(map) = self.map_mut(place) {
                    map.insert(key.to_owned(), value);
                }
            }
            _ => {
                if let Some(list) = self.list_mut(place) {
                    list.insert(at.min(list.len()), value);
                }
            }
        }
    }

    /// Takes an element out, and the list or map with it when it was the last.
    pub(super) fn remove(&mut self, place: &Place, key: &str) -> Option<Value> {
        let field = place.field();
        match place {
            Place::Labels | Place::Annotations => {
                let metadata = self.0.get_mut("metadata")?.as_object_mut()?;
                let map = metadata.get_mut(field)?.as_object_mut()?;
                let removed = map.remove(key);
                if map.is_empty() {
                    metadata.remove(field);
                }
                removed
            }
            _ => {
                let owner = self.owner_mut(place)?;
                let list = owner.get_mut(field)?.as_array_mut()?;
                let index = list.iter().position(|item| key_of(field, item) == key)?;
                let removed = list.remove(index);
                if list.is_empty() {
                    owner.remove(field);
                }
                Some(removed)
            }
        }
    }

    fn spec(&self, field: &str) -> Option<&Value> {
        self.0.get("spec")?.get(field)
    }

    fn list(&self, place: &Place) -> &[Value] {
        let list = match place {
            Place::Labels | Place::Annotations => None,
            Place::Container { kind, name, field } => self
                .spec(kind.list())
                .and_then(|containers| find_named(containers.as_array()?, name))
                .and_then(|container| container.get(field.name())),
            Place::InitContainers | Place::Containers | Place::Volumes => self.spec(place.field()),
        };
        list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The object whose field the list is.
    fn owner_mut(&mut self, place: &Place) -> Option<&mut Map<String, Value>> {
        let spec = self.0.get_mut("spec")?;
        match place {
            Place::Container { kind, name, .. } => spec
                .get_mut(kind.list())?
                .as_array_mut()?
                .iter_mut()
                .find(|container| container.get("name").and_then(Value::as_str) == Some(name))?
                .as_object_mut(),
            _ => spec.as_object_mut(),
        }
    }

    fn list_mut(&mut self, place: &Place) -> Option<&mut Vec<Value>> {
        let slot = self.owner_mut(place)?.entry(place.field()).or_insert(Value::Null);
        if slot.is_null() {
            *slot = Value::Array(Vec::new());
        }
        slot.as_array_mut()
    }

    fn map_mut(&mut self, place: &Place) -> Option<&mut Map<String, Value>> {
        let mut slot = self.0.as_object_mut()?.entry("metadata").or_insert(Value::Null);
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        slot = slot.as_object_mut()?.entry(place.field()).or_insert(Value::Null);
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        slot.as_object_mut()
    }
}

fn names(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(|item| item.get("name")?.as_str())
}

fn find_named<'a>(list: &'a [Value], name: &str) -> Option<&'a Value> {
    list.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(name))
}

fn malformed(field: impl Into<String>, problem: &'static str) -> Reason {
    Reason::MalformedPod { field: field.into(), problem }
}

fn check_map<'a>(field: &str, value: Option<&'a Value>) -> Result<Option<&'a Map<String, Value>>, Reason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(malformed(field, "it must be an object")),
    }
}

fn check_objects<'a>(field: &str, value: Option<&'a Value>) -> Result<&'a [Value], Reason> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) if items.iter().all(Value::is_object) => Ok(items),
        Some(_) => Err(malformed(field, "it must be a list of objects")),
    }
}

fn check_named_list<'a>(list: &str, value: Option<&'a Value>) -> Result<&'a [Value], Reason> {
    let field = format!("spec.{list}");
    let items = check_objects(&field, value)?;
    if items.iter().all(|item| item.get("name").is_some_and(Value::is_string)) {
        Ok(items)
    } else {
        Err(malformed(field, "every element needs a name"))
    }
}
