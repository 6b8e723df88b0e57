//! Parameters, expressions, files, overlays and `requires` in running pods. Each test has its own namespace and
//! profiles.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, deployment, eventually, image, pod};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

fn profile(name: &str, spec: &Value) -> String {
    json!({ "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSidecarProfile", "metadata": { "name": name }, "spec": spec })
        .to_string()
}

/// Returns a profile of a Redis sidecar that is configured by an injected file.
fn configured(name: &str) -> Value {
    json!({
        "parameters": [
            { "name": "port", "type": "integer", "default": 6400, "minimum": 1024 },
            { "name": "memory", "type": "quantity", "default": "64Mi", "maximum": "128Mi" },
        ],
        "template": { "spec": {
            "initContainers": [{
                "name": name,
                "image": image("redis:7.0"),
                "restartPolicy": "Always",
                "serviceAccountToken": "None",
                "command": ["redis-server", "/etc/redis/redis.conf"],
                "ports": [{ "containerPort": "$[[ params.port ]]" }],
                "startupProbe": { "tcpSocket": { "port": "$[[ params.port ]]" }, "periodSeconds": 1 },
                "resources": {
                    "requests": { "memory": "$[[ quantity(params.memory).div(4) ]]" },
                    "limits": { "memory": "$[[ params.memory ]]" },
                },
                "volumeMounts": [{ "name": "redis-config", "mountPath": "/etc/redis" }],
            }],
        } },
        "files": [{ "volume": "redis-config", "items": {
            "redis.conf": "port $[[ params.port ]]\nsave \"\"\n# for $[[ namespaceObject.metadata.name ]]\n",
        } }],
        "appContainers": [{ "containers": ["*"], "env": [{ "name": "REDIS", "value": "127.0.0.1:$[[ params.port ]]" }] }],
    })
}

#[tokio::test]
async fn parameters_of_the_pod_and_the_namespace_configure_the_sidecar() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &profile("e2e-configured", &configured("e2e-configured"))).expect();
    let space = TestNamespace::enabled(&cluster, "e2e-configured").await;
    cluster
        .kubectl(&["annotate", "namespace", &space.name, "e2e-configured.outrigger.dev/port=6510"])
        .expect();
    let mut web = deployment("web", 1);
    web["spec"]["template"]["metadata"]["annotations"] =
        json!({ "e2e-configured.outrigger.dev/memory": "0.125Gi" });
    // The servers receive the namespace's annotation a moment later.
    eventually("the namespace's parameter taking effect", || async {
        let made = cluster.dry_run_pod(&space.name, &pod("probe")).await?;
        let env = made["spec"]["containers"][0]["env"].to_string();
        if env.contains("6510") { Ok(()) } else { Err(env) }
    })
    .await;
    cluster.apply(&space.name, &web.to_string()).expect();
    let running = cluster.ready_pods(&space.name, "app=web", 1).await.remove(0);
    let sidecar = &running["spec"]["initContainers"][0];
    assert_eq!(sidecar["ports"][0]["containerPort"], 6510);
    assert_eq!(
        sidecar["resources"],
        json!({ "requests": { "memory": "32Mi" }, "limits": { "memory": "128Mi" } })
    );
    let name = running["metadata"]["name"].as_str().unwrap();
    let exec = |container: &str, words: &[&str]| {
        let mut all = vec!["exec", "--namespace", &space.name, name, "--container", container, "--"];
        all.extend(words);
        cluster.kubectl(&all)
    };
    assert!(exec("app", &["redis-cli", "-p", "6510", "ping"]).expect().contains("PONG"));
    let file = exec("e2e-configured", &["cat", "/etc/redis/redis.conf"]).expect();
    assert!(file.contains("port 6510\n") && file.contains(&format!("# for {}", space.name)), "{file}");
    // The sidecar has no service account token; the app has one.
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert!(exec("app", &["cat", token]).success);
    assert!(!exec("e2e-configured", &["cat", token]).success);

    // A file of a running pod changes with its annotation.
    let change = "files.outrigger.dev/redis-config.redis.conf=# changed\n";
    cluster.kubectl(&["annotate", "--overwrite", "pod", name, "--namespace", &space.name, change]).expect();
    eventually("the changed file in the sidecar", || async {
        let file = exec("e2e-configured", &["cat", "/etc/redis/redis.conf"]).text;
        if file.contains("# changed") { Ok(()) } else { Err(file) }
    })
    .await;

    let mut greedy = pod("greedy");
    greedy["metadata"]["annotations"] = json!({ "e2e-configured.outrigger.dev/memory": "2Gi" });
    let denial = cluster.dry_run_pod(&space.name, &greedy).await.unwrap_err();
    let wanted = "e2e-configured.outrigger.dev/memory: \"2Gi\" is above the maximum 128Mi of parameter \"memory\" (set on the pod) [ParameterOutOfBounds]";
    assert!(denial.contains(wanted), "{denial}");
    cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-configured"]).expect();
}

#[tokio::test]
async fn required_profiles_are_injected_and_overlays_are_applied() {
    let cluster = Cluster::installed().await;
    let waits = json!({
        "requires": ["e2e-required"],
        "template": { "spec": { "initContainers": [{
            "name": "e2e-waits", "image": image("redis:7.0"),
            // It succeeds only if the required sidecar was started before it.
            "command": ["redis-cli", "-p", "6400", "ping"],
        }] } },
    });
    cluster.apply("default", &profile("e2e-required", &configured("e2e-required"))).expect();
    cluster.apply("default", &profile("e2e-waits", &waits)).expect();
    let space = TestNamespace::enabled(&cluster, "e2e-waits").await;
    eventually("both profiles taking effect", || async {
        cluster.dry_run_pod(&space.name, &pod("own")).await
    })
    .await;
    cluster.apply(&space.name, &pod("own").to_string()).expect();
    let running = cluster.ready_pod(&space.name, "own").await;
    assert_eq!(names(&running["spec"]["initContainers"]), ["e2e-required", "e2e-waits"]);

    let mut overlaid = pod("overlaid");
    overlaid["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-required" });
    overlaid["spec"]["initContainers"] =
        json!([{ "name": "e2e-required", "image": "auto", "resources": { "limits": { "memory": "96Mi" } } }]);
    cluster.apply(&space.name, &overlaid.to_string()).expect();
    let running = cluster.ready_pod(&space.name, "overlaid").await;
    let sidecar = &running["spec"]["initContainers"][0];
    assert_eq!(
        (&sidecar["image"], &sidecar["restartPolicy"]),
        (&json!(image("redis:7.0")), &json!("Always"))
    );
    assert_eq!(sidecar["resources"]["limits"]["memory"], "96Mi");
    for profile in ["e2e-waits", "e2e-required"] {
        cluster.kubectl(&["delete", "clustersidecarprofile", profile]).expect();
    }
}
