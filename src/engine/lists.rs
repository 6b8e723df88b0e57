//! How Kubernetes tells the elements of a pod's lists apart: their merge keys.
//!
//! The keys are those of the API reference (`x-kubernetes-list-map-keys`, `patchMergeKey`):
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>.

use std::borrow::Cow;

use serde_json::Value;

/// The fields that make an element of the list `field` unique; `None` for a list that is one value (such
/// as `args`), or whose elements have no key of their own.
pub(crate) fn merge_key(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => {
            Some(&["name"])
        }
        "volumeMounts" => Some(&["mountPath"]),
        "volumeDevices" => Some(&["devicePath"]),
        "ports" => Some(&["containerPort", "protocol"]),
        "hostAliases" => Some(&["ip"]),
        _ => None,
    }
}

/// Whether the list is one whose elements are added and taken one by one.
pub(crate) fn is_keyed(field: &str) -> bool {
    merge_key(field).is_some() || field == "envFrom"
}

/// What makes an element unique in the list `field`, as text: its merge key, or all of it.
pub(crate) fn key_of<'a>(field: &str, item: &'a Value) -> Cow<'a, str> {
    match merge_key(field) {
        Some([single]) => match item.get(*single) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            other => Cow::Owned(other.map_or_else(String::new, Value::to_string)),
        },
        Some(several) => {
            let parts: Vec<String> = several.iter().map(|name| part(field, name, item)).collect();
            Cow::Owned(parts.join("/"))
        }
        None => Cow::Owned(item.to_string()),
    }
}

fn part(field: &str, name: &str, item: &Value) -> String {
    match item.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
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
