//! Outrigger's labels and annotations on a workload itself, where they have no effect.

use std::fmt;

use serde_json::Value;

use crate::api::keys;

/// Label or annotation of Outrigger on a workload's own metadata instead of its pod template's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MisplacedKey {
    /// `label` or `annotation`.
    what: &'static str,
    key: String,
    /// Kind of the workload.
    kind: String,
    /// Path where the key belongs.
    place: String,
}

impl MisplacedKey {
    /// Stable code of the warning.
    pub(crate) const CODE: &str = "MisplacedKey";

    /// Returns the path of the key in the workload.
    pub(crate) fn path(&self) -> String {
        format!("metadata.{}s[{}]", self.what, self.key)
    }
}

impl fmt::Display for MisplacedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, key, kind, place } = self;
        write!(f, "the {what} {key} on the {kind} itself has no effect on its pods; move it to {place}")
    }
}

/// Returns Outrigger's keys on the metadata of a workload; the pointer is that of its pod template.
pub(crate) fn misplaced(object: &Value, pointer: &str) -> Vec<MisplacedKey> {
    if pointer.is_empty() {
        return Vec::new();
    }
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object");
    let place = format!("{}.metadata", pointer.trim_start_matches('/').replace('/', "."));
    [("label", "labels"), ("annotation", "annotations")]
        .into_iter()
        .flat_map(|(what, field)| {
            let map = object.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
            let ours = map.into_iter().flat_map(|map| map.keys()).filter(|key| keys::is_ours(key));
            let place = format!("{place}.{field}");
            ours.map(move |key| MisplacedKey {
                what,
                key: key.clone(),
                kind: kind.to_owned(),
                place: place.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_on_the_workload_itself_are_reported() {
        let object = json!({
            "kind": "CronJob",
            "metadata": {
                "labels": { "app": "web", "outrigger.dev/inject": "enabled" },
                "annotations": { "shipper.outrigger.dev/memory": "1Gi", "example.com/outrigger.dev": "x", "notoutrigger.dev/a": "b" },
            },
        });
        let found: Vec<String> =
            misplaced(&object, "/spec/jobTemplate/spec/template").iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "the label outrigger.dev/inject on the CronJob itself has no effect on its pods; move it to spec.jobTemplate.spec.template.metadata.labels",
                "the annotation shipper.outrigger.dev/memory on the CronJob itself has no effect on its pods; move it to spec.jobTemplate.spec.template.metadata.annotations",
            ]
        );
        assert!(
            misplaced(
                &json!({ "kind": "Pod", "metadata": { "labels": { "outrigger.dev/inject": "x" } } }),
                ""
            )
            .is_empty()
        );
    }
}
