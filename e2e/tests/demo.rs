//! The README's first command, as a person runs it: twice in a row, and again after it was broken off.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use e2e::Cluster;

/// What the demo must have shown, besides ending with success: it fails itself where one of these is not so.
const SHOWN: [&str; 6] = [
    "the same, in order",
    "log-shipper",
    "prometheus-exporter",
    "did you mean \"log-shipper\"?",
    "Complete",
    "take it down",
];

fn shows_everything(mut demo: Command) {
    let done = demo.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let steps = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the demo failed:\n{said}\n{steps}");
    for part in SHOWN {
        assert!(said.contains(part), "the demo did not say {part:?}:\n{said}");
    }
}

#[tokio::test]
async fn the_demo_runs_twice_and_after_it_was_broken_off() {
    let cluster = Cluster::connect().await;
    shows_everything(cluster.xtask(&["demo"]));
    break_off(cluster.xtask(&["demo"]));
    shows_everything(cluster.xtask(&["demo"]));
}

/// Kills the demo in the middle of Helm's work, which leaves a release that is neither here nor there.
fn break_off(mut demo: Command) {
    let mut child = demo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut steps = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        steps.any(|line| line.unwrap().contains("install Outrigger")),
        "the demo never came to its installation"
    );
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
}
