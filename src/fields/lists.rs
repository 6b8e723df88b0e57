//! How Kubernetes tells the elements of a pod's lists apart: their merge keys.
//!
//! The keys are those of the API reference (`x-kubernetes-list-map-keys`, `patchMergeKey`):
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::Value;

use super::mount_path;
use crate::json::Json;

/// What a value of a pod and a value of a profile have in common: enough to tell elements apart.
///
/// As text, an object's keys are sorted.
pub(crate) trait Tree: Display {
    /// The field of an object, if it is there and not null.
    fn child(&self, name: &str) -> Option<&Self>;
    /// The text, if it is one.
    fn as_text(&self) -> Option<&str>;
}

impl Tree for Value {
    fn child(&self, name: &str) -> Option<&Self> {
        self.get(name).filter(|value| !value.is_null())
    }

    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }
}

impl Tree for Json<'_> {
    fn child(&self, name: &str) -> Option<&Self> {
        crate::json::field(self, name)
    }

    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }
}

/// The fields that make an element of the list `field` unique; `None` for a list that is one value (such
/// as `args`), or whose elements have no key of their own.
pub(crate) fn merge_key(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "options" => Some(&["name"]),
        "volumeMounts" => Some(&["mountPath"]),
        "volumeDevices" => Some(&["devicePath"]),
        "ports" => Some(&["containerPort", "protocol"]),
        "hostAliases" => Some(&["ip"]),
        "readinessGates" => Some(&["conditionType"]),
        _ => None,
    }
}

/// Whether the list is one whose elements are added and taken one by one.
pub(crate) fn is_keyed(field: &str) -> bool {
    merge_key(field).is_some() || matches!(field, "envFrom" | "tolerations" | "nameservers" | "searches")
}

/// What makes an element unique in the list `field`, as text: its merge key, or all of it. A mount path is cleaned, so
/// that another spelling of it is no other key.
pub(crate) fn key_of<'a, T: Tree>(field: &str, item: &'a T) -> Cow<'a, str> {
    let whole = || item.as_text().map_or_else(|| Cow::Owned(item.to_string()), Cow::Borrowed);
    match merge_key(field) {
        Some(["mountPath"]) => {
            item.child("mountPath").and_then(T::as_text).map_or(Cow::Borrowed(""), mount_path::clean)
        }
        Some([single]) => match item.child(single) {
            Some(value) => value.as_text().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed),
            None => Cow::Borrowed(""),
        },
        Some(several) => {
            let parts: Vec<String> = several.iter().map(|name| part(field, name, item)).collect();
            Cow::Owned(parts.join("/"))
        }
        None => whole(),
    }
}

fn part<T: Tree>(field: &str, name: &str, item: &T) -> String {
    match item.child(name) {
        Some(value) => value.as_text().map_or_else(|| value.to_string(), str::to_owned),
        // The API server's default, so that a port is the same before and after it.
        None if field == "ports" && name == "protocol" => "TCP".to_owned(),
        None => String::new(),
    }
}

/// Whether the values of the map `field` are quantities.
pub(crate) fn is_quantity_map(field: &str) -> bool {
    matches!(field, "limits" | "requests")
}

/// Whether the scalar `field` is a quantity.
pub(crate) fn is_quantity(field: &str) -> bool {
    matches!(field, "sizeLimit" | "divisor")
}

/// Whether the object `field` is a map of a user's own keys, and not a structure.
pub(crate) fn is_map(field: &str) -> bool {
    is_quantity_map(field) || matches!(field, "labels" | "annotations" | "matchLabels" | "nodeSelector")
}
