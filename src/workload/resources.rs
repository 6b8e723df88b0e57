//! Quantities and resource requirements of a pod in the API server's form.

use serde_json::{Value, json};

use super::json::{Fields, object_in, objects_in, text};
use crate::quantity::Quantity;
use crate::resources::{ContainerDemand, ContainerRole, PodLevel, ResourceList};

/// Returns the quantity in a value; YAML and JSON may have numbers.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// Writes the quantities of a map like the API server: canonical, rounded up to thousandths. An invalid quantity is kept, and
/// the API server rejects it.
pub(super) fn canonical_map(map: &mut Fields) {
    for value in map.values_mut() {
        if let Some(quantity) = quantity(value) {
            *value = quantity.ceil_milli().to_string().into();
        }
    }
}

/// Sets missing requests to the limits (`SetDefaults_Pod`).
pub(super) fn request_limits(spec: &mut Fields) {
    for list in ["containers", "initContainers"] {
        for container in objects_in(spec, list) {
            if let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) {
                let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
                add_absent(resources, "requests", &limits);
            }
        }
    }
}

/// Adds the missing quantities to a map of requirements, and returns the resources that were added.
pub(super) fn add_absent(resources: &mut Fields, name: &str, more: &Fields) -> Vec<String> {
    let mut added = Vec::new();
    if more.is_empty() {
        return added;
    }
    let Some(map) = object_in(resources, name) else { return added };
    for (resource, quantity) in more {
        if !map.contains_key(resource) {
            map.insert(resource.clone(), quantity.clone());
            added.push(resource.clone());
        }
    }
    added
}

/// Sets missing pod-level resources from those of the containers.
pub(super) fn fill_pod_level(spec: &mut Fields) {
    let Some(level) = spec.get("resources").and_then(Value::as_object) else { return };
    let level =
        PodLevel::new(list(level, "requests"), list(level, "limits")).with_defaults(&containers(spec));
    let Some(resources) = object_in(spec, "resources") else { return };
    for (name, list) in [("limits", level.limits()), ("requests", level.requests())] {
        if !list.is_empty() {
            let map =
                list.iter().map(|(resource, quantity)| (resource.to_owned(), json!(quantity.to_string())));
            resources.insert(name.to_owned(), Value::Object(map.collect()));
        }
    }
}

/// Returns the pod-level resources, if there are any.
pub(super) fn level_of(spec: &Value) -> Option<PodLevel> {
    let level = spec.get("resources").and_then(Value::as_object)?;
    let (requests, limits) = (list(level, "requests"), list(level, "limits"));
    let is_set = !requests.is_empty() || !limits.is_empty();
    is_set.then(|| PodLevel::new(requests, limits))
}

/// Returns the quantities in a map of a spec.
pub(super) fn list_of(spec: &Value, name: &str) -> ResourceList {
    spec.as_object().map(|spec| list(spec, name)).unwrap_or_default()
}

/// Returns the containers of a spec in their start order.
pub(super) fn containers_of(spec: &Value) -> Vec<ContainerDemand> {
    spec.as_object().map(containers).unwrap_or_default()
}

fn containers(spec: &Fields) -> Vec<ContainerDemand> {
    let mut all = Vec::new();
    for name in ["initContainers", "containers"] {
        let objects = spec.get(name).and_then(Value::as_array).into_iter().flatten();
        for container in objects.filter_map(Value::as_object) {
            let kind = match (name, text(container, "restartPolicy")) {
                ("containers", _) => ContainerRole::App,
                (_, Some("Always")) => ContainerRole::NativeSidecar,
                _ => ContainerRole::Init,
            };
            let none = Fields::new();
            let resources = container.get("resources").and_then(Value::as_object).unwrap_or(&none);
            let name = text(container, "name").unwrap_or_default();
            all.push(ContainerDemand::new(
                name,
                kind,
                list(resources, "requests"),
                list(resources, "limits"),
            ));
        }
    }
    all
}

fn list(resources: &Fields, name: &str) -> ResourceList {
    let map = resources.get(name).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(resource, value)| Some((resource.as_str(), quantity(value)?))).collect()
}
