//! Helpers of the end-to-end tests: access to a real cluster, namespaces that exist as long as a test, and inspection
//! of pods.
//!
//! The tests are in `tests/`:
//!
//! - `demo` runs the README's first command.
//! - `injection`, `observability` (logs, events, metrics) and `mandatory` (attacks on Mandatory profiles) run in
//!   parallel.
//! - `disruption`, `certificates`, `serving` and `traces` change shared state and run one test at a time.
//! - `chaos` injects faults while pods are created continuously.
//! - `monitoring` queries a real Prometheus.
//! - `catalogue` runs every profile with its real program.
//!
//! `cargo xtask test` starts them, and passes the cluster in environment variables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and prints the reason to stderr"
)]

mod catalogue;
mod cluster;
mod exclusive;
mod manifests;
mod namespace;
mod pod_stream;
mod wait;

pub use cluster::{Cluster, Output};
pub use exclusive::{exclusive, scale};
pub use manifests::{companion, deployment, image, mandatory, pod};
pub use namespace::{TestNamespace, injected, injects};
pub use pod_stream::{Answer, Attempt, Counts, PodStream};
pub use wait::eventually;
