//! Bounds of a namespace on the resources of pods: `LimitRange` and `ResourceQuota`.
//!
//! Source: Kubernetes v1.35.4, `plugin/pkg/admission/limitranger` (`PodValidateLimitFunc`) and
//! `pkg/quota/v1/evaluator/core/pods.go`.

use serde_json::Value;

use super::json::text_at;
use super::resources::{containers_of, quantity};
use crate::quantity::Quantity;
use crate::resources::{ResourceList, effective_limits, effective_requests};

/// Bound that a pod does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Container that is out of bounds; `None` for the pod as a whole.
    pub(crate) container: Option<String>,
    /// Cause, with the value and the bound.
    pub(crate) message: String,
}

/// Returns the containers that are out of the bounds of a `LimitRange`.
pub(crate) fn limit_range(range: &Value, spec: &Value) -> Vec<Excess> {
    let mut found = Vec::new();
    let name = text_at(range, "/metadata/name").unwrap_or_default();
    let items = range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    for item in items.filter(|item| text_at(item, "/type") == Some("Container")) {
        for container in containers_of(spec) {
            let mut report = |message: String| {
                let container = Some(container.name().to_owned());
                found.push(Excess { container, message: format!("{message} of LimitRange {name:?}") });
            };
            for (resource, most) in bounds(item, "max") {
                for (word, value) in [
                    ("limit", container.limits().get(&resource)),
                    ("request", container.requests().get(&resource)),
                ] {
                    match value {
                        Some(value) if value > most => {
                            report(format!("the {word} of {resource} {value} is above the maximum {most}"));
                        }
                        None if word == "limit" => {
                            report(format!("there is no limit of {resource}, beside the maximum {most}"));
                        }
                        _ => {}
                    }
                }
            }
            for (resource, least) in bounds(item, "min") {
                for (word, value) in [
                    ("limit", container.limits().get(&resource)),
                    ("request", container.requests().get(&resource)),
                ] {
                    match value {
                        Some(value) if value < least => {
                            report(format!("the {word} of {resource} {value} is below the minimum {least}"));
                        }
                        None if word == "request" => {
                            report(format!("there is no request of {resource}, beside the minimum {least}"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn bounds(item: &Value, name: &str) -> Vec<(String, Quantity)> {
    let map = item.get(name).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(resource, value)| Some((resource.clone(), quantity(value)?))).collect()
}

/// Returns what a `ResourceQuota` would refuse of one more pod. Quotas with scopes are left out: whether they count a pod is
/// the API server's to say.
pub(crate) fn quota(quota: &Value, spec: &Value) -> Vec<Excess> {
    let mut found = Vec::new();
    if quota.pointer("/spec/scopes").is_some() || quota.pointer("/spec/scopeSelector").is_some() {
        return found;
    }
    let name = text_at(quota, "/metadata/name").unwrap_or_default();
    let containers = containers_of(spec);
    let none = ResourceList::new();
    let (requests, limits) =
        (effective_requests(&containers, None, &none), effective_limits(&containers, None, &none));
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in hard {
        let (word, resource) = match key.split_once('.') {
            Some(("limits", resource)) => ("limit", resource),
            Some(("requests", resource)) => ("request", resource),
            _ => ("request", key.as_str()),
        };
        let Some(hard) = quantity(value).filter(|_| ["cpu", "memory"].contains(&resource)) else { continue };
        for container in &containers {
            let list = if word == "limit" { container.limits() } else { container.requests() };
            if list.get(resource).is_none() {
                let container = Some(container.name().to_owned());
                let message =
                    format!("there is no {word} of {resource}, which ResourceQuota {name:?} demands");
                found.push(Excess { container, message });
            }
        }
        let total = if word == "limit" { &limits } else { &requests }.get(resource).unwrap_or(Quantity::ZERO);
        let used = quota.pointer("/status/used").and_then(|used| used.get(key)).and_then(quantity);
        let used = used.unwrap_or(Quantity::ZERO);
        if used.saturating_add(total) > hard {
            let message = format!(
                "{key} of the pod is {total}, and {used} of {hard} are used already by ResourceQuota {name:?}"
            );
            found.push(Excess { container: None, message });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_out_of_bounds_are_named() {
        let spec = json!({ "initContainers": [{ "name": "side", "restartPolicy": "Always", "resources": {
            "requests": { "cpu": "5m" }, "limits": { "memory": "2Gi" } } }] });
        let range = json!({ "metadata": { "name": "usual" }, "spec": { "limits": [
            { "type": "Container", "max": { "memory": "1Gi", "cpu": "1" }, "min": { "cpu": "10m" } },
        ] } });
        let found: Vec<String> =
            limit_range(&range, &spec).into_iter().map(|excess| excess.message).collect();
        assert_eq!(
            found,
            [
                "there is no limit of cpu, beside the maximum 1 of LimitRange \"usual\"",
                "the limit of memory 2Gi is above the maximum 1Gi of LimitRange \"usual\"",
                "the request of memory 2Gi is above the maximum 1Gi of LimitRange \"usual\"",
                "the request of cpu 5m is below the minimum 10m of LimitRange \"usual\"",
            ]
        );
    }

    #[test]
    fn a_quota_demands_requests_and_has_a_rest() {
        let spec = json!({ "containers": [{ "name": "app", "resources": { "requests": { "cpu": "1" } } }] });
        let limited = json!({ "metadata": { "name": "team" }, "spec": { "hard": { "requests.cpu": "4", "limits.memory": "1Gi", "pods": "1" } },
            "status": { "used": { "requests.cpu": "3500m" } } });
        let found: Vec<String> = quota(&limited, &spec).into_iter().map(|excess| excess.message).collect();
        assert_eq!(
            found,
            [
                "there is no limit of memory, which ResourceQuota \"team\" demands",
                "requests.cpu of the pod is 1, and 3500m of 4 are used already by ResourceQuota \"team\"",
            ]
        );
    }
}
