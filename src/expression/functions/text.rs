//! Functions on strings: CEL's own and those of its strings extension. Positions are in characters.

use super::lists::{count, index_of_item, list_of};
use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::describe::described;
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::value::{Str, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::method("charAt", 2, 2, char_at),
    Function::method("contains", 2, 2, |budget, arguments| {
        test(budget, "contains", arguments, |text, part| text.contains(part))
    }),
    Function::method("endsWith", 2, 2, |budget, arguments| {
        test(budget, "endsWith", arguments, |text, part| text.ends_with(part))
    }),
    Function::global("fail", 1, 1, |_, arguments| match arguments {
        [Value::Text(text)] => Err(EvaluationProblem::Stated(text.to_string())),
        _ => misfit("fail", arguments),
    }),
    Function::method("format", 2, 2, super::format::format),
    Function::method("indexOf", 2, 3, index_of),
    Function::method("join", 1, 2, join),
    Function::method("lastIndexOf", 2, 3, last_index_of),
    Function::method("lowerAscii", 1, 1, |budget, arguments| {
        change(budget, "lowerAscii", arguments, str::to_ascii_lowercase)
    }),
    Function::method("replace", 3, 4, replace),
    Function::method("split", 2, 3, split),
    Function::method("startsWith", 2, 2, |budget, arguments| {
        test(budget, "startsWith", arguments, |text, part| text.starts_with(part))
    }),
    Function::global("strings.quote", 1, 1, |budget, arguments| {
        change(budget, "strings.quote", arguments, quoted)
    }),
    Function::method("substring", 2, 3, substring),
    Function::method("trim", 1, 1, trim),
    Function::method("upperAscii", 1, 1, |budget, arguments| {
        change(budget, "upperAscii", arguments, str::to_ascii_uppercase)
    }),
];

fn test<'v>(
    budget: &mut Budget,
    name: &str,
    arguments: &[Value<'v>],
    holds: fn(&str, &str) -> bool,
) -> Evaluated<'v> {
    match arguments {
        [Value::Text(text), Value::Text(part)] => {
            budget.read(text.len())?;
            Ok(Value::Bool(holds(text, part)))
        }
        _ => misfit(name, arguments),
    }
}

fn change<'v>(
    budget: &mut Budget,
    name: &str,
    arguments: &[Value<'v>],
    changed: fn(&str) -> String,
) -> Evaluated<'v> {
    match arguments {
        [Value::Text(text)] => {
            budget.read(text.len())?;
            Value::new_text(budget, &changed(text))
        }
        _ => misfit(name, arguments),
    }
}

/// Returns the byte offset of a character; the length for the position after the last.
fn byte_of(budget: &mut Budget, name: &str, text: &str, place: i64) -> Result<usize, EvaluationProblem> {
    budget.read(text.len())?;
    usize::try_from(place)
        .ok()
        .and_then(|place| text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(place))
        .ok_or_else(|| format!("{name}: the string has no place {place}").into())
}

fn char_at<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::Text(text), Value::Int(place)] = arguments else { return misfit("charAt", arguments) };
    let start = byte_of(budget, "charAt", text, *place)?;
    let length = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    text.slice(budget, start..start + length)
}

fn substring<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, start, end) = match arguments {
        [Value::Text(text), Value::Int(start)] => (text, *start, None),
        [Value::Text(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return misfit("substring", arguments),
    };
    let from = byte_of(budget, "substring", text, start)?;
    let to = end.map_or(Ok(text.len()), |end| byte_of(budget, "substring", text, end))?;
    if from > to {
        return Err(format!("substring: it ends at {}, before it begins", end.unwrap_or_default()).into());
    }
    text.slice(budget, from..to)
}

fn index_of<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, part, from) = match arguments {
        [Value::Text(text), Value::Text(part)] => (text, part, 0),
        [Value::Text(text), Value::Text(part), Value::Int(from)] => (text, part, *from),
        [Value::List(list), item] => return index_of_item(budget, list, item, false),
        _ => return misfit("indexOf", arguments),
    };
    let start = byte_of(budget, "indexOf", text, from)?;
    let found = text.get(start..).and_then(|rest| rest.find(&**part));
    Ok(place_of(text, found.map(|byte| start + byte)))
}

/// Returns the last position, or the last one up to a limit, of a substring.
fn last_index_of<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, part, last) = match arguments {
        [Value::Text(text), Value::Text(part)] => (text, part, None),
        [Value::Text(text), Value::Text(part), Value::Int(last)] => (text, part, Some(*last)),
        [Value::List(list), item] => return index_of_item(budget, list, item, true),
        _ => return misfit("lastIndexOf", arguments),
    };
    budget.read(text.len())?;
    let last = last.map_or(Ok(text.len()), |last| byte_of(budget, "lastIndexOf", text, last))?;
    // No match that starts at or before `last` ends after this offset, which is a character boundary.
    let end = text.floor_char_boundary(last.saturating_add(part.len()));
    Ok(place_of(text, text.get(..end).and_then(|head| head.rfind(&**part))))
}

fn place_of<'v>(text: &str, byte: Option<usize>) -> Value<'v> {
    let place = byte.and_then(|byte| text.get(..byte)).map(|head| head.chars().count());
    Value::Int(place.map_or(-1, count))
}

fn trim<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::Text(text)] = arguments else { return misfit("trim", arguments) };
    budget.read(text.len())?;
    let start = text.len() - text.trim_start().len();
    text.slice(budget, start..start + text.trim().len())
}

fn join<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (list, separator) = match arguments {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::Text(separator)] => (list, &**separator),
        _ => return misfit("join", arguments),
    };
    let mut text = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::Text(part) = item else {
            return Err(format!(
                "join works on strings, not on {}; write .map(x, string(x))",
                described(&item)
            )
            .into());
        };
        budget.step(1)?;
        budget.produce(part.len() + separator.len())?;
        text.push_str(if index > 0 { separator } else { "" });
        text.push_str(&part);
    }
    Ok(Value::Text(Str::Shared(text.into())))
}

fn replace<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, from, to, most) = match arguments {
        [Value::Text(text), Value::Text(from), Value::Text(to)] => (text, from, to, usize::MAX),
        // A negative limit means no limit, as elsewhere in CEL.
        [Value::Text(text), Value::Text(from), Value::Text(to), Value::Int(most)] => {
            (text, from, to, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return misfit("replace", arguments),
    };
    budget.read(text.len())?;
    let times = text.matches(&**from).take(most).count();
    budget.produce(text.len().saturating_add(times.saturating_mul(to.len())))?;
    Ok(Value::Text(Str::Shared(text.replacen(&**from, to, times).into())))
}

fn split<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, separator, most) = match arguments {
        [Value::Text(text), Value::Text(separator)] => (text, separator, usize::MAX),
        [Value::Text(text), Value::Text(separator), Value::Int(most)] => {
            (text, separator, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return misfit("split", arguments),
    };
    budget.read(text.len())?;
    let mut parts = Vec::new();
    let mut start = 0;
    while parts.len() < most && (start < text.len() || !separator.is_empty()) {
        budget.step(1)?;
        budget.produce(size_of::<Value<'_>>())?;
        let rest = text.get(start..).unwrap_or_default();
        let found = if separator.is_empty() {
            rest.chars().next().map(char::len_utf8).filter(|length| *length < rest.len())
        } else {
            rest.find(&**separator)
        };
        let Some(length) = found.filter(|_| parts.len() + 1 < most) else {
            parts.push(text.slice(budget, start..text.len())?);
            break;
        };
        parts.push(text.slice(budget, start..start + length)?);
        start += length + separator.len();
    }
    Ok(list_of(parts))
}

/// Returns the text as a CEL literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' | '"' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
