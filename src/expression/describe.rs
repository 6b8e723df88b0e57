//! Descriptions of values and operations for messages.

use super::budget::Problem;
use super::node::Node;
use super::value::Value;

/// Returns a short form of a value for a message, without the contents of a text, list or map. The message is logged, and a
/// pod's texts may be secret.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Quantity(quantity) => quantity.to_string(),
        Value::Duration(duration) => duration.to_string(),
        other => described(other),
    }
}

/// Maximum number of characters of a key in a message.
const MOST_OF_A_KEY: usize = 60;

/// Returns the type of a value with its article.
pub(super) fn described(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Int(_) => "an int".to_owned(),
        Value::Optional(_) => "an optional".to_owned(),
        Value::Bytes(_) => "bytes".to_owned(),
        other => format!("a {}", other.type_name()),
    }
}

/// Returns a suggestion for operands that do not fit.
pub(super) fn hint(left: &Value<'_>, right: &Value<'_>) -> &'static str {
    match (left, right) {
        (Value::Quantity(_), Value::Text(_)) | (Value::Text(_), Value::Quantity(_)) => {
            "; write quantity(…) around the string, or string(…) around the quantity"
        }
        (Value::Duration(_), Value::Text(_)) | (Value::Text(_), Value::Duration(_)) => {
            "; write duration(…) around the string, or string(…) around the duration"
        }
        (Value::Quantity(_), _) | (_, Value::Quantity(_)) => "; write quantity(…) around the number",
        (Value::Optional(_), _) | (_, Value::Optional(_)) => "; end an optional with .orValue(…)",
        (Value::Text(_), _) | (_, Value::Text(_)) => "; string(…) makes text of a value, int(…) a number",
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => {
            "; write double(…) around the int, or int(…) around the double"
        }
        _ => "",
    }
}

/// Returns the node's source, or "this".
pub(super) fn named(node: &Node) -> String {
    node.path().unwrap_or_else(|| "this".to_owned())
}

/// Returns the problem of reading a field of a value without fields.
pub(super) fn no_fields(of: &Node, name: &str, value: &Value<'_>) -> Problem {
    format!("{} is {}: it has no field {name}", named(of), described(value)).into()
}

/// Returns the problem of a missing field.
pub(super) fn missing_field(of: &Node, name: &str, profile: &str) -> Problem {
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
pub(super) fn missing_element(of: &Node, holder: &Value<'_>, key: &Value<'_>) -> Problem {
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
