//! The engine's validation beside that of a real API server.
//!
//! For every field of the API server's schema that a profile may give, single mistakes are made in a valid profile. The API
//! server judges the pod by a dry run, the engine the profile, at load or when it decides.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::print_stdout,
    reason = "the figures and the mistakes that are missed are the test's result"
)]

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

/// Requests at a time.
const AT_A_TIME: usize = 6;

/// The share of the API server's rejections that the engine finds, in percent.
const LEAST: usize = 97;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_finds_the_mistakes_that_the_api_server_rejects_and_no_others() {
    let cluster = Cluster::connect().await;
    let space = TestNamespace::plain(&cluster).await;
    let schema = Schema::read(&cluster);
    let server = Arc::new(Server::new(&cluster, &space.name));
    let mut tried = BTreeSet::new();
    let mut mistakes = Vec::new();
    for base in bases::all() {
        if let Err(error) = server.judges(&base).await {
            panic!("a base is not valid: {error}\n{base:#}");
        }
        if let Err(error) = engine(&base) {
            panic!("the engine rejects a valid base: {error}\n{base:#}");
        }
        mistakes.extend(mistakes::of(&base, &schema, &mut tried));
    }
    let untried: Vec<String> = schema.fields().difference(&tried).cloned().collect();
    assert!(untried.is_empty(), "no base has these fields: {untried:?}");
    let verdicts = ask(&server, mistakes).await;
    report(&verdicts);
}

/// A mistake, and what the API server and the engine say.
struct Verdict {
    mistake: Mistake,
    server: Result<(), String>,
    engine: Result<(), String>,
}

async fn ask(server: &Arc<Server>, mistakes: Vec<Mistake>) -> Vec<Verdict> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut asked = JoinSet::new();
    for mistake in mistakes {
        let (server, turns) = (Arc::clone(server), Arc::clone(&turns));
        asked.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let said = server.judges(&mistake.partial).await;
            Verdict { engine: engine(&mistake.partial), server: said, mistake }
        });
    }
    asked.join_all().await
}

fn report(verdicts: &[Verdict]) {
    let rejected = verdicts.iter().filter(|verdict| verdict.server.is_err()).count();
    let missed: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.server.is_err() && verdict.engine.is_ok()).collect();
    let wrong: Vec<&Verdict> =
        verdicts.iter().filter(|verdict| verdict.server.is_ok() && verdict.engine.is_err()).collect();
    let lines = |verdicts: &[&Verdict]| {
        let said = |said: &Result<(), String>| said.clone().err().unwrap_or_default();
        let mut lines: Vec<String> = verdicts
            .iter()
            .map(|verdict| {
                format!("{}: {}{}", verdict.mistake.what, said(&verdict.server), said(&verdict.engine))
            })
            .collect();
        lines.sort();
        lines.join("\n")
    };
    let found = rejected - missed.len();
    println!(
        "{} mistakes: the API server rejects {rejected}, the engine finds {found} of them\nmissed:\n{}",
        verdicts.len(),
        lines(&missed)
    );
    assert!(
        wrong.is_empty(),
        "the engine rejects {} that the API server takes:\n{}",
        wrong.len(),
        lines(&wrong)
    );
    assert!(rejected > 1000, "only {rejected} mistakes were made");
    assert!(found * 100 >= rejected * LEAST, "the engine finds {found} of {rejected}");
}

/// Returns the value at a pointer, to be changed.
fn at<'v>(value: &'v mut Value, pointer: &str) -> &'v mut Value {
    value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not there"))
}
