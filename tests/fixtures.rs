//! Decisions as data: one folder per case in `tests/fixtures`.
//!
//! `pod.yaml` begins with a comment that describes the case. `namespace.yaml` and `profiles.yaml` default to those in
//! `tests/fixtures/_common`. `expected.yaml` is the decision, with the codes and arguments of its reasons. Their
//! sentences are in `tests/sentences.txt`, with the arguments' names in braces. With `OUTRIGGER_BLESS=1` in the
//! environment, the tests write both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use outrigger::engine::{Decision, Level, Outcome, Reason};
use serde_json::{Value, json};

#[path = "common/cases.rs"]
mod cases;
#[path = "common/sentences.rs"]
mod sentences;

use cases::{Case, apply, documents, folders};
use sentences::Sentences;

fn describe(pod: &Value, decision: &Decision) -> Value {
    let trace: Vec<Value> = decision.trace.lines().iter().map(|line| coded(&line.reason)).collect();
    let warnings: Vec<&str> = decision.warnings().map(Reason::code).collect();
    let mut described = json!({ "outcome": decision.outcome.as_str(), "warnings": warnings, "trace": trace });
    if decision.outcome != Outcome::Denied {
        described["operations"] = decision
            .patch
            .operations()
            .iter()
            .map(|operation| {
                let value = serde_json::to_value(operation).unwrap();
                format!("{} {}", value["op"].as_str().unwrap(), value["path"].as_str().unwrap())
            })
            .collect();
        described["pod"] = apply(pod, decision);
    }
    described
}

/// Returns a reason's code with its arguments.
fn coded(reason: &Reason) -> Value {
    match serde_json::to_value(reason).unwrap() {
        Value::Object(variant) => {
            let arguments = variant.into_iter().map(|(_, arguments)| arguments).next().unwrap();
            json!({ reason.code(): arguments })
        }
        // A reason without arguments.
        _ => json!(reason.code()),
    }
}

fn run(folder: &Path, case: &Case) -> Result<(), String> {
    let text = fs::read_to_string(folder.join("pod.yaml")).map_err(|error| error.to_string())?;
    if !text.starts_with("# ") {
        return Err("pod.yaml does not begin with a comment that describes the case".to_owned());
    }
    let decision = case.decide(&case.pod);
    let described = describe(&case.pod, &decision);

    let expected = folder.join("expected.yaml");
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&expected, serde_saphyr::to_string(&described).unwrap()).unwrap();
    }
    let wanted = documents(&expected).remove(0);
    if wanted != described {
        return Err(format!("decided\n{}\nexpected.yaml has\n{}", pretty(&described), pretty(&wanted)));
    }

    let brief = case.decide_by(outrigger::engine::admit, &case.pod);
    let is_reported = |line: &&outrigger::engine::Line| line.reason.level() != Level::Info;
    let reported: Vec<_> = decision.trace.lines().iter().filter(is_reported).cloned().collect();
    if brief.patch != decision.patch
        || brief.reason != decision.reason
        || brief.profiles != decision.profiles
        || brief.unknown_profiles() != decision.unknown_profiles()
        || brief.trace.lines() != reported
    {
        return Err(format!(
            "the decision about a request differs:\n{}",
            pretty(&describe(&case.pod, &brief))
        ));
    }
    let again = case.decide(&apply(&case.pod, &decision));
    if decision.outcome != Outcome::Denied && !again.patch.is_empty() {
        return Err(format!("a second injection is not a no-op: {}", again.patch));
    }
    let mut backwards = Case::read(folder);
    backwards.profiles.reverse();
    let backwards = backwards.decide(&case.pod);
    if backwards.patch != decision.patch || backwards.trace.lines() != decision.trace.lines() {
        return Err("the decision depends on the order in which profiles are loaded".to_owned());
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

/// The reasons of `verify` are tested in the engine.
#[test]
fn every_reason_of_a_decision_has_a_case() {
    let table = include_str!("../src/engine/reason/facts.rs");
    let decided = table.lines().filter(|line| !line.ends_with("Denial, Verify),"));
    let codes = decided.filter_map(|line| line.split_once("(\"")?.1.split('"').next());
    let read = |folder: &Path| fs::read_to_string(folder.join("expected.yaml")).unwrap_or_default();
    let expected: String = folders().iter().map(|folder| read(folder)).collect();
    let missing: Vec<&str> = codes.filter(|code| !expected.contains(&format!("- {code}"))).collect();
    assert!(missing.is_empty(), "no case has {missing:?}");
}

#[test]
fn sentences_are_up_to_date() {
    let mut sentences = Sentences::default();
    for folder in folders() {
        let case = Case::read(&folder);
        for line in case.decide(&case.pod).trace.lines() {
            sentences.add(&line.reason);
        }
    }
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sentences.txt");
    let text = sentences.text();
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&snapshot, &text).unwrap();
    }
    let wanted = fs::read_to_string(&snapshot).unwrap();
    let differing = text.lines().filter(|line| !wanted.lines().any(|known| known == *line));
    let differing: Vec<&str> = differing.collect();
    assert!(text == wanted, "tests/sentences.txt is not up to date; new lines:\n{}", differing.join("\n"));
}

#[test]
fn cases_are_decided_as_expected() {
    let folders = folders();
    let failures: Vec<String> = folders
        .iter()
        .filter_map(|folder| {
            let case = Case::read(folder);
            run(folder, &case).err().map(|error| format!("{}: {error}", case.name))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed\n\n{}",
        failures.len(),
        folders.len(),
        failures.join("\n\n")
    );
}
