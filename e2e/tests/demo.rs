//! The README's first command, `cargo xtask demo`: twice in a row, and again after an interruption.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::Cluster;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;

/// Texts that a successful demo prints. The demo fails itself if something does not work.
const PRINTED: [&str; 6] = [
    "identical, in order",
    "log-shipper",
    "prometheus-exporter",
    "did you mean \"log-shipper\"?",
    "Complete",
    "To remove it",
];

fn run(mut demo: Command) {
    let done = demo.stdin(Stdio::null()).output().unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let steps = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the demo failed:\n{output}\n{steps}");
    for part in PRINTED {
        assert!(output.contains(part), "the demo did not print {part:?}:\n{output}");
    }
}

#[tokio::test]
async fn the_demo_runs_twice_and_after_an_interruption() {
    let cluster = Cluster::connect().await;
    run(cluster.xtask(&["demo"]));
    interrupt(&cluster, cluster.xtask(&["demo"])).await;
    run(cluster.xtask(&["demo"]));
}

/// Kills the demo and its Helm while Helm installs or upgrades, which leaves a pending release.
async fn interrupt(cluster: &Cluster, mut demo: Command) {
    let null = || Stdio::null();
    // Helm is killed as well: otherwise it would finish its work.
    let demo = demo.stdin(null()).stdout(null()).stderr(null()).process_group(0);
    let mut child = demo.spawn().unwrap();
    while !is_pending(cluster).await {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the demo ended before its release was seen pending: {ended:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    child.wait().unwrap();
    assert!(is_pending(cluster).await, "Helm finished before it was killed");
}

/// Returns whether the release is between two states. Helm labels the Secret of each revision with its state.
async fn is_pending(cluster: &Cluster) -> bool {
    let labels = format!("owner=helm,name={},status in (pending-install,pending-upgrade)", Cluster::RELEASE);
    let revisions = cluster.api::<Secret>(Cluster::SYSTEM);
    !revisions.list_metadata(&ListParams::default().labels(&labels)).await.unwrap().items.is_empty()
}
