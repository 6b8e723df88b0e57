//! What the pod's own containers get.

use serde_json::{Map, Value};
use wildmatch::WildMatch;

use super::condition::Condition;
use super::finding::Findings;
use super::template::only_fields;
use super::template_value::TemplateValue;
use crate::expression::Scope;
use crate::fields::ContainerField;

/// What some of the pod's own containers get.
#[derive(Clone, Debug)]
pub struct AppContainers {
    names: Vec<WildMatch>,
    /// Whether the pod's own init containers are meant too.
    pub init_containers: bool,
    /// The condition under which a container gets it.
    pub when: Option<Condition>,
    /// What goes into the container's lists.
    pub(crate) lists: Vec<(ContainerField, Vec<TemplateValue>)>,
}

const FIELDS: [&str; 6] = ["containers", "initContainers", "when", "env", "envFrom", "volumeMounts"];

impl AppContainers {
    /// Whether a container of this name is meant.
    pub fn selects(&self, container: &str) -> bool {
        self.names.iter().any(|name| name.matches(container))
    }

    /// How many elements go into a list.
    pub(crate) fn count(&self, field: ContainerField) -> usize {
        self.lists.iter().filter(|(list, _)| *list == field).map(|(_, items)| items.len()).sum()
    }

    pub(super) fn read(
        index: usize,
        item: &Map<String, Value>,
        scope: &Scope<'_>,
        findings: &mut Findings,
    ) -> Self {
        let path = format!("spec.appContainers[{index}]");
        only_fields(&path, item, &FIELDS, findings);
        let mut when = item
            .get("when")
            .cloned()
            .map(|when| Value::Object([("when".to_owned(), when)].into_iter().collect()));
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
        Self {
            names: names(item, &path, findings),
            init_containers: init_containers(item, &path, findings),
            when,
            lists,
        }
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
