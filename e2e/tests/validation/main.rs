//! Compares the engine's validation with that of a real API server.
//!
//! For every field of the API server's schema that a profile may set, the test makes single mistakes in a valid
//! profile. The API server validates the pod in a dry run; the engine validates the profile at load and at injection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "the figures and the missed mistakes are the test's result")]

mod bases;
mod judges;
mod judgment;
mod mistakes;
mod schema;

use std::collections::BTreeSet;
use std::sync::Arc;

use e2e::{Cluster, TestNamespace};
use judges::{Server, engine};
use mistakes::Mistake;
use schema::Schema;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Number of concurrent requests.
const CONCURRENCY: usize = 6;

/// Minimum share of the API server's rejections that the engine finds, in percent.
const MIN_PERCENT: usize = 97;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_rejects_what_the_api_server_rejects_and_nothing_else() {
    let cluster = Cluster::connect().await;
    let space = TestNamespace::plain(&cluster).await;
    let schema = Schema::read(&cluster);
    let server = Arc::new(Server::new(&cluster, &space.name));
    let mut tried = BTreeSet::new();
    let mut mistakes = Vec::new();
    for base in bases::all() {
        if let Err(error) = server.validate(&base).await {
            panic!("the API server rejects a base: {error}\n{base:#}");
        }
        if let Err(error) = engine(&base) {
            panic!("the engine rejects a base: {error}\n{base:#}");
        }
        mistakes.extend(mistakes::of(&base, &schema, &mut tried));
    }
    let untried: Vec<String> = schema.fields().difference(&tried).cloned().collect();
    assert!(untried.is_empty(), "no base has these fields: {untried:?}");
    let verdicts = validate_all(&server, mistakes).await;
    report(&verdicts);
}

/// A mistake, with the results of the API server and the engine.
struct Verdict {
    mistake: Mistake,
    server: Result<(), String>,
    engine: Result<(), String>,
}

async fn validate_all(server: &Arc<Server>, mistakes: Vec<Mistake>) -> Vec<Verdict> {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let mut tasks = JoinSet::new();
    for mistake in mistakes {
        let (server, permits) = (Arc::clone(server), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await.unwrap();
            let result = server.validate(&mistake.partial).await;
            Verdict { engine: engine(&mistake.partial), server: result, mistake }
        });
    }
    tasks.join_all().await
}

fn report(verdicts: &[Verdict]) {
    let rejected = verdicts.iter().filter(|verdict| verdict.server.is_err()).count();
    let missed: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.server.is_err() && verdict.engine.is_ok()).collect();
    let wrong: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.server.is_ok() && verdict.engine.is_err()).collect();
    let lines = |verdicts: &[&Verdict]| {
        let message = |result: &Result<(), String>| result.clone().err().unwrap_or_default();
        let mut lines: Vec<String> = verdicts
            .iter()
            .map(|verdict| {
                format!("{}: {}{}", verdict.mistake.what, message(&verdict.server), message(&verdict.engine))
            })
            .collect();
        lines.sort();
        lines.join("\n")
    };
    let found = rejected - missed.len();
    println!(
        "{} mistakes: the API server rejects {rejected}, the engine rejects {found} of these\nmissed:\n{}",
        verdicts.len(),
        lines(&missed)
    );
    assert!(
        wrong.is_empty(),
        "the engine rejects {} that the API server accepts:\n{}",
        wrong.len(),
        lines(&wrong)
    );
    assert!(rejected > 1000, "the API server rejects only {rejected} mistakes");
    assert!(found * 100 >= rejected * MIN_PERCENT, "the engine rejects {found} of {rejected}");
}

/// Returns the value at a pointer.
fn at<'v>(value: &'v mut Value, pointer: &str) -> &'v mut Value {
    value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} does not exist"))
}
