use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::finding::Findings;
#[cfg(feature = "server")]
use super::template_value::TemplateValue;
use super::weight::weight;
use super::{
    AnnotationRules, AppContainers, Finding, Matching, Parameter, Profile, Severity, Template, samples,
};
use crate::api::{
    Enforcement, HostNetwork, Match, OnConflict, OnError, ProfileName, ProfileSpec, Scope as Owner,
    SidecarMode, keys,
};
use crate::expression::ExpressionScope;
use crate::fields::{ContainerField, Place};

/// Fixed memory of a profile, in bytes.
const BASE: usize = 2 << 10;

/// Checks and compiles a profile.
///
/// # Errors
/// All errors of the profile, and its warnings. An accepted profile is returned with its warnings.
pub fn compile(
    name: &str,
    scope: Owner,
    spec: &ProfileSpec,
) -> Result<(Profile, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::default();
    match compile_within(name, scope, spec, &mut findings) {
        Some(profile) => Ok((profile, findings.into_vec())),
        None => Err(errors_first(findings.into_vec())),
    }
}

/// Compiles a profile; returns `None` if it has errors.
pub(super) fn compile_within(
    name: &str,
    scope: Owner,
    spec: &ProfileSpec,
    findings: &mut Findings,
) -> Option<Profile> {
    let whole = serde_json::to_value(spec).unwrap_or_default();
    if let Err(over) = findings.budget.keep(BASE + weight(&whole)) {
        findings.over_budget("spec", over);
        return None;
    }
    let name = profile_name(name, findings);
    let mandatory = spec.enforcement == Enforcement::Mandatory;
    let parameters = parameters(spec, mandatory, findings);
    let given = spec.parameters.iter();
    let names: Vec<&str> = given.clone().map(|parameter| parameter.name.as_str()).collect();
    let expandable = given.filter(|parameter| parameter.allow_expansion);
    let expandable: Vec<&str> = expandable.map(|parameter| parameter.name.as_str()).collect();
    let in_template = ExpressionScope { params: Some(&names), container: false, expandable: &expandable };
    let in_app = ExpressionScope { container: true, ..in_template };
    let template = Template::read(&spec.template, &spec.files, &in_template, findings);
    let items = spec.app_containers.iter().enumerate();
    let app_containers: Vec<AppContainers> =
        items.map(|(index, item)| AppContainers::read(index, item, &in_app, findings)).collect();
    AppContainers::check_pairs(&app_containers, findings);
    let annotations = AnnotationRules::read(&spec.merge_annotations, findings);
    let matching = spec.matching.as_ref().map(|matching| Matching::read(matching, findings));
    check_container_names(&template, findings);
    check_other_names(spec, name.as_ref(), findings);
    check_mandatory(scope, spec, findings);
    let sample_name = name.as_ref().map_or("profile", ProfileName::as_str);
    samples::check(sample_name, &template, &app_containers, &parameters, findings);
    check_effect(spec, &template, &app_containers, findings);
    match name {
        Some(name) if !findings.has_errors() => {
            let default_host_network = if mandatory { HostNetwork::Deny } else { HostNetwork::Skip };
            let profile = Profile {
                name,
                scope,
                revision: revision(&whole),
                mandatory,
                matching,
                parameters,
                template,
                app_containers,
                annotations,
                order: spec.order.clone(),
                requires: spec.requires.clone(),
                classic: spec.sidecar_mode == SidecarMode::Classic,
                host_network: spec.host_network.unwrap_or(default_host_network),
                on_conflict: spec.on_conflict,
                on_error: spec.on_error,
                cost: findings.budget.cost(),
            };
            warn_of_pod(&profile, findings);
            Some(profile)
        }
        _ => None,
    }
}

/// Checks the names of other profiles.
fn check_other_names(spec: &ProfileSpec, name: Option<&ProfileName>, findings: &mut Findings) {
    check_names("spec.order.before", &spec.order.before, name, findings);
    check_names("spec.order.after", &spec.order.after, name, findings);
    check_names("spec.requires", &spec.requires, name, findings);
}

/// Warns about fields without effect.
fn check_effect(spec: &ProfileSpec, template: &Template, app: &[AppContainers], findings: &mut Findings) {
    if template.lists.is_empty() && template.maps.is_empty() && app.is_empty() {
        findings.warning("spec", "the profile injects nothing: template and appContainers are empty");
    }
    if spec.sidecar_mode == SidecarMode::Classic
        && !template.list(&Place::INIT_CONTAINERS).iter().any(super::Element::is_native_sidecar)
    {
        findings.warning("spec.sidecarMode", "there is no native sidecar to be injected the classic way");
    }
}

/// Returns the profile's rules of `match`, even if the rest of the profile is invalid, with the memory that they take. If its
/// selectors cannot be parsed, no pod is selected; if only a condition cannot, a Mandatory profile selects as if it had no
/// conditions.
pub(super) fn matching(spec: &ProfileSpec) -> (Option<Matching>, usize) {
    let Some(given) = &spec.matching else { return (None, 0) };
    let read = |given: &Match| {
        let mut findings = Findings::default();
        let whole = serde_json::to_value(given).unwrap_or_default();
        findings.budget.keep(weight(&whole)).ok()?;
        let matching = Matching::read(given, &mut findings);
        (!findings.has_errors()).then(|| (matching, findings.budget.kept()))
    };
    let is_mandatory = spec.enforcement == Enforcement::Mandatory;
    let found = read(given)
        .or_else(|| read(&Match { conditions: Vec::new(), ..given.clone() }).filter(|_| is_mandatory));
    found.map_or((None, 0), |(matching, cost)| (Some(matching), cost))
}

pub(super) fn errors_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.severity != Severity::Error);
    findings
}

fn profile_name(name: &str, findings: &mut Findings) -> Option<ProfileName> {
    let error = match name.parse::<ProfileName>() {
        Ok(_) if name == keys::RESERVED_PROFILE => {
            format!("a profile cannot be called {name:?}: {} holds the files of profiles", keys::FILES)
        }
        Ok(name) => return Some(name),
        Err(error) => error.to_string(),
    };
    findings.error("metadata.name", error);
    None
}

fn parameters(spec: &ProfileSpec, mandatory: bool, findings: &mut Findings) -> Vec<Parameter> {
    let mut seen = BTreeSet::new();
    let mut parameters = Vec::new();
    for (index, given) in spec.parameters.iter().enumerate() {
        let path = format!("spec.parameters[{index}]");
        if let Some(problem) = given.name_problem() {
            findings.error(format!("{path}.name"), format!("{:?} {problem}", given.name));
        }
        if !seen.insert(given.name.as_str()) {
            findings.error(format!("{path}.name"), format!("the parameter {:?} is there twice", given.name));
        }
        parameters.push(Parameter::compile(given, mandatory, &path, findings));
    }
    parameters
}

fn check_container_names(template: &Template, findings: &mut Findings) {
    let init = template.list(&Place::INIT_CONTAINERS);
    for (index, container) in template.list(&Place::CONTAINERS).iter().enumerate() {
        if init.iter().any(|other| other.name == container.name) {
            findings.error(
                format!("spec.template.spec.containers[{index}].name"),
                format!(
                    "the name {:?} is used twice; containers and init containers share one set of names",
                    container.name
                ),
            );
        }
    }
}

fn check_names(path: &str, others: &[String], name: Option<&ProfileName>, findings: &mut Findings) {
    for (index, other) in others.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Err(error) = other.parse::<ProfileName>() {
            findings.error(path, error.to_string());
        } else if name.is_some_and(|name| name.as_str() == other) {
            let problem = if path.starts_with("spec.requires") {
                "a profile cannot require itself"
            } else {
                "a profile cannot stand before or after itself"
            };
            findings.error(path, problem);
        }
    }
}

fn check_mandatory(scope: Owner, spec: &ProfileSpec, findings: &mut Findings) {
    if spec.enforcement != Enforcement::Mandatory {
        return;
    }
    if scope == Owner::Namespace {
        findings.error(
            "spec.enforcement",
            "only a ClusterSidecarProfile can be Mandatory: who may write a SidecarProfile may also remove it",
        );
    }
    let selector = spec.matching.as_ref().and_then(|matching| matching.namespace_selector.as_ref());
    if selector.is_none() {
        findings.error(
            "spec.match.namespaceSelector",
            "a Mandatory profile says in which namespaces; write {} for all of them",
        );
    }
    if spec.on_error == OnError::Ignore {
        findings.error("spec.onError", "a Mandatory profile cannot be left out: write Fail");
    }
    if spec.on_conflict == OnConflict::Skip {
        findings.error("spec.onConflict", "no part of a Mandatory profile can be left out: write Fail");
    }
}

/// Warns about a Mandatory profile that reads the pod: users write the pod, and could evade the profile.
fn warn_of_pod(profile: &Profile, findings: &mut Findings) {
    if !profile.mandatory {
        return;
    }
    let warning = "the pod's author writes what this reads, and can get round a Mandatory profile with it";
    if profile.matching.as_ref().is_some_and(Matching::reads_pod) {
        findings.warning("spec.match", warning);
    }
    let elements = profile
        .template
        .lists
        .iter()
        .flat_map(|(_, elements)| elements)
        .filter_map(|element| element.when.as_deref());
    for when in elements.chain(profile.app_containers.iter().filter_map(|app| app.when.as_ref())) {
        if when.reads().is_from_pod() {
            findings.warning(when.path(), warning);
        }
    }
}

impl Profile {
    /// Checks whether the profile's selection or elements may depend on the pod.
    #[cfg(feature = "server")]
    pub(crate) fn reads_pod(&self) -> bool {
        let Self { template, app_containers, .. } = self;
        let elements = || template.lists.iter().flat_map(|(_, elements)| elements);
        let keys = template.maps.iter().flat_map(|(_, keys)| keys).map(|(_, value)| value);
        let items = app_containers.iter().flat_map(|app| &app.lists).flat_map(|(_, values)| values);
        let values = elements().map(|element| &element.value).chain(keys).chain(items);
        let conditions = elements().filter_map(|element| element.when.as_deref());
        let mut conditions = conditions.chain(app_containers.iter().filter_map(|app| app.when.as_ref()));
        self.matching.as_ref().is_some_and(Matching::reads_pod)
            || conditions.any(|when| when.reads().is_from_pod())
            || values.flat_map(TemplateValue::leaves).any(|(_, reads)| reads.is_from_pod())
    }

    /// Returns a summary of the elements that the profile adds to a pod: `1 native sidecar, 1 volume`.
    pub fn adds(&self) -> String {
        use crate::fields::{Map, SpecList};
        let init = self.template.list(&Place::INIT_CONTAINERS);
        let sidecars = init.iter().filter(|container| container.is_native_sidecar()).count();
        let list = |list| self.template.list(&Place::Spec(list)).len();
        let map = |map| self.template.map(map).len();
        let app = |field| self.app_containers.iter().map(|app| app.count(field)).sum::<usize>();
        let others = [
            SpecList::ImagePullSecrets,
            SpecList::HostAliases,
            SpecList::Tolerations,
            SpecList::ReadinessGates,
            SpecList::ResourceClaims,
        ];
        let dns = crate::fields::DnsList::ALL.map(|list| self.template.list(&Place::Dns(list)).len());
        let settings = others.map(list).iter().sum::<usize>()
            + dns.iter().sum::<usize>()
            + map(Map::SecurityContext)
            + map(Map::Spec);
        let counts = [
            (sidecars, "native sidecar"),
            (init.len() - sidecars, "init container"),
            (list(SpecList::Containers), "container"),
            (list(SpecList::Volumes), "volume"),
            (map(Map::Labels), "label"),
            (map(Map::Annotations), "annotation"),
            (settings, "pod setting"),
            (app(ContainerField::Env) + app(ContainerField::EnvFrom), "app env"),
            (app(ContainerField::VolumeMounts), "app mount"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }
}

/// Returns a hash of the spec that does not depend on the order of keys: twelve hexadecimal digits.
fn revision(spec: &Value) -> String {
    use std::fmt::Write as _;
    let mut hasher = Sha256::new();
    hash_value(spec, &mut hasher);
    let mut text = String::with_capacity(12);
    for byte in hasher.finalize().iter().take(6) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hash_value(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Object(map) => {
            hasher.update(b"{");
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                hash_scalar(&Value::String(key.clone()), hasher);
                if let Some(inner) = map.get(key) {
                    hash_value(inner, hasher);
                }
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                hash_value(item, hasher);
            }
            hasher.update(b"]");
        }
        scalar => hash_scalar(scalar, hasher),
    }
}

fn hash_scalar(scalar: &Value, hasher: &mut Sha256) {
    hasher.update(scalar.to_string().as_bytes());
    hasher.update(b",");
}
