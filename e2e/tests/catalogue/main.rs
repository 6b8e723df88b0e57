//! Every profile of the catalogue in real pods, with its real program. There is one module per area. Each test has its
//! own namespace and can run alone: `cargo xtask test e2e catalogue::mesh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

/// A nested module, so that the tests' names start with it.
#[path = "."]
mod catalogue {
    mod ambassadors;
    mod composition;
    mod database;
    mod every;
    mod exporters;
    mod guards;
    mod loaders;
    mod logs;
    mod mesh;
    mod rotation;
    mod telemetry;
    mod vault;
}
