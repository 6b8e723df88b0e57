use serde_json::{Map, Value};
use wildmatch::WildMatch;

use super::finding::Findings;
use super::kubernetes_types as types;
use super::template::{Template, only_fields};

/// What some of the pod's own containers get.
#[derive(Clone, Debug)]
pub struct AppContainers {
    names: Vec<WildMatch>,
    /// Whether the pod's own init containers are meant too.
    pub init_containers: bool,
    /// Environment variables.
    pub env: Vec<Value>,
    /// Sources of environment variables.
    pub env_from: Vec<Value>,
    /// Mounts of the profile's volumes.
    pub volume_mounts: Vec<Value>,
}

const FIELDS: [&str; 5] = ["containers", "initContainers", "env", "envFrom", "volumeMounts"];

impl AppContainers {
    /// Whether a container of this name is meant.
    pub fn selects(&self, container: &str) -> bool {
        self.names.iter().any(|name| name.matches(container))
    }

    pub(super) fn read(
        index: usize,
        item: &Map<String, Value>,
        template: &Template,
        findings: &mut Findings,
    ) -> Self {
        let path = format!("spec.appContainers[{index}]");
        only_fields(&path, item, &FIELDS, findings);
        let read = Self {
            names: names(item, &path, findings),
            init_containers: init_containers(item, &path, findings),
            env: list(item, "env", &path, findings),
            env_from: list(item, "envFrom", &path, findings),
            volume_mounts: list(item, "volumeMounts", &path, findings),
        };
        check_each(&path, "env", &read.env, types::check_env, findings);
        check_each(&path, "envFrom", &read.env_from, types::check_env_from, findings);
        check_each(&path, "volumeMounts", &read.volume_mounts, types::check_volume_mount, findings);
        template.check_mounts(&path, &Value::Object(item.clone()), findings);
        read
    }
}

fn check_each(
    path: &str,
    field: &str,
    items: &[Value],
    check: fn(&str, &Value, &mut Findings),
    findings: &mut Findings,
) {
    for (index, item) in items.iter().enumerate() {
        check(&format!("{path}.{field}[{index}]"), item, findings);
    }
}

fn names(item: &Map<String, Value>, path: &str, findings: &mut Findings) -> Vec<WildMatch> {
    let given = list(item, "containers", path, findings);
    let names: Vec<WildMatch> = given.iter().filter_map(Value::as_str).map(WildMatch::new).collect();
    if names.is_empty() || names.len() != given.len() {
        findings.error(
            format!("{path}.containers"),
            "name the pod's containers that are meant, or write [\"*\"] for all of them",
        );
    }
    names
}

fn init_containers(item: &Map<String, Value>, path: &str, findings: &mut Findings) -> bool {
    match item.get("initContainers") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(include)) => *include,
        Some(_) => {
            findings.error(format!("{path}.initContainers"), "must be true or false");
            false
        }
    }
}

fn list(item: &Map<String, Value>, field: &str, path: &str, findings: &mut Findings) -> Vec<Value> {
    match item.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(_) => {
            findings.error(format!("{path}.{field}"), "must be a list");
            Vec::new()
        }
    }
}
