//! Partial pod of a profile.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Fields, Value, json};

use super::condition::Condition;
use super::finding::Findings;
use super::template_value::TemplateValue;
use crate::api::{Files, is_dns_label, keys, nearest};
use crate::expression::{ExpressionScope, Text};
use crate::fields::{DnsList, Map, Place, SpecList, mount_path};
use crate::validation::is_qualified_name;

/// Default operating system of pods.
const DEFAULT_OS: &str = "linux";

/// Partial pod.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Keys for the pod's maps, in order.
    pub(crate) maps: Box<[(Map, Keys)]>,
    /// Elements for the pod's lists, in order.
    pub(crate) lists: Box<[(Place, Box<[Element]>)]>,
    /// Operating system of the pods that the profile applies to.
    pub os: String,
}

/// Keys of a map with their values.
pub(crate) type Keys = Box<[(Box<str>, TemplateValue)]>;

/// Element of one of the pod's lists.
#[derive(Clone, Debug)]
pub struct Element {
    /// Name, if elements of the list have one.
    pub name: String,
    /// Condition for its injection.
    pub when: Option<Box<Condition>>,
    /// Whole value, including the name.
    pub value: TemplateValue,
}

impl Element {
    /// Checks whether it is an init container with `restartPolicy: Always`.
    pub fn is_native_sidecar(&self) -> bool {
        self.value.literal_field("restartPolicy") == Some("Always")
    }
}

pub(super) const ROOT: &str = "spec.template";
const ROOT_FIELDS: [&str; 2] = ["metadata", "spec"];
pub(super) const METADATA_FIELDS: [&str; 2] = ["labels", "annotations"];
/// Fields of a pod's spec that a profile can set.
pub const TEMPLATE_FIELDS: [&str; 13] = [
    "initContainers",
    "containers",
    "volumes",
    "imagePullSecrets",
    "hostAliases",
    "dnsConfig",
    "tolerations",
    "securityContext",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "readinessGates",
    "resourceClaims",
    "os",
];

/// Fields of the pod's spec that are set as a whole.
const SCALARS: [&str; 2] = ["shareProcessNamespace", "terminationGracePeriodSeconds"];

/// Field of a profile's container that withholds the service account's token.
pub(super) const TOKEN: &str = "serviceAccountToken";
/// The only value of that field.
pub(super) const NO_TOKEN_VALUE: &str = "None";
/// Volume that is mounted at the token's path in such a container.
const NO_TOKEN: &str = "no-service-account-token";

impl Template {
    /// Returns the elements for a list.
    pub(crate) fn list(&self, place: &Place) -> &[Element] {
        self.lists.iter().find(|(known, _)| known == place).map_or(&[], |(_, elements)| elements)
    }

    /// Returns the keys for a map.
    pub(crate) fn map(&self, map: Map) -> &[(Box<str>, TemplateValue)] {
        self.maps.iter().find(|(known, _)| *known == map).map_or(&[], |(_, keys)| keys)
    }

    /// Checks whether the template sets a key of a map.
    pub(crate) fn sets(&self, map: Map, key: &str) -> bool {
        self.map(map).iter().any(|(known, _)| **known == *key)
    }

    pub(super) fn read(
        template: &Fields<String, Value>,
        files: &[Files],
        scope: &ExpressionScope<'_>,
        findings: &mut Findings,
    ) -> Self {
        only_fields(ROOT, template, &ROOT_FIELDS, findings);
        let metadata = object(template, "metadata", ROOT, findings);
        let spec = object(template, "spec", ROOT, findings);
        let spec_path = format!("{ROOT}.spec");
        let metadata_path = format!("{ROOT}.metadata");
        only_fields(&metadata_path, &metadata, &METADATA_FIELDS, findings);
        only_fields(&spec_path, &spec, &TEMPLATE_FIELDS, findings);

        let mut reader = TemplateReader { scope, findings, maps: BTreeMap::new(), lists: BTreeMap::new() };
        reader.metadata(&metadata, &metadata_path);
        for list in SpecList::ALL {
            reader.list(&Place::Spec(list), &spec, &spec_path);
        }
        let dns = object(&spec, "dnsConfig", &spec_path, reader.findings);
        let dns_path = format!("{spec_path}.dnsConfig");
        only_fields(&dns_path, &dns, &DnsList::ALL.map(DnsList::name), reader.findings);
        for list in DnsList::ALL {
            reader.list(&Place::Dns(list), &dns, &dns_path);
        }
        let security_context = object(&spec, "securityContext", &spec_path, reader.findings);
        reader.map(Map::SecurityContext, &security_context, &spec_path);
        let scalars =
            SCALARS.iter().filter_map(|name| Some(((*name).to_owned(), present(&spec, name)?.clone())));
        reader.map(Map::Spec, &scalars.collect(), &spec_path);
        reader.files(files);
        let os = os(&spec, &spec_path, reader.findings);
        let maps = reader.maps.into_iter().map(|(map, keys)| (map, keys.into_iter().collect()));
        let lists = reader.lists.into_iter().map(|(place, elements)| (place, elements.into()));
        Self { maps: maps.collect(), lists: lists.collect(), os }
    }

    /// Returns the names of its volumes.
    pub(super) fn volume_names(&self) -> impl Iterator<Item = &str> {
        self.list(&Place::VOLUMES).iter().map(|volume| volume.name.as_str())
    }
}

struct TemplateReader<'r, 's> {
    scope: &'r ExpressionScope<'s>,
    findings: &'r mut Findings,
    maps: BTreeMap<Map, BTreeMap<Box<str>, TemplateValue>>,
    lists: BTreeMap<Place, Vec<Element>>,
}

impl TemplateReader<'_, '_> {
    fn metadata(&mut self, metadata: &Fields<String, Value>, path: &str) {
        for (field, map) in [("labels", Map::Labels), ("annotations", Map::Annotations)] {
            let given = object(metadata, field, path, self.findings);
            for (key, value) in &given {
                if is_ours(key) {
                    self.findings.error(
                        format!("{path}.{field}"),
                        format!("the key {key:?} is Outrigger's own; a profile cannot set it"),
                    );
                }
                // The API server compares the keys of annotations in lower case.
                let compared = if map == Map::Labels { key.clone() } else { key.to_ascii_lowercase() };
                if !is_qualified_name(&compared) {
                    self.findings.error(
                        format!("{path}.{field}"),
                        format!("{key:?} cannot be a key: it is a name of at most 63 letters, digits, '-', '_' and '.', after a domain and a slash if there is one"),
                    );
                }
                if !value.is_string() {
                    self.findings
                        .error(format!("{path}.{field}[{key}]"), "must be a string; put it in quotes");
                }
            }
            self.map(map, &given, &format!("{path}.{field}"));
        }
    }

    fn map(&mut self, map: Map, given: &Fields<String, Value>, path: &str) {
        for (key, value) in given {
            let path = match map {
                Map::Labels | Map::Annotations => format!("{path}[{key}]"),
                Map::SecurityContext => format!("{path}.securityContext.{key}"),
                Map::Spec => format!("{path}.{key}"),
            };
            let value = TemplateValue::compile(value, &path, self.scope, self.findings);
            self.maps.entry(map).or_default().insert(key.as_str().into(), value);
        }
    }

    fn list(&mut self, place: &Place, parent: &Fields<String, Value>, path: &str) {
        let path = format!("{path}.{}", place.field());
        let items = match present(parent, place.field()) {
            None => return,
            Some(Value::Array(items)) => items,
            Some(_) => return self.findings.error(path, "must be a list"),
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let element = self.element(place, item, &path);
            if !element.name.is_empty() && !seen.insert(element.name.clone()) {
                self.findings
                    .error(format!("{path}.name"), format!("the name {:?} is used twice", element.name));
            }
            self.lists.entry(place.clone()).or_default().push(element);
        }
    }

    fn element(&mut self, place: &Place, item: &Value, path: &str) -> Element {
        let is_container = matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers));
        let is_named =
            is_container || matches!(place, Place::Spec(SpecList::Volumes | SpecList::ResourceClaims));
        let mut item = item.clone();
        let mut when = None;
        if is_container || *place == Place::VOLUMES {
            when = Condition::take_when(&mut item, path, self.scope, self.findings);
        }
        if is_container {
            let restart_policy = item.get("restartPolicy").and_then(Value::as_str).unwrap_or_default();
            if Text::may_have_expressions(restart_policy) {
                self.findings.error(
                    format!("{path}.restartPolicy"),
                    "it must be written out: whether it is a native sidecar decides how it is injected",
                );
            }
            self.service_account_token(&mut item, path);
        }
        let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if is_named {
            self.is_name(&name, path);
        }
        let value = TemplateValue::compile(&item, path, self.scope, self.findings);
        Element { name: if is_named { name } else { String::new() }, when: when.map(Box::new), value }
    }

    /// Checks whether order, status and conflicts can use the name as a key.
    fn is_name(&mut self, name: &str, path: &str) -> bool {
        let problem = match name {
            "" => "every element needs a name".to_owned(),
            name if Text::may_have_expressions(name) => {
                "a name must be written out: order, status and conflicts go by it".to_owned()
            }
            name if !is_dns_label(name) => {
                format!("{name:?} is not a DNS label (at most 63 lowercase letters, digits and hyphens)")
            }
            _ => return true,
        };
        self.findings.error(format!("{path}.name"), problem);
        false
    }

    /// Mounts an empty volume at the token's path: the API server then mounts no token. The volume is not an `emptyDir`, which
    /// would keep `kubectl drain` and the autoscaler from removing the pod.
    fn service_account_token(&mut self, container: &mut Value, path: &str) {
        let Some(token) = container.as_object_mut().and_then(|fields| fields.remove(TOKEN)) else { return };
        if token != NO_TOKEN_VALUE {
            let problem = "write None to keep the app's token from the container, or leave it out";
            return self.findings.error(format!("{path}.{TOKEN}"), problem);
        }
        let mounts = container
            .as_object_mut()
            .map(|fields| fields.entry("volumeMounts").or_insert_with(|| Value::Array(Vec::new())));
        if let Some(Value::Array(mounts)) = mounts {
            mounts.push(json!({ "name": NO_TOKEN, "mountPath": mount_path::TOKEN, "readOnly": true }));
        }
        let volumes = self.lists.entry(Place::VOLUMES).or_default();
        if volumes.iter().all(|volume| volume.name != NO_TOKEN) {
            let value = TemplateValue::literal(json!({ "name": NO_TOKEN, "downwardAPI": {} }));
            volumes.push(Element { name: NO_TOKEN.to_owned(), when: None, value });
        }
    }

    /// Adds files: annotations of the pod, and a volume with them.
    fn files(&mut self, files: &[Files]) {
        for (index, group) in files.iter().enumerate() {
            let path = format!("spec.files[{index}]");
            if !self.is_name(&group.volume, &format!("{path}.volume")) {
                continue;
            }
            let volumes = self.lists.get(&Place::VOLUMES).into_iter().flatten();
            if volumes.map(|volume| &volume.name).any(|name| *name == group.volume) {
                self.findings.error(
                    format!("{path}.volume"),
                    format!(
                        "the volume {:?} is there already; files make a volume of their own",
                        group.volume
                    ),
                );
                continue;
            }
            let mut items = Vec::new();
            for (file, text) in &group.items {
                let path = format!("{path}.items[{file}]");
                let name = format!("{}.{file}", group.volume);
                if name.contains('/') || !is_qualified_name(&name) {
                    self.findings.error(
                        &path,
                        format!("{name:?} is not a name of at most 63 letters, digits, '-', '_' and '.', which the annotation needs that holds the file"),
                    );
                    continue;
                }
                let key = format!("{}/{name}", keys::FILES);
                let value =
                    TemplateValue::compile(&Value::String(text.clone()), &path, self.scope, self.findings);
                let field = format!("metadata.annotations['{key}']");
                items.push(json!({ "path": file, "fieldRef": { "fieldPath": field } }));
                self.maps.entry(Map::Annotations).or_default().insert(key.into(), value);
            }
            if items.is_empty() {
                self.findings.error(format!("{path}.items"), "there is no file in it");
            }
            let volume = json!({ "name": group.volume, "downwardAPI": { "items": items } });
            let element =
                Element { name: group.volume.clone(), when: None, value: TemplateValue::literal(volume) };
            self.lists.entry(Place::VOLUMES).or_default().push(element);
        }
    }
}

/// Checks whether the key of a label or annotation is in Outrigger's domain.
pub(super) fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| {
        domain == keys::GROUP || domain.strip_suffix(keys::GROUP).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn os(spec: &Fields<String, Value>, path: &str, findings: &mut Findings) -> String {
    let Some(os) = present(spec, "os") else { return DEFAULT_OS.to_owned() };
    if let Some(name @ ("linux" | "windows")) = os.get("name").and_then(Value::as_str) {
        return name.to_owned();
    }
    findings.error(format!("{path}.os.name"), "must be linux or windows");
    DEFAULT_OS.to_owned()
}

/// Reports every field that is not one of `known`.
pub(super) fn only_fields(path: &str, map: &Fields<String, Value>, known: &[&str], findings: &mut Findings) {
    for field in map.keys().filter(|field| !known.contains(&field.as_str())) {
        let hint = nearest(field, known.iter().copied())
            .map_or_else(String::new, |near| format!("did you mean {near:?}? "));
        findings.error(
            format!("{path}.{field}"),
            format!("this field cannot be injected; {hint}Supported here: {}", known.join(", ")),
        );
    }
}

fn present<'a>(map: &'a Fields<String, Value>, field: &str) -> Option<&'a Value> {
    map.get(field).filter(|value| !value.is_null())
}

fn object(
    map: &Fields<String, Value>,
    field: &str,
    path: &str,
    findings: &mut Findings,
) -> Fields<String, Value> {
    match present(map, field) {
        None => Fields::new(),
        Some(Value::Object(object)) => object.clone(),
        Some(_) => {
            findings.error(format!("{path}.{field}"), "must be an object");
            Fields::new()
        }
    }
}
