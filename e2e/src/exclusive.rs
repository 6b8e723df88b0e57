use std::sync::{Mutex, PoisonError};

use crate::cluster::Cluster;
use crate::manifests::companion;
use crate::namespace::TestNamespace;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test alone, on a cluster with a profile, a namespace whose default it is, and the release with default
/// values.
///
/// Use it for tests that change shared state. Tests of other files run in other processes, before or after.
pub fn exclusive<F: Future<Output = ()>>(profile: &str, test: impl FnOnce(Cluster, TestNamespace) -> F) {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let cluster = Cluster::installed().await;
        cluster.apply("default", &companion(profile).to_string()).expect();
        let space = TestNamespace::enabled(&cluster, profile).await;
        test(cluster.clone(), space).await;
        cluster.kubectl(&["delete", "clustersidecarprofile", profile, "--ignore-not-found"]).expect();
    });
}

/// Scales the release, and waits until it has this number of replicas.
pub fn scale(cluster: &Cluster, replicas: u32) {
    let wanted = format!("--replicas={replicas}");
    cluster.kubectl(&["scale", "deployment/outrigger", "--namespace", Cluster::SYSTEM, &wanted]).expect();
    if replicas == 0 {
        let labels = "app.kubernetes.io/name=outrigger,app.kubernetes.io/instance=outrigger";
        let gone = ["wait", "--for=delete", "pod", "--selector", labels, "--timeout=120s", "--namespace"];
        cluster.kubectl(&[&gone[..], &[Cluster::SYSTEM]].concat()).expect();
    } else {
        let status = ["rollout", "status", "deployment/outrigger", "--timeout=180s", "--namespace"];
        cluster.kubectl(&[&status[..], &[Cluster::SYSTEM]].concat()).expect();
    }
}
