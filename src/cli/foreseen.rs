//! Refusals of a pod that follow from a namespace's own rules, as far as a profile causes them.

use serde_json::Value;

use crate::api::InjectedProfile;
use crate::cli::containers::containers;
use crate::engine::Namespace;
use crate::workload::bounds::{Excess, limit_range, quota};
use crate::workload::pod_security::{Level, violations};
use crate::workload::{Facts, settled};

/// Label of a namespace with the level of the Pod Security Standards that it enforces.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Returns the refusals that injected containers cause, each with its code.
pub(super) fn of(
    after: &Value,
    profiles: &[InjectedProfile],
    namespace: &Namespace,
    facts: &Facts,
) -> Vec<(&'static str, String)> {
    if profiles.is_empty() {
        return Vec::new();
    }
    let pod = settled(after, &namespace.name, facts);
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let all = containers(profiles, &pod);
    let profile_of = |name: &str| all.iter().find(|container| container.name == name)?.profile;
    let mut found = Vec::new();
    if let Some(level) = namespace.labels.get(ENFORCE).and_then(|level| level.parse::<Level>().ok()) {
        for violation in violations(level, spec) {
            let (owner, what) = if violation.list == "volumes" {
                let has = |profile: &&InjectedProfile| {
                    profile.added.get("volumes").is_some_and(|names| names.contains(&violation.name))
                };
                (profiles.iter().find(has).map(|profile| profile.name.as_str()), "volume")
            } else {
                (profile_of(&violation.name), "container")
            };
            let Some(owner) = owner else { continue };
            found.push((
                "PodSecurity",
                format!(
                    "{what} {:?} of profile {owner:?} violates the level {} that namespace {:?} enforces, so the pod is refused: {}",
                    violation.name,
                    level.as_str(),
                    namespace.name,
                    format!("{} {}", violation.field, violation.rule).trim()
                ),
            ));
        }
    }
    let mut report = |code, excess: Vec<Excess>| {
        for Excess { container, message } in excess {
            let cause = match &container {
                Some(name) => match profile_of(name) {
                    Some(profile) => format!("container {name:?} of profile {profile:?}: {message}"),
                    None => continue,
                },
                None => format!("with its profiles: {message}"),
            };
            found.push((code, format!("the pod is refused: {cause}")));
        }
    };
    for range in facts.of("LimitRange", &namespace.name) {
        report("LimitRange", limit_range(range, spec));
    }
    for limited in facts.of("ResourceQuota", &namespace.name) {
        report("ResourceQuota", quota(limited, spec));
    }
    found
}
