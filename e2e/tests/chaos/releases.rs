//! Changes of the release: upgrade, rollback, and failed upgrades.

use e2e::{Cluster, Output, exclusive};

use crate::SERVERS;
use crate::load::Load;

fn rollback(cluster: &Cluster) -> Output {
    cluster.helm(&["rollback", Cluster::RELEASE, "--namespace", Cluster::SYSTEM, "--wait", "--timeout", "3m"])
}

/// Returns the names of the servers' pods.
async fn servers(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_upgrade_and_a_rollback_reject_no_pod() {
    exclusive("e2e-rolled", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-rolled").await;
        let old = servers(&cluster).await;
        load.fault();
        cluster.install(&["podAnnotations.rolled=once"]);
        let new = servers(&cluster).await;
        assert!(old.iter().all(|name| !new.contains(name)), "pods were not replaced: {old:?}, {new:?}");
        let seen = load.end("helm upgrade: every server replaced").await;
        assert!(seen.failed.is_empty(), "pods were rejected during the upgrade: {:?}", seen.failed);

        let mut load = Load::start(&cluster, &space, "e2e-rolled").await;
        load.fault();
        rollback(&cluster).expect();
        let back = servers(&cluster).await;
        assert!(new.iter().all(|name| !back.contains(name)), "pods were not replaced: {new:?}, {back:?}");
        let seen = load.end("helm rollback: every server replaced").await;
        assert!(seen.failed.is_empty(), "pods were rejected during the rollback: {:?}", seen.failed);
        cluster.install(&[]);
    });
}

#[test]
fn a_failed_upgrade_leaves_the_old_servers_in_service() {
    exclusive("e2e-wrong", |cluster, space| async move {
        for (wrong, fault) in [
            ("image.tag=no-such-tag", "helm upgrade to an image that does not exist, and rollback"),
            ("log.filter=outrigger=nonsense", "helm upgrade to servers that crash, and rollback"),
        ] {
            let mut load = Load::start(&cluster, &space, "e2e-wrong").await;
            let old = servers(&cluster).await;
            load.fault();
            cluster.try_install(&["--timeout", "8s", "--set-string", wrong]).expect_failure();
            let pods = cluster.pods(Cluster::SYSTEM, SERVERS).await;
            let still = |name: &String| pods.iter().any(|pod| pod["metadata"]["name"] == name.as_str());
            assert!(old.iter().all(still), "an old server was deleted before a new one was ready");
            assert_eq!(pods.len(), 3, "the upgrade created no server");
            rollback(&cluster).expect();
            assert_eq!(old, servers(&cluster).await);
            load.repaired();
            let seen = load.end(fault).await;
            assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        }
    });
}
