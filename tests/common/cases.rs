//! Reads the cases of `tests/fixtures`, for the unit tests and for the test with a real API server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger::api::{ClusterSidecarProfile, Scope, SidecarProfile};
use outrigger::engine::{Decision, Namespace, Settings};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use serde_json::{Value, json};

/// A case: a pod, its namespace, and the profiles.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) pod: Value,
    pub(crate) namespace: Namespace,
    pub(crate) profiles: Vec<Value>,
}

/// An entry point of the engine.
pub(crate) type Decide = fn(&Json<'_>, &Namespace, &ProfileSet, &Settings) -> Decision;

impl Case {
    /// Reads a case. Files that it does not have are taken from `_common`.
    pub(crate) fn read(folder: &Path) -> Self {
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            pod: documents(&folder.join("pod.yaml")).remove(0),
            namespace: namespace(&or_common(folder, "namespace.yaml")[0]),
            profiles: or_common(folder, "profiles.yaml"),
        }
    }

    /// Decides about a pod in place of the case's own.
    pub(crate) fn decide(&self, pod: &Value) -> Decision {
        self.decide_by(outrigger::engine::inject, pod)
    }

    /// Decides about a pod with the given entry point of the engine.
    pub(crate) fn decide_by(&self, decide: Decide, pod: &Value) -> Decision {
        let settings = Settings {
            excluded_namespaces: ["outrigger-system".to_owned()].into(),
            cluster: json!({ "registry": "registry.example" }),
        };
        let profiles = profile_set(&self.profiles);
        decide(&Json::from(pod), &self.namespace, &profiles, &settings)
    }
}

/// Returns the folders of all cases.
pub(crate) fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && path.file_name().unwrap() != "_common")
        .collect();
    folders.sort();
    assert!(folders.len() > 120, "only {} fixtures were found", folders.len());
    folders
}

/// Returns the YAML documents of a file.
pub(crate) fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the pod with the decision's patch applied.
pub(crate) fn apply(pod: &Value, decision: &Decision) -> Value {
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &decision.patch.operations()).expect("the patch applies");
    patched
}

fn root() -> PathBuf {
    // Both the package itself and the package of the end-to-end tests use this.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = if package.join("tests/fixtures").exists() { package } else { package.parent().unwrap() };
    workspace.join("tests/fixtures")
}

fn or_common(case: &Path, file: &str) -> Vec<Value> {
    let own = case.join(file);
    documents(&if own.exists() { own } else { root().join("_common").join(file) })
}

fn namespace(document: &Value) -> Namespace {
    let map = |field: &str| {
        let texts: BTreeMap<String, String> =
            serde_json::from_value(document["metadata"][field].clone()).unwrap_or_default();
        texts.into_iter().collect()
    };
    Namespace {
        name: document["metadata"]["name"].as_str().unwrap().to_owned(),
        labels: map("labels"),
        annotations: map("annotations"),
    }
}

fn profile_set(documents: &[Value]) -> ProfileSet {
    let mut set = ProfileSet::default();
    for document in documents {
        let name = document["metadata"]["name"].as_str().unwrap();
        match document["kind"].as_str().unwrap() {
            "ClusterSidecarProfile" => {
                let object: ClusterSidecarProfile = serde_json::from_value(document.clone()).unwrap();
                set.insert(None, name, ProfileEntry::new(name, Scope::Cluster, &object.spec.profile).0);
            }
            "SidecarProfile" => {
                let object: SidecarProfile = serde_json::from_value(document.clone()).unwrap();
                let entry = ProfileEntry::new(name, Scope::Namespace, &object.spec.profile).0;
                set.insert(document["metadata"]["namespace"].as_str(), name, entry);
            }
            other => panic!("not a profile: {other}"),
        }
    }
    set
}
