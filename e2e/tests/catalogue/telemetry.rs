//! Metrics and traces: `StatsD`, `OpenTelemetry`, and the shared collector.

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// Returns the security context that the `restricted` Pod Security level requires.
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

/// Returns an idle pod, to measure its sidecars.
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

/// Returns the value of the only series that a query of the namespace's Prometheus returns.
fn prometheus(cluster: &Cluster, namespace: &str, query: &str) -> Result<String, String> {
    let encoded = query.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let path =
        format!("/api/v1/namespaces/{namespace}/pods/prometheus:9090/proxy/api/v1/query?query={encoded}");
    let output = cluster.kubectl(&["get", "--raw", &path]).text;
    let answer: Value = serde_json::from_str(&output).map_err(|_| output.clone())?;
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    match series.as_slice() {
        [only] => Ok(only["value"][1].as_str().unwrap_or_default().to_owned()),
        _ => Err(output),
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
async fn statsd_metrics_are_scraped_by_prometheus() {
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
    // A variable that a container sets itself is not changed.
    assert!(!variables(1).contains(&host), "{pod}");
    assert!(variables(1).contains(&json!({ "name": "STATSD_HOST", "value": "statsd.example" })), "{pod}");

    for (query, value) in [
        (r#"web_hits_total{page="home"}"#, "300"),
        (r#"web_latency_seconds_bucket{page="home",le="0.01"}"#, "0"),
        (r#"web_latency_seconds_bucket{page="home",le="0.1"}"#, "10"),
        // Metric of a Job whose app ended before a scrape.
        (r#"last_over_time(job_records_total{kind="rows"}[10m])"#, "42"),
    ] {
        prometheus_shows(&cluster, &space.name, query, value).await;
    }
    // The lingering exporter does not prevent the Job from completing.
    eventually("the job being complete", || async {
        let words = ["wait", "--for=condition=Complete", "job/import", "--timeout=1s", "--namespace"];
        let output = cluster.kubectl(&[&words[..], &[&space.name]].concat());
        if output.success { Ok(()) } else { Err(output.text) }
    })
    .await;
    space.measure("statsd", &idle()).await;
}

/// Data that a gateway has received and written to a file.
struct Received {
    /// Requests, one per line of the file.
    batches: Vec<Value>,
}

impl Received {
    fn read(cluster: &Cluster, namespace: &str, gateway: &str) -> Self {
        let text = cluster.exec(namespace, gateway, "reader", &["cat", "/out/all.jsonl"]).text;
        // The last line can be incomplete.
        Self { batches: text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect() }
    }

    /// Returns pairs of a resource and its item, for spans, metrics or log records.
    fn all(&self, kind: [&str; 3]) -> Vec<(&Value, &Value)> {
        let mut found = Vec::new();
        for batch in &self.batches {
            for resource in batch[kind[0]].as_array().into_iter().flatten() {
                for scope in resource[kind[1]].as_array().into_iter().flatten() {
                    for item in scope[kind[2]].as_array().into_iter().flatten() {
                        found.push((&resource["resource"], item));
                    }
                }
            }
        }
        found
    }

    fn spans(&self) -> Vec<(&Value, &Value)> {
        self.all(["resourceSpans", "scopeSpans", "spans"])
    }

    fn metrics(&self) -> Vec<(&Value, &Value)> {
        self.all(["resourceMetrics", "scopeMetrics", "metrics"])
    }

    /// Returns the names of spans that have not arrived.
    fn missing(&self, names: &[String]) -> Vec<String> {
        let spans = self.spans();
        names.iter().filter(|name| !spans.iter().any(|(_, span)| span["name"] == **name)).cloned().collect()
    }
}

/// Returns the value of a resource's attribute.
fn attribute<'a>(resource: &'a Value, key: &str) -> &'a Value {
    let all = resource["attributes"].as_array().into_iter().flatten();
    all.into_iter().find(|pair| pair["key"] == key).map_or(&Value::Null, |pair| &pair["value"]["stringValue"])
}

/// Returns the names that the test's script gives to spans.
fn names(name: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| format!("{name}-{number}")).collect()
}

async fn arrive(cluster: &Cluster, namespace: &str, gateway: &str, names: &[String]) -> Received {
    eventually("all spans at the gateway", || async {
        let received = Received::read(cluster, namespace, gateway);
        let missing = received.missing(names);
        if missing.is_empty() { Ok(received) } else { Err(format!("missing: {missing:?}")) }
    })
    .await
}

#[tokio::test]
async fn otlp_arrives_in_batches_with_the_pods_attributes_and_survives_an_outage() {
    let cluster = Cluster::installed().await;
    // The Service name is resolved in the pod's own namespace.
    let endpoint = ("otel-collector.outrigger.dev/endpoint", "http://gateway:4318");
    let space = TestNamespace::with_profiles(&cluster, &["otel-collector"], &[endpoint], true).await;
    let namespace = &space.name;
    cluster.apply_file(namespace, "otel-collector/backend.yaml").expect();
    let gateway = space.ready("app=gateway").await;
    cluster.apply_file(namespace, "otel-collector/app.yaml").expect();
    let shop = space.ready("app=shop").await;
    let send = |first: &str, last: &str| {
        let output = cluster.exec(namespace, &shop, "app", &["sh", "/scripts/send.sh", "shop", first, last]);
        assert_eq!(output.expect(), "", "every span is accepted");
    };

    send("1", "40");
    cluster.exec(namespace, &shop, "app", &["sh", "/scripts/more.sh"]).expect();
    let mut expected = names("shop", 1..=40);
    expected.push("own".to_owned());
    // The app of the Job ended before its last batch was due.
    expected.extend(names("import", 1..=20));
    let received = arrive(&cluster, namespace, &gateway, &expected).await;
    let of_shop = |batch: &&Value| batch.to_string().contains(r#""name":"shop-"#);
    let batches = received.batches.iter().filter(of_shop).count();
    assert!(batches < 40, "40 requests arrived in {batches} batches");
    let pod: Value = serde_json::from_str(
        &cluster.kubectl(&["get", "pod", &shop, "--namespace", namespace, "--output", "json"]).expect(),
    )
    .unwrap();
    for (resource, span) in received.spans() {
        let name = span["name"].as_str().unwrap();
        assert_eq!(attribute(resource, "k8s.namespace.name"), namespace);
        if name.starts_with("import") {
            assert_eq!(attribute(resource, "service.name"), "import");
            continue;
        }
        assert_eq!(attribute(resource, "k8s.pod.name"), &shop);
        assert_eq!(attribute(resource, "k8s.pod.uid"), &pod["metadata"]["uid"]);
        assert_eq!(attribute(resource, "k8s.node.name"), &pod["spec"]["nodeName"]);
        assert_eq!(attribute(resource, "deployment.environment"), "staging");
        assert_eq!(attribute(resource, "service.name"), if name == "own" { "its-own" } else { "shop" });
    }
    eventually("the metric at the gateway", || async {
        let received = Received::read(&cluster, namespace, &gateway);
        let metrics = received.metrics();
        match metrics.as_slice() {
            [(resource, metric)] => {
                assert_eq!(attribute(resource, "k8s.pod.name"), &shop);
                assert_eq!(metric["name"], "orders");
                assert_eq!(metric["sum"]["dataPoints"][0]["asInt"], "5");
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Variables that a container sets itself stay, and none is added that would change their meaning.
    let variables = pod["spec"]["containers"][1]["env"].to_string();
    assert!(variables.contains("otlp.example") && !variables.contains("127.0.0.1"), "{variables}");
    assert!(!variables.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{variables}");
    assert!(variables.contains(r#"{"name":"OTEL_SERVICE_NAME","value":"its-own"}"#), "{variables}");

    // An outage of the gateway, during which the sidecar is killed.
    let scale = |replicas: &str| {
        let replicas = format!("--replicas={replicas}");
        cluster.kubectl(&["scale", "deployment/gateway", &replicas, "--namespace", namespace]).expect();
    };
    scale("0");
    eventually("the end of the gateway", || async {
        let left = cluster.pods(namespace, "app=gateway").await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
    send("41", "60");
    cluster.exec(namespace, &shop, "app", &["sh", "/scripts/kill.sh", "otelcol"]).expect();
    eventually("the restart of the sidecar", || async {
        let pod = cluster.ready_pod(namespace, &shop).await;
        let status = &pod["status"]["initContainerStatuses"][0];
        if status["restartCount"] == 1 && status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    send("61", "80");
    scale("1");
    let gateway = space.ready("app=gateway").await;
    arrive(&cluster, namespace, &gateway, &names("shop", 41..=80)).await;
    space.measure("otel-collector", &idle()).await;
}

/// Sidecars that the shared collector replaces.
const SEPARATE: [&str; 3] = ["log-shipper-otel", "statsd", "otel-collector"];

/// Memory by container: time of the sample, anonymous memory and working set in MiB.
type Figures = std::collections::BTreeMap<String, (String, f64, f64)>;

/// Returns the memory of these containers of a pod.
fn memory(cluster: &Cluster, namespace: &str, pod: &str, containers: &[&str]) -> Result<Figures, String> {
    let node = cluster.kubectl(&["get", "node", "--output", "name"]).expect();
    let path = format!("/api/v1/nodes/{}/proxy/stats/summary", node.trim().trim_start_matches("node/"));
    // The kubelet returns no statistics while any container is being deleted.
    let output = cluster.kubectl(&["get", "--raw", &path]).text;
    let summary: Value = serde_json::from_str(&output).map_err(|_| output.clone())?;
    let pods = summary["pods"].as_array().into_iter().flatten();
    let found = pods
        .into_iter()
        .find(|found| found["podRef"]["name"] == pod && found["podRef"]["namespace"] == namespace);
    let all = found.and_then(|found| found["containers"].as_array()).into_iter().flatten();
    let figures: Figures = all
        .filter_map(|container| {
            let memory = &container["memory"];
            let mebibytes = |field: &str| memory[field].as_f64().map(|bytes| bytes / 1_048_576.0);
            let name = container["name"].as_str().filter(|name| containers.contains(name))?;
            let figures =
                (memory["time"].as_str()?.to_owned(), mebibytes("rssBytes")?, mebibytes("workingSetBytes")?);
            Some((name.to_owned(), figures))
        })
        .collect();
    if figures.len() == containers.len() { Ok(figures) } else { Err(format!("{figures:?} of {pod}")) }
}

/// Returns the kubelet's next sample of the memory.
async fn next_memory_sample(cluster: &Cluster, namespace: &str, pod: &str, containers: &[&str]) -> Figures {
    let look = || async { memory(cluster, namespace, pod, containers) };
    let before = eventually("the kubelet's figures", look).await;
    eventually("newer figures of the kubelet", || async {
        let now = memory(cluster, namespace, pod, containers)?;
        let newer = now.iter().all(|(name, figures)| figures.0 > before[name].0);
        if newer { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the figures are for the profile's README")]
async fn one_shared_collector_replaces_three_sidecars_with_less_memory() {
    let cluster = Cluster::installed().await;
    let endpoints = ["log-shipper-otel", "otel-collector", "shared-collector"]
        .map(|profile| (format!("{profile}.outrigger.dev/endpoint"), "http://gateway:4318"));
    let endpoints = endpoints.each_ref().map(|(key, value)| (key.as_str(), *value));
    let space = TestNamespace::with_profiles(&cluster, &SEPARATE, &endpoints, true).await;
    let namespace = &space.name;
    cluster.profiles(&["shared-collector"]);
    for file in ["otel-collector/backend.yaml", "statsd/backend.yaml", "shared-collector/scripts.yaml"] {
        cluster.apply_file(namespace, file).expect();
    }
    let gateway = space.ready("app=gateway").await;
    cluster.apply_file(namespace, "shared-collector/separate.yaml").expect();
    // The new profile is not known to all servers yet; until then, a pod that names it is rejected.
    eventually("the shared collector being injected", || async {
        let output = cluster.apply_file(namespace, "shared-collector/shared.yaml");
        if output.success { Ok(()) } else { Err(output.text) }
    })
    .await;

    for (pod, sidecars) in [("separate", &SEPARATE[..]), ("shared", &["shared-collector"])] {
        let running = cluster.ready_pod(namespace, pod).await;
        let injected = running["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(injected.len(), sidecars.len(), "{running}");
        let received = arrive(&cluster, namespace, &gateway, &names(pod, 1..=20)).await;
        let of_pod = received.spans().into_iter().filter(|(resource, _)| {
            attribute(resource, "k8s.pod.name") == pod && attribute(resource, "service.name") == "app"
        });
        assert_eq!(of_pod.count(), 20);
        eventually("all lines at the gateway", || async {
            let received = Received::read(&cluster, namespace, &gateway);
            let mut lines: Vec<&str> = received
                .all(["resourceLogs", "scopeLogs", "logRecords"])
                .into_iter()
                .filter(|(resource, _)| attribute(resource, "k8s.pod.name") == pod)
                .filter_map(|(_, record)| record["body"]["stringValue"].as_str())
                .collect();
            lines.sort_unstable();
            let mut wanted: Vec<String> = (1..=300).map(|line| format!("line {line} of {pod}")).collect();
            wanted.sort_unstable();
            if lines == wanted { Ok(()) } else { Err(format!("{} lines", lines.len())) }
        })
        .await;
        let address = running["status"]["podIP"].as_str().unwrap();
        for (series, value) in [("shop_orders", "300"), ("shop_latency_count", "10")] {
            let query = format!(r#"{series}{{instance="{address}:9102"}}"#);
            prometheus_shows(&cluster, namespace, &query, value).await;
        }
    }
    // The shared collector exports timers as histograms, in the unit that the app sends.
    for (bound, value) in [("25", "0"), ("50", "10")] {
        let query = format!(r#"shop_latency_bucket{{le="{bound}"}}"#);
        prometheus_shows(&cluster, namespace, &query, value).await;
    }
    let (three, one) = tokio::join!(
        next_memory_sample(&cluster, namespace, "separate", &SEPARATE),
        next_memory_sample(&cluster, namespace, "shared", &["shared-collector"]),
    );
    let sums = [three, one].map(|figures| {
        let sum = figures.values().fold((0.0, 0.0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
        eprintln!("memory: {:.1} MiB (working set {:.1}): {figures:?}", sum.0, sum.1);
        sum
    });
    assert!(sums[1].0 < sums[0].0 && sums[1].1 < sums[0].1, "shared and separate collectors: {sums:?}");
    let mut idle = idle();
    idle["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "shared-collector" });
    space.measure("shared-collector", &idle).await;
}
