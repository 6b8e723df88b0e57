//! Log files shipped to a real `OpenSearch`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Cluster, TestNamespace, eventually, pod};
use serde_json::Value;

/// The real `OpenSearch` of a namespace.
struct OpenSearch<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl OpenSearch<'_> {
    /// Applies it; it comes up on its own.
    fn start<'a>(cluster: &'a Cluster, namespace: &'a str) -> OpenSearch<'a> {
        cluster.apply_file(namespace, "log-shipper/opensearch.yaml").expect();
        OpenSearch { cluster, namespace }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let url = format!("/api/v1/namespaces/{}/services/opensearch:http/proxy/{path}", self.namespace);
        let said = self.cluster.kubectl(&["get", "--raw", &url]);
        serde_json::from_str(&said.text).map_err(|_| said.text)
    }

    /// Waits for as many entries of a pod as there should be, and gives them in the order in which they were read.
    async fn entries(&self, index: &str, pod: &str, count: usize) -> Vec<String> {
        self.has(index, pod, count).await;
        // What came twice, came by now.
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

    /// Waits for this many entries of a pod, or more.
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

    /// Ends the server as if its node had gone; its data stays.
    async fn goes_away(&self) {
        let gone = ["sh", "-c", "touch /data/away; kill 1"];
        self.cluster.exec(self.namespace, "opensearch", "opensearch", &gone).expect();
        eventually("OpenSearch being away", || async {
            self.get("").map_or(Ok(()), |there| Err(there.to_string()))
        })
        .await;
    }

    async fn comes_back(&self) {
        eventually("OpenSearch coming back", || async {
            let back =
                self.cluster.exec(self.namespace, "opensearch", "opensearch", &["rm", "-f", "/data/away"]);
            if back.success { Ok(()) } else { Err(back.text) }
        })
        .await;
    }
}

/// What `e2e/catalogue/log-shipper/shop.yaml` writes.
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

/// Exactly once, as written, in order; otherwise says what is different instead of printing everything.
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
    assert!(wrong.is_empty(), "{} entries are lost (-1) or came too often (1): {some:?}", wrong.len());
    let first = arrived.iter().zip(written).position(|(arrived, written)| arrived != written);
    assert_eq!(first, None, "the order is another one");
}

/// Makes the pods of a namespace ship to `OpenSearch`, and waits until they do.
async fn ships_to(
    cluster: &Cluster,
    space: &TestNamespace,
    receiver: &str,
    port: u16,
    others: &[(&str, &str)],
) {
    let port = port.to_string();
    let all = [("output", "Elasticsearch"), ("port", &port), ("receiver", receiver)];
    let keys: Vec<_> = all
        .iter()
        .chain(others)
        .map(|(key, value)| format!("log-shipper.outrigger.dev/{key}={value}"))
        .collect();
    let mut words = vec!["annotate", "namespace", &space.name];
    words.extend(keys.iter().map(String::as_str));
    cluster.kubectl(&words).expect();
    let mut in_a_row = 0;
    eventually("the namespace's parameters being known", || {
        in_a_row += 1;
        let count = in_a_row;
        async move {
            let probe = cluster.dry_run_pod(&space.name, &pod("probe")).await?.to_string();
            if probe.contains(receiver) && count >= 4 { Ok(()) } else { Err(probe) }
        }
    })
    .await;
}

#[tokio::test]
async fn log_shipper_loses_and_doubles_nothing_while_opensearch_is_away() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["log-shipper"], &[], true).await;
    let search = OpenSearch::start(&cluster, &space.name);
    ships_to(&cluster, &space, &format!("opensearch.{}.svc", space.name), 9200, &[]).await;
    cluster.ready_pod(&space.name, "opensearch").await;
    for app in ["shop", "flood"] {
        cluster.apply_file(&space.name, &format!("log-shipper/{app}.yaml")).expect();
    }
    let secured = behind_https_and_a_password(&cluster, &search).await;
    cluster.ready_pod(&space.name, "flood").await;
    search.has("logs", "shop", 100).await;
    let rows: Vec<_> = (1..=500).map(|row| format!("imported row {row}")).collect();
    assert_arrived(&search.entries("secured", "import", rows.len()).await, &rows);
    eventually("the job being complete", || async {
        let job =
            cluster.kubectl(&["get", "job", "import", "--namespace", &secured.name, "--output", "json"]);
        if job.text.contains("\"succeeded\": 1") { Ok(()) } else { Err(job.text) }
    })
    .await;

    search.goes_away().await;
    let outage = Instant::now();
    cluster.exec(&space.name, "flood", "app", &["touch", "/srv/flood/go"]).expect();
    eventually("the shipper's buffer being full", || async {
        let kept = kept_by_flood(&cluster, &space.name);
        if kept >= 4 * 1024 { Ok(()) } else { Err(format!("{kept} KiB")) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(outage.elapsed())).await;
    // 12 MB are written and 4 MiB are kept; the rest waits where the app has put it.
    let kept = kept_by_flood(&cluster, &space.name);
    assert!((4 * 1024..5 * 1024).contains(&kept), "the shipper keeps {kept} KiB");
    search.comes_back().await;

    let line = "x".repeat(4000);
    let flood: Vec<_> = (1..=3000).map(|seq| format!("{seq:05} {line}")).collect();
    assert_arrived(&search.entries("logs", "flood", flood.len()).await, &flood);
    assert_arrived(&search.entries("logs", "shop", 1200).await, &shop());
    for name in ["shop", "flood"] {
        let pod = cluster.ready_pod(&space.name, name).await;
        assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 0, "{name}");
    }
    space.measure("log-shipper", &pod("measured")).await;
}

/// What waits in the shipper of the pod `flood`, in KiB.
fn kept_by_flood(cluster: &Cluster, namespace: &str) -> u32 {
    let said = cluster.exec(namespace, "flood", "log-shipper", &["du", "-sk", "/var/spool/rsyslog"]).expect();
    said.split_whitespace().next().unwrap().parse().unwrap()
}

/// A job whose app ends at once, in a namespace that ships by HTTPS and with a password.
async fn behind_https_and_a_password(cluster: &Cluster, search: &OpenSearch<'_>) -> TestNamespace {
    let space = TestNamespace::with_profiles(cluster, &["log-shipper"], &[], true).await;
    let host = format!("front.{}.svc", search.namespace);
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
    let others = [("index", "secured"), ("credentialsSecret", "logs"), ("caConfigMap", "logs-ca")];
    ships_to(cluster, &space, &host, 443, &others).await;
    cluster.apply_file(&space.name, "log-shipper/import.yaml").expect();
    space
}

/// A certificate that is its own authority, and its key.
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
