//! Where a workload keeps its pod.

use std::str::FromStr;

use serde_json::{Value, json};

use super::manifests::Manifest;

/// Where the pod template of a kind stands, as a JSON pointer.
#[derive(Clone, Debug)]
pub(super) struct TemplatePath {
    kind: String,
    pointer: String,
}

impl FromStr for TemplatePath {
    type Err = String;

    /// Reads `Kind=/json/pointer`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, pointer)) if !kind.is_empty() && pointer.starts_with('/') => {
                Ok(Self { kind: kind.to_owned(), pointer: pointer.to_owned() })
            }
            _ => Err("write the kind and where its pod template stands: Rollout=/spec/template".to_owned()),
        }
    }
}

/// Where the pod stands in an object; `None` where the object has none.
pub(super) fn pod_pointer<'a>(manifest: &Manifest, custom: &'a [TemplatePath]) -> Option<&'a str> {
    if let Some(path) = custom.iter().find(|path| path.kind == manifest.kind()) {
        return Some(&path.pointer);
    }
    match manifest.kind() {
        "Pod" => Some(""),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some("/spec/template")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}

/// The pod that a controller would create from the object: its template, with a Pod's own fields around it.
pub(super) fn pod_of(manifest: &Manifest, pointer: &str) -> Option<Value> {
    let template = manifest.object.pointer(pointer)?;
    if pointer.is_empty() {
        return Some(template.clone());
    }
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": template.get("spec")? });
    if let (Some(metadata), Some(fields)) = (template.get("metadata"), pod.as_object_mut()) {
        fields.insert("metadata".to_owned(), metadata.clone());
    }
    Some(pod)
}

/// The object with another pod in the template's place.
pub(super) fn with_pod(mut object: Value, pointer: &str, pod: Value) -> Value {
    if pointer.is_empty() {
        return pod;
    }
    if let (Some(Value::Object(template)), Value::Object(mut pod)) = (object.pointer_mut(pointer), pod) {
        for field in ["metadata", "spec"] {
            if let Some(value) = pod.remove(field) {
                template.insert(field.to_owned(), value);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manifests::Origin;

    fn manifest(object: Value) -> Manifest {
        Manifest { source: "test".to_owned(), object, origin: Origin::default() }
    }

    #[test]
    fn a_template_goes_out_and_comes_back() {
        let cron = manifest(json!({ "kind": "CronJob", "spec": { "schedule": "x", "jobTemplate": { "spec": {
            "backoffLimit": 1, "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [] } },
        } } } }));
        let pointer = pod_pointer(&cron, &[]).unwrap();
        let pod = pod_of(&cron, pointer).unwrap();
        assert_eq!(pod["kind"], "Pod");
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
        assert_eq!(with_pod(cron.object.clone(), pointer, pod), cron.object);
    }

    #[test]
    fn kinds_of_ones_own() {
        let path: TemplatePath = "Rollout=/spec/template".parse().unwrap();
        let rollout = manifest(json!({ "kind": "Rollout", "spec": { "template": { "spec": {} } } }));
        assert_eq!(pod_pointer(&rollout, &[]), None);
        assert_eq!(pod_pointer(&rollout, &[path]), Some("/spec/template"));
        assert!(
            "Rollout".parse::<TemplatePath>().is_err() && "Rollout=spec".parse::<TemplatePath>().is_err()
        );
    }
}
