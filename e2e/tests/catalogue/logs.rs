//! Log files that are shipped to a real `OpenSearch`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Cluster, TestNamespace, eventually, pod};
use serde_json::{Value, json};

/// An `OpenSearch` server in a namespace.
struct OpenSearch<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl OpenSearch<'_> {
    /// Applies the manifest without waiting.
    fn start<'a>(cluster: &'a Cluster, namespace: &'a str) -> OpenSearch<'a> {
        cluster.apply_file(namespace, "log-shipper/opensearch.yaml").expect();
        OpenSearch { cluster, namespace }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let url = format!("/api/v1/namespaces/{}/services/opensearch:http/proxy/{path}", self.namespace);
        let output = self.cluster.kubectl(&["get", "--raw", &url]);
        serde_json::from_str(&output.text).map_err(|_| output.text)
    }

    /// Waits for this number of entries of a pod, and returns them in the order of reading.
    async fn entries(&self, index: &str, pod: &str, count: usize) -> Vec<String> {
        self.has(index, pod, count).await;
        // Duplicates would have arrived by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut all = Vec::new();
        loop {
            let query =
                format!("q=pod:{pod}&sort=@timestamp,file.keyword,offset&size=1000&from={}", all.len());
            let page = self.get(&format!("{index}/_search?{query}")).unwrap();
            let hits = page["hits"]["hits"].as_array().unwrap();
            if hits.is_empty() {
                return all;
            }
            all.extend(hits.iter().map(|hit| hit["_source"]["message"].as_str().unwrap().to_owned()));
        }
    }

    /// Waits for at least this number of entries of a pod.
    async fn has(&self, index: &str, pod: &str, count: usize) {
        eventually(&format!("{count} entries of {pod}"), || async {
            let found = self.get(&format!("{index}/_count?q=pod:{pod}"))?;
            if found["count"].as_u64().is_some_and(|found| found >= count as u64) {
                Ok(())
            } else {
                Err(found.to_string())
            }
        })
        .await;
    }

    /// Ends the server, as if its node had failed. Its data stays.
    async fn stop(&self) {
        let gone = ["sh", "-c", "touch /data/away; kill 1"];
        self.cluster.exec(self.namespace, "opensearch", "opensearch", &gone).expect();
        eventually("OpenSearch being unreachable", || async {
            self.get("").map_or(Ok(()), |there| Err(there.to_string()))
        })
        .await;
    }

    async fn restart(&self) {
        eventually("OpenSearch restarting", || async {
            let back =
                self.cluster.exec(self.namespace, "opensearch", "opensearch", &["rm", "-f", "/data/away"]);
            if back.success { Ok(()) } else { Err(back.text) }
        })
        .await;
    }
}

/// Returns the entries that `e2e/catalogue/log-shipper/shop.yaml` writes.
fn shop() -> Vec<String> {
    (1..=1200)
        .map(|seq| {
            if seq % 10 == 0 {
                format!(
                    "seq={seq:05} ERROR \"quoted\" \\ ' größer €\n\tat shop.Cart(Cart.java:{seq})\n\n    caused by {{\"a\": [1]}} %s  "
                )
            } else {
                format!("seq={seq:05} order taken\tof {}", seq * 7)
            }
        })
        .collect()
}

/// Checks that each entry arrived exactly once, unchanged and in order. On failure, prints only some differences.
#[track_caller]
fn assert_arrived(arrived: &[String], written: &[String]) {
    let mut counts = BTreeMap::new();
    for entry in written {
        *counts.entry(entry).or_insert(0_i32) -= 1;
    }
    for entry in arrived {
        *counts.entry(entry).or_insert(0) += 1;
    }
    let wrong: Vec<_> = counts.iter().filter(|(_, count)| **count != 0).collect();
    let some: Vec<_> = wrong.iter().take(6).collect();
    assert!(wrong.is_empty(), "{} entries are lost (-1) or duplicated (1): {some:?}", wrong.len());
    let first = arrived.iter().zip(written).position(|(arrived, written)| arrived != written);
    assert_eq!(first, None, "index of the first entry in the wrong order");
}

#[tokio::test]
async fn log_shipper_delivers_each_record_once_across_an_opensearch_outage() {
    let cluster = Cluster::installed().await;
    let settings = [
        ("log-shipper.outrigger.dev/output", "Elasticsearch"),
        ("log-shipper.outrigger.dev/receiver", "opensearch"),
        ("log-shipper.outrigger.dev/port", "9200"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &["log-shipper"], &settings, true).await;
    let search = OpenSearch::start(&cluster, &space.name);
    cluster.ready_pod(&space.name, "opensearch").await;
    for app in ["shop", "flood"] {
        cluster.apply_file(&space.name, &format!("log-shipper/{app}.yaml")).expect();
    }
    let secured = with_https_and_a_password(&cluster, &search).await;
    cluster.ready_pod(&space.name, "flood").await;
    search.has("logs", "shop", 100).await;
    let rows: Vec<_> = (1..=500).map(|row| format!("imported row {row}")).collect();
    assert_arrived(&search.entries("secured", "import", rows.len()).await, &rows);
    completes(&cluster, &secured.name, "import").await;

    search.stop().await;
    let outage = Instant::now();
    cluster.exec(&space.name, "flood", "app", &["touch", "/srv/flood/go"]).expect();
    eventually("the shipper's buffer being full", || async {
        let kept = buffered_kib(&cluster, &space.name);
        if kept >= 4 * 1024 { Ok(()) } else { Err(format!("{kept} KiB")) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(outage.elapsed())).await;
    // Of 8 MB, 4 MiB are in the buffer. The rest is still in the app's file.
    let kept = buffered_kib(&cluster, &space.name);
    assert!((4 * 1024..5 * 1024).contains(&kept), "the shipper's buffer has {kept} KiB");
    search.restart().await;

    let line = "x".repeat(4000);
    let flood: Vec<_> = (1..=2000).map(|seq| format!("{seq:05} {line}")).collect();
    assert_arrived(&search.entries("logs", "flood", flood.len()).await, &flood);
    assert_arrived(&search.entries("logs", "shop", 1200).await, &shop());
    for name in ["shop", "flood"] {
        let pod = cluster.ready_pod(&space.name, name).await;
        assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 0, "{name}");
    }
    space.measure("log-shipper", &pod("measured")).await;
}

/// Waits until a job is complete, which requires that all containers of its pod have ended.
async fn completes(cluster: &Cluster, namespace: &str, job: &str) {
    eventually(&format!("job {job} being complete"), || async {
        let words = ["get", "job", job, "--namespace", namespace, "--output", "json"];
        let job: Value = serde_json::from_str(&cluster.kubectl(&words).expect()).unwrap();
        if job["status"]["succeeded"] == 1 { Ok(()) } else { Err(job["status"].to_string()) }
    })
    .await;
}

/// Returns the size of the shipper's buffer in the pod `flood`, in KiB.
fn buffered_kib(cluster: &Cluster, namespace: &str) -> u32 {
    let output =
        cluster.exec(namespace, "flood", "log-shipper", &["du", "-sk", "/var/spool/rsyslog"]).expect();
    output.split_whitespace().next().unwrap().parse().unwrap()
}

/// Creates a job whose app ends immediately, in a namespace that ships over HTTPS with a password.
async fn with_https_and_a_password(cluster: &Cluster, search: &OpenSearch<'_>) -> TestNamespace {
    let host = format!("front.{}.svc", search.namespace);
    let settings = [
        ("log-shipper.outrigger.dev/output", "Elasticsearch"),
        ("log-shipper.outrigger.dev/receiver", host.as_str()),
        ("log-shipper.outrigger.dev/port", "443"),
        ("log-shipper.outrigger.dev/index", "secured"),
        ("log-shipper.outrigger.dev/credentialsSecret", "logs"),
        ("log-shipper.outrigger.dev/caConfigMap", "logs-ca"),
    ];
    let space = TestNamespace::with_profiles(cluster, &["log-shipper"], &settings, true).await;
    let (certificate, key) = certificate_for(&host);
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let in_namespace = |namespace: &str, words: &[&str]| {
        cluster.kubectl(&[words, &["--namespace", namespace]].concat()).expect();
    };
    in_namespace(
        search.namespace,
        &["create", "secret", "tls", "front", "--cert", certificate, "--key", key],
    );
    cluster.apply_file(search.namespace, "log-shipper/front.yaml").expect();
    cluster.ready_pod(search.namespace, "front").await;
    let ca = format!("--from-file=ca.crt={certificate}");
    in_namespace(&space.name, &["create", "configmap", "logs-ca", &ca]);
    let (user, password) = ("--from-literal=username=shipper", "--from-literal=password=p%s$w\"rd");
    in_namespace(&space.name, &["create", "secret", "generic", "logs", user, password]);
    cluster.apply_file(&space.name, "log-shipper/import.yaml").expect();
    space
}

/// Creates a self-signed certificate and its key.
fn certificate_for(host: &str) -> (PathBuf, PathBuf) {
    let folder = std::env::temp_dir().join(format!("outrigger-{host}"));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=front", "-addext", &format!("subjectAltName=DNS:{host}"), "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

/// Returns the bodies of the records in a gateway's file, in order.
fn exported(file: &str) -> Vec<String> {
    let batches = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut bodies = Vec::new();
    for batch in batches {
        for path in lists(&batch, "resourceLogs").iter().flat_map(|resource| lists(resource, "scopeLogs")) {
            let records = lists(&path, "logRecords");
            bodies.extend(
                records.iter().map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned()),
            );
        }
    }
    bodies
}

fn lists(value: &Value, field: &str) -> Vec<Value> {
    value[field].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn log_shipper_otel_delivers_each_record_once_across_a_gateway_outage() {
    let cluster = Cluster::installed().await;
    let endpoint = [("log-shipper-otel.outrigger.dev/endpoint", "http://gateway:4318")];
    let space = TestNamespace::with_profiles(&cluster, &["log-shipper-otel"], &endpoint, true).await;
    let gateway = || cluster.apply_file(&space.name, "log-shipper-otel/gateway.yaml").expect();
    let written =
        |container: &str, command: &[&str]| cluster.exec(&space.name, "gateway", container, command);
    gateway();
    cluster.ready_pod(&space.name, "gateway").await;
    cluster.apply_file(&space.name, "log-shipper-otel/shop.yaml").expect();
    eventually("the first entries in the gateway", || async {
        let output = written("reader", &["cat", "/data/logs.json"]);
        if output.text.contains("seq=00100") { Ok(()) } else { Err(output.text) }
    })
    .await;

    // Only the collector ends, so its file can still be read.
    let end =
        "for p in /proc/[0-9]*; do if [ \"$(cat $p/comm)\" = otelcol ]; then kill ${p#/proc/}; fi; done";
    written("reader", &["sh", "-c", end]).expect();
    eventually("the end of the gateway", || async {
        let pods = cluster.pods(&space.name, "app=gateway").await;
        let statuses = lists(&pods[0]["status"], "containerStatuses");
        let ended = statuses.iter().any(|status| status["state"]["terminated"].is_object());
        if ended { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    let before = exported(&written("reader", &["cat", "/data/logs.json"]).expect());
    cluster.kubectl(&["delete", "pod", "gateway", "--namespace", &space.name, "--now"]).expect();
    tokio::time::sleep(Duration::from_secs(15)).await;
    gateway();
    cluster.ready_pod(&space.name, "gateway").await;

    // The job completes in spite of its sidecar, which has sent the last entries by then.
    completes(&cluster, &space.name, "shop").await;
    let after = exported(&written("reader", &["cat", "/data/logs.json"]).expect());
    assert!(before.len() < 1200, "the app had written everything before the outage");
    assert_arrived(&[before, after].concat(), &shop());
    space.measure("log-shipper-otel", &pod("measured")).await;
}

/// Checks that the API server admits the rendered profiles. Their programs are not available, so they do not run.
#[tokio::test]
async fn other_log_shippers_are_admitted() {
    let cluster = Cluster::installed().await;
    for program in ["fluent-bit", "fluentd", "filebeat"] {
        let profile = format!("log-shipper-{program}");
        let key = |name: &str| format!("{profile}.outrigger.dev/{name}");
        let keys = [key("receiver"), key("credentialsSecret"), key("caConfigMap")];
        let settings = [(keys[0].as_str(), "search.example"), (&keys[1], "logs"), (&keys[2], "logs-ca")];
        let space = TestNamespace::with_profiles(&cluster, &[&profile], &settings, true).await;
        let mut app = pod("app");
        app["metadata"]["annotations"] = json!({ key("entryStart"): "^[0-9]{4}-" });
        let made = cluster.dry_run_pod(&space.name, &app).await.unwrap();
        let sidecar = &made["spec"]["initContainers"][0];
        assert_eq!(
            (&sidecar["name"], &sidecar["restartPolicy"]),
            (&profile.as_str().into(), &"Always".into())
        );
        let files = format!("files.outrigger.dev/{profile}-config.");
        let annotations = made["metadata"]["annotations"].as_object().unwrap();
        let configuration: String = annotations
            .iter()
            .filter(|(key, _)| key.starts_with(&files))
            .filter_map(|(_, text)| text.as_str())
            .collect();
        for part in ["search.example", "^[0-9]{4}-", "/var/log/app/*.log"] {
            assert!(configuration.contains(part), "{profile}: no {part} in\n{configuration}");
        }
        assert!(made["spec"].to_string().contains("\"secretKeyRef\""), "{profile}");
    }
}
