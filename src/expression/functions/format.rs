//! `string.format(list)` of CEL's strings extension.

use super::convert::{double_text, plain_text};
use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::describe::described;
use crate::expression::function::{Evaluated, misfit};
use crate::expression::value::{List, Map, Str, Value};

/// Maximum number of digits in a clause such as `%.9f`.
const MOST_DIGITS: usize = 100;

/// Replaces each `%` clause with the next element of the list.
pub(super) fn format<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::Text(pattern), Value::List(list)] = arguments else { return misfit("format", arguments) };
    let mut text = String::new();
    let mut rest: &str = pattern;
    let mut next = 0;
    while let Some((literal, clause)) = rest.split_once('%') {
        push(budget, &mut text, literal)?;
        if let Some(after) = clause.strip_prefix('%') {
            push(budget, &mut text, "%")?;
            rest = after;
            continue;
        }
        let value = list.get(next).ok_or_else(|| format!("format: the list has no element {next}"))?;
        next += 1;
        let (digits, clause) = digits(clause)?;
        let mut characters = clause.chars();
        match characters.next() {
            None => return Err("format: a lone % ends the string; write %% for a percent sign".into()),
            Some('s') => write_any(budget, &mut text, &value)?,
            Some(clause) => {
                let written = write(budget, clause, digits, &value)?;
                push(budget, &mut text, &written)?;
            }
        }
        rest = characters.as_str();
    }
    push(budget, &mut text, rest)?;
    Ok(Value::Text(Str::Shared(text.into())))
}

fn push(budget: &mut Budget, text: &mut String, part: &str) -> Result<(), EvaluationProblem> {
    budget.step(1)?;
    budget.produce(part.len())?;
    text.push_str(part);
    Ok(())
}

/// Parses the number of decimal digits of a clause, and returns the rest of the clause.
fn digits(clause: &str) -> Result<(usize, &str), EvaluationProblem> {
    let Some(clause) = clause.strip_prefix('.') else { return Ok((6, clause)) };
    let end = clause.find(|c: char| !c.is_ascii_digit()).unwrap_or(clause.len());
    let (digits, rest) = clause.split_at(end);
    match digits.parse() {
        Ok(digits) if digits <= MOST_DIGITS => Ok((digits, rest)),
        _ => Err(format!("format: write 0 to {MOST_DIGITS} digits after %.").into()),
    }
}

fn write(
    budget: &mut Budget,
    clause: char,
    digits: usize,
    value: &Value<'_>,
) -> Result<String, EvaluationProblem> {
    let written = match (clause, value) {
        ('d', Value::Int(_) | Value::Uint(_) | Value::Double(_)) => plain_text(value),
        ('f' | 'e', value) => as_double(value).map(|number| match clause {
            _ if !number.is_finite() => double_text(number),
            'f' => format!("{number:.digits$}"),
            _ => scientific(number, digits),
        }),
        ('b', Value::Bool(value)) => Some(u8::from(*value).to_string()),
        ('b', value) => whole(value).map(|(sign, number)| format!("{sign}{number:b}")),
        ('o', value) => whole(value).map(|(sign, number)| format!("{sign}{number:o}")),
        ('x' | 'X', value) => {
            let text = match value {
                Value::Text(text) => Some(hex(budget, text.as_bytes())?),
                Value::Bytes(bytes) => Some(hex(budget, bytes)?),
                value => whole(value).map(|(sign, number)| format!("{sign}{number:x}")),
            };
            text.map(|text| if clause == 'X' { text.to_ascii_uppercase() } else { text })
        }
        ('d', _) => None,
        _ => return Err(format!("format: there is no %{clause}, but %s %d %f %e %b %o %x and %X").into()),
    };
    written.ok_or_else(|| format!("format: %{clause} does not write {}", described(value)).into())
}

/// Writes `%s`: any value, with its elements.
fn write_any(budget: &mut Budget, text: &mut String, value: &Value<'_>) -> Result<(), EvaluationProblem> {
    match value {
        Value::Text(part) => push(budget, text, part),
        Value::Null => push(budget, text, "null"),
        Value::Type(name) => push(budget, text, name),
        Value::Bytes(bytes) => {
            budget.produce(bytes.len())?;
            push(budget, text, &String::from_utf8_lossy(bytes))
        }
        Value::List(list) => write_list(budget, text, list),
        Value::Map(map) => write_map(budget, text, map),
        Value::Optional(_) => Err("format: end an optional with .orValue(…)".into()),
        plain => push(budget, text, &plain_text(plain).unwrap_or_default()),
    }
}

fn write_list(budget: &mut Budget, text: &mut String, list: &List<'_>) -> Result<(), EvaluationProblem> {
    for (index, item) in list.iter().enumerate() {
        push(budget, text, if index > 0 { ", " } else { "[" })?;
        write_any(budget, text, &item)?;
    }
    push(budget, text, if list.len() == 0 { "[]" } else { "]" })
}

fn write_map(budget: &mut Budget, text: &mut String, map: &Map<'_>) -> Result<(), EvaluationProblem> {
    let mut entries = Vec::new();
    for key in map.keys() {
        let mut entry = String::new();
        write_any(budget, &mut entry, &key)?;
        push(budget, &mut entry, ": ")?;
        let value = map.get(budget, &key)?.unwrap_or(Value::Null);
        write_any(budget, &mut entry, &value)?;
        entries.push(entry);
    }
    entries.sort_unstable();
    push(budget, text, &format!("{{{}}}", entries.join(", ")))
}

#[expect(clippy::cast_precision_loss, reason = "a whole number is written as the nearest double")]
fn as_double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        _ => None,
    }
}

fn whole(value: &Value<'_>) -> Option<(&'static str, u64)> {
    match value {
        Value::Int(number) => Some((if *number < 0 { "-" } else { "" }, number.unsigned_abs())),
        Value::Uint(number) => Some(("", *number)),
        _ => None,
    }
}

/// Formats a number with at least two digits in the exponent, like Go and C.
fn scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

fn hex(budget: &mut Budget, bytes: &[u8]) -> Result<String, EvaluationProblem> {
    budget.produce(bytes.len().saturating_mul(2))?;
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}
