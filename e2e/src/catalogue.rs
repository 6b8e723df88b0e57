//! Helpers of the catalogue's tests: profiles of `profiles/`, namespaces that use them, and their cost for a pod.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Output};
use crate::namespace::TestNamespace;
use crate::wait::eventually;

impl Cluster {
    /// Applies profiles of the catalogue without changes.
    pub fn profiles(&self, names: &[&str]) {
        for name in names {
            self.apply("default", &read(&format!("profiles/{name}/profile.yaml"))).expect();
        }
    }

    /// Applies a file of `e2e/catalogue` to a namespace. `NAMESPACE` in it is replaced with the namespace's name.
    pub fn apply_file(&self, namespace: &str, file: &str) -> Output {
        let manifest = read(&format!("e2e/catalogue/{file}"));
        self.apply(namespace, &manifest.replace("NAMESPACE", namespace))
    }

    /// Runs a command in a container.
    pub fn exec(&self, namespace: &str, pod: &str, container: &str, command: &[&str]) -> Output {
        let mut words = vec!["exec", "--namespace", namespace, pod, "--container", container, "--"];
        words.extend(command);
        self.kubectl(&words)
    }

    /// Returns the log of a container.
    pub fn logs(&self, namespace: &str, pod: &str, container: &str) -> String {
        self.kubectl(&["logs", "--namespace", namespace, pod, "--container", container]).text
    }
}

/// Reads a manifest of the repository, and renames its images for the cluster.
fn read(file: &str) -> String {
    let path = format!("{}/{file}", crate::cluster::variable("OUTRIGGER_WORKSPACE"));
    let manifest = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    crate::manifests::rename_images(&manifest)
}

impl TestNamespace {
    /// Creates an enabled namespace with these profiles of the catalogue as its default, and with additional
    /// annotations. Waits until the profiles are injected. With `restricted`, the API server enforces that Pod Security
    /// level.
    pub async fn with_profiles(
        cluster: &Cluster,
        profiles: &[&str],
        annotations: &[(&str, &str)],
        restricted: bool,
    ) -> Self {
        cluster.profiles(profiles);
        let made = Self::enabled(cluster, &profiles.join(",")).await;
        for (key, value) in annotations {
            cluster.kubectl(&["annotate", "namespace", &made.name, &format!("{key}={value}")]).expect();
        }
        if restricted {
            let label = "pod-security.kubernetes.io/enforce=restricted";
            cluster.kubectl(&["label", "namespace", &made.name, label]).expect();
        }
        made.injects(profiles).await;
        made
    }

    /// Waits until pods in this namespace get the profiles four times in a row, because each request can reach another
    /// replica.
    pub async fn injects(&self, profiles: &[&str]) {
        let in_a_row = Cell::new(0);
        eventually("the profiles being injected", || async {
            let answer = self.cluster.dry_run_pod(&self.name, &crate::manifests::pod("probe")).await;
            let status = answer.map(|pod| pod["metadata"]["annotations"]["outrigger.dev/status"].to_string());
            let injected =
                |status: &String| profiles.iter().all(|name| status.contains(&format!(r#"\"{name}\""#)));
            in_a_row.set(if status.as_ref().is_ok_and(injected) { in_a_row.get() + 1 } else { 0 });
            if in_a_row.get() == 4 { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    /// Waits until the only pod that a label selects is ready, and returns its name.
    pub async fn ready(&self, labels: &str) -> String {
        let pod = self.cluster.ready_pods(&self.name, labels, 1).await.remove(0);
        pod["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Under `cargo xtask bench catalogue`, prints the cost of the namespace's profiles for this pod: the time that
    /// they add to its start (the median of five pairs), and the memory of each sidecar. Otherwise, does nothing.
    pub async fn measure(&self, profile: &str, pod: &Value) {
        if std::env::var_os("OUTRIGGER_MEASURE").is_none() {
            return;
        }
        let mut added = Vec::new();
        let mut memory = String::new();
        for round in 0..5 {
            let mut plain = pod.clone();
            plain["metadata"]["labels"] = json!({ "outrigger.dev/inject": "disabled" });
            let without = self.start(&mut plain, &format!("plain-{round}")).await;
            self.remove(&format!("plain-{round}")).await;
            let with = self.start(&mut pod.clone(), &format!("measured-{round}")).await;
            added.push(with.as_secs_f64() - without.as_secs_f64());
            if round == 4 {
                memory = self.memory(&format!("measured-{round}")).await;
            }
            self.remove(&format!("measured-{round}")).await;
        }
        added.sort_by(f64::total_cmp);
        eprintln!("cost of {profile}: {:.1} s added to the start;{memory}", added[2]);
    }

    async fn start(&self, pod: &mut Value, name: &str) -> Duration {
        pod["metadata"]["name"] = json!(name);
        let started = Instant::now();
        self.cluster.create_pod(&self.name, pod).await.unwrap();
        self.cluster.ready_pod(&self.name, name).await;
        started.elapsed()
    }

    async fn remove(&self, name: &str) {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.cluster.api::<Pod>(&self.name).delete(name, &now).await.unwrap();
    }

    /// Returns the memory of a pod's containers in the kubelet's statistics: anonymous memory and working set.
    async fn memory(&self, name: &str) -> String {
        let node = self.cluster.kubectl(&["get", "node", "--output", "name"]).expect();
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", node.trim().trim_start_matches("node/"));
        // The kubelet samples every ten seconds, and the first sample is too early to be representative.
        tokio::time::sleep(Duration::from_secs(15)).await;
        eventually("the kubelet's figures of the pod", || async {
            // The kubelet returns no statistics while any container is being deleted.
            let output = self.cluster.kubectl(&["get", "--raw", &path]);
            let Ok(summary) = serde_json::from_str::<Value>(&output.text) else { return Err(output.text) };
            let pods = summary["pods"].as_array().cloned().unwrap_or_default();
            let found = pods.into_iter().find(|pod| {
                pod["podRef"]["name"] == name && pod["podRef"]["namespace"] == self.name.as_str()
            });
            let containers = found.and_then(|pod| pod["containers"].as_array().cloned()).unwrap_or_default();
            let mut text = String::new();
            for container in &containers {
                let mebibytes =
                    |field: &str| container["memory"][field].as_f64().unwrap_or(0.0) / 1_048_576.0;
                let (anonymous, working) = (mebibytes("rssBytes"), mebibytes("workingSetBytes"));
                write!(text, " {} {anonymous:.1} MiB (working set {working:.1})", container["name"]).unwrap();
            }
            if containers.is_empty() { Err("no statistics yet".to_owned()) } else { Ok(text) }
        })
        .await
    }
}
