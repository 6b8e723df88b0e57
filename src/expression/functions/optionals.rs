//! Values that may be absent: `optional.of(x)`, `a.?b`, `a[?0]`.

use std::rc::Rc;

use crate::expression::budget::Budget;
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::global("optional.none", 0, 0, none),
    Function::global("optional.of", 1, 1, of),
    Function::global("optional.ofNonZeroValue", 1, 1, of_non_zero_value),
    Function::method("hasValue", 1, 1, has_value),
    Function::method("or", 2, 2, or),
    Function::method("orValue", 2, 2, or_value),
    Function::method("value", 1, 1, value),
];

#[expect(clippy::unnecessary_wraps, reason = "functions have one type")]
fn none<'v>(_: &mut Budget, _: &[Value<'v>]) -> Evaluated<'v> {
    Ok(Value::Optional(None))
}

#[expect(clippy::unnecessary_wraps, reason = "functions have one type")]
fn of<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    Ok(Value::Optional(arguments.first().cloned().map(Rc::new)))
}

#[expect(clippy::unnecessary_wraps, reason = "functions have one type")]
fn of_non_zero_value<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let is_zero = match arguments.first() {
        None | Some(Value::Null | Value::Optional(None)) => true,
        Some(Value::Bool(value)) => !value,
        Some(Value::Int(number)) => *number == 0,
        Some(Value::Uint(number)) => *number == 0,
        Some(Value::Double(number)) => number.abs() <= 0.0,
        Some(Value::Text(text)) => text.is_empty(),
        Some(Value::Bytes(bytes)) => bytes.is_empty(),
        Some(Value::Quantity(quantity)) => quantity.is_zero(),
        Some(Value::Duration(duration)) => duration.nanos() == 0,
        Some(Value::List(list)) => list.len() == 0,
        Some(Value::Map(map)) => map.len() == 0,
        Some(Value::Type(_) | Value::Optional(Some(_))) => false,
    };
    Ok(Value::Optional(arguments.first().filter(|_| !is_zero).cloned().map(Rc::new)))
}

fn has_value<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Optional(inner)] => Ok(Value::Bool(inner.is_some())),
        _ => misfit("hasValue", arguments),
    }
}

fn or<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Optional(None), other @ Value::Optional(_)] => Ok(other.clone()),
        [first @ Value::Optional(Some(_)), Value::Optional(_)] => Ok(first.clone()),
        _ => misfit("or", arguments),
    }
}

fn or_value<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Optional(Some(inner)), _] => Ok((**inner).clone()),
        [Value::Optional(None), other] => Ok(other.clone()),
        _ => misfit("orValue", arguments),
    }
}

fn value<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Optional(Some(inner))] => Ok((**inner).clone()),
        [Value::Optional(None)] => Err("the optional is empty; give a default with .orValue(…)".into()),
        _ => misfit("value", arguments),
    }
}
