//! Shape of a pod: the parts that a decision reads or changes have the right types. After this check, no access can fail.

use std::fmt;

use serde_json_borrow::ObjectAsVec;

use super::reason::Reason;
use crate::json::{Json, field, items, text};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Checks that a value has the shape of a pod, in the parts that decisions read.
///
/// # Errors
/// [`Reason::MalformedPod`] if a part that a decision reads has the wrong type.
pub(super) fn check(pod: &Json<'_>) -> Result<(), Reason> {
    if !pod.is_object() {
        return Err(malformed("object", "it must be an object"));
    }
    if let Some(metadata) = check_map("metadata", field(pod, "metadata"))? {
        for name in ["labels", "annotations"] {
            let map = check_map(format_args!("metadata.{name}"), field(metadata, name))?;
            let mut pairs = map.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::iter);
            if let Some((key, _)) = pairs.find(|(_, value)| !value.is_string()) {
                return Err(malformed(format_args!("metadata.{name}[{key}]"), "it must be a string"));
            }
        }
    }
    let spec = check_map("spec", field(pod, "spec"))?.ok_or_else(|| malformed("spec", "it is missing"))?;
    check_map("spec.securityContext", field(spec, "securityContext"))?;
    for list in CONTAINER_LISTS {
        for (index, container) in check_named_list(list, field(spec, list))?.iter().enumerate() {
            for name in ["env", "envFrom", "volumeMounts", "ports"] {
                let value = field(container, name);
                if !are_objects(value) {
                    return Err(malformed(format_args!("spec.{list}[{index}].{name}"), LIST_OF_OBJECTS));
                }
            }
        }
    }
    check_named_list("volumes", field(spec, "volumes"))?;
    for list in ["imagePullSecrets", "hostAliases", "tolerations", "readinessGates", "resourceClaims"] {
        check_objects(format_args!("spec.{list}"), field(spec, list))?;
    }
    if let Some(dns) = check_map("spec.dnsConfig", field(spec, "dnsConfig"))? {
        for name in ["nameservers", "searches", "options"] {
            if field(dns, name).is_some_and(|value| !value.is_array()) {
                return Err(malformed(format_args!("spec.dnsConfig.{name}"), "it must be a list"));
            }
        }
    }
    Ok(())
}

const LIST_OF_OBJECTS: &str = "it must be a list of objects";

fn malformed(field: impl fmt::Display, problem: &'static str) -> Reason {
    Reason::MalformedPod { field: field.to_string(), problem }
}

fn check_map<'a, 'b>(
    field: impl fmt::Display,
    value: Option<&'a Json<'b>>,
) -> Result<Option<&'a Json<'b>>, Reason> {
    match value {
        None | Some(Json::Object(_)) => Ok(value),
        Some(_) => Err(malformed(field, "it must be an object")),
    }
}

fn are_objects(value: Option<&Json<'_>>) -> bool {
    value.is_none_or(|value| value.as_array().is_some_and(|items| items.iter().all(Json::is_object)))
}

fn check_objects<'a, 'b>(
    field: impl fmt::Display,
    value: Option<&'a Json<'b>>,
) -> Result<&'a [Json<'b>], Reason> {
    if are_objects(value) { Ok(items(value)) } else { Err(malformed(field, LIST_OF_OBJECTS)) }
}

fn check_named_list<'a, 'b>(list: &str, value: Option<&'a Json<'b>>) -> Result<&'a [Json<'b>], Reason> {
    let items = check_objects(format_args!("spec.{list}"), value)?;
    if items.iter().all(|item| text(item, "name").is_some()) {
        Ok(items)
    } else {
        Err(malformed(format_args!("spec.{list}"), "every element needs a name"))
    }
}
