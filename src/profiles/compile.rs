use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::finding::Findings;
use super::{AppContainers, Finding, Matching, Profile, Severity, Template};
use crate::api::{Enforcement, ProfileName, ProfileSpec, Scope};

/// What opens an expression. Only its place is kept so far: a profile that has one is refused.
const EXPRESSION: &str = "$[[";

/// Checks a profile and makes it ready for injection.
///
/// # Errors
/// Everything that is wrong with it, warnings included. A profile that is accepted comes with its warnings.
pub fn compile(
    name: &str,
    scope: Scope,
    spec: &ProfileSpec,
) -> Result<(Profile, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::default();
    let name = match name.parse::<ProfileName>() {
        Ok(name) => Some(name),
        Err(error) => {
            findings.error("metadata.name", error.to_string());
            None
        }
    };
    let template = Template::read(&spec.template, &mut findings);
    let app_containers: Vec<AppContainers> = spec
        .app_containers
        .iter()
        .enumerate()
        .map(|(index, item)| AppContainers::read(index, item, &template, &mut findings))
        .collect();
    let matching = spec.matching.as_ref().map(|matching| Matching::read(matching, &mut findings));
    report_unsupported(spec, &mut findings);
    report_order(name.as_ref(), spec, &mut findings);
    if template_is_empty(spec) {
        findings.warning("spec", "the profile injects nothing: template and appContainers are empty");
    }
    match name {
        Some(name) if !findings.has_errors() => {
            let profile = Profile {
                name,
                scope,
                revision: revision(spec),
                matching,
                template,
                app_containers,
                order: spec.order.clone(),
                host_network: spec.host_network,
                on_conflict: spec.on_conflict,
                on_error: spec.on_error,
            };
            Ok((profile, findings.into_vec()))
        }
        _ => Err(errors_first(findings.into_vec())),
    }
}

fn errors_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.severity != Severity::Error);
    findings
}

fn template_is_empty(spec: &ProfileSpec) -> bool {
    spec.template.is_empty() && spec.app_containers.is_empty()
}

/// What the schema takes and this version does not inject is refused: a profile never does less than it says.
fn report_unsupported(spec: &ProfileSpec, findings: &mut Findings) {
    let fields = [
        ("spec.parameters", !spec.parameters.is_empty()),
        (
            "spec.match.conditions",
            spec.matching.as_ref().is_some_and(|matching| !matching.conditions.is_empty()),
        ),
        ("spec.files", !spec.files.is_empty()),
        ("spec.requires", !spec.requires.is_empty()),
        ("spec.enforcement", spec.enforcement == Enforcement::Mandatory),
    ];
    for (path, _) in fields.iter().filter(|(_, used)| *used) {
        findings.error(*path, "this version of Outrigger does not support it yet; leave it out");
    }
    for (index, item) in spec.app_containers.iter().enumerate() {
        find_expressions(&format!("spec.appContainers[{index}]"), &Value::Object(item.clone()), findings);
    }
    find_expressions("spec.template", &Value::Object(spec.template.clone()), findings);
}

fn find_expressions(path: &str, value: &Value, findings: &mut Findings) {
    match value {
        Value::String(text) if text.contains(EXPRESSION) => findings.error(
            path,
            format!("this version of Outrigger does not support expressions ({EXPRESSION} … ]]) yet; write the value itself"),
        ),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_expressions(&format!("{path}[{index}]"), item, findings);
            }
        }
        Value::Object(map) => {
            for (field, inner) in map {
                find_expressions(&format!("{path}.{field}"), inner, findings);
            }
        }
        _ => {}
    }
}

fn report_order(name: Option<&ProfileName>, spec: &ProfileSpec, findings: &mut Findings) {
    for (field, others) in [("before", &spec.order.before), ("after", &spec.order.after)] {
        for (index, other) in others.iter().enumerate() {
            let path = format!("spec.order.{field}[{index}]");
            if let Err(error) = other.parse::<ProfileName>() {
                findings.error(path, error.to_string());
            } else if name.is_some_and(|name| name.as_str() == other) {
                findings.error(path, "a profile cannot stand before or after itself");
            }
        }
    }
}

/// A hash of the spec that does not depend on the order of keys: twelve hexadecimal digits.
fn revision(spec: &ProfileSpec) -> String {
    use std::fmt::Write as _;
    let mut hasher = Sha256::new();
    if let Ok(value) = serde_json::to_value(spec) {
        hash_value(&value, &mut hasher);
    }
    let mut text = String::with_capacity(12);
    for byte in hasher.finalize().iter().take(6) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hash_value(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Object(map) => {
            hasher.update(b"{");
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                hash_scalar(&Value::String(key.clone()), hasher);
                if let Some(inner) = map.get(key) {
                    hash_value(inner, hasher);
                }
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                hash_value(item, hasher);
            }
            hasher.update(b"]");
        }
        scalar => hash_scalar(scalar, hasher),
    }
}

fn hash_scalar(scalar: &Value, hasher: &mut Sha256) {
    hasher.update(scalar.to_string().as_bytes());
    hasher.update(b",");
}
