//! Source: Kubernetes v1.37.2, `pkg/quota/v1/evaluator/core/pods.go`, and
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes>.

use serde_json::Value;

use super::{Excess, PodResources, bounds};
use crate::quantity::Quantity;
use crate::resources::{Qos, qos};
use crate::workload::json::text_at;

/// Returns the excess for which a `ResourceQuota` would reject one more pod. The number of pods is ignored: no profile changes
/// it.
pub(crate) fn quota(quota: &Value, spec: &Value) -> Vec<Excess> {
    let pod = PodResources::of(spec);
    if !scopes(quota).all(|scope| scope.selects(spec, &pod)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let name = text_at(quota, "/metadata/name").unwrap_or_default();
    let (requests, limits) = pod.totals();
    let used = quota.pointer("/status/used").unwrap_or(&Value::Null);
    for (key, hard) in quota.get("spec").map(|spec| bounds(spec, "hard")).unwrap_or_default() {
        let (word, resource) = match key.split_once('.') {
            Some(("limits", resource)) => ("limit", resource),
            Some(("requests", resource)) => ("request", resource),
            _ => ("request", key.as_str()),
        };
        if resource == "storage" || matches!(key.as_str(), "pods" | "count/pods") {
            continue;
        }
        // With pod-level resources, the containers' own are not required.
        let must_be_set = ["cpu", "memory"].contains(&resource) && pod.level.is_none();
        for container in pod.containers.iter().filter(|_| must_be_set) {
            let list = if word == "limit" { container.limits() } else { container.requests() };
            if list.get(resource).is_none() {
                let container = Some(container.name().to_owned());
                let message =
                    format!("there is no {word} of {resource}, which ResourceQuota {name:?} demands");
                found.push(Excess { container, message });
            }
        }
        let Some(total) = if word == "limit" { &limits } else { &requests }.get(resource) else { continue };
        let used = used.get(&key).and_then(super::quantity).unwrap_or(Quantity::ZERO);
        if !total.is_zero() && used.saturating_add(total) > hard {
            let message = format!(
                "{key} of the pod is {total}, and {used} of {hard} are used already by ResourceQuota {name:?}"
            );
            found.push(Excess { container: None, message });
        }
    }
    found
}

/// Condition under which a quota counts a pod.
struct QuotaScope<'a> {
    name: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

fn scopes(quota: &Value) -> impl Iterator<Item = QuotaScope<'_>> {
    let list = |pointer: &str| quota.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let plain = list("/spec/scopes").filter_map(Value::as_str);
    let plain = plain.map(|name| QuotaScope { name, operator: "Exists", values: Vec::new() });
    let selected = list("/spec/scopeSelector/matchExpressions").map(|expression| QuotaScope {
        name: text_at(expression, "/scopeName").unwrap_or_default(),
        operator: text_at(expression, "/operator").unwrap_or_default(),
        values: expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
    });
    plain.chain(selected)
}

impl QuotaScope<'_> {
    fn selects(&self, spec: &Value, pod: &PodResources) -> bool {
        let ends = || spec.get("activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|time| time >= 0);
        let is_best_effort = || qos(&pod.containers, pod.level.as_ref()) == Qos::BestEffort;
        match self.name {
            "Terminating" => ends(),
            "NotTerminating" => !ends(),
            "BestEffort" => is_best_effort(),
            "NotBestEffort" => !is_best_effort(),
            "PriorityClass" => self.selects_class(text_at(spec, "/priorityClassName").unwrap_or_default()),
            "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
            _ => false,
        }
    }

    fn selects_class(&self, class: &str) -> bool {
        let is_listed = self.values.contains(&class);
        match self.operator {
            "Exists" => !class.is_empty(),
            "DoesNotExist" => class.is_empty(),
            "In" => is_listed,
            "NotIn" => !is_listed,
            _ => false,
        }
    }
}

/// Checks whether a pod affinity or anti-affinity term reads pods of other namespaces.
fn reaches_other_namespaces(spec: &Value) -> bool {
    let reaches = |term: &Value| {
        let namespaces = term.get("namespaces").and_then(Value::as_array);
        namespaces.is_some_and(|names| !names.is_empty()) || term.get("namespaceSelector").is_some()
    };
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let list = |field: &str| {
            let affinity = spec.get("affinity").and_then(|affinity| affinity.get(kind));
            affinity.and_then(|affinity| affinity.get(field)?.as_array()).into_iter().flatten()
        };
        list("requiredDuringSchedulingIgnoredDuringExecution").any(reaches)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .filter_map(|weighted| weighted.get("podAffinityTerm"))
                .any(reaches)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(limited: &Value, spec: &Value) -> Vec<String> {
        quota(limited, spec).into_iter().map(|excess| excess.message).collect()
    }

    #[test]
    fn missing_requests_and_exceeded_quotas_are_reported() {
        let spec = json!({ "containers": [{ "name": "app", "resources": { "requests": { "cpu": "1" } } }] });
        let limited = json!({ "metadata": { "name": "team" }, "spec": { "hard": { "requests.cpu": "4", "limits.memory": "1Gi", "pods": "1" } },
            "status": { "used": { "requests.cpu": "3500m" } } });
        assert_eq!(
            messages(&limited, &spec),
            [
                "there is no limit of memory, which ResourceQuota \"team\" demands",
                "requests.cpu of the pod is 1, and 3500m of 4 are used already by ResourceQuota \"team\"",
            ]
        );
        let of_the_pod = json!({ "resources": { "requests": { "cpu": "1" } }, "containers": [{ "name": "app" }],
            "overhead": { "cpu": "250m" } });
        assert_eq!(
            messages(&limited, &of_the_pod),
            ["requests.cpu of the pod is 1250m, and 3500m of 4 are used already by ResourceQuota \"team\""]
        );
    }

    #[test]
    fn other_resources_count_only_if_requested() {
        let spec = json!({ "containers": [{ "name": "app", "resources": {
            "requests": { "ephemeral-storage": "2Gi", "example.com/gpu": "1" },
            "limits": { "example.com/gpu": "1" } } }] });
        let limited = json!({ "metadata": { "name": "team" }, "spec": { "hard": {
            "ephemeral-storage": "1Gi", "requests.example.com/gpu": "0", "requests.storage": "1", "limits.ephemeral-storage": "1",
        } } });
        let found = messages(&limited, &spec);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("ephemeral-storage of the pod is 2Gi"), "{found:?}");
        assert!(found[1].starts_with("requests.example.com/gpu of the pod is 1"), "{found:?}");
    }

    #[test]
    fn a_scoped_quota_counts_only_its_pods() {
        let counts = |scopes: Value, spec: Value| {
            let mut limited =
                json!({ "metadata": { "name": "q" }, "spec": { "hard": { "limits.cpu": "0" } } });
            limited["spec"].as_object_mut().unwrap().extend(scopes.as_object().unwrap().clone());
            let mut spec = spec;
            spec["containers"] = json!([{ "name": "app", "resources": spec["uses"] }]);
            !quota(&limited, &spec).is_empty()
        };
        let plain = |scope: &str| json!({ "scopes": [scope] });
        let class = |operator: &str, values: Value| {
            let expression = json!({ "scopeName": "PriorityClass", "operator": operator, "values": values });
            json!({ "scopeSelector": { "matchExpressions": [expression] } })
        };
        let ends = json!({ "activeDeadlineSeconds": 60 });
        let burstable = json!({ "uses": { "requests": { "cpu": "1" } } });
        let high = json!({ "priorityClassName": "high" });
        let affinity = json!({ "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution":
            [{ "weight": 1, "podAffinityTerm": { "topologyKey": "a", "namespaceSelector": {} } }] } } });
        for (scopes, selected, not) in [
            (plain("Terminating"), &ends, &burstable),
            (plain("NotTerminating"), &burstable, &ends),
            (plain("BestEffort"), &ends, &burstable),
            (plain("NotBestEffort"), &burstable, &ends),
            (plain("PriorityClass"), &high, &ends),
            (plain("CrossNamespacePodAffinity"), &affinity, &ends),
            (class("In", json!(["low", "high"])), &high, &ends),
            (class("NotIn", json!(["high"])), &ends, &high),
            (class("DoesNotExist", json!([])), &ends, &high),
        ] {
            assert!(counts(scopes.clone(), selected.clone()), "{scopes} selects {selected}");
            assert!(!counts(scopes.clone(), not.clone()), "{scopes} does not select {not}");
        }
    }
}
