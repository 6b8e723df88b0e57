//! Environment variables of app containers: the position of injected variables, and precedence between two values.
//!
//! The kubelet expands `$(NAME)` in a value only if `NAME` precedes it in the list. A variable in `env` overrides one from
//! `envFrom`.
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use super::plan::{InsertAt, Plan, RuleContext};
use crate::engine::pod::PodElement;
use crate::engine::reason::{Owner, Reason};
use crate::expression::references;
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, Place};
use crate::json::{Json, text};
use crate::profiles::Rendered;

/// EnvVariable of the resulting list.
struct EnvVariable {
    name: String,
    /// Names of the variables that its value refers to.
    reads: Vec<String>,
}

impl EnvVariable {
    fn new(name: &str, value: &Json<'_>) -> Self {
        let reads = references(text(value, "value").unwrap_or_default()).map(str::to_owned).collect();
        Self { name: name.to_owned(), reads }
    }

    fn reads(&self, name: &str) -> bool {
        self.reads.iter().any(|read| read == name)
    }
}

/// Plans a profile's variables for a container.
pub(super) fn plan<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    place: &Place,
    container: PodElement<'_>,
    variables: Vec<(String, Rendered<'a>)>,
) -> Result<(), Reason> {
    let name = container.name().unwrap_or_default();
    let refers = |value: &Json<'_>| text(value, "value").is_some_and(|text| text.contains("$("));
    let any_refers = context.draft().elements(place).any(|live| refers(live.json()))
        || variables.iter().any(|(_, value)| refers(value));
    let mut order: Vec<EnvVariable> = if any_refers {
        let own = context.draft().elements(place);
        own.map(|live| EnvVariable::new(live.name().unwrap_or_default(), live.json())).collect()
    } else {
        Vec::new()
    };
    let mut added = Vec::new();
    for (key, value) in variables {
        if context.draft().get(place, &key).is_some() {
            context.add_unless_set(plan, place.clone(), InsertAt::End, &key, value)?;
            continue;
        }
        let at =
            if any_refers { position(context, plan, &mut order, name, &key, &value) } else { InsertAt::End };
        added.push(key.clone());
        plan.add(place.clone(), at, &key, value);
    }
    beats_sources(context, plan, place, name, &added);
    Ok(())
}

/// Returns the position of a variable: before the first variable that reads it, if all that it reads precede that position;
/// otherwise the end.
fn position(
    context: &RuleContext<'_, '_>,
    plan: &mut Plan<'_, '_>,
    order: &mut Vec<EnvVariable>,
    container: &str,
    name: &str,
    value: &Json<'_>,
) -> InsertAt {
    let new = EnvVariable::new(name, value);
    let first_reader = order.iter().position(|other| other.reads(name));
    let last_read = order.iter().rposition(|other| new.reads(&other.name));
    match first_reader.and_then(|index| Some((index, order.get(index)?.name.clone()))) {
        Some((reader, key)) if last_read.is_none_or(|read| read < reader) => {
            order.insert(reader, new);
            InsertAt::Before(key)
        }
        Some((_, reader)) => {
            let read = last_read.and_then(|read| order.get(read)).map(|read| read.name.clone());
            plan.notes.push(Reason::VariableOrder {
                profile: context.name(),
                container: container.to_owned(),
                variable: name.to_owned(),
                reader,
                read: read.unwrap_or_default(),
            });
            order.push(new);
            InsertAt::End
        }
        None => {
            order.push(new);
            InsertAt::End
        }
    }
}

/// Warns about injected variables that the container's `envFrom` may set as well.
fn beats_sources(
    context: &RuleContext<'_, '_>,
    plan: &mut Plan<'_, '_>,
    env: &Place,
    container: &str,
    variables: &[String],
) {
    let Place::Container { kind, name, .. } = env else { return };
    if variables.is_empty() {
        return;
    }
    let place = Place::Container { kind: *kind, name: name.clone(), field: ContainerField::EnvFrom };
    let mut sources: Vec<String> = Vec::new();
    let mut beaten: Vec<String> = Vec::new();
    for source in context.draft().elements(&place) {
        let key = key_of("envFrom", source.json());
        if context.merged.owner(&place, &key) != Owner::Pod {
            continue;
        }
        let prefix = source.text("prefix").unwrap_or_default();
        let fitting: Vec<&String> = variables.iter().filter(|name| name.starts_with(prefix)).collect();
        if !fitting.is_empty() {
            sources.extend(source_name(source));
        }
        for variable in fitting {
            if !beaten.contains(variable) {
                beaten.push(variable.clone());
            }
        }
    }
    if !beaten.is_empty() {
        let (profile, container) = (context.name(), container.to_owned());
        plan.notes.push(Reason::EnvFromOverridden { profile, container, variables: beaten, sources });
    }
}

fn source_name(source: PodElement<'_>) -> Option<String> {
    let named = |field: &str, kind: &str| Some(format!("{kind} {:?}", source.field(field)?.name()?));
    named("configMapRef", "ConfigMap").or_else(|| named("secretRef", "Secret"))
}
