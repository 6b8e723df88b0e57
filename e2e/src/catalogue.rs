//! What the catalogue's tests share: profiles of `profiles/`, namespaces that use them, and what they cost a pod.

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
    /// Applies profiles of the catalogue as they are.
    pub fn profiles(&self, names: &[&str]) {
        for name in names {
            self.apply("default", &read(&format!("profiles/{name}/profile.yaml"))).expect();
        }
    }

    /// Applies a file of `e2e/catalogue` to a namespace; `NAMESPACE` in it stands for the namespace's name.
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

    /// What a container has printed so far.
    pub fn logs(&self, namespace: &str, pod: &str, container: &str) -> String {
        self.kubectl(&["logs", "--namespace", namespace, pod, "--container", container]).text
    }
}

/// A manifest of the repository, with its images as the cluster finds them.
fn read(file: &str) -> String {
    let path = format!("{}/{file}", crate::cluster::variable("OUTRIGGER_WORKSPACE"));
    let manifest = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    crate::manifests::rename_images(&manifest)
}

impl TestNamespace {
    /// An enabled namespace whose default is these profiles of the catalogue, with annotations of its own; waits until
    /// they are injected there. With `restricted`, the API server enforces that Pod Security level.
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

    /// Waits until pods here get these profiles, four times in a row: any replica may answer.
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

    /// The name of the one pod that a label selects, once it is ready.
    pub async fn ready(&self, labels: &str) -> String {
        let pod = self.cluster.ready_pods(&self.name, labels, 1).await.remove(0);
        pod["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Under `cargo xtask bench catalogue`, prints what the namespace's profiles cost this pod: the time that they add
    /// to its start (the median of five pairs), and the memory of each sidecar. Otherwise does nothing.
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

    /// The memory of a pod's containers as the kubelet sees it: anonymous, and the working set that limits count.
    async fn memory(&self, name: &str) -> String {
        let node = self.cluster.kubectl(&["get", "node", "--output", "name"]).expect();
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", node.trim().trim_start_matches("node/"));
        // The kubelet looks every ten seconds; the first look is too early to be what stays.
        tokio::time::sleep(Duration::from_secs(15)).await;
        eventually("the kubelet's figures of the pod", || async {
            // The kubelet has none at all while any container is going away.
            let said = self.cluster.kubectl(&["get", "--raw", &path]);
            let Ok(summary) = serde_json::from_str::<Value>(&said.text) else { return Err(said.text) };
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
            if containers.is_empty() { Err("none yet".to_owned()) } else { Ok(text) }
        })
        .await
    }
}
