//! What the end-to-end tests share: the way to a real cluster, namespaces that last as long as a test, and
//! looks at pods.
//!
//! The tests are in `tests/`: `demo` runs the README's first command, `injection` looks at pods and runs in
//! parallel, as do `observability` (logs, events, metrics) and `mandatory` (attacks on Mandatory profiles); `disruption` takes
//! things away and runs one test at a time, as do `certificates`, `serving` and `traces`; `chaos` does so under a steady creation of pods;
//! `monitoring` asks a real Prometheus; `catalogue` puts every profile to work with its
//! real program. `cargo xtask test` starts them and
//! says by environment variables where the cluster is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says why on stderr"
)]

mod catalogue;
mod cluster;
mod exclusive;
mod manifests;
mod namespace;
mod steady;
mod wait;

pub use cluster::{Cluster, Output};
pub use exclusive::{exclusive, injected, injects, scale};
pub use manifests::{companion, deployment, image, mandatory, pod};
pub use namespace::TestNamespace;
pub use steady::{Answer, Asked, Counts, Steady};
pub use wait::eventually;
