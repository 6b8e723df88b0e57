//! Validation of rendered profiles: with every parameter at its default and at its bounds, the result must be valid against
//! the Kubernetes API types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Fields, Value, json};

use super::finding::Findings;
use super::kubernetes_types as types;
use super::template::ROOT;
use super::weight::weight;
use super::{AppContainers, Element, Failed, Parameter, Template, TemplateValue};
use crate::api::nearest;
use crate::expression::{Budget, NamespaceView, ParameterValue, Reads, Variables};
use crate::fields::{ContainerKind, DnsList, Map, Place, SpecList, mount_path};
use crate::json::Json;
use crate::string_map::StringMap;
use crate::validation::{self, PodFacts, Problem, VolumeOf, check_container_in_pod, dns_problem};

/// Maximum number of parameter combinations.
const MOST_SAMPLES: usize = 64;

/// Maximum work of all combinations: the bytes that are rendered and checked, and four for each step of an expression.
const MOST_WORK: usize = 16 << 20;

const WORK_OF_STEP: usize = 4;
const TOO_MUCH: &str = "not every combination of parameter values was checked: the profile is too large, or its expressions take too many steps; the others are checked when a pod uses them";

type SampleParameters = BTreeMap<String, ParameterValue>;

/// Checks the rendered profile. The values of expressions that read the pod, its namespace or the cluster's settings are
/// unknown here; the parts that depend on them are checked when a pod is created.
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
    let (none, cluster) = (StringMap::default(), json!({}));
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
        let mut sample =
            SampleCheck { variables, budget: Budget::new(), work: 0, is_first, findings: &mut here };
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

/// Returns all parameters at their default, then each in turn at each of its other samples. Only one combination exists at a
/// time.
pub(super) fn samples(parameters: &[Parameter]) -> impl Iterator<Item = SampleParameters> {
    let first =
        |parameter: &Parameter| Some((parameter.name.clone(), parameter.samples().into_iter().next()?));
    let base: SampleParameters = parameters.iter().filter_map(first).collect();
    let others = parameters.iter().flat_map(|parameter| {
        parameter.samples().into_iter().skip(1).map(|value| (parameter.name.clone(), value))
    });
    std::iter::once(None).chain(others.map(Some)).take(MOST_SAMPLES).map(move |other| {
        let mut sample = base.clone();
        sample.extend(other);
        sample
    })
}

struct SampleCheck<'v, 'f> {
    variables: Variables<'v>,
    budget: Budget,
    /// Rendered bytes so far.
    work: usize,
    /// `true` if parts that no parameter changes are checked as well.
    is_first: bool,
    findings: &'f mut Findings,
}

impl SampleCheck<'_, '_> {
    fn template(&mut self, template: &Template) {
        for list in SpecList::ALL {
            self.list(list, template);
        }
        let mut spec = Fields::new();
        let dns = self.dns(template);
        if !dns.is_empty() {
            spec.insert("dnsConfig".to_owned(), Value::Object(dns));
        }
        for (map, values) in &template.maps {
            let rendered = self.map(*map, values);
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

    fn list(&mut self, list: SpecList, template: &Template) {
        for (index, element) in template.list(&Place::Spec(list)).iter().enumerate() {
            if self.is_checked(&element.value) {
                continue;
            }
            let path = format!("{ROOT}.spec.{}[{index}]", list.name());
            let value = self.render(&element.value);
            self.check(&element.value, |findings| {
                types::check_element(&path, list, &value, findings);
                let problems = validation::problems(&Place::Spec(list), "", &Json::from(&value));
                report(&path, &element.value, problems, findings);
            });
            if matches!(list, SpecList::InitContainers | SpecList::Containers) {
                let is_init = list == SpecList::InitContainers;
                let problems = check_container_in_pod(&Json::from(&value), is_init, &OfTemplate(template));
                report(&path, &element.value, problems, self.findings);
                self.mounts(&path, &value, template);
            }
        }
    }

    /// Checks the lists of the DNS configuration and returns their rendered items.
    fn dns(&mut self, template: &Template) -> Fields<String, Value> {
        let mut dns = Fields::new();
        for list in DnsList::ALL {
            let place = Place::Dns(list);
            let mut items = Vec::new();
            for (index, Element { value, .. }) in template.list(&place).iter().enumerate() {
                if is_all_known(value) {
                    let path = format!("{ROOT}.spec.{place}[{index}]");
                    let rendered = self.render(value);
                    let problems = validation::problems(&place, "", &Json::from(&rendered));
                    report(&path, value, problems, self.findings);
                    items.push(rendered);
                }
            }
            if let Some(problem) = dns_problem(list, items.iter().filter_map(Value::as_str)) {
                self.findings.error(format!("{ROOT}.spec.{place}"), problem);
            }
            if !items.is_empty() {
                dns.insert(list.name().to_owned(), Value::Array(items));
            }
        }
        dns
    }

    /// Checks the values of a map and returns the rendered ones.
    fn map(&mut self, map: Map, values: &[(Box<str>, TemplateValue)]) -> Fields<String, Value> {
        let mut rendered = Fields::new();
        for (key, value) in values.iter().filter(|(_, value)| is_all_known(value)) {
            let path = match map {
                Map::Labels | Map::Annotations => format!("{ROOT}.{map}[{key}]"),
                Map::SecurityContext | Map::Spec => format!("{ROOT}.{}.{key}", map.path().join(".")),
            };
            let given = self.render(value);
            let problems = validation::problems(&Place::Map(map), key, &Json::from(&given));
            report(&path, value, problems, self.findings);
            rendered.insert(key.to_string(), given);
        }
        rendered
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
                let (kind, name) = (ContainerKind::App, String::new());
                let place = Place::Container { kind, name, field: *field };
                self.check(value, |findings| {
                    types::check_container_field(&path, *field, &rendered, findings);
                    let problems = validation::problems(&place, "", &Json::from(&rendered));
                    report(&path, value, problems, findings);
                });
                items.push(rendered);
            }
            let container = json!({ field.name(): items });
            self.mounts(path, &container, template);
        }
    }

    /// Checks the rendered value. If a part of it is unknown, problems that may come from that part are not reported: a wrong
    /// type there, or a missing field.
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

    /// Renders a value as far as it is known; an expression that fails and reads nothing unknown is a finding.
    fn render(&mut self, value: &TemplateValue) -> Value {
        let mut errors = Vec::new();
        let rendered = value.render_what_can_be(&self.variables, &mut self.budget, &mut |failed| {
            errors.extend(failed.filter(|(_, reads)| is_known(reads)).map(|(failed, _)| failed));
        });
        let rendered = Value::from(rendered);
        self.work += weight(&rendered);
        // A call of `fail` is intended by the profile.
        for Failed { path, column, message, .. } in errors.into_iter().filter(|failed| !failed.is_stated) {
            self.findings.error(path, format!("column {column}: {message}"));
        }
        rendered
    }

    /// Checks whether an earlier sample has checked a value that is the same in all of them.
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

    /// Checks that every mounted volume is one of the template.
    fn mounts(&mut self, path: &str, container: &Value, template: &Template) {
        let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
        let mut paths = BTreeSet::new();
        for (index, mount) in mounts.enumerate() {
            // Unknown or missing names are checked elsewhere.
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

/// Pod with the template's elements, whose other parts are unknown.
struct OfTemplate<'t>(&'t Template);

impl PodFacts for OfTemplate<'_> {
    fn volume(&self, name: &str) -> VolumeOf<'_> {
        match self.0.list(&Place::VOLUMES).iter().find(|volume| volume.name == name) {
            None => VolumeOf::Absent,
            Some(volume) => volume.value.literal_json().map_or(VolumeOf::Unknown, VolumeOf::Known),
        }
    }

    fn has_claim(&self, name: &str) -> bool {
        let claims = self.0.list(&Place::Spec(SpecList::ResourceClaims));
        claims.iter().any(|claim| claim.name == name)
    }

    fn grace_period(&self) -> Option<i64> {
        None
    }

    fn os(&self) -> Option<&str> {
        None
    }

    fn has_own_users(&self) -> Option<bool> {
        None
    }

    fn is_never_restarted(&self) -> Option<bool> {
        None
    }

    fn host_network(&self) -> Option<bool> {
        None
    }
}

/// Reports the problems of a rendered value, except those that may come from an unknown part, a wrong type or a misspelled
/// field.
fn report(root: &str, source: &TemplateValue, problems: Vec<Problem>, findings: &mut Findings) {
    let join = |path: &str| match path {
        "" => root.to_owned(),
        path if path.starts_with('[') => format!("{root}{path}"),
        path => format!("{root}.{path}"),
    };
    for Problem { path, scope, message } in problems {
        let (path, scope) = (join(&path), join(&scope));
        let is_unknown = source.leaves().any(|(leaf, reads)| !is_known(reads) && is_within(leaf, &scope));
        let is_reported = findings.errors().any(|error| {
            is_within(&error.path, &path) || is_within(&path, &error.path) || types::means(error, &path)
        });
        if !is_unknown && !is_reported {
            findings.error(path, message);
        }
    }
}

/// Checks whether a path equals another one, or is inside it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Checks whether no part of a value depends on a pod.
pub(super) fn is_all_known(value: &TemplateValue) -> bool {
    value.leaves().all(|(_, reads)| is_known(reads))
}

/// Checks whether all variables that an expression reads are known without a pod.
fn is_known(reads: &Reads) -> bool {
    !reads.is_from_pod() && !reads.namespace_object && !reads.cluster
}

#[cfg(test)]
mod tests;
