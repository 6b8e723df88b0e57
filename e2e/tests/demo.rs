//! The README's first command, `cargo xtask demo`: twice in a row, and again after an interruption.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use e2e::Cluster;

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
    interrupt(cluster.xtask(&["demo"]));
    run(cluster.xtask(&["demo"]));
}

/// Kills the demo during Helm's installation, which leaves a pending release.
fn interrupt(mut demo: Command) {
    let mut child = demo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut steps = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        steps.any(|line| line.unwrap().contains("install Outrigger")),
        "the demo did not reach the step of the installation"
    );
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
}
