//! Rejections of a pod by its namespace's rules, if a profile causes them.

use serde_json::Value;

use super::bounds::{Excess, limit_range, quota};
use super::pod_security::{PodSecurityLevel, Violation, violations};
use super::{Container, Facts, containers, settled};
use crate::api::InjectedProfile;
use crate::engine::Namespace;

/// Label of a namespace with the level of the Pod Security Standards that it enforces.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Returns the rejections that the injection into a pod causes, each with its code.
pub(crate) fn foreseen(
    after: &Value,
    profiles: &[InjectedProfile],
    namespace: &Namespace,
    facts: &Facts,
) -> Vec<(&'static str, String)> {
    let level = namespace.labels.get(ENFORCE).and_then(|level| level.parse::<PodSecurityLevel>().ok());
    let name = namespace.name.as_str();
    let of = |kind| facts.of(kind, name);
    let is_bounded = of("LimitRange").next().is_some() || of("ResourceQuota").next().is_some();
    if profiles.is_empty() || (level.is_none() && !is_bounded) {
        return Vec::new();
    }
    let pod = settled(after, name, facts);
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let owners = Owners { profiles, containers: containers(profiles, &pod) };
    let mut found = Vec::new();
    if let Some(level) = level {
        let violations = violations(level, spec);
        let messages = violations.iter().filter_map(|violation| owners.violation(violation, level, name));
        found.extend(messages.map(|message| ("PodSecurity", message)));
    }
    let bounds = of("LimitRange").map(|range| ("LimitRange", limit_range(range, spec)));
    let quotas = of("ResourceQuota").map(|limited| ("ResourceQuota", quota(limited, spec)));
    for (code, excess) in bounds.chain(quotas) {
        found.extend(excess.iter().filter_map(|excess| Some((code, owners.excess(excess)?))));
    }
    found
}

/// Profiles with their elements in a pod.
struct Owners<'a> {
    profiles: &'a [InjectedProfile],
    containers: Vec<Container<'a>>,
}

impl Owners<'_> {
    fn of_container(&self, name: &str) -> Option<&str> {
        self.containers.iter().find(|container| container.name == name)?.profile
    }

    fn of_volume(&self, name: &str) -> Option<&str> {
        let has = |profile: &&InjectedProfile| {
            profile.added.get("volumes").is_some_and(|names| names.iter().any(|added| added == name))
        };
        self.profiles.iter().find(has).map(|profile| profile.name.as_str())
    }

    /// Returns the message for a violation of a level, if a profile causes it.
    fn violation(&self, violation: &Violation, level: PodSecurityLevel, namespace: &str) -> Option<String> {
        let name = &violation.name;
        let (what, owner) = match violation.list {
            "volumes" => ("volume", self.of_volume(name)?),
            _ => ("container", self.of_container(name)?),
        };
        let rule = format!("{} {}", violation.field, violation.rule);
        Some(format!(
            "{what} {name:?} of profile {owner:?} violates the level {} that namespace {namespace:?} enforces, so the pod is refused: {}",
            level.as_str(),
            rule.trim()
        ))
    }

    /// Returns the message for an excess, if a profile causes it.
    fn excess(&self, Excess { container, message }: &Excess) -> Option<String> {
        let cause = match container {
            Some(name) => format!("container {name:?} of profile {:?}: {message}", self.of_container(name)?),
            None => format!("with its profiles: {message}"),
        };
        Some(format!("the pod is refused: {cause}"))
    }
}
