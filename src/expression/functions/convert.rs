//! Conversions between types, and `size`.

use std::rc::Rc;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::duration::Duration;
use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::describe::shown;
use crate::expression::function::{Evaluated, Function, LONGEST_NUMBER, misfit};
use crate::expression::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::global("bool", 1, 1, bool),
    Function::global("bytes", 1, 1, bytes),
    Function::global("double", 1, 1, double),
    Function::global("duration", 1, 1, duration),
    Function::global("dyn", 1, 1, same),
    Function::global("int", 1, 1, int),
    Function::global("string", 1, 1, string),
    Function::global("type", 1, 1, type_of),
    Function::global("uint", 1, 1, uint),
    Function::global("size", 1, 1, size),
    Function::method("size", 1, 1, size),
    Function::global("base64.encode", 1, 1, encode),
    Function::global("base64.decode", 1, 1, decode),
];

#[expect(clippy::unnecessary_wraps, reason = "functions have one type")]
fn same<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    Ok(arguments.first().cloned().unwrap_or(Value::Null))
}

#[expect(clippy::unnecessary_wraps, reason = "functions have one type")]
fn type_of<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    Ok(Value::Type(arguments.first().map_or("null_type", Value::type_name)))
}

fn bool<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Bool(value)] => Ok(Value::Bool(*value)),
        [text @ Value::Text(word)] => match &**word {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
            _ => Err(format!("{} is neither true nor false", shown(text)).into()),
        },
        _ => misfit("bool", arguments),
    }
}

fn bytes<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(Rc::clone(bytes))),
        [Value::Text(text)] => {
            budget.produce(text.len())?;
            Ok(Value::Bytes(Rc::from(text.as_bytes())))
        }
        _ => misfit("bytes", arguments),
    }
}

#[expect(clippy::cast_precision_loss, reason = "CEL rounds to the nearest double")]
fn double<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Double(number)] => Ok(Value::Double(*number)),
        [Value::Int(number)] => Ok(Value::Double(*number as f64)),
        [Value::Uint(number)] => Ok(Value::Double(*number as f64)),
        [value @ Value::Text(text)] => {
            let short = Some(text).filter(|text| text.len() <= LONGEST_NUMBER);
            let number = short.and_then(|text| text.parse().ok());
            number.map(Value::Double).ok_or_else(|| format!("{} is not a number", shown(value)).into())
        }
        _ => misfit("double", arguments),
    }
}

fn int<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [value] = arguments else { return misfit("int", arguments) };
    let out_of_range = || EvaluationProblem::from(format!("{} is out of the range of an int", shown(value)));
    match value {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| out_of_range()),
        Value::Double(number) => {
            // Both bounds are powers of two, and exact as doubles; NaN fails both comparisons.
            if *number > -9_223_372_036_854_775_808.0 && *number < 9_223_372_036_854_775_808.0 {
                #[expect(clippy::cast_possible_truncation, reason = "in range; CEL cuts the fraction off")]
                let whole = *number as i64;
                Ok(Value::Int(whole))
            } else {
                Err(out_of_range())
            }
        }
        Value::Text(text) => {
            text.parse().map(Value::Int).map_err(|_| format!("{} is not an int", shown(value)).into())
        }
        Value::Quantity(_) => Err("a quantity becomes an int with .asInteger()".into()),
        _ => misfit("int", arguments),
    }
}

fn uint<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [value] = arguments else { return misfit("uint", arguments) };
    let out_of_range = || EvaluationProblem::from(format!("{} is out of the range of a uint", shown(value)));
    match value {
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| out_of_range()),
        Value::Double(number) => {
            if *number >= 0.0 && *number < 18_446_744_073_709_551_616.0 {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "in range; CEL cuts the fraction off"
                )]
                let whole = *number as u64;
                Ok(Value::Uint(whole))
            } else {
                Err(out_of_range())
            }
        }
        Value::Text(text) => {
            text.parse().map(Value::Uint).map_err(|_| format!("{} is not a uint", shown(value)).into())
        }
        _ => misfit("uint", arguments),
    }
}

fn string<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [text @ Value::Text(_)] => Ok(text.clone()),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => Value::new_text(budget, text),
            Err(_) => Err("these bytes are not UTF-8".into()),
        },
        [value] => match plain_text(value) {
            Some(text) => Value::new_text(budget, &text),
            None => misfit("string", arguments),
        },
        _ => misfit("string", arguments),
    }
}

/// Returns the text of a number, a bool, a quantity or a duration, without quotes.
pub(crate) fn plain_text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        Value::Double(number) => Some(double_text(*number)),
        Value::Quantity(quantity) => Some(quantity.to_string()),
        Value::Duration(duration) => Some(duration.to_string()),
        _ => None,
    }
}

/// Returns the shortest decimal text that parses back to the same double.
pub(super) fn double_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        number.to_string()
    }
}

fn duration<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Duration(duration)] => Ok(Value::Duration(*duration)),
        [value @ Value::Text(text)] => {
            if text.len() > LONGEST_NUMBER {
                return Err(format!("{} is not a duration", shown(value)).into());
            }
            text.parse::<Duration>()
                .map(Value::Duration)
                .map_err(|error| format!("this string is not a duration: {}", error.problem()).into())
        }
        _ => misfit("duration", arguments),
    }
}

fn size<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let size = match arguments {
        [Value::Text(text)] => {
            budget.read(text.len())?;
            text.chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(list)] => list.len(),
        [Value::Map(map)] => map.len(),
        _ => return misfit("size", arguments),
    };
    Ok(Value::Int(super::lists::count(size)))
}

fn encode<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let bytes = match arguments {
        [Value::Bytes(bytes)] => &**bytes,
        [Value::Text(text)] => text.as_bytes(),
        _ => return misfit("base64.encode", arguments),
    };
    budget.produce(bytes.len())?;
    Value::new_text(budget, &STANDARD.encode(bytes))
}

fn decode<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::Text(text)] = arguments else { return misfit("base64.decode", arguments) };
    budget.produce(text.len())?;
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    match GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(text.as_bytes()) {
        Ok(bytes) => Ok(Value::Bytes(bytes.into())),
        Err(error) => Err(format!("this is not base64: {error}").into()),
    }
}
