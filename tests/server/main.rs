//! The webhook's routes, called in-process, and its listener on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/log_lines.rs"]
mod log_lines;

mod bodies;
mod clients;
mod connections;
mod drain;
mod handshakes;
mod health;
mod hostile;
mod judge;
mod mutate;
mod observed;
mod running;
mod shed;
mod standalone;
mod support;
mod tls;
mod validate;
mod verify;
