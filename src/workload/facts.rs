//! Objects of a cluster that admission plugins read when a pod is created.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::json::text_at;

/// Kinds of objects that change or reject a pod at admission.
pub(crate) const KINDS: [&str; 5] =
    ["ServiceAccount", "LimitRange", "ResourceQuota", "RuntimeClass", "PriorityClass"];

/// Known objects, and the lists that are known to be complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    objects: Vec<(String, Value)>,
    complete: BTreeSet<(&'static str, String)>,
    /// Minor version of the API server; `None` if it is not known.
    minor: Option<u32>,
}

/// Unknown object or list; the pod is computed as if it did not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missing {
    /// Kind of the object.
    pub(crate) kind: &'static str,
    /// Name of the object; `None` for all objects of the kind.
    pub(crate) name: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.kind) {
            (Some(name), kind) => write!(f, "{kind} {name:?}"),
            (None, "PriorityClass") => f.write_str("default PriorityClass"),
            (None, kind) => write!(f, "{kind}s"),
        }
    }
}

impl Facts {
    /// Checks whether admission plugins read objects of the kind.
    pub(crate) fn reads(kind: &str) -> bool {
        KINDS.contains(&kind)
    }

    /// Adds an object if its kind is one that admission plugins read. `namespace` is that of the object.
    pub(crate) fn add(&mut self, object: &Value, namespace: &str) {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if KINDS.contains(&kind) {
            let name = text_at(object, "/metadata/name");
            let space = space_of(kind, namespace);
            self.objects.retain(|(of, known)| {
                of != space
                    || known.get("kind") != object.get("kind")
                    || text_at(known, "/metadata/name") != name
            });
            self.objects.push((space.to_owned(), object.clone()));
        }
    }

    /// Records that all objects of the kind in the namespace were added.
    pub(crate) fn complete(&mut self, kind: &'static str, namespace: &str) {
        self.complete.insert((kind, space_of(kind, namespace).to_owned()));
    }

    /// Records the minor version of the API server.
    pub(crate) fn set_minor_version(&mut self, minor: u32) {
        self.minor = Some(minor);
    }

    /// Checks whether the API server sets pod-level requests before it calls webhooks. Since Kubernetes 1.37 it does so after
    /// them (feature gate `PodLevelResourcesFixDefaulting`). An unknown version counts as new.
    pub(super) fn fills_pod_level_first(&self) -> bool {
        self.minor.is_some_and(|minor| minor < 37)
    }

    /// Returns an object of the kind by name.
    ///
    /// # Errors
    /// The object is not known, and may exist.
    pub(super) fn find(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<&Value>, Missing> {
        let found = self.of(kind, namespace).find(|object| text_at(object, "/metadata/name") == Some(name));
        if found.is_none() && !self.has_all(kind, namespace) {
            return Err(Missing { kind, name: Some(name.to_owned()) });
        }
        Ok(found)
    }

    /// Returns the known objects of the kind in the namespace.
    pub(crate) fn of<'a>(&'a self, kind: &'a str, namespace: &str) -> impl Iterator<Item = &'a Value> {
        let space = space_of(kind, namespace).to_owned();
        let is_kind = move |object: &Value| object.get("kind").and_then(Value::as_str) == Some(kind);
        self.objects
            .iter()
            .filter(move |(of, object)| *of == space && is_kind(object))
            .map(|(_, object)| object)
    }

    /// Checks whether all objects of the kind in the namespace are known.
    pub(super) fn has_all(&self, kind: &'static str, namespace: &str) -> bool {
        self.complete.contains(&(kind, space_of(kind, namespace).to_owned()))
    }
}

/// Returns the namespace of an object; empty for cluster-scoped kinds.
fn space_of<'a>(kind: &str, namespace: &'a str) -> &'a str {
    if matches!(kind, "RuntimeClass" | "PriorityClass") { "" } else { namespace }
}
