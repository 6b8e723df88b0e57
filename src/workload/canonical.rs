//! Pod in the API server's form: decoded, with defaults, and serialized again.
//!
//! Source: Kubernetes v1.35.4, `pkg/apis/core/v1/defaults.go`, `conversion.go`, and the `omitempty` tags of `core/v1`.

use serde_json::{Value, json};

use super::json::{Fields, is_unset, object_in, objects_in, set_if_absent, text};
use super::resources::{canonical_map, fill_pod_level, quantity, request_limits};
use crate::fields::defaults::{self, CONTAINER, VOLUME};
use crate::fields::lists::{is_map, is_quantity, is_quantity_map};
use crate::json::Json;

/// Fields of a pod's spec with their defaults (`SetDefaults_PodSpec`, `SetDefaults_Pod`).
const SPEC: [(&str, &str); 3] =
    [("dnsPolicy", "ClusterFirst"), ("restartPolicy", "Always"), ("schedulerName", "default-scheduler")];

/// Decodes a pod like the API server, with or without the defaults of the pod-level resources.
pub(super) fn decode(pod: &mut Fields, fills_pod_level: bool) {
    clean(pod, "pod");
    let Some(spec) = object_in(pod, "spec") else { return };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in objects_in(spec, list) {
            fill(container, CONTAINER);
            let policy = defaults::pull_policy(text(container, "image").unwrap_or_default());
            set_if_absent(container, "imagePullPolicy", policy);
            fill_below(container, CONTAINER);
        }
    }
    for volume in objects_in(spec, "volumes") {
        if volume.keys().all(|field| field == "name") {
            fill(volume, VOLUME);
        }
        if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
            let policy = defaults::pull_policy(text(image, "reference").unwrap_or_default());
            set_if_absent(image, "pullPolicy", policy);
        }
        fill_below(volume, VOLUME);
    }
    request_limits(spec);
    if fills_pod_level {
        fill_pod_level(spec);
    }
    fill_spec(spec);
}

fn fill_spec(spec: &mut Fields) {
    for (name, default) in SPEC {
        set_if_absent(spec, name, default);
    }
    set_if_absent(spec, "securityContext", json!({}));
    set_if_absent(spec, "enableServiceLinks", true);
    // A negative period becomes the shortest one (`Convert_v1_Pod_To_core_Pod`).
    match spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64) {
        None => set_if_absent(spec, "terminationGracePeriodSeconds", 30),
        Some(period) if period < 0 => {
            spec.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
        }
        Some(_) => {}
    }
    // The deprecated field is used if the new one is not set.
    if let Some(account) = text(spec, "serviceAccountName").or(text(spec, "serviceAccount")) {
        let account = account.to_owned();
        spec.insert("serviceAccountName".to_owned(), account.clone().into());
        spec.insert("serviceAccount".to_owned(), account.into());
    }
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        for list in ["containers", "initContainers"] {
            for container in objects_in(spec, list) {
                for port in objects_in(container, "ports") {
                    if let Some(number) = port.get("containerPort").cloned() {
                        set_if_absent(port, "hostPort", number);
                    }
                }
            }
        }
    }
}

/// Sets the defaults of an object.
fn fill(fields: &mut Fields, of: &str) {
    for (name, default) in defaults::of(of) {
        let is_zero =
            default.is_number() && default.as_i64() != Some(0) && is_zero_number(fields.get(name), of);
        if is_zero || fields.get(name).is_none_or(is_unset) {
            fields.insert(name.to_owned(), default);
        }
    }
}

/// Checks for a zero in a probe: these numbers are not pointers, so a zero is the same as no value.
fn is_zero_number(value: Option<&Value>, of: &str) -> bool {
    of.ends_with("Probe") && value.and_then(Value::as_i64) == Some(0)
}

/// Sets the defaults of all nested objects, by the names of their fields.
fn fill_below(fields: &mut Fields, of: &str) {
    // A source of a projected volume has the mode of the volume.
    let is_projection =
        |name: &str| of == "sources" && matches!(name, "configMap" | "secret" | "downwardAPI");
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(inner) if !is_map(name) => {
                if !is_projection(name) {
                    fill(inner, name);
                }
                fill_below(inner, name);
            }
            Value::Array(items) => {
                for inner in items.iter_mut().filter_map(Value::as_object_mut) {
                    fill(inner, name);
                    fill_below(inner, name);
                }
            }
            _ => {}
        }
    }
}

/// Removes values that the API server omits, and writes quantities in their canonical form.
fn clean(fields: &mut Fields, of: &str) {
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(map) if is_quantity_map(name) || name == "overhead" => canonical_map(map),
            Value::Object(map) if is_map(name) => map.retain(|_, value| !value.is_null()),
            Value::Object(inner) => clean(inner, name),
            Value::Array(items) => {
                for inner in items.iter_mut().filter_map(Value::as_object_mut) {
                    clean(inner, name);
                }
            }
            _ if is_quantity(name) => {
                if let Some(quantity) = quantity(value) {
                    *value = quantity.to_string().into();
                }
            }
            _ => {}
        }
    }
    fields.retain(|name, value| !is_left_out(of, name, value));
}

fn is_left_out(of: &str, name: &str, value: &Value) -> bool {
    match (of, name, value) {
        // `readOnly` is a pointer only in this type.
        ("csi", "readOnly", Value::Bool(_))
        | (_, "resources", Value::Object(_))
        | ("pod", "metadata" | "spec", _) => false,
        (_, "hostNetwork" | "hostPID" | "hostIPC", Value::Bool(false)) => true,
        (_, "overhead", Value::Object(map)) => map.is_empty(),
        _ => defaults::is_left_out(name, &Json::from(value)),
    }
}
