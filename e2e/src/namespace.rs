use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::manifests::{mandatory, pod};
use crate::wait::eventually;

/// A namespace for one test, which is deleted when the test ends. A failed test prints the state of its pods.
pub struct TestNamespace {
    /// Name of the namespace.
    pub name: String,
    pub(crate) cluster: Cluster,
    made: Instant,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl TestNamespace {
    /// Creates an enabled namespace with these profiles as its default.
    pub async fn enabled(cluster: &Cluster, profiles: &str) -> Self {
        let made = Self::plain(cluster).await;
        cluster
            .kubectl(&["annotate", "namespace", &made.name, &format!("outrigger.dev/profiles={profiles}")])
            .expect();
        cluster.kubectl(&["label", "namespace", &made.name, "outrigger.dev/inject=enabled"]).expect();
        made
    }

    /// Creates a namespace without labels or annotations.
    pub async fn plain(cluster: &Cluster) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]).expect();
        let made = Self { name, cluster: cluster.clone(), made: Instant::now() };
        made.has_service_account().await;
        made
    }

    /// Creates a namespace without Outrigger's labels, in which a Mandatory profile of this name is enforced.
    pub async fn guarded(cluster: &Cluster, profile: &str) -> Self {
        cluster.apply("default", &mandatory(profile).to_string()).expect();
        let made = Self::plain(cluster).await;
        cluster.kubectl(&["label", "namespace", &made.name, &format!("e2e-guard={profile}")]).expect();
        let enforced =
            ["wait", "--for=condition=Enforced", "--timeout=60s", "clustersidecarprofile", profile];
        cluster.kubectl(&enforced).expect();
        injects(cluster, &made, profile).await;
        made
    }

    /// Writes the duration of this test to the file that `cargo xtask test` reads.
    fn record_duration(&self) {
        let Some(file) = std::env::var_os("OUTRIGGER_TIMES") else { return };
        let thread = std::thread::current();
        let line = format!("{:.1} {}\n", self.made.elapsed().as_secs_f64(), thread.name().unwrap_or("?"));
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        // An error is ignored, because nothing depends on this file and the test may already be failing.
        drop(opened.and_then(|mut file| file.write_all(line.as_bytes())));
    }

    /// Waits for the service account, without which pods cannot be created.
    async fn has_service_account(&self) {
        eventually("the namespace's service account", || async {
            let account =
                self.cluster.kubectl(&["get", "serviceaccount", "default", "--namespace", &self.name]);
            if account.success { Ok(()) } else { Err(account.text) }
        })
        .await;
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for words in [
                &["describe", "pods", "--namespace", &self.name][..],
                &["get", "events", "--namespace", &self.name, "--sort-by=.lastTimestamp"],
                &[
                    "logs",
                    "--namespace",
                    Cluster::SYSTEM,
                    "--selector",
                    "app.kubernetes.io/name=outrigger",
                    "--tail=40",
                ],
            ] {
                eprintln!("$ kubectl {}\n{}", words.join(" "), self.cluster.kubectl(words).text);
            }
        }
        self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        self.record_duration();
    }
}

/// Returns whether a pod has the native sidecar of this name.
pub fn injected(pod: &Value, sidecar: &str) -> bool {
    pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|container| container["name"] == sidecar)
}

/// Waits until pods are injected.
pub async fn injects(cluster: &Cluster, space: &TestNamespace, sidecar: &str) {
    eventually("pods being injected", || async {
        let made = cluster.dry_run_pod(&space.name, &pod("probe")).await?;
        if injected(&made, sidecar) { Ok(()) } else { Err(made.to_string()) }
    })
    .await;
}
