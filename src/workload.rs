//! Where a workload keeps its pod, and what the webhook would see of that pod.

use serde_json::{Value, json};

/// Where the pod stands in an object of a kind, as a JSON pointer; `None` where the kind has none.
pub(crate) fn pod_pointer(kind: &str) -> Option<&'static str> {
    match kind {
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
pub(crate) fn pod_of(object: &Value, pointer: &str) -> Option<Value> {
    let template = object.pointer(pointer)?;
    if pointer.is_empty() {
        return Some(template.clone());
    }
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": template.get("spec")? });
    if let (Some(metadata), Some(fields)) = (template.get("metadata"), pod.as_object_mut()) {
        fields.insert("metadata".to_owned(), metadata.clone());
    }
    Some(pod)
}

/// What the API server adds to a pod before a webhook sees it: where it is, and the name that its controller
/// has one generated from.
pub(crate) const SEEN: [&str; 2] = ["namespace", "generateName"];

/// The pod as the webhook would see it, so that expressions read the same here and there. `owner` is the name of the
/// workload that it was taken from, if it was.
pub(crate) fn as_seen(pod: &Value, owner: Option<&str>, namespace: &str) -> Value {
    let mut seen = pod.clone();
    let Some(fields) = seen.as_object_mut() else { return seen };
    fields.remove("status");
    let metadata = fields.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else { return seen };
    metadata.remove("managedFields");
    metadata.insert("namespace".to_owned(), json!(namespace));
    if let Some(owner) = owner {
        metadata.insert("generateName".to_owned(), json!(format!("{owner}-")));
    }
    seen
}
