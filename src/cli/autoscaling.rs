//! Horizontal pod autoscalers that an injection breaks. A utilization is a share of the requests, so the controller reports an
//! error if a container of the pod has no request.

use std::fmt;

use serde_json::Value;

use super::manifests::Manifest;
use crate::api::InjectedProfile;
use crate::workload::{Role, containers};

/// A horizontal pod autoscaler whose metric fails with an injected container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HpaWithoutRequest {
    pub(super) autoscaler: String,
    /// Resource of the metric: `cpu` or `memory`.
    pub(super) resource: String,
    pub(super) profile: String,
    pub(super) container: String,
}

impl HpaWithoutRequest {
    /// Code of the warning. It is stable, like the engine's reason codes.
    pub(super) const CODE: &str = "HpaWithoutRequest";
}

impl fmt::Display for HpaWithoutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { autoscaler, resource, profile, container } = self;
        write!(
            f,
            "HorizontalPodAutoscaler {autoscaler:?} scales by {resource} utilization, and container {container:?} of profile {profile:?} requests no {resource}, so it could not scale any more; add resources.requests.{resource} to the profile"
        )
    }
}

pub(super) fn is_autoscaler(manifest: &Manifest) -> bool {
    let version = manifest.object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    manifest.kind() == "HorizontalPodAutoscaler" && version.starts_with("autoscaling/")
}

/// Returns the metrics of autoscalers in the same namespace that fail for the injected pods of the workload.
pub(super) fn check(
    autoscaler: &Manifest,
    workload: &Manifest,
    profiles: &[InjectedProfile],
    after: &Value,
) -> Vec<HpaWithoutRequest> {
    let spec = autoscaler.object.get("spec").unwrap_or(&Value::Null);
    let target =
        |field| spec.get("scaleTargetRef").and_then(|target| target.get(field)).and_then(Value::as_str);
    if target("kind") != Some(workload.kind()) || target("name") != Some(workload.name()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for Metric { resource, container: only } in metrics(spec) {
        // Requests of the whole pod take precedence over those of its containers.
        let pod_level = after.pointer("/spec/resources");
        if only.is_none() && ["cpu", "memory"].iter().any(|resource| requests(pod_level, resource)) {
            continue;
        }
        for container in containers(profiles, after) {
            let counts = only.as_deref().is_none_or(|only| only == container.name);
            if let Some(profile) = container.profile
                && counts
                && container.role != Role::Init
                && !requests(container.object.get("resources"), &resource)
            {
                found.push(HpaWithoutRequest {
                    autoscaler: autoscaler.name().to_owned(),
                    resource: resource.clone(),
                    profile: profile.to_owned(),
                    container: container.name.to_owned(),
                });
            }
        }
    }
    found
}

struct Metric {
    resource: String,
    /// Container of the metric; `None` means all containers.
    container: Option<String>,
}

/// Returns the utilization metrics. An autoscaler without metrics scales by cpu.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/>
fn metrics(spec: &Value) -> Vec<Metric> {
    let given = spec.get("metrics").and_then(Value::as_array).filter(|metrics| !metrics.is_empty());
    let Some(given) = given else {
        return vec![Metric { resource: "cpu".to_owned(), container: None }];
    };
    let read = |metric: &Value| {
        let source = metric.get("resource").or_else(|| metric.get("containerResource"))?;
        let text = |field: &str| source.get(field).and_then(Value::as_str).map(str::to_owned);
        let resource = text("name").filter(|name| name == "cpu" || name == "memory")?;
        let is_share = source.pointer("/target/type").and_then(Value::as_str) == Some("Utilization");
        is_share.then(|| Metric { resource, container: text("container") })
    };
    given.iter().filter_map(read).collect()
}

/// Returns whether resources have a request; a limit alone sets the request as well.
fn requests(resources: Option<&Value>, resource: &str) -> bool {
    let has = |list: &str| {
        resources.is_some_and(|resources| resources.get(list).is_some_and(|l| l.get(resource).is_some()))
    };
    has("requests") || has("limits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::api::Scope;
    use crate::cli::manifests::Origin;

    fn manifest(object: Value) -> Manifest {
        Manifest { source: "test".into(), object, origin: Origin::default() }
    }

    fn findings(metrics: &Value, resources: &Value, pod_level: &Value) -> Vec<String> {
        let autoscaler = manifest(json!({
            "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "web" }, "metrics": metrics },
        }));
        let workload = manifest(json!({ "kind": "Deployment", "metadata": { "name": "web" } }));
        let profile = InjectedProfile {
            shared: BTreeMap::new(),
            name: "proxy".to_owned(),
            scope: Scope::Cluster,
            revision: String::new(),
            parameters: BTreeMap::new(),
            added: [("initContainers".to_owned(), vec!["setup".to_owned(), "proxy".to_owned()])].into(),
            replaced: BTreeMap::new(),
            overlays: BTreeMap::new(),
        };
        let after = json!({ "spec": {
            "resources": pod_level,
            "initContainers": [{ "name": "setup" }, { "name": "proxy", "restartPolicy": "Always", "resources": resources }],
            "containers": [{ "name": "app" }],
        } });
        let found = check(&autoscaler, &workload, &[profile], &after);
        found.iter().map(|found| format!("{} {}", found.container, found.resource)).collect()
    }

    #[test]
    fn a_sidecar_without_a_request_breaks_a_utilization_metric() {
        let of = |name: &str| json!({ "name": name, "target": { "type": "Utilization", "averageUtilization": 80 } });
        let cpu = json!([{ "type": "Resource", "resource": of("cpu") }]);
        let (none, some) = (json!({}), json!({ "requests": { "cpu": "1m" } }));
        assert_eq!(findings(&cpu, &none, &Value::Null), ["proxy cpu"]);
        assert_eq!(findings(&Value::Null, &none, &Value::Null), ["proxy cpu"], "cpu is not the default");
        assert!(findings(&cpu, &some, &Value::Null).is_empty());
        assert!(
            findings(&cpu, &json!({ "limits": { "cpu": 1 } }), &Value::Null).is_empty(),
            "a limit counts as a request"
        );
        assert!(findings(&cpu, &none, &some).is_empty(), "the pod-level request counts");
        let memory = json!([{ "type": "Resource", "resource": of("memory") }]);
        assert_eq!(findings(&memory, &some, &Value::Null), ["proxy memory"]);
        let value = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "AverageValue" } } }]);
        assert!(findings(&value, &none, &Value::Null).is_empty(), "an absolute value needs no request");
    }

    #[test]
    fn a_container_metric_considers_only_its_container() {
        let of = |container: &str| {
            json!([{ "type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": container, "target": { "type": "Utilization" } } }])
        };
        assert!(findings(&of("app"), &json!({}), &Value::Null).is_empty());
        assert_eq!(findings(&of("proxy"), &json!({}), &Value::Null), ["proxy cpu"]);
    }
}
