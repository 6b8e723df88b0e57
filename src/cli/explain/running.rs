//! The result for a live pod: whether it has the injection that a new pod would get, and the cause if it has not.

use serde_json::Value;

use crate::api::{InjectionStatus, keys};
use crate::cli::changes::changes;
use crate::cli::manifests::Manifest;
use crate::cli::offline::Decided;
use crate::engine::{Outcome, Reason};

/// Maximum number of listed differences.
const MOST: usize = 10;

/// The result for a live pod.
pub(super) struct Running {
    /// First line, without the pod's name.
    pub(super) headline: String,
    /// Differences between a new pod and this one.
    pub(super) differences: Vec<String>,
    /// Command that replaces the pod by one with the current injection.
    pub(super) remedy: Option<String>,
}

/// Returns the result for a live pod that differs from a new one; `None` in all other cases.
pub(super) fn of(object: &Manifest, decided: &Decided) -> Option<Running> {
    let created = text(&object.object, "/metadata/creationTimestamp").filter(|_| object.kind() == "Pod")?;
    let status = object.object.pointer("/metadata/annotations").and_then(|all| all.get(keys::STATUS));
    let status: Option<InjectionStatus> =
        status.and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    let decision = &decided.decision;
    let remedy = Some(remedy(&object.object));
    match (status, decision.outcome) {
        (None, Outcome::Injected) => {
            let cause = cause(created, decided);
            let names = profiles(decision.profiles.iter().map(|profile| (&profile.name, &profile.revision)));
            let headline = format!("not injected: {cause}; a new pod would get {names}");
            Some(Running { headline, differences: Vec::new(), remedy })
        }
        (Some(was), Outcome::Injected) if !matches!(decision.reason, Reason::AlreadyInjected { .. }) => {
            let was = profiles(was.profiles.iter().map(|profile| (&profile.name, &profile.revision)));
            let now = profiles(decision.profiles.iter().map(|profile| (&profile.name, &profile.revision)));
            let headline = if was == now {
                format!("injected with {was}; a new pod would differ")
            } else {
                format!("injected with {was}; a new pod would get {now}")
            };
            Some(Running { headline, differences: differences(decided), remedy })
        }
        (Some(was), Outcome::Skipped) => {
            let was = profiles(was.profiles.iter().map(|profile| (&profile.name, &profile.revision)));
            let (reason, code) = (&decision.reason, decision.reason.code());
            let headline = format!("injected with {was}; a new pod would not be injected: {reason} [{code}]");
            Some(Running { headline, differences: Vec::new(), remedy })
        }
        _ => None,
    }
}

fn profiles<'a>(of: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let names: Vec<String> = of.map(|(name, revision)| format!("{name} (revision {revision})")).collect();
    names.join(", ")
}

/// Returns the cause for which a pod with this creation time is not injected. Times in RFC 3339 sort like their texts.
fn cause(created: &str, decided: &Decided) -> String {
    match decided.since.iter().find(|(_, since)| since.as_str() > created) {
        Some((what, since)) => format!("created {created}, before {what} ({since})"),
        None => format!(
            "created {created}, while no webhook was called, or before its namespace or profiles were as they are now"
        ),
    }
}

fn differences(decided: &Decided) -> Vec<String> {
    let changes = changes(&decided.submitted.pod, &decided.after);
    let is_ours = |path: &str| path == format!("metadata.annotations.{}", keys::STATUS);
    let mut all: Vec<String> = changes
        .iter()
        .filter(|change| !is_ours(&change.path))
        .map(|change| short(&change.to_string()))
        .collect();
    if all.len() > MOST {
        let more = all.len() - MOST;
        all.truncate(MOST);
        all.push(format!("and {more} more, which -o json has"));
    }
    all
}

/// Returns the command that replaces the pod.
fn remedy(pod: &Value) -> String {
    let owner = |field: &str| text(pod, &format!("/metadata/ownerReferences/0/{field}"));
    let name = owner("name").unwrap_or_default();
    let hash = text(pod, "/metadata/labels/pod-template-hash").map(|hash| format!("-{hash}"));
    match owner("kind") {
        Some("ReplicaSet") => match hash.and_then(|hash| name.strip_suffix(&hash).map(str::to_owned)) {
            Some(deployment) => format!("kubectl rollout restart deployment/{deployment}"),
            None => format!("delete the pod; ReplicaSet {name:?} creates it again"),
        },
        Some(kind @ ("StatefulSet" | "DaemonSet")) => {
            format!("kubectl rollout restart {}/{name}", kind.to_lowercase())
        }
        Some(kind) => format!("delete the pod; {kind} {name:?} creates it again if it has to"),
        None => "delete the pod and create it again".to_owned(),
    }
}

/// Returns a sentence, truncated to a maximum length.
fn short(sentence: &str) -> String {
    const LONGEST: usize = 160;
    match sentence.char_indices().nth(LONGEST) {
        Some((at, _)) => sentence.get(..at).unwrap_or_default().to_owned() + "…",
        None => sentence.to_owned(),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
