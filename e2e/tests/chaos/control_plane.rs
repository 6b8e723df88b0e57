//! The API server and etcd go away, and come back. Only the embedded cluster's can be taken.

use std::time::{Duration, Instant};

use e2e::{Cluster, TestNamespace, companion, eventually, exclusive};
use serde_json::Value;

use crate::load::{Load, Seen};
use crate::profiles::refused;
use crate::{SERVERS, cluster_command};

/// Gives a program back, whatever became of the test.
struct Stopped<'a>(&'a Cluster, &'static str);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        cluster_command(self.0, &["start", self.1]);
        cluster_command(self.0, &["signal", "CONT", self.1]);
    }
}

#[test]
fn the_api_server_is_stopped_and_back() {
    exclusive("e2e-api-server", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-api-server").await;
        let before = restarts(&cluster).await;
        load.fault();
        stop(&cluster, "kube-apiserver", Duration::from_secs(5)).await;
        let seen = load.end("API server stopped for 5 s").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "a server of ours was restarted");
    });
}

#[test]
fn etcd_is_stopped_and_back() {
    exclusive("e2e-etcd", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-etcd").await;
        let before = restarts(&cluster).await;
        load.fault();
        stop(&cluster, "etcd", Duration::from_secs(5)).await;
        let seen = load.end("etcd stopped for 5 s").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "a server of ours was restarted");
    });
}

#[test]
fn the_api_server_stands_still() {
    exclusive("e2e-hung", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-hung").await;
        let before = restarts(&cluster).await;
        load.fault();
        let stopped = Stopped(&cluster, "kube-apiserver");
        cluster_command(&cluster, &["signal", "STOP", "kube-apiserver"]).expect();
        // Less than webhook.timeoutSeconds: by its own clock it would have waited too long for answers that are there.
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(stopped);
        let seen = load.end("API server stands still for 4 s (SIGSTOP)").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "a server of ours was restarted");
    });
}

#[test]
fn etcd_is_restored_from_a_backup() {
    exclusive("e2e-backup", |cluster, space| async move {
        let users = TestNamespace::enabled(&cluster, "e2e-unsaved").await;
        let mut load = Load::start(&cluster, &space, "e2e-backup").await;
        load.fault();
        cluster_command(&cluster, &["etcd", "save"]).expect();
        let profile = companion("e2e-unsaved").to_string();
        eventually("a profile that the backup lacks", || async {
            let said = cluster.apply("default", &profile);
            if said.success { Ok(()) } else { Err(said.text) }
        })
        .await;
        e2e::injects(&cluster, &users, "e2e-unsaved").await;
        let before = restarts(&cluster).await;
        cluster_command(&cluster, &["etcd", "restore"]).expect();
        eventually("the API server being back", || async {
            let said = cluster.kubectl(&["get", "clustersidecarprofile", "e2e-unsaved"]);
            if said.text.contains("NotFound") { Ok(()) } else { Err(said.text) }
        })
        .await;
        let restored = Instant::now();
        refused(&cluster, &users, "[ProfileNotFound]").await;
        let took = restored.elapsed();
        assert!(took < Duration::from_secs(15), "a profile was injected that no longer exists, for {took:?}");
        load.repaired();
        let seen = load.end("etcd restored from a backup").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "a server of ours was restarted");
    });
}

async fn stop(cluster: &Cluster, program: &'static str, time: Duration) {
    cluster_command(cluster, &["stop", program]).expect();
    let stopped = Stopped(cluster, program);
    tokio::time::sleep(time).await;
    drop(stopped);
}

/// While nobody can admit a pod, nobody blames Outrigger; afterwards it is there at once.
fn assert_only_the_api_server(seen: &Seen) {
    assert!(seen.asked > 0);
    let ours = seen.failed.keys().find(|why| *why != "API server away");
    assert_eq!(ours, None, "{:?}", seen.failed);
}

/// How often the servers were restarted, pod by pod.
async fn restarts(cluster: &Cluster) -> Vec<(Value, Value)> {
    let pods = cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
    pods.iter()
        .map(|pod| {
            (pod["metadata"]["name"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
        })
        .collect()
}
