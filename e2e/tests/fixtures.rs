//! The cases of `tests/fixtures` with a real API server: it accepts every injected pod, and its own changes (defaults,
//! token, limits) cause no further patch.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../tests/common/cases.rs"]
mod cases;

use cases::{Case, apply, folders};
use e2e::{Cluster, TestNamespace};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use outrigger::api::keys;
use outrigger::engine::Outcome;
use serde_json::{Value, json};

#[tokio::test]
async fn the_api_server_accepts_every_injected_pod_and_a_second_review_changes_nothing() {
    let cluster = Cluster::connect().await;
    let plain = TestNamespace::plain(&cluster).await;
    let limited = TestNamespace::plain(&cluster).await;
    let limits = json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "limits" }, "spec": { "limits": [{
        "type": "Container",
        "default": { "cpu": "2", "memory": "2Gi", "ephemeral-storage": "1Gi" },
        "defaultRequest": { "cpu": "7m", "memory": "7Mi" },
    }] } });
    cluster.apply(&limited.name, &limits.to_string()).expect();

    let (mut failures, mut tried, mut rejected) = (Vec::new(), 0, Vec::new());
    for folder in folders() {
        let case = Case::read(&folder);
        for namespace in [&plain, &limited] {
            // The webhook gets a pod after the API server's own admission, with defaults and a token.
            let Ok(seen) = dry_run(&cluster, &namespace.name, &case.pod).await else {
                rejected.push(case.name.clone());
                continue;
            };
            let decision = case.decide(&seen);
            if decision.outcome != Outcome::Injected {
                continue;
            }
            tried += 1;
            let of = format!("{} in {}", case.name, namespace.name);
            match dry_run(&cluster, &namespace.name, &apply(&seen, &decision)).await {
                Err(error) => failures.push(format!("{of}: {error}")),
                Ok(stored) => {
                    // Changes of Mandatory containers are rejected, so these cases have no edits.
                    let is_mandatory = case.name.starts_with("mandatory");
                    for (edit, pod) in edits(&stored).into_iter().take(if is_mandatory { 1 } else { 2 }) {
                        let again = case.decide(&pod);
                        if again.outcome != Outcome::Injected || !again.patch.is_empty() {
                            failures.push(format!(
                                "{of}, {edit}: the second review returned {} {}",
                                again.reason, again.patch
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {tried}\n{}", failures.len(), failures.join("\n"));
    assert!(tried > 200, "only {tried} pods were tested; original pods that were rejected: {rejected:?}");
}

/// Creates a pod in a dry run, as untyped JSON, so that unknown fields are kept.
async fn dry_run(cluster: &Cluster, namespace: &str, pod: &Value) -> Result<Value, String> {
    let mut object = pod.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Pod");
    if object["metadata"]["name"].is_null() && object["metadata"]["generateName"].is_null() {
        object["metadata"]["name"] = json!("nameless");
    }
    let metadata = object["metadata"].as_object_mut().unwrap();
    // Without the label, the cluster's own Outrigger, which does not know the profiles, does not inject the pod.
    let label = metadata.get_mut("labels").and_then(|labels| labels.as_object_mut()?.remove(keys::INJECT));
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), namespace, &ApiResource::erase::<Pod>(&()));
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let stored = api.create(&parameters, &object).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("the API server does not respond: {other}"),
    })?;
    let mut stored = serde_json::to_value(stored).unwrap();
    if let Some(label) = label {
        stored["metadata"]["labels"][keys::INJECT] = label;
    }
    Ok(stored)
}

/// Returns the stored pod without changes, and with the changes of another webhook.
fn edits(stored: &Value) -> Vec<(&'static str, Value)> {
    let mut by_a_webhook = stored.clone();
    for list in ["initContainers", "containers"] {
        for container in by_a_webhook["spec"][list].as_array_mut().into_iter().flatten() {
            let env = container.as_object_mut().unwrap().entry("env").or_insert(json!([]));
            env.as_array_mut().unwrap().push(json!({ "name": "ADDED_BY_ANOTHER", "value": "1" }));
        }
    }
    by_a_webhook["metadata"]["annotations"]["example.com/seen"] = json!("yes");
    vec![("as stored", stored.clone()), ("after another webhook", by_a_webhook)]
}
