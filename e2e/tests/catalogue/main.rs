//! Every profile of the catalogue in real pods, with its real program. A module an area; each test has a namespace of
//! its own and can be run alone: `cargo xtask test e2e catalogue::mesh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

/// A module of its own, so that the tests' names begin with it.
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
