//! Metrics of servers without a metrics endpoint.

use e2e::{Cluster, TestNamespace, eventually};
use serde_json::Value;

/// A server that executes forty operations, and the metric that counts them.
struct Server {
    name: &'static str,
    up: &'static str,
    /// Pod, container and command of the operations. `ADDRESS` is replaced with the pod's address.
    container: (&'static str, &'static str),
    work: &'static [&'static str],
    counter: &'static str,
}

const SERVERS: [Server; 3] = [
    Server {
        name: "redis",
        up: "redis_up",
        container: ("redis", "redis"),
        work: &[
            "redis-cli",
            "eval",
            "redis.call('set', 'a', 1) for i = 1, 40 do redis.call('get', 'a') end",
            "0",
        ],
        counter: "redis_keyspace_hits_total",
    },
    Server {
        name: "postgres",
        up: "pg_up",
        container: ("postgres", "postgres"),
        work: &[
            "psql",
            "-h127.0.0.1",
            "-p6000",
            "-Upostgres",
            "-cCREATE TABLE work AS SELECT generate_series(1, 40)",
        ],
        counter: r#"pg_stat_database_tup_inserted{datid="5",datname="postgres",server="127.0.0.1:6000"}"#,
    },
    Server {
        name: "nginx",
        up: "nginx_up",
        container: ("scraper", "curl"),
        work: &["curl", "--silent", "--fail", "http://ADDRESS:8080/?[1-40]"],
        counter: "nginx_http_requests_total",
    },
];

/// Scrapes a pod from another pod, as its annotations specify. For a pod with its own annotations, the profile's
/// default port is used.
fn scrape(cluster: &Cluster, space: &TestNamespace, pod: &Value) -> String {
    let annotations = &pod["metadata"]["annotations"];
    let annotation = |key: &str, default| {
        annotations[format!("prometheus.io/{key}")].as_str().unwrap_or(default).to_owned()
    };
    let address = pod["status"]["podIP"].as_str().unwrap();
    let url = format!("http://{address}:{}{}", annotation("port", "9121"), annotation("path", "/metrics"));
    cluster.exec(&space.name, "scraper", "curl", &["curl", "--silent", "--show-error", &url]).text
}

/// Returns the value of a metric with this name and these labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

async fn scraped(cluster: &Cluster, space: &TestNamespace, pod: &Value, up: &str, wanted: f64) -> String {
    eventually(&format!("{up} {wanted}"), || async {
        let metrics = scrape(cluster, space, pod);
        let seen = value(&metrics, up).is_some_and(|seen| (seen - wanted).abs() < 0.5);
        if seen { Ok(metrics) } else { Err(metrics) }
    })
    .await
}

#[tokio::test]
async fn servers_without_metrics_are_scraped() {
    let cluster = Cluster::installed().await;
    // Each pod sets its own parameter. The namespace's value is for the probe pod of the test.
    let annotations = [("prometheus-exporter.outrigger.dev/server", "Redis")];
    let space = TestNamespace::with_profiles(&cluster, &["prometheus-exporter"], &annotations, true).await;
    cluster.apply_file(&space.name, "prometheus-exporter/servers.yaml").expect();
    cluster.ready_pod(&space.name, "scraper").await;
    for Server { name, up, container, work, counter } in SERVERS {
        let pod = cluster.ready_pod(&space.name, name).await;
        let before = value(&scraped(&cluster, &space, &pod, up, 1.0).await, counter).unwrap();
        let address = pod["status"]["podIP"].as_str().unwrap();
        let work: Vec<_> = work.iter().map(|word| word.replace("ADDRESS", address)).collect();
        let work: Vec<_> = work.iter().map(String::as_str).collect();
        cluster.exec(&space.name, container.0, container.1, &work).expect();
        // PostgreSQL's counter is updated later. nginx also counts requests of the exporter, so it is scraped only
        // once.
        let mut attempts = if name == "postgres" { 100 } else { 1 };
        eventually(counter, || {
            let metrics = scrape(&cluster, &space, &pod);
            let grown = value(&metrics, counter).unwrap() - before;
            attempts -= 1;
            assert!(attempts >= 0, "{counter} has grown by {grown}");
            async move { if (40.0..100.0).contains(&grown) { Ok(()) } else { Err(metrics) } }
        })
        .await;
    }

    // A pod's own scrape annotations stay, and none is added.
    let redis = cluster.ready_pod(&space.name, "redis").await;
    let nginx = cluster.ready_pod(&space.name, "nginx").await;
    for (pod, key, wanted) in
        [(&redis, "scrape", "false"), (&nginx, "scrape", "true"), (&nginx, "port", "9200")]
    {
        assert_eq!(pod["metadata"]["annotations"][format!("prometheus.io/{key}")], wanted);
    }
    assert!(redis["metadata"]["annotations"].get("prometheus.io/port").is_none(), "{redis}");
    // A server that rejects the exporter has up = 0; the exporter keeps running.
    let run = |command: &[&str]| cluster.exec(&space.name, "redis", "redis", command).expect();
    run(&["redis-cli", "config", "set", "requirepass", "another"]);
    scraped(&cluster, &space, &redis, "redis_up", 0.0).await;
    run(&["redis-cli", "-a", "another", "config", "set", "requirepass", "open sesame"]);
    scraped(&cluster, &space, &redis, "redis_up", 1.0).await;

    let mut measured = redis.clone();
    measured["metadata"] = serde_json::json!({
        "name": "measured",
        "annotations": { "prometheus-exporter.outrigger.dev/secret": "login" },
    });
    let containers = redis["spec"]["containers"].clone();
    measured["spec"] = serde_json::json!({
        "securityContext": redis["spec"]["securityContext"],
        "automountServiceAccountToken": false,
        "containers": containers,
    });
    space.measure("prometheus-exporter", &measured).await;
}
