//! The stored objects and their watches.

use std::collections::BTreeMap;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use serde_json::{Value, json};

use super::address::Collection;

/// Bytes of a watch, or the end of its connection.
type WatchLine = std::io::Result<Vec<u8>>;

/// The objects of a collection that a list or watch selects.
#[derive(Clone, Debug)]
pub(super) struct StoreSelection {
    pub(super) collection: Collection,
    /// Name of the only object, from the field selector.
    pub(super) name: Option<String>,
}

impl StoreSelection {
    fn contains(&self, (collection, name): &StoreKey) -> bool {
        self.collection.contains(collection) && self.name.as_ref().is_none_or(|own| own == name)
    }
}

type StoreKey = (Collection, String);

#[derive(Default)]
pub(super) struct Store {
    objects: BTreeMap<StoreKey, Value>,
    /// Resource version of the last write.
    version: u64,
    /// Number of created objects, for their UIDs.
    created: u64,
    /// Every change, for watches that start from an earlier version.
    history: Vec<(StoreKey, u64, Value)>,
    watches: Vec<(StoreSelection, UnboundedSender<WatchLine>)>,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, collection: &Collection, name: &str) -> Option<&Value> {
        self.objects.get(&(collection.clone(), name.to_owned()))
    }

    pub(super) fn list(&self, selection: &StoreSelection) -> Vec<Value> {
        let selected = self.objects.iter().filter(|(key, _)| selection.contains(key));
        selected.map(|(_, object)| object.clone()).collect()
    }

    /// Stores an object and informs the watches. Like the API server, it writes nothing if nothing changes.
    pub(super) fn put(&mut self, collection: &Collection, name: &str, mut object: Value) -> Value {
        let key = (collection.clone(), name.to_owned());
        let before = self.objects.get(&key);
        object["apiVersion"] = json!(collection.version);
        object["kind"] = json!(collection.kind());
        object["metadata"]["name"] = json!(name);
        if let Some(namespace) = &collection.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let known = |field: &str| before.map(|before| before["metadata"][field].clone());
        let created = json!(format!("uid-{}", self.created + u64::from(before.is_none())));
        object["metadata"]["uid"] = known("uid").unwrap_or(created);
        let generation = before.map_or(1, |before| {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            generation + i64::from(before.get("spec") != object.get("spec"))
        });
        object["metadata"]["generation"] = json!(generation);
        object["metadata"]["resourceVersion"] = known("resourceVersion").unwrap_or_default();
        if before == Some(&object) {
            return object;
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.created += u64::from(before.is_none());
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.record(key, kind, &object);
        object
    }

    pub(super) fn delete(&mut self, collection: &Collection, name: &str) -> Option<Value> {
        let key = (collection.clone(), name.to_owned());
        let mut object = self.objects.remove(&key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.record(key, "DELETED", &object);
        Some(object)
    }

    fn record(&mut self, key: StoreKey, kind: &str, object: &Value) {
        let event = json!({ "type": kind, "object": object });
        for (_, watch) in self.watches.iter().filter(|(selection, _)| selection.contains(&key)) {
            // The client may have closed its watch.
            drop(watch.unbounded_send(Ok(line(&event))));
        }
        self.history.push((key, self.version, event));
    }

    /// Starts a watch with the changes after a resource version. A version in the future gets no changes from the past, as in
    /// the API server.
    pub(super) fn watch(&mut self, selection: StoreSelection, since: u64) -> UnboundedReceiver<WatchLine> {
        let (sender, receiver) = unbounded();
        let missed = self.history.iter().filter(|(key, at, _)| *at > since && selection.contains(key));
        for (_, _, event) in missed {
            drop(sender.unbounded_send(Ok(line(event))));
        }
        self.watches.push((selection, sender));
        receiver
    }

    /// Sends an event to the open watches of a collection, without a change of an object.
    pub(super) fn send(&self, collection: &Collection, event: &Value) {
        for (selection, watch) in &self.watches {
            if selection.collection.contains(collection) {
                drop(watch.unbounded_send(Ok(line(event))));
            }
        }
    }

    /// Ends all watches, with this error or cleanly.
    pub(super) fn end_watches(&mut self, error: Option<std::io::ErrorKind>) {
        for (_, watch) in self.watches.drain(..) {
            if let Some(error) = error {
                drop(watch.unbounded_send(Err(error.into())));
            }
        }
    }

    /// Replaces everything as a restore of etcd does: without events.
    pub(super) fn restore(&mut self, version: u64, objects: Vec<(Collection, Value)>) {
        let watches = std::mem::take(&mut self.watches);
        *self = Self::default();
        for (collection, object) in objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.put(&collection, &name, object);
        }
        self.version = version;
        self.history.clear();
        self.watches = watches;
    }
}

fn line(event: &Value) -> Vec<u8> {
    format!("{event}\n").into_bytes()
}
