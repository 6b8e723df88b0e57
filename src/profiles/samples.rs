//! What a profile would inject into a sample pod: with every parameter at its default and at its bounds, the
//! result must be valid against Kubernetes' own types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Fields, Value, json};

use super::finding::Findings;
use super::kubernetes_types as types;
use super::template::ROOT;
use super::weight::weight;
use super::{AppContainers, Failed, Parameter, Template, TemplateValue};
use crate::api::nearest;
use crate::expression::{Budget, NamespaceView, ParameterValue, Reads, Variables};
use crate::fields::{DnsList, Map, Place, SpecList, mount_path};
use crate::json::Json;
use crate::texts::Texts;

/// How many combinations of parameters are tried.
const MOST_SAMPLES: usize = 64;

/// What trying them may cost together: the bytes that are rendered and checked, and for each step of an expression four.
const MOST_WORK: usize = 16 << 20;

const WORK_OF_STEP: usize = 4;
const TOO_MUCH: &str = "not every combination of parameter values was checked: the profile is too large, or its expressions take too many steps; the others are checked when a pod uses them";

type Parameters = BTreeMap<String, ParameterValue>;

/// Checks what is rendered. What an expression gives that reads the pod, its namespace or the cluster's
/// settings cannot be known here; what depends on it is checked when a pod comes.
pub(super) fn check(
    name: &str,
    template: &Template,
    app_containers: &[AppContainers],
    parameters: &[Parameter],
    findings: &mut Findings,
) {
    let pod = json!({
        "metadata": { "name": "sample", "namespace": "sample", "labels": {}, "annotations": {} },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    });
    let pod = Json::from(&pod);
    let container = json!({ "name": "app", "image": "app:1" });
    let container = Json::from(&container);
    let (none, cluster) = (Texts::default(), json!({}));
    let mut seen = BTreeSet::new();
    let (mut work, mut is_first) = (0, true);
    for params in samples(parameters) {
        if work > MOST_WORK {
            findings.warning("spec.parameters", TOO_MUCH);
            break;
        }
        let variables = Variables {
            pod: &pod,
            container: Some(&container),
            namespace: NamespaceView { name: "sample", labels: &none, annotations: &none },
            params: &params,
            profile: name,
            cluster: &cluster,
        };
        let mut here = Findings::default();
        let mut sample = Sample { variables, budget: Budget::new(), work: 0, is_first, findings: &mut here };
        sample.template(template);
        for (index, app) in app_containers.iter().enumerate() {
            sample.app_containers(&format!("spec.appContainers[{index}]"), app, template);
        }
        work += sample.work + WORK_OF_STEP * sample.budget.steps_taken();
        is_first = false;
        for finding in here.into_vec() {
            if seen.insert((finding.path.clone(), finding.message.clone())) {
                findings.push(finding);
            }
        }
    }
}

/// All parameters at their default; then each in turn at each of its other samples. One combination exists at a time.
fn samples(parameters: &[Parameter]) -> impl Iterator<Item = Parameters> {
    let first =
        |parameter: &Parameter| Some((parameter.name.clone(), parameter.samples().into_iter().next()?));
    let base: Parameters = parameters.iter().filter_map(first).collect();
    let others = parameters.iter().flat_map(|parameter| {
        parameter.samples().into_iter().skip(1).map(|value| (parameter.name.clone(), value))
    });
    std::iter::once(None).chain(others.map(Some)).take(MOST_SAMPLES).map(move |other| {
        let mut sample = base.clone();
        sample.extend(other);
        sample
    })
}

struct Sample<'v, 'f> {
    variables: Variables<'v>,
    budget: Budget,
    /// The bytes that were rendered.
    work: usize,
    /// Whether parts that no parameter changes are checked as well.
    is_first: bool,
    findings: &'f mut Findings,
}

impl Sample<'_, '_> {
    fn template(&mut self, template: &Template) {
        for list in SpecList::ALL {
            for (index, element) in template.list(&Place::Spec(list)).iter().enumerate() {
                if self.is_checked(&element.value) {
                    continue;
                }
                let path = format!("{ROOT}.spec.{}[{index}]", list.name());
                let value = self.render(&element.value);
                self.check(&element.value, |findings| types::check_element(&path, list, &value, findings));
                if matches!(list, SpecList::InitContainers | SpecList::Containers) {
                    self.mounts(&path, &value, template);
                }
            }
        }
        let mut spec = Fields::new();
        let mut dns = Fields::new();
        for list in DnsList::ALL {
            let elements = template.list(&Place::Dns(list));
            let known = elements.iter().filter(|element| is_all_known(&element.value));
            let items: Vec<Value> = known.map(|element| self.render(&element.value)).collect();
            if !items.is_empty() {
                dns.insert(list.name().to_owned(), Value::Array(items));
            }
        }
        if !dns.is_empty() {
            spec.insert("dnsConfig".to_owned(), Value::Object(dns));
        }
        for (map, values) in &template.maps {
            let known = values.iter().filter(|(_, value)| is_all_known(value));
            let rendered: Fields<String, Value> =
                known.map(|(key, value)| (key.to_string(), self.render(value))).collect();
            match map {
                Map::Spec => spec.extend(rendered),
                Map::SecurityContext => {
                    spec.insert("securityContext".to_owned(), Value::Object(rendered));
                }
                Map::Labels | Map::Annotations => self.texts(*map, &rendered),
            }
        }
        types::check_spec(&format!("{ROOT}.spec"), &Value::Object(spec), self.findings);
    }

    fn app_containers(&mut self, path: &str, app: &AppContainers, template: &Template) {
        for (field, values) in &app.lists {
            if values.iter().all(|value| self.is_checked(value)) {
                continue;
            }
            let mut items = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let path = format!("{path}.{}[{index}]", field.name());
                let rendered = self.render(value);
                self.check(value, |findings| {
                    types::check_container_field(&path, *field, &rendered, findings);
                });
                items.push(rendered);
            }
            let container = json!({ field.name(): items });
            self.mounts(path, &container, template);
        }
    }

    /// Checks what was rendered of a value. Where a part of it is not known here, nothing is said that may
    /// come from that: a wrong type there, or something that is missing.
    fn check(&mut self, value: &TemplateValue, check: impl FnOnce(&mut Findings)) {
        let mut found = Findings::default();
        check(&mut found);
        let unknown: Vec<&str> =
            value.leaves().filter(|(_, reads)| !is_known(reads)).map(|(path, _)| path).collect();
        for finding in found.into_vec() {
            let is_certain = finding.message.starts_with(types::NO_SUCH_FIELD)
                || !(unknown.contains(&finding.path.as_str()) || types::says_missing(&finding.message));
            if unknown.is_empty() || is_certain {
                self.findings.push(finding);
            }
        }
    }

    /// The value, as far as it is known; an expression that reads nothing unknown and fails is a finding.
    fn render(&mut self, value: &TemplateValue) -> Value {
        let mut errors = Vec::new();
        let rendered = value.render_what_can_be(&self.variables, &mut self.budget, &mut |failed| {
            errors.extend(failed.filter(|(_, reads)| is_known(reads)).map(|(failed, _)| failed));
        });
        let rendered = Value::from(rendered);
        self.work += weight(&rendered);
        for Failed { path, column, message } in errors {
            self.findings.error(path, format!("column {column}: {message}"));
        }
        rendered
    }

    /// Whether an earlier sample has checked a value that is the same in all of them.
    fn is_checked(&self, value: &TemplateValue) -> bool {
        !self.is_first && value.as_literal().is_some()
    }

    fn texts(&mut self, map: Map, rendered: &Fields<String, Value>) {
        for (key, value) in rendered.iter().filter(|(_, value)| !value.is_string() && !value.is_null()) {
            self.findings.error(
                format!("{ROOT}.{map}[{key}]"),
                format!("must be a string, and this gives {value}; write string(…) around it"),
            );
        }
    }

    /// Whether every volume that is mounted is one of the template's own.
    fn mounts(&mut self, path: &str, container: &Value, template: &Template) {
        let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
        let mut paths = BTreeSet::new();
        for (index, mount) in mounts.enumerate() {
            // A name that is not known here, or is missing, is looked at elsewhere.
            let Some(name) = mount.get("name").and_then(Value::as_str) else { continue };
            if !template.volume_names().any(|volume| volume == name) {
                let hint = nearest(name, template.volume_names()).map_or_else(
                    || "declare it in spec.template.spec.volumes or spec.files".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                self.findings.error(
                    format!("{path}.volumeMounts[{index}].name"),
                    format!("the volume {name:?} is not one of the profile's volumes; {hint}"),
                );
            }
            if let Some(mount_path) = mount.get("mountPath").and_then(Value::as_str)
                && !paths.insert(mount_path::clean(mount_path))
            {
                let what = format!("{mount_path:?} is mounted twice");
                self.findings.error(format!("{path}.volumeMounts[{index}].mountPath"), what);
            }
        }
    }
}

fn is_all_known(value: &TemplateValue) -> bool {
    value.leaves().all(|(_, reads)| is_known(reads))
}

/// Whether what an expression reads is known without a pod.
fn is_known(reads: &Reads) -> bool {
    !reads.is_from_pod() && !reads.namespace_object && !reads.cluster
}
