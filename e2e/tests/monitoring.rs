//! The chart's dashboard and alerts, evaluated by a real Prometheus that scrapes real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use e2e::{Cluster, TestNamespace, companion, eventually, exclusive, image, pod};
use serde_json::{Value, json};

/// Metrics without series before their first event.
const MAY_BE_EMPTY: [&str; 2] = ["outrigger_profile_left_out_total", "outrigger_requests_shed_total"];
const SERVERS: &str = "app.kubernetes.io/name=outrigger";

/// A Prometheus that scrapes the servers and evaluates the chart's alerts.
struct Prometheus {
    cluster: Cluster,
    space: TestNamespace,
}

impl Prometheus {
    async fn start(cluster: &Cluster) -> Self {
        let space = TestNamespace::plain(cluster).await;
        let servers = cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
        let targets: Vec<String> =
            servers.iter().map(|pod| format!("{}:8080", pod["status"]["podIP"].as_str().unwrap())).collect();
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": ["/etc/prometheus/rules.yaml"],
            "scrape_configs": [{ "job_name": "outrigger", "static_configs": [{ "targets": targets }] }],
        });
        let files = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "prometheus" }, "data": {
            "prometheus.yaml": config.to_string(),
            "rules.yaml": chart("monitoring/rules.yaml"),
        } });
        cluster.apply(&space.name, &files.to_string()).expect();
        let mut prometheus = pod("prometheus");
        prometheus["spec"] = json!({
            "containers": [{
                "name": "prometheus",
                "image": image("prom/prometheus:v2.42.0"),
                "args": ["--config.file=/etc/prometheus/prometheus.yaml", "--storage.tsdb.path=/prometheus"],
                "readinessProbe": { "httpGet": { "path": "/-/ready", "port": 9090 }, "periodSeconds": 1 },
                "volumeMounts": [
                    { "name": "config", "mountPath": "/etc/prometheus" },
                    { "name": "data", "mountPath": "/prometheus" },
                ],
            }],
            "securityContext": { "runAsUser": 65534, "fsGroup": 65534 },
            "volumes": [
                { "name": "config", "configMap": { "name": "prometheus" } },
                { "name": "data", "emptyDir": {} },
            ],
        });
        cluster.create_pod(&space.name, &prometheus).await.unwrap();
        cluster.ready_pod(&space.name, "prometheus").await;
        Self { cluster: cluster.clone(), space }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let raw = format!("/api/v1/namespaces/{}/pods/prometheus:9090/proxy/api/v1/{path}", self.space.name);
        let output = self.cluster.kubectl(&["get", "--raw", &raw]);
        let answer: Value = serde_json::from_str(&output.text).map_err(|_| output.text.clone())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(output.text) }
    }

    /// Returns the current number of series of an expression.
    fn series(&self, expression: &str) -> Result<usize, String> {
        let expression = expression.replace("$__rate_interval", "30s");
        let mut encoded = String::new();
        for byte in expression.bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let data = self.get(&format!("query?query={encoded}"))?;
        let result = data["result"].as_array().ok_or_else(|| data.to_string())?;
        // NaN is a division by zero, which a panel does not show.
        Ok(result.iter().filter(|series| series["value"][1] != "NaN").count())
    }
}

fn chart(file: &str) -> String {
    let path = format!("{}/../charts/outrigger/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Returns each expression of the dashboard with its panel's title.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&chart("monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut expressions = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (title, expression) = (&panel["title"], &target["expr"]);
            expressions.push((title.as_str().unwrap().to_owned(), expression.as_str().unwrap().to_owned()));
        }
    }
    expressions
}

/// Returns each alert's name and expression.
fn alerts() -> Vec<(String, String)> {
    let rules: Value = serde_saphyr::from_str(&chart("monitoring/rules.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned()))
        .collect()
}

/// Returns the metrics in an expression.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("outrigger_") || word.starts_with("process_")).collect()
}

/// Creates pods of every outcome and changes a profile, so that all panels have data.
async fn traffic(cluster: &Cluster, space: &TestNamespace, round: usize) {
    let mut injected = pod(&format!("injected-{round}"));
    injected["spec"]["nodeSelector"] = json!({ "e2e": "nowhere" });
    cluster.create_pod(&space.name, &injected).await.unwrap();
    let mut skipped = pod("skipped");
    skipped["metadata"]["labels"] = json!({ "outrigger.dev/inject": "disabled" });
    cluster.dry_run_pod(&space.name, &skipped).await.unwrap();
    let mut denied = pod("denied");
    denied["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "no-such-profile" });
    cluster.dry_run_pod(&space.name, &denied).await.unwrap_err();
    let mut profile = companion("e2e-monitoring");
    profile["spec"]["description"] = json!(format!("The Redis of round {round}."));
    cluster.apply("default", &profile.to_string()).expect();
}

#[test]
fn all_panels_and_alerts_work_with_scraped_metrics() {
    exclusive("e2e-monitoring", |cluster, space| async move {
        e2e::injects(&cluster, &space, "e2e-monitoring").await;
        let prometheus = Prometheus::start(&cluster).await;
        let missing: BTreeSet<&str> = MAY_BE_EMPTY.into_iter().collect();
        let round = std::cell::Cell::new(0);
        eventually("data in every panel", || async {
            round.set(round.get() + 1);
            traffic(&cluster, &space, round.get()).await;
            for (title, expression) in dashboard() {
                let series = prometheus.series(&expression).map_err(|error| format!("{title}: {error}"))?;
                let excused = metrics(&expression).iter().any(|metric| missing.contains(metric));
                if series == 0 && !excused {
                    return Err(format!("{title}: {expression} has no series"));
                }
            }
            Ok(())
        })
        .await;
        for (name, expression) in alerts() {
            prometheus.series(&expression).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let all: Vec<(String, String)> = dashboard().into_iter().chain(alerts()).collect();
        let named: BTreeSet<&str> = all.iter().flat_map(|(_, expression)| metrics(expression)).collect();
        for metric in named {
            let exists = prometheus.series(&format!("count({metric})")).unwrap() > 0;
            assert!(exists || missing.contains(metric), "no server exports the metric {metric}");
        }
        let rules = prometheus.get("rules").unwrap();
        let rules = rules["groups"][0]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), alerts().len());
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            assert_ne!(rule["state"], "firing", "an alert fires for healthy servers: {rule}");
        }
    });
}
