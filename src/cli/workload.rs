//! Pods in the manifests of workloads, out and back.

use std::str::FromStr;

use serde_json::Value;

use super::manifests::Manifest;
use crate::workload::{self, SEEN};

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
    workload::pod_pointer(manifest.kind())
}

/// What became of a pod, without what only the webhook sees.
pub(super) fn as_written(mut after: Value, pod: &Value) -> Value {
    let written = pod.get("metadata");
    if let Some(fields) = after.as_object_mut() {
        if let Some(status) = pod.get("status") {
            fields.insert("status".to_owned(), status.clone());
        }
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in SEEN.into_iter().chain(["managedFields"]) {
                match written.and_then(|metadata| metadata.get(name)) {
                    Some(value) => metadata.insert(name.to_owned(), value.clone()),
                    None => metadata.remove(name),
                };
            }
            if metadata.is_empty() {
                match written {
                    Some(written) => fields.insert("metadata".to_owned(), written.clone()),
                    None => fields.remove("metadata"),
                };
            }
        }
    }
    after
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
    use serde_json::json;

    use super::*;
    use crate::cli::manifests::Origin;
    use crate::workload::{as_seen, pod_of};

    fn manifest(object: Value) -> Manifest {
        Manifest { source: "test".into(), object, origin: Origin::default() }
    }

    #[test]
    fn a_template_goes_out_and_comes_back() {
        let cron = manifest(json!({ "kind": "CronJob", "spec": { "schedule": "x", "jobTemplate": { "spec": {
            "backoffLimit": 1, "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [] } },
        } } } }));
        let pointer = pod_pointer(&cron, &[]).unwrap();
        let pod = pod_of(&cron.object, pointer).unwrap();
        assert_eq!(pod["kind"], "Pod");
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
        assert_eq!(with_pod(cron.object.clone(), pointer, pod), cron.object);
    }

    #[test]
    fn what_the_webhook_sees_besides_is_not_written() {
        let deployment = manifest(json!({ "kind": "Deployment", "metadata": { "name": "web" } }));
        for pod in [
            json!({ "spec": {} }),
            json!({ "metadata": null, "spec": {} }),
            json!({ "metadata": { "labels": { "a": "b" } }, "spec": {} }),
        ] {
            let seen = as_seen(&pod, Some(deployment.name()), "shop");
            assert_eq!(
                (&seen["metadata"]["namespace"], &seen["metadata"]["generateName"]),
                (&json!("shop"), &json!("web-"))
            );
            assert_eq!(as_written(seen, &pod), pod);
        }
        let stored = json!({ "metadata": { "name": "a", "namespace": "b", "managedFields": [1] }, "spec": {}, "status": { "phase": "Running" } });
        let seen = as_seen(&stored, None, "b");
        assert!(seen.get("status").is_none() && seen["metadata"].get("managedFields").is_none());
        assert_eq!(as_written(seen, &stored), stored);
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
