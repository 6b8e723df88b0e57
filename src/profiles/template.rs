use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::finding::Findings;
use super::kubernetes_types::{self as types};
use crate::api::{is_dns_label, nearest};

/// The operating system of pods that do not say another one.
const DEFAULT_OS: &str = "linux";

/// A partial pod.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Labels, set where the pod does not have the key.
    pub labels: BTreeMap<String, String>,
    /// Annotations, set where the pod does not have the key.
    pub annotations: BTreeMap<String, String>,
    /// Init containers and native sidecars, in start order.
    pub init_containers: Vec<Element>,
    /// Ordinary containers.
    pub containers: Vec<Element>,
    /// Volumes.
    pub volumes: Vec<Element>,
    /// The operating system of the pods that it is for.
    pub os: String,
}

/// A named element of one of the pod's lists.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// All of it, the name included.
    pub value: Value,
}

impl Element {
    /// Whether it is an init container with `restartPolicy: Always`.
    pub fn is_native_sidecar(&self) -> bool {
        self.value.get("restartPolicy").and_then(Value::as_str) == Some("Always")
    }
}

const ROOT: &str = "spec.template";
const ROOT_FIELDS: [&str; 2] = ["metadata", "spec"];
const METADATA_FIELDS: [&str; 2] = ["labels", "annotations"];
const SPEC_FIELDS: [&str; 4] = ["initContainers", "containers", "volumes", "os"];

impl Template {
    pub(super) fn read(template: &Map<String, Value>, findings: &mut Findings) -> Self {
        only_fields(ROOT, template, &ROOT_FIELDS, findings);
        let metadata = object(template, "metadata", ROOT, findings);
        let spec = object(template, "spec", ROOT, findings);
        let metadata_path = format!("{ROOT}.metadata");
        let spec_path = format!("{ROOT}.spec");
        only_fields(&metadata_path, &metadata, &METADATA_FIELDS, findings);
        only_fields(&spec_path, &spec, &SPEC_FIELDS, findings);

        let read = Self {
            labels: strings(&metadata, "labels", &metadata_path, findings),
            annotations: strings(&metadata, "annotations", &metadata_path, findings),
            init_containers: elements(&spec, "initContainers", &spec_path, findings),
            containers: elements(&spec, "containers", &spec_path, findings),
            volumes: elements(&spec, "volumes", &spec_path, findings),
            os: os(&spec, &spec_path, findings),
        };
        read.check_metadata_keys(findings);
        read.check_containers(findings);
        read.check_volumes(findings);
        read
    }

    fn check_metadata_keys(&self, findings: &mut Findings) {
        for (field, map) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            for key in map.keys().filter(|key| is_ours(key)) {
                findings.error(
                    format!("{ROOT}.metadata.{field}"),
                    format!("the key {key:?} is Outrigger's own; a profile cannot set it"),
                );
            }
        }
    }

    fn check_containers(&self, findings: &mut Findings) {
        let mut seen = BTreeSet::new();
        let lists = [("initContainers", &self.init_containers), ("containers", &self.containers)];
        for (field, list) in lists {
            for (index, container) in list.iter().enumerate() {
                let path = format!("{ROOT}.spec.{field}[{index}]");
                types::check_container(&path, &container.value, field == "initContainers", findings);
                if !seen.insert(container.name.as_str()) {
                    findings.error(
                        format!("{path}.name"),
                        format!("the name {:?} is used twice; containers and init containers share one set of names", container.name),
                    );
                }
                self.check_mounts(&path, &container.value, findings);
            }
        }
    }

    /// Whether every volume that is mounted is one of the template's own.
    pub(super) fn check_mounts(&self, path: &str, container: &Value, findings: &mut Findings) {
        let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
        let mut paths = BTreeSet::new();
        for (index, mount) in mounts.enumerate() {
            let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
            if !self.volumes.iter().any(|volume| volume.name == name) {
                let hint = nearest(name, self.volumes.iter().map(|v| v.name.as_str())).map_or_else(
                    || "declare it in spec.template.spec.volumes".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                findings.error(
                    format!("{path}.volumeMounts[{index}].name"),
                    format!("the volume {name:?} is not one of the profile's volumes; {hint}"),
                );
            }
            if let Some(mount_path) = mount.get("mountPath").and_then(Value::as_str)
                && !paths.insert(mount_path)
            {
                findings.error(
                    format!("{path}.volumeMounts[{index}].mountPath"),
                    format!("{mount_path:?} is mounted twice"),
                );
            }
        }
    }

    fn check_volumes(&self, findings: &mut Findings) {
        let mut seen = BTreeSet::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            let path = format!("{ROOT}.spec.volumes[{index}]");
            types::check_volume(&path, &volume.value, findings);
            if !seen.insert(volume.name.as_str()) {
                findings.error(format!("{path}.name"), format!("the name {:?} is used twice", volume.name));
            }
        }
    }
}

fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| {
        domain == crate::api::keys::GROUP || domain.ends_with(&format!(".{}", crate::api::keys::GROUP))
    })
}

fn os(spec: &Map<String, Value>, path: &str, findings: &mut Findings) -> String {
    let Some(os) = present(spec, "os") else { return DEFAULT_OS.to_owned() };
    if let Some(name @ ("linux" | "windows")) = os.get("name").and_then(Value::as_str) {
        return name.to_owned();
    }
    findings.error(format!("{path}.os.name"), "must be linux or windows");
    DEFAULT_OS.to_owned()
}

/// Reports every field that is not one of `known`.
pub(super) fn only_fields(path: &str, map: &Map<String, Value>, known: &[&str], findings: &mut Findings) {
    for field in map.keys().filter(|field| !known.contains(&field.as_str())) {
        let hint = nearest(field, known.iter().copied())
            .map_or_else(String::new, |near| format!("did you mean {near:?}? "));
        findings.error(
            format!("{path}.{field}"),
            format!("this field cannot be injected; {hint}Supported here: {}", known.join(", ")),
        );
    }
}

fn present<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    map.get(field).filter(|value| !value.is_null())
}

fn object(map: &Map<String, Value>, field: &str, path: &str, findings: &mut Findings) -> Map<String, Value> {
    match present(map, field) {
        None => Map::new(),
        Some(Value::Object(object)) => object.clone(),
        Some(_) => {
            findings.error(format!("{path}.{field}"), "must be an object");
            Map::new()
        }
    }
}

fn strings(
    map: &Map<String, Value>,
    field: &str,
    path: &str,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for (key, value) in object(map, field, path, findings) {
        match value {
            Value::String(value) => {
                read.insert(key, value);
            }
            _ => findings.error(format!("{path}.{field}[{key}]"), "must be a string; put it in quotes"),
        }
    }
    read
}

fn elements(spec: &Map<String, Value>, field: &str, path: &str, findings: &mut Findings) -> Vec<Element> {
    let items = match present(spec, field) {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => {
            findings.error(format!("{path}.{field}"), "must be a list");
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for (index, value) in items.iter().enumerate() {
        match value.get("name").and_then(Value::as_str) {
            Some(name) if is_dns_label(name) => {
                read.push(Element { name: name.to_owned(), value: value.clone() });
            }
            Some(name) => findings.error(
                format!("{path}.{field}[{index}].name"),
                format!("{name:?} is not a DNS label (at most 63 small letters, digits and hyphens)"),
            ),
            None => findings.error(format!("{path}.{field}[{index}].name"), "every element needs a name"),
        }
    }
    read
}
