//! Compares the pod that the command line predicts with the pod that a mutating webhook receives, and the pods of an
//! injected manifest with pods that the webhook injects.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod comparison;
mod explain;
mod recorder;
mod workloads;

use e2e::{Cluster, TestNamespace, companion, eventually};
use serde_json::{Value, json};

use comparison::{differences, normalized};
use recorder::Recorder;
use workloads::{owner_of, workloads};

/// Returns the elements of `outrigger explain -o json`, without its messages on stderr.
fn elements(output: &str) -> Vec<Value> {
    let mut values = serde_json::Deserializer::from_str(output).into_iter::<Vec<Value>>();
    values.next().expect("the output has a list").expect("the output is JSON")
}

fn apply(cluster: &Cluster, space: &TestNamespace, objects: &[Value]) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    cluster.apply(&space.name, &list.to_string()).expect();
}

/// Creates the objects that admission plugins read, in the namespace and in the cluster.
fn prepare(cluster: &Cluster, space: &TestNamespace, has_limits: bool) {
    let mut objects = vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "robot" },
            "automountServiceAccountToken": false, "imagePullSecrets": [{ "name": "registry" }] }),
        json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "e2e-submitted" }, "handler": "runc",
            "overhead": { "podFixed": { "cpu": "0.25", "memory": "1024Ki" } },
            "scheduling": { "nodeSelector": { "sandbox": "yes" }, "tolerations": [
                { "key": "sandbox", "operator": "Exists", "effect": "NoSchedule" },
                { "key": "own", "operator": "Exists" },
            ] } }),
        json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "e2e-submitted" },
            "value": 1000, "preemptionPolicy": "Never" }),
    ];
    if has_limits {
        objects.push(json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "usual" }, "spec": { "limits": [
            { "type": "Container", "max": { "memory": "2048Mi" }, "default": { "memory": "256Mi", "cpu": "0.5" },
                "defaultRequest": { "memory": "0.01Gi" }, "min": { "cpu": "1m" } },
        ] } }));
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let output = cluster.apply(&space.name, &list);
    // Another test may create the cluster-scoped objects at the same time.
    if !output.success && output.text.contains("AlreadyExists") {
        cluster.apply(&space.name, &list).expect();
    } else {
        output.expect();
    }
}

async fn compare(has_limits: bool) {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::plain(&cluster).await;
    prepare(&cluster, &space, has_limits);
    let webhook = Recorder::start(&cluster, &space).await;
    let all = workloads();
    let explain = |words: &[&str], input: &str| {
        let words = [&["explain", "--output", "json", "--namespace", &space.name], words].concat();
        elements(&cluster.outrigger(&words, input).expect())
    };
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": all }).to_string();
    let from_files = explain(&["--filename", "-"], &list);
    apply(&cluster, &space, &all);
    let recorded = webhook.pods_of(&all).await;
    let names: Vec<String> = all
        .iter()
        .map(|object| {
            format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        })
        .collect();
    let live = explain(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let mut wrong = Vec::new();
    for (way, found) in [("file", from_files), ("live", live)] {
        assert_eq!(found.len(), all.len());
        for (object, found) in all.iter().zip(&found) {
            assert_eq!(found["unknown"], json!([]), "{found}");
            // A live pod has its node and other changes by the scheduler. Its manifest is compared above.
            if way == "live" && object["kind"] == "Pod" {
                continue;
            }
            let name = format!("{way} {}/{}", object["kind"], object["metadata"]["name"]);
            let review = &recorded[object["metadata"]["name"].as_str().unwrap()];
            let (own, theirs) = normalized(found, review);
            wrong.extend(
                differences(&own, &theirs).into_iter().map(|difference| format!("{name}: {difference}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    webhook.stop(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_predicted_pod_of_every_workload_is_submitted() {
    compare(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_predicted_pod_of_every_workload_is_submitted_with_a_limit_range() {
    compare(true).await;
}

/// Returns a profile that changes fields which the API server and controllers also change.
fn profile(name: &str) -> Value {
    let mut profile = companion(name);
    let spec = &mut profile["spec"]["template"]["spec"];
    spec["imagePullSecrets"] = json!([{ "name": "of-profile" }]);
    spec["tolerations"] = json!([{ "key": "of-profile", "operator": "Exists" }]);
    spec["terminationGracePeriodSeconds"] = json!(45);
    profile
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_manifests_create_the_same_pods_as_the_webhook() {
    const PROFILE: &str = "e2e-submitted";
    let cluster = Cluster::installed().await;
    cluster.apply("default", &profile(PROFILE).to_string()).expect();
    let enabled = TestNamespace::enabled(&cluster, PROFILE).await;
    let plain = TestNamespace::plain(&cluster).await;
    for space in [&enabled, &plain] {
        prepare(&cluster, space, true);
        let secrets = r#"{"imagePullSecrets": [{"name": "of-account"}]}"#;
        let words = ["patch", "serviceaccount", "default", "--namespace", &space.name, "--patch", secrets];
        cluster.kubectl(&words).expect();
    }
    e2e::injects(&cluster, &enabled, PROFILE).await;
    // A pod with host networking is not injected, and a pod whose own requests reach its limits is denied.
    let mut all = workloads();
    all.retain(|object| !["hostpod", "levelpod"].contains(&object["metadata"]["name"].as_str().unwrap()));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": all }).to_string();
    let words = ["inject", "--output", "json", "--namespace", &enabled.name, "--filename", "-"];
    let output = cluster.outrigger(&words, &list).expect();
    assert_eq!(output.matches("[CompletionIndexAdded]").count(), 1, "{output}");
    let injected: Value = serde_json::Deserializer::from_str(&output).into_iter().next().unwrap().unwrap();
    apply(&cluster, &enabled, &all);
    cluster.apply(&plain.name, &injected.to_string()).expect();
    let mut wrong = Vec::new();
    for object in &all {
        let name = object["metadata"]["name"].as_str().unwrap();
        let of_webhook = pod_of(&cluster, &enabled, object).await;
        let of_manifest = pod_of(&cluster, &plain, object).await;
        let lists = of_webhook["spec"]["initContainers"].as_array().into_iter().flatten();
        assert!(lists.into_iter().any(|container| container["name"] == PROFILE), "{name} is not injected");
        let (one, other) = (comparison::spec(&of_webhook, PROFILE), comparison::spec(&of_manifest, PROFILE));
        wrong.extend(differences(&one, &other).into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}

/// Waits for the first pod of an object.
async fn pod_of(cluster: &Cluster, space: &TestNamespace, object: &Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap();
    eventually(&format!("a pod of {name} in {}", space.name), || async {
        let pods = cluster.pods(&space.name, "").await;
        pods.into_iter().find(|pod| owner_of(pod) == name).ok_or_else(|| "there is no pod".to_owned())
    })
    .await
}
