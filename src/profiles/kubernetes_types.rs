//! Checks of a profile's parts against the Kubernetes API types.

use std::fmt;

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, HostAlias, LocalObjectReference, PodReadinessGate, PodResourceClaim,
    PodSpec, Toleration, Volume, VolumeMount,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::Findings;
use super::known_fields::unknown_fields;
use super::{Finding, Severity};
use crate::fields::lists::{is_quantity, is_quantity_map};
use crate::fields::{ContainerField, Map, Place, SpecList};
use crate::json::{Json, lent};
use crate::quantity::Quantity;
use crate::validation;

/// Message for a field that Kubernetes does not have.
pub(super) const NO_SUCH_FIELD: &str = "Kubernetes has no such field here";

/// Rest of the message if no known field is close.
const NEWER: &str = "in the version that this build knows, 1.37; it is injected as written, and an API server without the field drops it";

/// Checks whether an error is about a misspelled field, with the field at `path` as the suggestion.
pub(super) fn means(error: &Finding, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let is_beside = error.path.rsplit_once('.').is_some_and(|(other, _)| other == parent);
    is_beside && error.message.ends_with(&did_you_mean(name))
}

fn did_you_mean(name: &str) -> String {
    format!("{NO_SUCH_FIELD}; did you mean {name:?}?")
}

/// Checks whether a message reports a missing field.
pub(super) fn says_missing(message: &str) -> bool {
    message.contains("missing field")
}

/// Checks an element of a list in a pod's spec.
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

/// Checks the fields of a pod's spec other than its lists.
pub(super) fn check_spec(path: &str, spec: &Value, findings: &mut Findings) {
    check::<PodSpec>(path, spec, findings);
}

/// Checks an element of a container's list in `appContainers`.
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

/// Returns the first problem of a value at a place of the pod: of its types, or of the API server's validation. The path
/// begins inside the value.
pub(crate) fn problem_in(place: &Place, key: &str, value: &Json<'_>) -> Option<(String, String)> {
    let validation = || validation::problems(place, key, value).into_iter().next();
    type_problem(place, key, value).or_else(|| validation().map(|problem| (problem.path, problem.message)))
}

/// Returns the first problem of a value's types.
fn type_problem(place: &Place, key: &str, value: &Json<'_>) -> Option<(String, String)> {
    let object = |name, value| Json::Object(vec![(name, value)].into());
    let list = |name| (object(name, Json::Array(vec![lent(value)])), format!("{name}[0]"));
    let ((spec, around), is_container) = match place {
        Place::Spec(SpecList::InitContainers | SpecList::Containers) => return problem::<Container>(value),
        Place::Spec(SpecList::Volumes) => return problem::<Volume>(value),
        Place::Spec(field) => (list(field.name()), false),
        Place::Dns(field) => {
            let (dns, around) = list(field.name());
            ((object("dnsConfig", dns), format!("dnsConfig.{around}")), false)
        }
        Place::Container { field, .. } => (list(field.name()), true),
        Place::Map(Map::SecurityContext) => {
            let fields = object(key, lent(value));
            ((object("securityContext", fields), format!("securityContext.{key}")), false)
        }
        Place::Map(Map::Spec) => ((object(key, lent(value)), key.to_owned()), false),
        Place::Map(Map::Labels | Map::Annotations) => {
            let message = || format!("{value} is not a string; write string(…) around it");
            return (!value.is_string() && !value.is_null()).then(|| (String::new(), message()));
        }
    };
    let found = if is_container { problem::<Container>(&spec) } else { problem::<PodSpec>(&spec) };
    found.map(|(path, message)| {
        let inside = path.strip_prefix(&around).unwrap_or(&path).trim_start_matches('.').to_owned();
        (inside, message)
    })
}

fn problem<T: DeserializeOwned + Serialize>(value: &Json<'_>) -> Option<(String, String)> {
    let mut findings = Findings::default();
    report_values(&TypePath::Root(""), value, &mut findings);
    // Fast path: this runs for each pod, and problems are rare, so the paths are computed only after an error.
    if !findings.has_errors() && T::deserialize(value).is_ok_and(|typed| has_all_of(value, &typed)) {
        return None;
    }
    let mut findings = Findings::default();
    check::<T>("", &Value::from(value), &mut findings);
    let mut found = findings.into_vec().into_iter();
    found
        .find(|finding| finding.severity == Severity::Error)
        .map(|finding| (finding.path.trim_start_matches('.').to_owned(), finding.message))
}

/// Checks whether the type read everything in the value.
fn has_all_of(value: &Json<'_>, typed: &impl Serialize) -> bool {
    fn has(known: &Value, value: &Json<'_>) -> bool {
        match (value, known) {
            (Json::Object(fields), Value::Object(known)) => fields.iter().all(|(field, value)| {
                known.get(field).map_or_else(|| value.is_null(), |known| has(known, value))
            }),
            (Json::Array(items), Value::Array(known)) => {
                items.iter().zip(known).all(|(value, known)| has(known, value))
            }
            _ => true,
        }
    }
    serde_json::to_value(typed).is_ok_and(|known| has(&known, value))
}

fn check_container(path: &str, container: &Value, init: bool, findings: &mut Findings) {
    if let Some(image) = container.get("image").and_then(Value::as_str)
        && !image.is_empty()
        && !is_pinned(image)
    {
        findings.warning(
            format!("{path}.image"),
            format!("{image:?} has no tag, so it means whatever is the latest; pin a version"),
        );
    }
    let restart_policy = container.get("restartPolicy").and_then(Value::as_str);
    if restart_policy.is_some_and(|policy| !init || matches!(policy, "Never" | "OnFailure")) {
        let hint =
            if init { "" } else { "; a native sidecar is an init container with restartPolicy: Always" };
        findings.warning(
            format!("{path}.restartPolicy"),
            format!("this needs Kubernetes 1.35 or later: older API servers ignore or refuse it{hint}"),
        );
    }
}

fn check_volume(path: &str, volume: &Value, findings: &mut Findings) {
    if volume
        .as_object()
        .is_some_and(|fields| fields.iter().all(|(name, value)| name == "name" || value.is_null()))
    {
        findings.warning(path, "a volume has exactly one source, and this one has none: it becomes an emptyDir; write emptyDir: {}");
    }
}

fn is_pinned(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.contains(':') || last.contains('@')
}

/// Reports a wrong type, and unknown fields of `T`.
fn check<T: DeserializeOwned>(path: &str, value: &Value, findings: &mut Findings) {
    let mut normal = value.clone();
    quantities_as_text(&mut normal);
    if let Err(error) = serde_path_to_error::deserialize::<_, T>(&normal) {
        let field = error.path().to_string();
        let at = if field == "." { path.to_owned() } else { format!("{path}.{field}") };
        findings.error(at, error.inner().to_string());
    }
    report_values(&TypePath::Root(path), &Json::from(&normal), findings);
    unknown_fields::<T>(path, &normal, &mut |path, probably| match probably {
        Some(name) => findings.error(path, did_you_mean(name)),
        None => findings.warning(path, format!("{NO_SUCH_FIELD} {NEWER}")),
    });
}

/// TypePath that is formatted only for a finding.
enum TypePath<'p> {
    Root(&'p str),
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
}

impl fmt::Display for TypePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(path) => f.write_str(path),
            Self::Field(parent, field) => write!(f, "{parent}.{field}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reports maps of strings and numbers that have the right type, but that the API server does not accept.
fn report_values(path: &TypePath<'_>, value: &Json<'_>, findings: &mut Findings) {
    match value {
        Json::Object(fields) => {
            for (field, inner) in fields.iter() {
                report_value(&TypePath::Field(path, field), field, inner, findings);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                report_values(&TypePath::Item(path, index), item, findings);
            }
        }
        _ => {}
    }
}

fn report_value(path: &TypePath<'_>, field: &str, value: &Json<'_>, findings: &mut Findings) {
    match value {
        Json::Object(quantities) if is_quantity_map(field) => {
            for (name, quantity) in quantities.iter() {
                report_quantity(&TypePath::Field(path, name), quantity, findings);
            }
        }
        value if is_quantity(field) => report_quantity(path, value, findings),
        value => report_values(path, value, findings),
    }
}

fn report_quantity(path: &TypePath<'_>, value: &Json<'_>, findings: &mut Findings) {
    if let Some(Err(error)) = value.as_str().map(str::parse::<Quantity>) {
        findings.error(path.to_string(), error.to_string());
    }
}

/// Converts numbers to text in quantities: the API server accepts both, the Rust types only text.
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
