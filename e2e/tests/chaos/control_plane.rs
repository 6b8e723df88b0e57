//! Outages of the API server and etcd. They need the embedded cluster.

use std::time::{Duration, Instant};

use e2e::{Cluster, TestNamespace, companion, eventually, exclusive};
use serde_json::Value;

use crate::load::{Load, Seen, UNREACHABLE};
use crate::profiles::rejected;
use crate::{SERVERS, cluster_command};

/// Restarts or continues a program when it is dropped, even if the test fails.
struct Stopped<'a>(&'a Cluster, &'static str);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        cluster_command(self.0, &["start", self.1]);
        cluster_command(self.0, &["signal", "CONT", self.1]);
    }
}

#[test]
fn the_api_server_is_stopped_and_started() {
    exclusive("e2e-api-server", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-api-server").await;
        let before = restarts(&cluster).await;
        load.fault();
        stop(&cluster, "kube-apiserver", Duration::from_secs(5)).await;
        let seen = load.end("API server stopped for 5 s").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "an Outrigger server was restarted");
    });
}

#[test]
fn etcd_is_stopped_and_started() {
    exclusive("e2e-etcd", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-etcd").await;
        let before = restarts(&cluster).await;
        load.fault();
        stop(&cluster, "etcd", Duration::from_secs(5)).await;
        let seen = load.end("etcd stopped for 5 s").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "an Outrigger server was restarted");
    });
}

#[test]
fn the_api_server_is_paused() {
    exclusive("e2e-hung", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-hung").await;
        let before = restarts(&cluster).await;
        load.fault();
        let stopped = Stopped(&cluster, "kube-apiserver");
        cluster_command(&cluster, &["signal", "STOP", "kube-apiserver"]).expect();
        // Less than webhook.timeoutSeconds. After a longer pause, the API server considers received responses as timed
        // out.
        tokio::time::sleep(Duration::from_secs(4)).await;
        drop(stopped);
        let seen = load.end("API server paused for 4 s (SIGSTOP)").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "an Outrigger server was restarted");
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
        eventually("the creation of a profile after the backup", || async {
            let output = cluster.apply("default", &profile);
            if output.success { Ok(()) } else { Err(output.text) }
        })
        .await;
        e2e::injects(&cluster, &users, "e2e-unsaved").await;
        let before = restarts(&cluster).await;
        cluster_command(&cluster, &["etcd", "restore"]).expect();
        eventually("the restart of the API server", || async {
            let output = cluster.kubectl(&["get", "clustersidecarprofile", "e2e-unsaved"]);
            if output.text.contains("NotFound") { Ok(()) } else { Err(output.text) }
        })
        .await;
        let restored = Instant::now();
        rejected(&cluster, &users, "[ProfileNotFound]").await;
        let took = restored.elapsed();
        assert!(took < Duration::from_secs(15), "a deleted profile was injected for {took:?}");
        load.repaired();
        let seen = load.end("etcd restored from a backup").await;
        assert_only_the_api_server(&seen);
        assert_eq!(before, restarts(&cluster).await, "an Outrigger server was restarted");
    });
}

async fn stop(cluster: &Cluster, program: &'static str, time: Duration) {
    cluster_command(cluster, &["stop", program]).expect();
    let stopped = Stopped(cluster, program);
    tokio::time::sleep(time).await;
    drop(stopped);
}

/// Checks that all failures are due to the API server, and none to Outrigger.
fn assert_only_the_api_server(seen: &Seen) {
    assert!(seen.asked > 0);
    let ours = seen.failed.keys().find(|why| *why != UNREACHABLE);
    assert_eq!(ours, None, "{:?}", seen.failed);
}

/// Returns the restart count of each server.
async fn restarts(cluster: &Cluster) -> Vec<(Value, Value)> {
    let pods = cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
    pods.iter()
        .map(|pod| {
            (pod["metadata"]["name"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
        })
        .collect()
}
