//! Checks of a profile's parts against Kubernetes' own types.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, HostAlias, LocalObjectReference, PodReadinessGate, PodResourceClaim,
    PodSpec, Toleration, Volume, VolumeMount,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::Findings;
use crate::fields::lists::is_quantity_map;
use crate::fields::{ContainerField, SpecList};

/// Fields of an init container that Kubernetes allows only with `restartPolicy: Always`.
const SIDECAR_ONLY: [&str; 4] = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

/// Checks an element of one of the lists of a pod's spec.
pub(super) fn check_element(path: &str, list: SpecList, element: &Value, findings: &mut Findings) {
    match list {
        SpecList::InitContainers | SpecList::Containers => {
            check::<Container>(path, element, findings);
            check_container(path, element, list == SpecList::InitContainers, findings);
        }
        SpecList::Volumes => {
            check::<Volume>(path, element, findings);
            check_volume(path, element, findings);
        }
        SpecList::ImagePullSecrets => check::<LocalObjectReference>(path, element, findings),
        SpecList::HostAliases => check::<HostAlias>(path, element, findings),
        SpecList::Tolerations => check::<Toleration>(path, element, findings),
        SpecList::ReadinessGates => check::<PodReadinessGate>(path, element, findings),
        SpecList::ResourceClaims => check::<PodResourceClaim>(path, element, findings),
    }
}

/// Checks what a pod's spec has besides its lists.
pub(super) fn check_spec(path: &str, spec: &Value, findings: &mut Findings) {
    check::<PodSpec>(path, spec, findings);
}

/// Checks an element of one of a container's lists, as it stands in `appContainers`.
pub(super) fn check_container_field(
    path: &str,
    field: ContainerField,
    element: &Value,
    findings: &mut Findings,
) {
    match field {
        ContainerField::Env => check::<EnvVar>(path, element, findings),
        ContainerField::EnvFrom => check::<EnvFromSource>(path, element, findings),
        ContainerField::VolumeMounts => check::<VolumeMount>(path, element, findings),
    }
}

/// The first thing that Kubernetes' own types say against a container; its path begins inside it.
pub fn container_problem(container: &Value) -> Option<(String, String)> {
    problem::<Container>(container)
}

/// The first thing that Kubernetes' own types say against a volume.
pub fn volume_problem(volume: &Value) -> Option<(String, String)> {
    problem::<Volume>(volume)
}

fn problem<T: DeserializeOwned + Serialize>(value: &Value) -> Option<(String, String)> {
    // Nearly always there is none; only a message needs to know where it is.
    if T::deserialize(value)
        .is_ok_and(|typed| serde_json::to_value(typed).is_ok_and(|known| has(&known, value)))
    {
        return None;
    }
    let mut findings = Findings::default();
    check::<T>("", value, &mut findings);
    findings
        .into_vec()
        .into_iter()
        .next()
        .map(|finding| (finding.path.trim_start_matches('.').to_owned(), finding.message))
}

fn check_container(path: &str, container: &Value, init: bool, findings: &mut Findings) {
    match container.get("image").and_then(Value::as_str) {
        None | Some("") => findings.error(format!("{path}.image"), "a container needs an image"),
        Some(image) if !is_pinned(image) => findings.warning(
            format!("{path}.image"),
            format!("{image:?} has no tag, so it means whatever is the latest; pin a version"),
        ),
        Some(_) => {}
    }
    let restart_policy = container.get("restartPolicy").and_then(Value::as_str);
    if !init {
        if restart_policy.is_some() {
            findings.error(
                format!("{path}.restartPolicy"),
                "only init containers have one; a native sidecar is an init container with restartPolicy: Always",
            );
        }
        return;
    }
    match restart_policy {
        Some("Always") => {}
        Some(other) => findings.error(
            format!("{path}.restartPolicy"),
            format!("{other:?} is not supported for an init container; leave it out, or write Always for a native sidecar"),
        ),
        None => {
            for field in SIDECAR_ONLY.iter().filter(|field| container.get(**field).is_some()) {
                findings.error(
                    format!("{path}.{field}"),
                    "an init container has this only as a native sidecar: add restartPolicy: Always",
                );
            }
        }
    }
}

fn check_volume(path: &str, volume: &Value, findings: &mut Findings) {
    let sources = volume.as_object().map_or(0, |map| map.len().saturating_sub(1));
    if sources != 1 {
        findings.error(
            path,
            format!("a volume has exactly one source, such as emptyDir: {{}}; this one has {sources}"),
        );
    }
}

fn is_pinned(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.contains(':') || last.contains('@')
}

/// Reports a wrong type, or the fields that `T` does not have.
fn check<T: DeserializeOwned + Serialize>(path: &str, value: &Value, findings: &mut Findings) {
    let mut normal = value.clone();
    quantities_as_text(&mut normal);
    match serde_path_to_error::deserialize::<_, T>(&normal) {
        Err(error) => {
            let field = error.path().to_string();
            let at = if field == "." { path.to_owned() } else { format!("{path}.{field}") };
            findings.error(at, error.inner().to_string());
        }
        Ok(typed) => {
            if let Ok(known) = serde_json::to_value(typed) {
                report_unknown(path, &normal, &known, findings);
            }
        }
    }
}

/// What a typed round trip lost is what the type does not have.
fn report_unknown(path: &str, given: &Value, known: &Value, findings: &mut Findings) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (field, value) in given {
                match known.get(field) {
                    Some(inner) => report_unknown(&format!("{path}.{field}"), value, inner, findings),
                    None if value.is_null() => {}
                    None => findings.error(format!("{path}.{field}"), "Kubernetes has no such field here"),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (value, inner)) in given.iter().zip(known).enumerate() {
                report_unknown(&format!("{path}[{index}]"), value, inner, findings);
            }
        }
        _ => {}
    }
}

/// Whether a typed round trip lost nothing.
fn has(known: &Value, given: &Value) -> bool {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            given.iter().all(|(field, value)| match known.get(field) {
                Some(inner) => has(inner, value),
                None => value.is_null(),
            })
        }
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).all(|(value, inner)| has(inner, value))
        }
        _ => true,
    }
}

/// The API server takes a number where it wants a quantity; Kubernetes' types in Rust take only text.
fn quantities_as_text(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (field, inner) in map {
                match inner {
                    Value::Object(quantities) if is_quantity_map(field) => {
                        for quantity in quantities.values_mut().filter(|quantity| quantity.is_number()) {
                            *quantity = Value::String(quantity.to_string());
                        }
                    }
                    _ => quantities_as_text(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_as_text),
        _ => {}
    }
}
