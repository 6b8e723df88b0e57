//! Decisions as data: a folder a case under `tests/fixtures`.
//!
//! `pod.yaml` begins with a comment that says what the case is for. `namespace.yaml` and `profiles.yaml`
//! default to the ones in `tests/fixtures/_common`. `expected.yaml` holds the decision; with
//! `OUTRIGGER_BLESS=1` in the environment the test writes it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use outrigger::api::{ClusterSidecarProfile, Scope, SidecarProfile};
use outrigger::engine::{Decision, Namespace, Outcome, Settings};
use outrigger::json::Json;
use outrigger::profiles::{Entry, ProfileSet};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn or_common(case: &Path, file: &str) -> Vec<Value> {
    let own = case.join(file);
    documents(&if own.exists() { own } else { root().join("_common").join(file) })
}

fn namespace(document: &Value) -> Namespace {
    let map = |field: &str| serde_json::from_value(document["metadata"][field].clone()).unwrap_or_default();
    Namespace {
        name: document["metadata"]["name"].as_str().unwrap().to_owned(),
        labels: map("labels"),
        annotations: map("annotations"),
    }
}

fn profiles<'a>(documents: impl Iterator<Item = &'a Value>) -> ProfileSet {
    let mut set = ProfileSet::default();
    for document in documents {
        let name = document["metadata"]["name"].as_str().unwrap();
        match document["kind"].as_str().unwrap() {
            "ClusterSidecarProfile" => {
                let object: ClusterSidecarProfile = serde_json::from_value(document.clone()).unwrap();
                set.insert(None, name, Entry::new(name, Scope::Cluster, &object.spec.profile).0);
            }
            "SidecarProfile" => {
                let object: SidecarProfile = serde_json::from_value(document.clone()).unwrap();
                let entry = Entry::new(name, Scope::Namespace, &object.spec.profile).0;
                set.insert(document["metadata"]["namespace"].as_str(), name, entry);
            }
            other => panic!("no profile: {other}"),
        }
    }
    set
}

fn inject(pod: &Value, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    outrigger::engine::inject(&Json::from(pod), namespace, profiles, settings)
}

fn apply(pod: &Value, decision: &Decision) -> Value {
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &decision.patch.operations()).expect("the patch applies");
    patched
}

fn describe(pod: &Value, decision: &Decision) -> Value {
    let trace: Vec<String> = decision
        .trace
        .lines()
        .iter()
        .map(|line| format!("{}: {}", line.reason.code(), line.reason))
        .collect();
    let warnings: Vec<&str> = decision.warnings().map(outrigger::engine::Reason::code).collect();
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

fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case.join("pod.yaml")).map_err(|error| error.to_string())?;
    if !text.starts_with("# ") {
        return Err("pod.yaml does not begin with a comment that says what the case is for".to_owned());
    }
    let pod = documents(&case.join("pod.yaml")).remove(0);
    let namespace = namespace(&or_common(case, "namespace.yaml")[0]);
    let loaded = or_common(case, "profiles.yaml");
    let settings = Settings {
        excluded_namespaces: ["outrigger-system".to_owned()].into(),
        cluster: json!({ "registry": "registry.example" }),
    };
    let set = profiles(loaded.iter());
    let decision = inject(&pod, &namespace, &set, &settings);
    let described = describe(&pod, &decision);

    let expected = case.join("expected.yaml");
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&expected, serde_saphyr::to_string(&described).unwrap()).unwrap();
    }
    let wanted = documents(&expected).remove(0);
    if wanted != described {
        return Err(format!("decided\n{}\nbut expected.yaml says\n{}", pretty(&described), pretty(&wanted)));
    }

    let patched = apply(&pod, &decision);
    let again = inject(&patched, &namespace, &set, &settings);
    if decision.outcome != Outcome::Denied && !again.patch.is_empty() {
        return Err(format!("a second injection is not a no-op: {}", again.patch));
    }
    let backwards = inject(&pod, &namespace, &profiles(loaded.iter().rev()), &settings);
    if backwards.patch != decision.patch || backwards.trace.lines() != decision.trace.lines() {
        return Err("the decision depends on the order in which profiles are loaded".to_owned());
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

#[test]
fn every_case() {
    let mut cases: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && path.file_name().unwrap() != "_common")
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "the fixtures are not where the test looks: {}", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            run(case).err().map(|error| format!("{}: {error}", case.file_name().unwrap().display()))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}
