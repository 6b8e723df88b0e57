//! Conversion of an expression's value to JSON or text.

use super::budget::{Budget, EvaluationProblem};
use super::describe::described;
use super::functions::convert::plain_text;
use super::value::{Key, Map, Value};

/// Converts a value to JSON. Quantities and durations become text.
pub(super) fn to_json(
    budget: &mut Budget,
    value: &Value<'_>,
) -> Result<serde_json::Value, EvaluationProblem> {
    budget.produce(size_of::<serde_json::Value>())?;
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Double(number) => serde_json::Number::from_f64(*number)
            .map(serde_json::Value::Number)
            .ok_or_else(|| EvaluationProblem::from(format!("JSON has no number {number}")))?,
        Value::Text(text) => {
            budget.produce(text.len())?;
            (**text).into()
        }
        Value::Quantity(_) | Value::Duration(_) => plain_text(value).into(),
        Value::List(list) => {
            let items = list.iter().map(|item| to_json(budget, &item));
            serde_json::Value::Array(items.collect::<Result<_, EvaluationProblem>>()?)
        }
        Value::Map(map) => serde_json::Value::Object(fields(budget, map)?),
        Value::Bytes(_) => return Err("JSON has no bytes; write string(…) or base64.encode(…)".into()),
        Value::Optional(_) => return Err("this is an optional; end it with .orValue(…)".into()),
        Value::Type(_) => return Err("this is a type, not a value".into()),
    })
}

fn fields(
    budget: &mut Budget,
    map: &Map<'_>,
) -> Result<serde_json::Map<String, serde_json::Value>, EvaluationProblem> {
    let mut fields = serde_json::Map::new();
    for key in map.keys() {
        let Some(Key::Text(name)) = Key::from_value(&key) else {
            return Err(format!("JSON has only strings as keys, not {}", described(&key)).into());
        };
        budget.produce(name.len() + size_of::<String>())?;
        let value = map.get(budget, &key)?.unwrap_or(Value::Null);
        fields.insert(name.to_string(), to_json(budget, &value)?);
    }
    Ok(fields)
}

/// Appends a value to a text.
pub(super) fn add_to_text(
    budget: &mut Budget,
    text: &mut String,
    value: &Value<'_>,
) -> Result<(), EvaluationProblem> {
    let plain = match value {
        Value::Text(part) => {
            budget.produce(part.len())?;
            text.push_str(part);
            return Ok(());
        }
        value => plain_text(value)
            .ok_or_else(|| format!("{} cannot stand within a text; {}", described(value), instead(value)))?,
    };
    budget.produce(plain.len())?;
    text.push_str(&plain);
    Ok(())
}

fn instead(value: &Value<'_>) -> &'static str {
    match value {
        Value::List(_) => "write .join(\",\") after a list of strings, or let the expression stand alone",
        Value::Map(_) => "let the expression stand alone",
        Value::Optional(_) => "end it with .orValue(…)",
        Value::Bytes(_) => "write string(…) or base64.encode(…)",
        _ => "give a default with … != null ? … : …",
    }
}
