//! The JSON Schema of profiles: the file is up to date, and the schema admits valid profiles and rejects others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use outrigger::api::{ClusterSidecarProfile, Scope};
use outrigger::profiles::json_schema;
use serde_json::{Value, json};

/// Start of the warning about a pod's field that this build does not know.
const UNKNOWN: &str = "Kubernetes has no such field";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the errors of a profile with their paths.
fn schema_errors(profile: &Value) -> Vec<String> {
    static VALIDATOR: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::draft7::new(&json_schema()).unwrap());
    let errors = VALIDATOR.iter_errors(profile);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Returns the files of a folder with this name, at any depth.
fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, name));
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// With `OUTRIGGER_BLESS=1` in the environment, the test writes the file.
#[test]
fn the_file_is_up_to_date() {
    let path = root().join("manifests/profile.schema.json");
    let text = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    } else {
        assert!(fs::read_to_string(&path).unwrap() == text, "run `cargo xtask generate`");
    }
}

#[test]
fn the_schema_is_valid() {
    assert!(jsonschema::meta::is_valid(&json_schema()));
}

#[test]
fn accepted_profiles_are_valid() {
    let mut count = 0;
    let catalogue = files(&root().join("profiles"), "profile.yaml");
    let fixtures = files(&root().join("tests/fixtures"), "profiles.yaml");
    for path in catalogue.iter().chain(&fixtures) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
        for profile in documents {
            let kind = profile["kind"].as_str().unwrap();
            let scope = if kind == "SidecarProfile" { Scope::Namespace } else { Scope::Cluster };
            let name = profile["metadata"]["name"].as_str().unwrap();
            let Ok(read) = serde_json::from_value::<ClusterSidecarProfile>(json!({
                "apiVersion": profile["apiVersion"],
                "kind": "ClusterSidecarProfile",
                "metadata": profile["metadata"],
                "spec": profile["spec"],
            })) else {
                continue;
            };
            let Ok((_, warnings)) = outrigger::profiles::compile(name, scope, &read.spec.profile) else {
                continue;
            };
            let is_known = !warnings.iter().any(|warning| warning.message.starts_with(UNKNOWN));
            let errors = schema_errors(&profile);
            assert_eq!(errors.is_empty(), is_known, "{}: {name}: {errors:#?}", path.display());
            count += 1;
        }
    }
    assert!(count > 100, "only {count} profiles were found");
}

/// Returns a valid profile with a value for each field that a test changes.
fn profile() -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "ClusterSidecarProfile",
        "metadata": { "name": "proxy" },
        "spec": {
            "onError": "Ignore",
            "parameters": [{ "name": "port", "type": "integer", "default": 80 }],
            "template": {
                "metadata": { "annotations": { "example.com/port": "$[[ string(params.port) ]]" } },
                "spec": {
                    "shareProcessNamespace": true,
                    "terminationGracePeriodSeconds": "$[[ params.port ]]",
                    "securityContext": { "fsGroup": 1 },
                    "initContainers": [{
                        "name": "proxy",
                        "image": "proxy:1",
                        "restartPolicy": "Always",
                        "imagePullPolicy": "Always",
                        "when": "params.port > 1",
                        "serviceAccountToken": "None",
                        "ports": [{ "containerPort": "$[[ params.port ]]" }],
                        "args": "$[[ [params.port] ]]",
                        "resources": { "requests": { "cpu": 0.1 } },
                        "startupProbe": { "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 1 },
                        "securityContext": "$[[ {'privileged': true} ]]",
                    }],
                    "volumes": [{ "name": "data", "when": "true", "emptyDir": {} }],
                },
            },
            "appContainers": [{
                "containers": ["*"],
                "initContainers": true,
                "when": "true",
                "env": [{ "name": "A", "value": "1" }],
                "volumeMounts": ["$[[ {'name': 'data', 'mountPath': '/data'} ]]"],
            }],
        },
    })
}

#[test]
fn expressions_and_outriggers_fields_are_admitted() {
    assert_eq!(schema_errors(&profile()), Vec::<String>::new());
}

/// Asserts that a value at a path makes the profile invalid, with one error at `at`.
#[track_caller]
fn rejected(path: &str, value: Value, at: &str) {
    let mut profile = profile();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = profile.pointer_mut(parent).unwrap();
    match field.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[field] = value,
    }
    let errors = schema_errors(&profile);
    assert!(errors.len() == 1 && errors[0].starts_with(&format!("{at}: ")), "{path}: {errors:#?}");
}

const CONTAINER: &str = "/spec/template/spec/initContainers/0";

#[test]
fn misspelled_fields_of_a_pod_are_rejected() {
    rejected(&format!("{CONTAINER}/imagePulPolicy"), json!("Always"), CONTAINER);
    rejected(
        &format!("{CONTAINER}/startupProbe/periodSecond"),
        json!(1),
        &format!("{CONTAINER}/startupProbe"),
    );
    rejected(
        "/spec/template/spec/volumes/0/emptyDir/sizelimit",
        json!("1Gi"),
        "/spec/template/spec/volumes/0/emptyDir",
    );
    rejected("/spec/template/spec/nodeSelector", json!({}), "/spec/template/spec");
    rejected("/spec/template/metadata/finalizers", json!([]), "/spec/template/metadata");
    rejected("/spec/appContainers/0/args", json!([]), "/spec/appContainers/0");
    rejected("/spec/appContainers/0/env/0/vale", json!("1"), "/spec/appContainers/0/env/0");
}

#[test]
fn misspelled_fields_of_a_profile_are_rejected() {
    rejected("/spec/onErorr", json!("Ignore"), "/spec");
    rejected("/spec/parameters/0/maximun", json!(1), "/spec/parameters/0");
    rejected("/spec/order", json!({ "befor": [] }), "/spec/order");
    rejected("/metadata/lables", json!({}), "/metadata");
    rejected("/specs", json!({}), "");
}

#[test]
fn wrong_types_and_values_are_rejected() {
    for (field, value) in [
        ("/ports/0/containerPort", json!("http")),
        ("/ports/0/containerPort", json!("80$[[ params.port ]]")),
        ("/args", json!("--verbose")),
        ("/image", json!(1)),
        ("/imagePullPolicy", json!("IfMissing")),
        ("/restartPolicy", json!("$[[ params.policy ]]")),
        ("/serviceAccountToken", json!("Hidden")),
        ("/when", json!(true)),
        ("/resources/requests/cpu", json!(true)),
        ("/securityContext", json!({ "runAsNonRoot": "yes" })),
    ] {
        let path = format!("{CONTAINER}{field}");
        let at = if field == "/securityContext" { format!("{path}/runAsNonRoot") } else { path.clone() };
        rejected(&path, value, &at);
    }
    for (path, value) in [
        ("/kind", json!("Sidecar")),
        ("/spec/onError", json!("Skip")),
        ("/spec/template/spec/shareProcessNamespace", json!("true")),
        ("/spec/template/spec/initContainers", json!("$[[ [] ]]")),
        ("/spec/template/spec/securityContext", json!("$[[ {} ]]")),
        ("/spec/template/spec/securityContext/fsGroup", json!("1")),
        ("/spec/template/metadata/annotations", json!("$[[ {} ]]")),
        ("/spec/template/metadata/annotations/port", json!(80)),
        ("/spec/appContainers/0/initContainers", json!("true")),
        ("/spec/appContainers/0/containers", json!([])),
    ] {
        rejected(path, value, path);
    }
}
