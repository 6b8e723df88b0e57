//! Elements for app containers.

use serde_json::{Map, Value};
use wildmatch::WildMatch;

use super::condition::{Condition, WHEN};
use super::finding::Findings;
use super::template::only_fields;
use super::template_value::TemplateValue;
use crate::expression::ExpressionScope;
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind};

/// Elements for some of the app containers.
#[derive(Clone, Debug)]
pub struct AppContainers {
    names: Vec<(WildMatch, Selected)>,
    /// Names and patterns as written, sorted.
    patterns: Vec<String>,
    /// `true` if the pod's own init containers are selected as well.
    pub init_containers: bool,
    /// Condition under which a container gets the elements.
    pub when: Option<Condition>,
    /// Elements for the container's lists.
    pub(crate) lists: Vec<(ContainerField, Vec<TemplateValue>)>,
}

/// Specificity with which an item selects a container: the most specific item wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Selected {
    /// By `*`.
    Any,
    /// By a pattern with a part of its name.
    Pattern,
    /// By its name.
    Name,
}

impl Selected {
    fn by(pattern: &str) -> Self {
        match pattern {
            pattern if pattern.trim_matches('*').is_empty() => Self::Any,
            pattern if pattern.contains(['*', '?']) => Self::Pattern,
            _ => Self::Name,
        }
    }
}

pub(super) const CONTAINERS: &str = "containers";
pub(super) const INIT_CONTAINERS: &str = "initContainers";
const FIELDS: [&str; 6] = [CONTAINERS, INIT_CONTAINERS, WHEN, "env", "envFrom", "volumeMounts"];

impl AppContainers {
    /// Returns the specificity with which a container is selected, if it is.
    pub(crate) fn selects(&self, kind: ContainerKind, container: &str) -> Option<Selected> {
        if kind == ContainerKind::Init && !self.init_containers {
            return None;
        }
        let fitting = self.names.iter().filter(|(name, _)| name.matches(container));
        fitting.map(|(_, selected)| *selected).max()
    }

    /// Returns the message for two items that have different values for one element.
    pub(crate) fn ambiguous(
        (first, second): (usize, usize),
        (field, key): (ContainerField, &str),
        containers: &str,
    ) -> String {
        let what = match field {
            ContainerField::Env => "the variable",
            ContainerField::EnvFrom => "the source",
            ContainerField::VolumeMounts => "the mount at",
        };
        format!(
            "appContainers[{first}] and appContainers[{second}] give {containers} different values for {what} {key:?}; remove one, or select the containers of one more exactly: a name beats a pattern, and a pattern beats \"*\""
        )
    }

    /// Returns the number of elements for a list.
    pub(crate) fn count(&self, field: ContainerField) -> usize {
        self.lists.iter().filter(|(list, _)| *list == field).map(|(_, items)| items.len()).sum()
    }

    /// Reports elements for which two items give the same containers different values.
    pub(super) fn check_pairs(items: &[Self], findings: &mut Findings) {
        for (second, later) in items.iter().enumerate() {
            for (first, earlier) in items.iter().enumerate().take(second) {
                let always = earlier.when.is_none() && later.when.is_none();
                if !always || earlier.patterns != later.patterns {
                    continue;
                }
                for (field, key) in earlier.differing(later) {
                    let path = format!("spec.appContainers[{second}].{}", field.name());
                    let containers = format!("the containers {:?}", later.patterns);
                    findings.error(path, Self::ambiguous((first, second), (field, &key), &containers));
                }
            }
        }
    }

    /// Returns the elements without expressions for which the items have different values.
    fn differing(&self, other: &Self) -> Vec<(ContainerField, String)> {
        let elements = |items: &Self| -> Vec<(ContainerField, String, String)> {
            let of_list = |(field, values): &(ContainerField, Vec<TemplateValue>)| {
                let literals = values.iter().filter_map(TemplateValue::as_literal);
                let keyed = literals.map(|value| {
                    let key = key_of(field.name(), &*value).into_owned();
                    (*field, key, value.to_string())
                });
                keyed.collect::<Vec<_>>()
            };
            items.lists.iter().flat_map(of_list).collect()
        };
        let own = elements(self);
        let of_other = elements(other).into_iter();
        let differing = of_other.filter(|(field, key, value)| {
            own.iter().any(|(list, name, own)| list == field && name == key && own != value)
        });
        differing.map(|(field, key, _)| (field, key)).collect()
    }

    pub(super) fn read(
        index: usize,
        item: &Map<String, Value>,
        scope: &ExpressionScope<'_>,
        findings: &mut Findings,
    ) -> Self {
        let path = format!("spec.appContainers[{index}]");
        only_fields(&path, item, &FIELDS, findings);
        let mut when = item
            .get(WHEN)
            .cloned()
            .map(|when| Value::Object([(WHEN.to_owned(), when)].into_iter().collect()));
        let when = when.as_mut().and_then(|item| Condition::take_when(item, &path, scope, findings));
        let lists = ContainerField::ALL
            .into_iter()
            .map(|field| {
                let items = list(item, field.name(), &path, findings);
                let values = items.iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}.{}[{index}]", field.name());
                    TemplateValue::compile(item, &path, scope, findings)
                });
                (field, values.collect())
            })
            .collect();
        let mut patterns: Vec<String> = list(item, CONTAINERS, &path, &mut Findings::default())
            .iter()
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect();
        patterns.sort();
        Self {
            names: names(item, &path, findings),
            patterns,
            init_containers: init_containers(item, &path, findings),
            when,
            lists,
        }
    }
}

fn names(item: &Map<String, Value>, path: &str, findings: &mut Findings) -> Vec<(WildMatch, Selected)> {
    let given = list(item, CONTAINERS, path, findings);
    let texts = given.iter().filter_map(Value::as_str);
    let names: Vec<_> = texts.map(|text| (WildMatch::new(text), Selected::by(text))).collect();
    if names.is_empty() || names.len() != given.len() {
        findings.error(
            format!("{path}.{CONTAINERS}"),
            "name the pod's containers that are meant, or write [\"*\"] for all of them",
        );
    }
    names
}

fn init_containers(item: &Map<String, Value>, path: &str, findings: &mut Findings) -> bool {
    match item.get(INIT_CONTAINERS) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(include)) => *include,
        Some(_) => {
            findings.error(format!("{path}.{INIT_CONTAINERS}"), "must be true or false");
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
