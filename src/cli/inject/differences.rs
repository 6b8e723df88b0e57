//! Differences between a pod of an injected manifest and the same pod injected by the webhook.
//!
//! A template has the same text for all its pods. Its pods pass through controllers and admission plugins after the injection,
//! and not before it. Mostly the resulting pods are equal; the differences are reported here.

use serde_json::Value;

use crate::cli::changes::changes;
use crate::cli::manifests::Manifest;
use crate::cli::offline::Decided;

/// Returns the differences, each with its code.
pub(super) fn of(manifest: &Manifest, decided: &Decided) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let varying = decided.another.iter().flat_map(|another| changes(&decided.injected, another)).next();
    if let Some(path) = varying.map(|change| change.path) {
        found.push(("GeneratedValue", format!(
            "{path} is computed from a value that is generated for each pod, and the manifest has a placeholder there; use a fieldRef in the profile, or leave this workload to the webhook"
        )));
    }
    if adds_pull_secrets(decided)
        && let Some(account) =
            decided.submitted.missing.iter().find(|missing| missing.kind == "ServiceAccount")
    {
        found.push(("PullSecretsUnknown", format!(
            "the profiles add imagePullSecrets, and a pod with any does not get those of its service account, which is not known ({account}); give the ServiceAccount with -f, or read it from a cluster"
        )));
    }
    let spec = if manifest.kind() == "CronJob" { "/spec/jobTemplate/spec" } else { "/spec" };
    let mode = manifest.object.pointer(&format!("{spec}/completionMode")).and_then(Value::as_str);
    if mode == Some("Indexed") && adds_containers(decided) {
        found.push((
            "CompletionIndexAdded",
            "the Job controller adds the variable JOB_COMPLETION_INDEX to the injected containers; it does not to containers that the webhook injects"
                .to_owned(),
        ));
    }
    found
}

fn adds_pull_secrets(decided: &Decided) -> bool {
    decided.decision.profiles.iter().any(|profile| profile.added.contains_key("imagePullSecrets"))
}

fn adds_containers(decided: &Decided) -> bool {
    let lists = ["initContainers", "containers"];
    decided.decision.profiles.iter().any(|profile| lists.iter().any(|list| profile.added.contains_key(*list)))
}
