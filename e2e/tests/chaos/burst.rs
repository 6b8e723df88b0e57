//! Bursts of changes.

use std::time::{Duration, Instant};

use e2e::{Cluster, exclusive, injected, pod};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use crate::SERVERS;
use crate::load::row;

const NAMESPACES: usize = 200;

#[test]
fn two_hundred_namespaces_are_created_in_a_burst() {
    exclusive("e2e-burst", |cluster, space| async move {
        e2e::injects(&cluster, &space, "e2e-burst").await;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for worker in 0..8 {
            let cluster = cluster.clone();
            tasks.spawn(async move {
                for number in (worker..NAMESPACES).step_by(8) {
                    create_namespace_and_pod(&cluster, number).await;
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
        row("200 namespaces created in a burst", "a pod in each at once", NAMESPACES, "0", 0, &took);
    });
}

/// Creates a namespace that is enabled from its creation, and a pod in it that must be injected.
async fn create_namespace_and_pod(cluster: &Cluster, number: usize) {
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

const CHANGES: usize = 100;

/// Adds and removes the label, and creates a pod right after each addition. The API server evaluates selectors on its
/// own cache of namespaces, so it can admit such a pod without a call of the webhook.
#[test]
fn a_namespace_label_is_added_and_removed_repeatedly() {
    exclusive("e2e-key", |cluster, space| async move {
        e2e::injects(&cluster, &space, "e2e-key").await;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let label = async |value: Option<&str>| {
            let patch = json!({ "metadata": { "labels": { "outrigger.dev/inject": value } } });
            let patch = Patch::Merge(patch);
            namespaces.patch(&space.name, &PatchParams::default(), &patch).await.unwrap();
        };
        let (mut missed, mut longest) = (Vec::new(), Duration::ZERO);
        let started = Instant::now();
        for number in 0..CHANGES {
            label(None).await;
            label(Some("enabled")).await;
            let (added, name) = (Instant::now(), format!("flip-{number}"));
            let mut made = cluster.dry_run_pod(&space.name, &pod(&name)).await.unwrap();
            if !injected(&made, "e2e-key") {
                missed.push(name);
            }
            while !injected(&made, "e2e-key") {
                longest = longest.max(added.elapsed());
                made = cluster.dry_run_pod(&space.name, &pod("later")).await.unwrap();
            }
        }
        let mut log = String::new();
        for server in cluster.pods(Cluster::SYSTEM, SERVERS).await {
            let name = server["metadata"]["name"].as_str().unwrap();
            log += &cluster.kubectl(&["logs", name, "--namespace", Cluster::SYSTEM]).expect();
        }
        let is_known =
            |name: &String| log.contains(&format!(" pod={name} ")) || log.contains(&format!("pod={name:?}"));
        let called: Vec<&String> = missed.iter().filter(|name| is_known(name)).collect();
        let took = format!(
            "{:.1} s in all; late by {} ms at most",
            started.elapsed().as_secs_f64(),
            longest.as_millis()
        );
        eprintln!("{} of {CHANGES} pods missed by the API server, {took}", missed.len());
        let fault = "the key of a namespace's label added and removed 100 times";
        row(fault, "a pod after each addition", CHANGES, "0", called.len(), &took);
        assert!(called.is_empty(), "servers were called for these pods and did not inject them: {called:?}");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    });
}
