//! The cost of a response: from the bytes of a review to the bytes of the response, as in the server.
//!
//! Each case is compared with two baselines for the same bytes: `scan` reads the JSON and keeps nothing, and `tree`
//! parses it to a [`serde_json::Value`]. `cargo xtask bench engine` runs this, and prints the cost relative to the
//! baselines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

mod cases;
mod profiles;
mod reviews;

use cases::Case;
use divan::{AllocProfiler, Bencher, black_box};
use mimalloc::MiMalloc;
use outrigger::webhook::{WebhookEntry, answer};
use serde::de::IgnoredAny;
use serde_json::Value;

/// The allocator of the server, with counters.
#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

fn main() {
    for case in Case::ALL {
        case.check();
    }
    divan::main();
}

#[divan::bench(args = Case::ALL)]
fn answered(bencher: Bencher<'_, '_>, case: Case) {
    let (state, body) = (case.state(), case.body());
    bencher.bench_local(|| answer(black_box(&state), WebhookEntry::Namespace, black_box(&body)));
}

#[divan::bench(args = Case::ALL)]
fn tree(bencher: Bencher<'_, '_>, case: Case) {
    let body = case.body();
    bencher.bench_local(|| serde_json::from_slice::<Value>(black_box(&body)).unwrap());
}

#[divan::bench(args = Case::ALL)]
fn scan(bencher: Bencher<'_, '_>, case: Case) {
    let body = case.body();
    bencher.bench_local(|| serde_json::from_slice::<IgnoredAny>(black_box(&body)).unwrap());
}
