//! More at once than anybody expects.

use std::time::Instant;

use e2e::{Cluster, alone, injected, pod};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use crate::load::row;

const NAMESPACES: usize = 200;

#[test]
fn two_hundred_namespaces_are_made_in_a_burst() {
    alone("e2e-burst", |cluster, space| async move {
        e2e::injects(&cluster, &space, "e2e-burst").await;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for worker in 0..8 {
            let cluster = cluster.clone();
            tasks.spawn(async move {
                for number in (worker..NAMESPACES).step_by(8) {
                    one(&cluster, number).await;
                }
            });
        }
        let mut failure = None;
        while let Some(done) = tasks.join_next().await {
            failure = failure.or(done.err());
        }
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let burst = ListParams::default().labels("e2e=burst");
        for namespace in namespaces.list(&burst).await.unwrap().items {
            let name = namespace.metadata.name.unwrap();
            namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
        }
        assert!(failure.is_none(), "{failure:?}");
        let took = format!("{:.1} s in all", started.elapsed().as_secs_f64());
        row("200 namespaces made in a burst", "a pod in each at once", NAMESPACES, "0", 0, &took);
    });
}

/// A namespace that is enabled from its first moment, and a pod in it that must not slip through.
async fn one(cluster: &Cluster, number: usize) {
    let name = format!("e2e-burst-{}-{number}", std::process::id());
    let made: Namespace = serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": { "outrigger.dev/inject": "enabled", "e2e": "burst" },
            "annotations": { "outrigger.dev/profiles": "e2e-burst" },
        },
    }))
    .unwrap();
    Api::all(cluster.client.clone()).create(&PostParams::default(), &made).await.unwrap();
    let made = cluster.dry_run_pod(&name, &pod("first")).await.unwrap();
    assert!(injected(&made, "e2e-burst"), "the first pod of {name} has no sidecar: {made}");
}
