//! Fault injection while pods are created continuously. Each test changes shared state, so they run one at a time. Each
//! writes a line of the table that `cargo xtask chaos` prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints what it does"
)]

#[path = "../../../tests/common/log_lines.rs"]
mod log_lines;

mod burst;
mod certificates;
mod clients;
mod control_plane;
mod load;
mod profiles;
mod random;
mod releases;
mod reviews;
mod servers;
mod standalone;

use e2e::{Cluster, Output};

/// Label of Outrigger's own pods.
const SERVERS: &str = "app.kubernetes.io/name=outrigger";

/// Runs a command of `cargo xtask cluster`.
fn cluster_command(cluster: &Cluster, words: &[&str]) -> Output {
    let done = cluster.xtask(&["cluster"]).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    Output { success: done.status.success(), text }
}
