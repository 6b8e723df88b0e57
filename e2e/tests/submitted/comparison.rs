//! Comparison of pods without the fields that differ in every pod.

use serde_json::{Value, json};

/// Returns the predicted and the recorded pod, with the same text in place of each placeholder.
pub(crate) fn normalized(found: &Value, recorded: &Value) -> (Value, Value) {
    let (mut own, mut theirs) = (found["submitted"].clone(), recorded.clone());
    for pointer in found["placeholders"].as_array().unwrap() {
        let pointer = pointer.as_str().unwrap();
        for (which, pod) in [("predicted", &mut own), ("recorded", &mut theirs)] {
            let value = pod.pointer_mut(pointer);
            *value.unwrap_or_else(|| panic!("the {which} pod has no {pointer}")) = json!("generated");
        }
    }
    theirs.as_object_mut().unwrap().remove("status");
    let metadata = theirs["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    metadata.retain(|_, value| !value.is_null());
    // kubectl adds this annotation to the manifest.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    for pod in [&mut own, &mut theirs] {
        sort(&mut pod["spec"], &["volumes"]);
    }
    (own, theirs)
}

/// Returns a pod's spec without differences between namespaces. The order of some lists depends on the order in which
/// controllers, admission plugins and profiles add to them.
pub(crate) fn spec(pod: &Value, profile: &str) -> Value {
    let text = pod["spec"].to_string();
    let mut spec = match text.find("kube-api-access-") {
        Some(at) => {
            serde_json::from_str(&text.replace(&text[at..at + "kube-api-access-00000".len()], "token"))
                .unwrap()
        }
        None => pod["spec"].clone(),
    };
    sort(&mut spec, &["volumes", "tolerations", "imagePullSecrets"]);
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            sort(container, &["volumeMounts"]);
            // The only unavoidable difference of an injected manifest. `inject` warns about it.
            if container["name"] == profile
                && let Some(env) = container["env"].as_array_mut()
            {
                env.retain(|variable| variable["name"] != "JOB_COMPLETION_INDEX");
                if env.is_empty() {
                    container.as_object_mut().unwrap().remove("env");
                }
            }
        }
    }
    spec
}

fn sort(parent: &mut Value, lists: &[&str]) {
    for list in lists {
        if let Some(items) = parent.get_mut(list).and_then(Value::as_array_mut) {
            items.sort_by_key(ToString::to_string);
        }
    }
}

/// Returns the fields that differ, with both values.
pub(crate) fn differences(one: &Value, other: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(one, other, "", &mut found);
    found
}

fn walk(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                walk(&one[name], &other[name], &format!("{path}.{name}"), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                walk(left, right, &format!("{path}[{index}]"), found);
            }
        }
        (one, other) if one != other => found.push(format!("{path}: {one} is not {other}")),
        _ => {}
    }
}
