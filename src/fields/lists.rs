//! Merge keys: the fields by which Kubernetes identifies the elements of a pod's lists.
//!
//! The keys are those of the API reference (`x-kubernetes-list-map-keys`, `patchMergeKey`):
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::Value;

use super::mount_path;
use crate::json::Json;

/// Common interface of a pod's and a profile's values, to identify elements.
///
/// The text form of an object has sorted keys.
pub(crate) trait Tree: Display {
    /// Returns the field of an object, if it is present and not null.
    fn child(&self, name: &str) -> Option<&Self>;
    /// Returns the text, if the value is a string.
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

/// Returns the fields that make an element of the list `field` unique; `None` for a list that is one value (such as `args`),
/// or whose elements have no key.
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

/// Checks whether elements are added to and removed from the list one by one.
pub(crate) fn is_keyed(field: &str) -> bool {
    merge_key(field).is_some() || matches!(field, "envFrom" | "tolerations" | "nameservers" | "searches")
}

/// Returns the text that makes an element unique in the list `field`: its merge key, or the whole element. Mount paths are
/// normalized, so all spellings of a path are one key.
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
        // The API server's default: the key must be the same before and after defaulting.
        None if field == "ports" && name == "protocol" => "TCP".to_owned(),
        None => String::new(),
    }
}

/// Checks whether the values of the map `field` are quantities.
pub(crate) fn is_quantity_map(field: &str) -> bool {
    matches!(field, "limits" | "requests")
}

/// Checks whether the scalar `field` is a quantity.
pub(crate) fn is_quantity(field: &str) -> bool {
    matches!(field, "sizeLimit" | "divisor")
}

/// Checks whether the object `field` is a map with arbitrary keys, and not a structure.
pub(crate) fn is_map(field: &str) -> bool {
    is_quantity_map(field) || matches!(field, "labels" | "annotations" | "matchLabels" | "nodeSelector")
}
