//! Source: Kubernetes v1.37.2, `plugin/pkg/admission/limitranger/admission.go` (`PodValidateLimitFunc`).

use serde_json::Value;

use super::{Excess, PodResources, bounds};
use crate::quantity::Quantity;
use crate::resources::ResourceList;
use crate::workload::json::text_at;

/// Requests and limits of a container or of a pod.
struct LimitRangeRequirements<'a> {
    requests: &'a ResourceList,
    limits: &'a ResourceList,
}

/// Returns the containers that exceed the bounds of a `LimitRange`, and the pod if it does as a whole.
pub(crate) fn limit_range(range: &Value, spec: &Value) -> Vec<Excess> {
    let mut found = Vec::new();
    let name = text_at(range, "/metadata/name").unwrap_or_default();
    // The plugin ignores the overhead.
    let pod = PodResources { overhead: ResourceList::new(), ..PodResources::of(spec) };
    let items = range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    for item in items {
        let mut check = |container: Option<&str>, requirements: LimitRangeRequirements<'_>| {
            for problem in requirements.problems(item) {
                let container = container.map(str::to_owned);
                found.push(Excess { container, message: format!("{problem} of LimitRange {name:?}") });
            }
        };
        match text_at(item, "/type") {
            Some("Container") => {
                for container in &pod.containers {
                    let (requests, limits) = (container.requests(), container.limits());
                    check(Some(container.name()), LimitRangeRequirements { requests, limits });
                }
            }
            Some("Pod") => {
                let (requests, limits) = pod.totals();
                check(None, LimitRangeRequirements { requests: &requests, limits: &limits });
            }
            _ => {}
        }
    }
    found
}

impl LimitRangeRequirements<'_> {
    fn problems(&self, item: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        let of = |resource: &str| (self.requests.get(resource), self.limits.get(resource));
        for (resource, most) in bounds(item, "max") {
            let (request, limit) = of(&resource);
            for (word, value) in [("limit", limit), ("request", request)] {
                match value {
                    Some(value) if value > most => {
                        problems
                            .push(format!("the {word} of {resource} {value} is above the maximum {most}"));
                    }
                    None if word == "limit" => {
                        problems.push(format!("there is no limit of {resource}, beside the maximum {most}"));
                    }
                    _ => {}
                }
            }
        }
        for (resource, least) in bounds(item, "min") {
            let (request, limit) = of(&resource);
            for (word, value) in [("limit", limit), ("request", request)] {
                match value {
                    Some(value) if value < least => {
                        problems
                            .push(format!("the {word} of {resource} {value} is below the minimum {least}"));
                    }
                    None if word == "request" => {
                        problems
                            .push(format!("there is no request of {resource}, beside the minimum {least}"));
                    }
                    _ => {}
                }
            }
        }
        for (resource, most) in bounds(item, "maxLimitRequestRatio") {
            let (request, limit) = of(&resource);
            problems.extend(ratio(&resource, request, limit, most));
        }
        problems
    }
}

/// Returns the reason for which the ratio of a limit to its request is not allowed.
fn ratio(
    resource: &str,
    request: Option<Quantity>,
    limit: Option<Quantity>,
    most: Quantity,
) -> Option<String> {
    let set = |value: Option<Quantity>| value.filter(|value| !value.is_zero());
    let Some((request, limit)) = set(request).zip(set(limit)) else {
        return Some(format!(
            "there is no request or no limit of {resource}, beside the greatest ratio {most} of the two"
        ));
    };
    let greatest = request.checked_mul_ratio(most.nanos(), Quantity::from_integer(1).nanos());
    let is_above = greatest.is_some_and(|greatest| limit > greatest);
    is_above.then(|| {
        format!("the limit of {resource} {limit} is more than {most} times the request {request}, the greatest ratio")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(range: &Value, spec: &Value) -> Vec<String> {
        let name = |excess: Excess| format!("{}: {}", excess.container.unwrap_or_default(), excess.message);
        limit_range(range, spec).into_iter().map(name).collect()
    }

    #[test]
    fn containers_outside_the_bounds_are_reported() {
        let spec = json!({ "initContainers": [{ "name": "side", "restartPolicy": "Always", "resources": {
            "requests": { "cpu": "5m" }, "limits": { "memory": "2Gi" } } }] });
        let range = json!({ "metadata": { "name": "usual" }, "spec": { "limits": [
            { "type": "Container", "max": { "memory": "1Gi", "cpu": "1" }, "min": { "cpu": "10m" } },
        ] } });
        assert_eq!(
            messages(&range, &spec),
            [
                "side: there is no limit of cpu, beside the maximum 1 of LimitRange \"usual\"",
                "side: the limit of memory 2Gi is above the maximum 1Gi of LimitRange \"usual\"",
                "side: the request of memory 2Gi is above the maximum 1Gi of LimitRange \"usual\"",
                "side: the request of cpu 5m is below the minimum 10m of LimitRange \"usual\"",
            ]
        );
    }

    #[test]
    fn ratios_and_pod_totals_are_checked() {
        let with = |name: &str, request: &str, limit: &str| {
            json!({ "name": name, "restartPolicy": "Always",
                "resources": { "requests": { "cpu": request }, "limits": { "cpu": limit } } })
        };
        let spec = json!({
            "initContainers": [with("side", "100m", "500m")],
            "containers": [with("app", "400m", "800m")], "overhead": { "cpu": "1" },
        });
        let range = |kind: &str, bound: Value| {
            let mut item = bound;
            item["type"] = kind.into();
            json!({ "metadata": { "name": "r" }, "spec": { "limits": [item] } })
        };
        assert_eq!(
            messages(&range("Container", json!({ "maxLimitRequestRatio": { "cpu": "2500m" } })), &spec),
            [
                "side: the limit of cpu 500m is more than 2500m times the request 100m, the greatest ratio of LimitRange \"r\""
            ]
        );
        assert_eq!(
            messages(&range("Pod", json!({ "max": { "cpu": "1" } })), &spec),
            [": the limit of cpu 1300m is above the maximum 1 of LimitRange \"r\""]
        );
        let unset = range("Pod", json!({ "maxLimitRequestRatio": { "memory": "2" } }));
        assert!(messages(&unset, &spec)[0].contains("there is no request or no limit of memory"));
    }
}
