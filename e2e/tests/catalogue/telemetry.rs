//! Metrics and traces: `StatsD`, `OpenTelemetry`, and several functions in one process.

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// What the `restricted` Pod Security level asks for.
fn restricted(user: u32) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// A pod that does nothing, to see what its sidecars cost.
fn idle() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "idle" },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "app",
            "image": image("docker.io/library/bash:5.2"),
            "command": ["sleep", "infinity"],
            "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
            "securityContext": restricted(65534),
        }] },
    })
}

/// The value of the one series that a query of the namespace's Prometheus gives.
fn prometheus(cluster: &Cluster, namespace: &str, query: &str) -> Result<String, String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path =
        format!("/api/v1/namespaces/{namespace}/pods/prometheus:9090/proxy/api/v1/query?query={encoded}");
    let said = cluster.kubectl(&["get", "--raw", &path]).text;
    let answer: Value = serde_json::from_str(&said).map_err(|_| said.clone())?;
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    match series.as_slice() {
        [only] => Ok(only["value"][1].as_str().unwrap_or_default().to_owned()),
        _ => Err(said),
    }
}

async fn prometheus_shows(cluster: &Cluster, namespace: &str, query: &str, value: &str) {
    eventually(&format!("{query} being {value}"), || async {
        let shown = prometheus(cluster, namespace, query)?;
        if shown == value { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test]
async fn statsd_of_an_app_is_scraped_by_prometheus() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["statsd"], &[], true).await;
    cluster.apply_file(&space.name, "statsd/backend.yaml").expect();
    cluster.apply_file(&space.name, "statsd/app.yaml").expect();

    let web = space.ready("app=web").await;
    let pod: Value = serde_json::from_str(
        &cluster.kubectl(&["get", "pod", &web, "--namespace", &space.name, "--output", "json"]).expect(),
    )
    .unwrap();
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/scrape"], "true");
    assert_eq!(annotations["prometheus.io/port"], "9102");
    let variables =
        |container: usize| pod["spec"]["containers"][container]["env"].as_array().cloned().unwrap();
    let host = json!({ "name": "STATSD_HOST", "value": "127.0.0.1" });
    assert!(variables(0).contains(&host), "{pod}");
    // What a container sets itself stays.
    assert!(!variables(1).contains(&host), "{pod}");
    assert!(variables(1).contains(&json!({ "name": "STATSD_HOST", "value": "statsd.example" })), "{pod}");

    for (query, value) in [
        (r#"web_hits_total{page="home"}"#, "300"),
        (r#"web_latency_seconds_bucket{page="home",le="0.01"}"#, "0"),
        (r#"web_latency_seconds_bucket{page="home",le="0.1"}"#, "10"),
        // Of a Job whose app ended before anybody could look.
        (r#"last_over_time(job_records_total{kind="rows"}[10m])"#, "42"),
    ] {
        prometheus_shows(&cluster, &space.name, query, value).await;
    }
    // The exporter that lingers does not keep the Job.
    eventually("the job being complete", || async {
        let words = ["wait", "--for=condition=Complete", "job/import", "--timeout=1s", "--namespace"];
        let said = cluster.kubectl(&[&words[..], &[&space.name]].concat());
        if said.success { Ok(()) } else { Err(said.text) }
    })
    .await;
    space.measure("statsd", &idle()).await;
}
