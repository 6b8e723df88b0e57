//! Variables and their sources: `ValidateEnv` and `ValidateEnvFrom`.

use super::names::{self, is_config_key, is_subdomain, is_variable_name};
use super::node::{FieldNode, Report, quoted};
use crate::api::is_dns_label;
use crate::quantity::Quantity;

/// Fields of a pod that a variable can reference.
const FIELDS_OF_VARIABLES: [&str; 10] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.host",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that a file can reference.
pub(super) const FIELDS_OF_FILES: [&str; 5] =
    ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"];

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";
const DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn variable(variable: FieldNode<'_, '_>, report: &mut Report) {
    let name = variable.text("name");
    if name.is_empty() {
        report.field(variable, "name", "is required; name the variable");
    } else if !is_variable_name(name) {
        report.field(variable, "name", format_args!("{} {}", quoted(name), names::VARIABLE));
    }
    let has_value = !variable.text("value").is_empty();
    variable.with("valueFrom", |from| {
        let sources = from.sources(&[]);
        match sources.as_slice() {
            [] => report.invalid(
                from,
                "has no source; set fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef or fileKeyRef",
            ),
            _ if has_value => {
                report.relation_in(variable, from, "cannot stand beside value; keep one of the two");
            }
            [_] => {}
            several => {
                let message = format_args!("has several sources, {}; keep one", several.join(" and "));
                report.invalid(from, message);
            }
        }
        from.with("fieldRef", |field| field_ref(field, &FIELDS_OF_VARIABLES, report));
        from.with("resourceFieldRef", |field| resource_ref(field, false, report));
        for source in ["configMapKeyRef", "secretKeyRef"] {
            from.with(source, |key| key_ref(key, report));
        }
        from.with("fileKeyRef", |file| file_ref(file, report));
    });
}

/// Checks an element of `envFrom`.
pub(super) fn source(source: FieldNode<'_, '_>, report: &mut Report) {
    let prefix = source.text("prefix");
    if !prefix.is_empty() && !is_variable_name(prefix) {
        report.field(source, "prefix", format_args!("{} {}", quoted(prefix), names::VARIABLE));
    }
    match source.sources(&["prefix"]).as_slice() {
        [] => report.invalid(source, "has no source; set configMapRef or secretRef"),
        [_] => {}
        several => {
            report.invalid(source, format_args!("has several sources, {}; keep one", several.join(" and ")));
        }
    }
    for kind in ["configMapRef", "secretRef"] {
        source.with(kind, |reference| {
            // The name may be a prefix, like `generateName`.
            let name = reference.text("name");
            let rest = name.strip_suffix('-').filter(|rest| !rest.is_empty()).unwrap_or(name);
            report.require(reference, &["name"]);
            if !name.is_empty() && !is_subdomain(&format!("{rest}a")) {
                report.field(reference, "name", format_args!("{} {}", quoted(name), names::SUBDOMAIN));
            }
        });
    }
}

/// Checks by `validateObjectFieldSelector`.
pub(super) fn field_ref(field: FieldNode<'_, '_>, allowed: &[&str], report: &mut Report) {
    let version = field.text("apiVersion");
    if !version.is_empty() && version != "v1" {
        report.field(field, "apiVersion", format_args!("{} is not supported; write v1", quoted(version)));
        return;
    }
    report.require(field, &["fieldPath"]);
    let path = field.text("fieldPath");
    let subscript =
        path.strip_suffix("']").and_then(|path| path.split_once("['")).filter(|(map, _)| !map.is_empty());
    match subscript {
        Some(("metadata.annotations", key)) if names::is_qualified_name(&key.to_ascii_lowercase()) => {}
        Some(("metadata.labels", key)) if names::is_qualified_name(key) => {}
        Some(("metadata.annotations" | "metadata.labels", key)) => {
            report.field(field, "fieldPath", format_args!("{} {}", quoted(key), names::QUALIFIED));
        }
        Some(_) => report.field(
            field,
            "fieldPath",
            format_args!("{}: only metadata.labels and metadata.annotations have keys", quoted(path)),
        ),
        None if path.is_empty() || allowed.contains(&path) => {}
        None => report.field(
            field,
            "fieldPath",
            format_args!("{} cannot be read here; write one of {}", quoted(path), allowed.join(", ")),
        ),
    }
}

/// Checks by `validateContainerResourceFieldSelector`. A file must name the container.
pub(super) fn resource_ref(field: FieldNode<'_, '_>, of_file: bool, report: &mut Report) {
    if of_file {
        report.require(field, &["containerName"]);
    }
    report.require(field, &["resource"]);
    let resource = field.text("resource");
    let name = resource.strip_prefix("limits.").or_else(|| resource.strip_prefix("requests."));
    if !resource.is_empty()
        && !name.is_some_and(|name| RESOURCES.contains(&name) || name.starts_with(HUGE_PAGES))
    {
        let message = format_args!(
            "{} cannot be read here; write limits. or requests. and cpu, memory, ephemeral-storage or hugepages-…",
            quoted(resource)
        );
        report.field(field, "resource", message);
    }
    let Some(divisor) = field.get("divisor").and_then(super::resources::quantity) else { return };
    let allowed: &[&str] = if name == Some("cpu") { &["1", "1m"] } else { &DIVISORS };
    let is_allowed = |one: &&str| one.parse::<Quantity>().is_ok_and(|one| one.nanos() == divisor.nanos());
    if !divisor.is_zero() && name.is_some() && !allowed.iter().any(is_allowed) {
        let message = format_args!("{divisor} is not supported; write one of {}", allowed.join(", "));
        report.relation(field, "divisor", message);
    }
}

fn key_ref(key: FieldNode<'_, '_>, report: &mut Report) {
    let name = key.text("name");
    if !is_subdomain(name) {
        report.field(key, "name", format_args!("{} {}", quoted(name), names::SUBDOMAIN));
    }
    report.require(key, &["key"]);
    let text = key.text("key");
    if !text.is_empty() && !is_config_key(text) {
        report.field(key, "key", format_args!("{} {}", quoted(text), names::CONFIG_KEY));
    }
}

fn file_ref(file: FieldNode<'_, '_>, report: &mut Report) {
    report.require(file, &["key", "volumeName", "path"]);
    let [key, volume, path] = ["key", "volumeName", "path"].map(|name| file.text(name));
    if !key.is_empty() && !is_variable_name(key) {
        report.field(file, "key", format_args!("{} {}", quoted(key), names::VARIABLE));
    }
    if !volume.is_empty() && !is_dns_label(volume) {
        report.field(file, "volumeName", format_args!("{} {}", quoted(volume), names::DNS_LABEL));
    }
    if names::has_backstep(path) {
        report.field(file, "path", format_args!("{} {}", quoted(path), names::RELATIVE_PATH));
    }
}
