//! Outages of Outrigger's own servers.

use std::time::Duration;

use e2e::{Cluster, companion, eventually, exclusive, injected, pod, scale};
use serde_json::json;

use crate::load::Load;
use crate::{SERVERS, cluster_command};

#[test]
fn one_server_is_killed_by_a_signal() {
    exclusive("e2e-one-killed", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-one-killed").await;
        load.fault();
        cluster_command(&cluster, &["signal", "KILL", "outrigger", "--first"]).expect();
        cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
        load.end("one server killed (SIGKILL)").await;
    });
}

#[test]
fn all_servers_are_killed_by_a_signal() {
    exclusive("e2e-all-killed", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-all-killed").await;
        load.fault();
        cluster_command(&cluster, &["signal", "KILL", "outrigger"]).expect();
        cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
        load.end("all servers killed (SIGKILL)").await;
    });
}

#[test]
fn the_servers_are_scaled_to_zero_and_back() {
    exclusive("e2e-none", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-none").await;
        load.fault();
        scale(&cluster, 0);
        scale(&cluster, 2);
        let seen = load.end("scaled to no server, then to two").await;
        assert!(
            seen.failed.contains_key("webhook not reached"),
            "no pod was rejected without servers: {:?}",
            seen.failed
        );
    });
}

#[test]
fn one_server_is_terminated() {
    exclusive("e2e-terminated", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-terminated").await;
        load.fault();
        let first = &cluster.pods(Cluster::SYSTEM, SERVERS).await[0];
        let name = first["metadata"]["name"].as_str().unwrap();
        cluster.kubectl(&["delete", "pod", name, "--namespace", Cluster::SYSTEM]).expect();
        cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
        let seen = load.end("one server terminated (SIGTERM)").await;
        assert!(seen.failed.is_empty(), "pods were rejected during the drain: {:?}", seen.failed);
    });
}

#[test]
fn one_server_is_paused_by_a_signal() {
    exclusive("e2e-still", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-still").await;
        load.fault();
        cluster_command(&cluster, &["signal", "STOP", "outrigger", "--first"]).expect();
        tokio::time::sleep(Duration::from_secs(8)).await;
        cluster_command(&cluster, &["signal", "CONT", "outrigger"]).expect();
        cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
        load.end("one server paused for 8 s (SIGSTOP)").await;
    });
}

#[test]
fn the_servers_lose_their_permissions() {
    exclusive("e2e-rights", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-rights").await;
        load.fault();
        cluster.kubectl(&["delete", "clusterrolebinding", "outrigger"]).expect();
        cluster.kubectl(&["delete", "rolebinding", "outrigger", "--namespace", Cluster::SYSTEM]).expect();
        permissions_are_lost(&cluster).await;
        // The servers use their snapshot. An upgrade restores the permissions.
        load.more(50).await;
        cluster.install(&[]);
        let later = companion("e2e-later").to_string();
        cluster.apply("default", &later).expect();
        eventually("the injection of a later profile", || async {
            let mut asking = pod("asking");
            asking["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-later" });
            let made = cluster.dry_run_pod(&space.name, &asking).await?;
            if injected(&made, "e2e-later") { Ok(()) } else { Err(made.to_string()) }
        })
        .await;
        load.repaired();
        let seen = load.end("the servers' permissions removed").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-later"]).expect();
    });
}

/// Waits until the API server forbids the servers' requests: by its own answer, and by the log of every server, which fails
/// to renew or read the Lease.
async fn permissions_are_lost(cluster: &Cluster) {
    let user = format!("--as=system:serviceaccount:{}:outrigger", Cluster::SYSTEM);
    // Not cluster profiles: all users can read them.
    for resource in ["sidecarprofiles.outrigger.dev", "namespaces"] {
        eventually(&format!("the servers not being allowed to list {resource}"), || async {
            let said = cluster.kubectl(&["auth", "can-i", "list", resource, "--all-namespaces", &user]);
            // It exits with 1 for "no".
            if !said.success && said.text.lines().any(|line| line == "no") { Ok(()) } else { Err(said.text) }
        })
        .await;
    }
    let servers = cluster.pods(Cluster::SYSTEM, SERVERS).await;
    // Servers of before an upgrade are terminating, and vanish.
    for server in servers.iter().filter(|server| server["metadata"]["deletionTimestamp"].is_null()) {
        let name = server["metadata"]["name"].as_str().unwrap();
        eventually(&format!("the log of {name} having a forbidden request"), || async {
            let log = cluster.kubectl(&["logs", name, "--namespace", Cluster::SYSTEM, "--since=2m"]).expect();
            let is_forbidden = |line: &str| {
                line.contains("failed to acquire or renew the lease") && line.contains("forbidden")
            };
            if log.lines().any(is_forbidden) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}
