//! Problems of fields and elements that a value does not have.

use super::budget::EvaluationProblem;
use super::describe::{described, shown};
use super::node::Node;
use super::value::Value;

/// Maximum number of characters of a key in a message.
const MOST_OF_A_KEY: usize = 60;

/// Returns the node's source, or "this".
pub(super) fn named(node: &Node) -> String {
    node.path().unwrap_or_else(|| "this".to_owned())
}

/// Returns the problem of reading a field of a value without fields.
pub(super) fn no_fields(of: &Node, name: &str, value: &Value<'_>) -> EvaluationProblem {
    format!("{} is {}: it has no field {name}", named(of), described(value)).into()
}

/// Returns the problem of a missing field.
pub(super) fn missing_field(of: &Node, name: &str, profile: &str) -> EvaluationProblem {
    let path = named(of);
    match of.path() {
        Some(path) if path == "params" => format!(
            "the parameter {name} is not set and has no default; set the annotation {profile}.{}/{name}, or test it in the profile with has(params.{name})",
            crate::api::keys::GROUP
        ),
        Some(path) => format!(
            "{path} has no {name}; test it with has({path}.{name}), or give a default with {path}.?{name}.orValue(…)"
        ),
        None => format!("{path} has no {name}"),
    }
    .into()
}

/// Returns the problem of a missing element.
pub(super) fn missing_element(of: &Node, holder: &Value<'_>, key: &Value<'_>) -> EvaluationProblem {
    let path = named(of);
    match (holder, key) {
        (Value::List(list), _) => {
            format!("{path} has {} elements, none at {}", list.len(), shown(key))
        }
        (_, Value::Text(text)) if text.chars().nth(MOST_OF_A_KEY).is_none() => {
            format!("{path} has no key {0:?}; test it with {0:?} in {path}", &**text)
        }
        _ => format!("{path} has no such key; test it with … in {path}"),
    }
    .into()
}
