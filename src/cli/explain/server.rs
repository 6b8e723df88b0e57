//! The API server's answer to a dry run of a pod, compared with the decision.

use serde_json::Value;

use crate::cli::changes::changes;
use crate::cli::offline::Asked;
use crate::cli::offline::Decided;
use crate::engine::Outcome;

/// Metadata fields that the API server sets, or that differ in a dry run.
const GENERATED: [&str; 7] =
    ["name", "generateName", "uid", "creationTimestamp", "managedFields", "generation", "resourceVersion"];
const LIMIT_RANGER: &str = "kubernetes.io/limit-ranger";
const TOKEN_VOLUME: &str = "kube-api-access-";

/// Returns the API server's answer, one sentence per line; empty if there was no dry run.
pub(super) fn of(decided: &Decided) -> Vec<String> {
    let is_denied = decided.decision.outcome == Outcome::Denied;
    match &decided.asked {
        None => Vec::new(),
        Some(Asked::Refused(message)) if is_denied => {
            vec![format!("refuses the pod, as foreseen: {message}")]
        }
        Some(Asked::Refused(message)) => {
            vec![format!("refuses the pod, which the decision above does not foresee: {message}")]
        }
        Some(Asked::Admitted { .. }) if is_denied => {
            vec!["admits the pod, although the decision above is a denial: the webhook was not called, or has other profiles".to_owned()]
        }
        Some(Asked::Admitted { pod, foreseen }) => {
            let found = changes(&comparable(foreseen), &comparable(pod));
            if found.is_empty() {
                return vec!["admits the pod as foreseen".to_owned()];
            }
            let head = "admits the pod, but not as foreseen; other webhooks, other versions or other settings of the API server may be the cause";
            let lines = found.iter().map(ToString::to_string);
            [head.to_owned()].into_iter().chain(lines).collect()
        }
    }
}

/// Returns whether the API server's answer contradicts the decision.
pub(super) fn is_refused(decided: &Decided) -> bool {
    matches!(decided.asked, Some(Asked::Refused(_)))
}

/// Returns a pod without the fields that differ between pods of the same template.
fn comparable(pod: &Value) -> Value {
    let mut pod = without_token_names(pod);
    if let Some(fields) = pod.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !GENERATED.contains(&name.as_str()));
        // The plugin updates it for the injected containers.
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LIMIT_RANGER);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    pod
}

/// Removes the five random characters at the end of token volumes' names.
fn without_token_names(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(TOKEN_VOLUME) && text.len() == TOKEN_VOLUME.len() + 5 => {
            TOKEN_VOLUME.into()
        }
        Value::Array(items) => items.iter().map(without_token_names).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), without_token_names(value))).collect()
        }
        other => other.clone(),
    }
}
