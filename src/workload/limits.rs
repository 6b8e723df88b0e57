//! Defaults that the plugin `LimitRanger` sets in containers.
//!
//! Source: Kubernetes v1.35.4, `plugin/pkg/admission/limitranger/admission.go`, and `SetDefaults_LimitRangeItem`.

use serde_json::{Value, json};

use super::json::{Fields, object_in, objects_in, text};
use super::resources::{add_absent, canonical_map};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Applies the defaults of a `LimitRange`, and records them in the pod's annotation.
pub(super) fn apply(pod: &mut Fields, range: &Value) {
    let (requests, limits) = defaults(range);
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    if let Some(spec) = object_in(pod, "spec") {
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            for container in objects_in(spec, list) {
                let name = text(container, "name").unwrap_or_default().to_owned();
                let Some(resources) = object_in(container, "resources") else { continue };
                let limited = add_absent(resources, "limits", &limits);
                let requested = add_absent(resources, "requests", &requests);
                for (mut added, of) in [(requested, "request"), (limited, "limit")] {
                    added.sort();
                    if !added.is_empty() {
                        notes.push(format!("{} {of} for {word} {name}", added.join(", ")));
                    }
                }
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    let annotations = object_in(pod, "metadata").and_then(|metadata| object_in(metadata, "annotations"));
    if let Some(annotations) = annotations {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        annotations.insert(ANNOTATION.to_owned(), json!(note));
    }
}

/// Returns the default requests and limits of a container.
fn defaults(range: &Value) -> (Fields, Fields) {
    let (mut requests, mut limits) = (Fields::new(), Fields::new());
    let items = range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    for item in items.filter(|item| item.get("type").and_then(Value::as_str) == Some("Container")) {
        let map = |name: &str| {
            let mut map = item.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            canonical_map(&mut map);
            map
        };
        let (mut request, mut limit) = (map("defaultRequest"), map("default"));
        add_to(&mut limit, map("max"));
        add_to(&mut request, limit.clone());
        add_to(&mut request, map("min"));
        requests.extend(request);
        limits.extend(limit);
    }
    (requests, limits)
}

fn add_to(map: &mut Fields, more: Fields) {
    for (resource, quantity) in more {
        map.entry(resource).or_insert(quantity);
    }
}
