//! The webhook's routes, called in-process, and its listener on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bodies;
mod drain;
mod health;
mod mutate;
mod running;
mod standalone;
mod support;
mod tls;
mod validate;
