//! Descriptions of values for messages.

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
