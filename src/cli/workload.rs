//! Pod templates in manifests.

use std::str::FromStr;

use serde_json::Value;

use super::manifests::Manifest;
use crate::workload;

/// The JSON pointer to the pod template of a kind.
#[derive(Clone, Debug)]
pub(super) struct TemplatePath {
    kind: String,
    pointer: String,
}

impl FromStr for TemplatePath {
    type Err = String;

    /// Parses `Kind=/json/pointer`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, pointer)) if !kind.is_empty() && pointer.starts_with('/') => {
                Ok(Self { kind: kind.to_owned(), pointer: pointer.to_owned() })
            }
            _ => Err("write the kind and where its pod template stands: Rollout=/spec/template".to_owned()),
        }
    }
}

/// Returns the JSON pointer to the pod in an object; `None` if the object has none.
pub(super) fn pod_pointer<'a>(manifest: &Manifest, custom: &'a [TemplatePath]) -> Option<&'a str> {
    if let Some(path) = custom.iter().find(|path| path.kind == manifest.kind()) {
        return Some(&path.pointer);
    }
    workload::pod_pointer(manifest.kind())
}

/// Returns the object with another pod or pod template at the pointer.
pub(super) fn with_template(mut object: Value, pointer: &str, template: Value) -> Value {
    if let Some(place) = object.pointer_mut(pointer) {
        *place = template;
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::manifests::Origin;

    fn manifest(object: Value) -> Manifest {
        Manifest { source: "test".into(), object, origin: Origin::default() }
    }

    #[test]
    fn a_template_is_written_back_to_its_field() {
        let cron = json!({ "kind": "CronJob", "spec": { "schedule": "x", "jobTemplate": { "spec": {
            "backoffLimit": 1, "template": { "spec": { "containers": [] } },
        } } } });
        let manifest = manifest(cron.clone());
        let pointer = pod_pointer(&manifest, &[]).unwrap();
        let changed = with_template(cron, pointer, json!({ "spec": {} }));
        assert_eq!(
            changed["spec"]["jobTemplate"]["spec"],
            json!({ "backoffLimit": 1, "template": { "spec": {} } })
        );
        assert_eq!(
            with_template(json!({ "kind": "Pod" }), "", json!({ "kind": "B" })),
            json!({ "kind": "B" })
        );
    }

    #[test]
    fn user_defined_kinds_have_templates() {
        let path: TemplatePath = "Rollout=/spec/template".parse().unwrap();
        let rollout = manifest(json!({ "kind": "Rollout", "spec": { "template": { "spec": {} } } }));
        assert_eq!(pod_pointer(&rollout, &[]), None);
        assert_eq!(pod_pointer(&rollout, &[path]), Some("/spec/template"));
        assert!(
            "Rollout".parse::<TemplatePath>().is_err() && "Rollout=spec".parse::<TemplatePath>().is_err()
        );
    }
}
