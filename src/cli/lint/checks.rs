//! The checks of `lint`, over all profiles of the given files.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::api::{ProfileSpec, Scope, keys, nearest};
use crate::cli::manifests::{Manifest, Manifests};
use crate::cluster::entry_of;
use crate::profiles::{
    Finding, ProfileEntry, ProfileSet, Relations, Severity, sample_template, unknown_fields,
};
use crate::workload::pod_security::{PodSecurityLevel, Violation, violations};
use crate::workload::{MisplacedKey, misplaced, pod_pointer};

/// The objects that were checked.
#[derive(Default)]
pub(super) struct Results {
    /// All profiles.
    pub(super) profiles: Vec<Checked>,
    /// The workloads with findings.
    pub(super) workloads: Vec<Checked>,
}

/// An object with its findings.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) findings: Vec<Finding>,
    /// Pod template for the API server to validate, if the profile is valid.
    pub(super) sample: Option<Value>,
}

/// Checks each profile, and then the profiles in combination.
///
/// # Errors
/// A text is not YAML, or has a document that is not an object.
pub(super) fn check(manifests: &Manifests) -> anyhow::Result<Results> {
    let mut set = ProfileSet::default();
    let (mut checked, mut workloads) = (Vec::new(), Vec::new());
    let mut known: BTreeMap<(Option<String>, String), Arc<str>> = BTreeMap::new();
    for manifest in manifests.objects() {
        let manifest = manifest?;
        let Some(scope) = scope(&manifest) else {
            workloads.extend(workload(manifest));
            continue;
        };
        let (namespace, name) = identity(&manifest, scope);
        let mut findings = Vec::new();
        outside_spec(&manifest.object, &mut findings);
        let compiled = compile(&manifest.object, &name, scope, &mut findings);
        let twin = known.insert((namespace.clone(), name.clone()), Arc::clone(&manifest.source));
        if let Some(other) = twin {
            findings.push(error(
                "metadata.name",
                format!("the same profile is also in {other}; only one of them can be applied"),
            ));
        }
        let sample = match &compiled {
            Some(ProfileEntry::Ready(profile)) => Some(sample_template(profile)),
            _ => None,
        };
        if let Some(entry) = compiled {
            set.insert(namespace.as_deref(), &name, entry);
        }
        checked.push((scope, Checked { manifest, findings, sample }));
    }
    let mut relations: BTreeMap<Option<String>, Relations<'_>> = BTreeMap::new();
    for (scope, Checked { manifest, findings, .. }) in &mut checked {
        let (namespace, name) = identity(manifest, *scope);
        if !relations.contains_key(&namespace) {
            let owner = set.all().map(|(owner, ..)| owner).find(|owner| *owner == namespace.as_deref());
            relations.insert(namespace.clone(), Relations::new(&set, owner.flatten()));
        }
        findings.extend(relations.get(&namespace).map(|relations| relations.of(&name)).unwrap_or_default());
    }
    Ok(Results { profiles: checked.into_iter().map(|(_, checked)| checked).collect(), workloads })
}

/// Checks a workload for labels and annotations of Outrigger that have no effect.
fn workload(manifest: Manifest) -> Option<Checked> {
    let pointer = pod_pointer(manifest.kind())?;
    let finding = |key: &MisplacedKey| Finding {
        severity: Severity::Warning,
        path: key.path(),
        message: key.to_string(),
    };
    let findings: Vec<Finding> = misplaced(&manifest.object, pointer).iter().map(finding).collect();
    (!findings.is_empty()).then_some(Checked { manifest, findings, sample: None })
}

/// Adds the fields that a level of the Pod Security Standards forbids. Values that are computed for each pod count as not set.
pub(super) fn pod_security(level: PodSecurityLevel, checked: &mut Checked) {
    let Some(spec) = checked.manifest.object.pointer("/spec/template/spec") else { return };
    let found = violations(level, spec).into_iter().map(|violation| {
        let Violation { list, index, name, field, rule } = violation;
        let what = if list == "volumes" { "volume" } else { "container" };
        let dot = if field.is_empty() { "" } else { ": " };
        error(
            format!("spec.template.spec.{list}[{index}]"),
            format!("{what} {name:?} violates the Pod Security level {}: {field}{dot}{rule}", level.as_str()),
        )
    });
    checked.findings.extend(found.collect::<Vec<_>>());
}

fn scope(manifest: &Manifest) -> Option<Scope> {
    let version = manifest.object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    match (version.split('/').next(), manifest.kind()) {
        (Some(keys::GROUP), "ClusterSidecarProfile") => Some(Scope::Cluster),
        (Some(keys::GROUP), "SidecarProfile") => Some(Scope::Namespace),
        _ => None,
    }
}

/// Returns the namespace, if the object has one, and the name. With `generateName`, the API server adds five characters.
fn identity(manifest: &Manifest, scope: Scope) -> (Option<String>, String) {
    let generated = manifest.object.pointer("/metadata/name").is_none()
        && manifest.object.pointer("/metadata/generateName").is_some();
    let name = format!("{}{}", manifest.name(), if generated { "xxxxx" } else { "" });
    let namespace = manifest.namespace().unwrap_or("default").to_owned();
    ((scope == Scope::Namespace).then_some(namespace), name)
}

/// Compiles a profile like the webhook.
fn compile(object: &Value, name: &str, scope: Scope, findings: &mut Vec<Finding>) -> Option<ProfileEntry> {
    let mut read: DynamicObject = match serde_path_to_error::deserialize(object) {
        Ok(read) => read,
        Err(wrong) => {
            findings.push(error(wrong.path().to_string(), wrong.inner().to_string()));
            return None;
        }
    };
    read.metadata.name = Some(name.to_owned());
    let (entry, found) = entry_of(&read, scope);
    findings.extend(found);
    Some(entry)
}

/// Adds errors that the API server's schema finds before it calls the webhook.
fn outside_spec(object: &Value, findings: &mut Vec<Finding>) {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != "outrigger.dev/v1alpha1" {
        findings.push(error("apiVersion", format!("there is no {version:?}; write outrigger.dev/v1alpha1")));
    }
    let mut unknown = |path: String, probably: Option<&str>| {
        let hint = probably.map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
        findings.push(error(path, format!("a profile has no such field{hint}")));
    };
    let fields = object.as_object().into_iter().flat_map(|fields| fields.keys());
    for field in fields.filter(|field| !FIELDS.contains(&field.as_str())) {
        unknown(field.clone(), nearest(field, FIELDS));
    }
    if let Some(metadata) = object.get("metadata") {
        unknown_fields::<ObjectMeta>("metadata", metadata, &mut unknown);
    }
    if let Some(spec) = object.get("spec") {
        unknown_fields::<ProfileSpec>("spec", spec, &mut unknown);
    }
}

fn error(path: impl Into<String>, message: String) -> Finding {
    Finding { severity: Severity::Error, path: path.into(), message }
}
