//! CEL's math extension.

use std::cmp::Ordering;

use super::lists::extreme;
use crate::expression::budget::Budget;
use crate::expression::describe::shown;
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::global("math.abs", 1, 1, abs),
    Function::global("math.bitAnd", 2, 2, |_, arguments| {
        bits("math.bitAnd", arguments, |left, right| left & right)
    }),
    Function::global("math.bitNot", 1, 1, bit_not),
    Function::global("math.bitOr", 2, 2, |_, arguments| {
        bits("math.bitOr", arguments, |left, right| left | right)
    }),
    Function::global("math.bitShiftLeft", 2, 2, |_, arguments| {
        shift("math.bitShiftLeft", arguments, u64::checked_shl)
    }),
    Function::global("math.bitShiftRight", 2, 2, |_, arguments| {
        shift("math.bitShiftRight", arguments, u64::checked_shr)
    }),
    Function::global("math.bitXor", 2, 2, |_, arguments| {
        bits("math.bitXor", arguments, |left, right| left ^ right)
    }),
    Function::global("math.ceil", 1, 1, |_, arguments| round("math.ceil", arguments, f64::ceil)),
    Function::global("math.floor", 1, 1, |_, arguments| round("math.floor", arguments, f64::floor)),
    Function::global("math.greatest", 1, usize::MAX, |budget, arguments| {
        extreme(budget, "math.greatest", arguments, Ordering::is_gt)
    }),
    Function::global("math.isFinite", 1, 1, |_, arguments| is("math.isFinite", arguments, f64::is_finite)),
    Function::global("math.isInf", 1, 1, |_, arguments| is("math.isInf", arguments, f64::is_infinite)),
    Function::global("math.isNaN", 1, 1, |_, arguments| is("math.isNaN", arguments, f64::is_nan)),
    Function::global("math.least", 1, usize::MAX, |budget, arguments| {
        extreme(budget, "math.least", arguments, Ordering::is_lt)
    }),
    Function::global("math.round", 1, 1, |_, arguments| round("math.round", arguments, f64::round)),
    Function::global("math.sign", 1, 1, sign),
    Function::global("math.sqrt", 1, 1, sqrt),
    Function::global("math.trunc", 1, 1, |_, arguments| round("math.trunc", arguments, f64::trunc)),
];

fn round<'v>(name: &str, arguments: &[Value<'v>], rounded: fn(f64) -> f64) -> Evaluated<'v> {
    match arguments {
        [Value::Double(number)] => Ok(Value::Double(rounded(*number))),
        _ => misfit(name, arguments),
    }
}

fn is<'v>(name: &str, arguments: &[Value<'v>], holds: fn(f64) -> bool) -> Evaluated<'v> {
    match arguments {
        [Value::Double(number)] => Ok(Value::Bool(holds(*number))),
        _ => misfit(name, arguments),
    }
}

fn abs<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Double(number)] => Ok(Value::Double(number.abs())),
        [Value::Uint(number)] => Ok(Value::Uint(*number)),
        [Value::Int(number)] => match number.checked_abs() {
            Some(number) => Ok(Value::Int(number)),
            None => Err(format!("the absolute value of {number} is out of range").into()),
        },
        _ => misfit("math.abs", arguments),
    }
}

fn sign<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        // The sign of NaN is NaN, and a zero keeps its sign.
        [Value::Double(number)] if number.is_nan() || number.abs() <= 0.0 => Ok(Value::Double(*number)),
        [Value::Double(number)] => Ok(Value::Double(number.signum())),
        [Value::Int(number)] => Ok(Value::Int(number.signum())),
        [Value::Uint(number)] => Ok(Value::Uint(u64::from(*number > 0))),
        _ => misfit("math.sign", arguments),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the root of a whole number is that of the nearest double")]
fn sqrt<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Double(number)] => Ok(Value::Double(number.sqrt())),
        [Value::Int(number)] => Ok(Value::Double((*number as f64).sqrt())),
        [Value::Uint(number)] => Ok(Value::Double((*number as f64).sqrt())),
        _ => misfit("math.sqrt", arguments),
    }
}

fn bits<'v>(name: &str, arguments: &[Value<'v>], combined: fn(u64, u64) -> u64) -> Evaluated<'v> {
    match arguments {
        [Value::Int(left), Value::Int(right)] => {
            Ok(Value::Int(combined(left.cast_unsigned(), right.cast_unsigned()).cast_signed()))
        }
        [Value::Uint(left), Value::Uint(right)] => Ok(Value::Uint(combined(*left, *right))),
        _ => misfit(name, arguments),
    }
}

fn bit_not<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Int(number)] => Ok(Value::Int(!number)),
        [Value::Uint(number)] => Ok(Value::Uint(!number)),
        _ => misfit("math.bitNot", arguments),
    }
}

/// Shifts as an unsigned number; the result is 0 for more than 63 places.
fn shift<'v>(name: &str, arguments: &[Value<'v>], shifted: fn(u64, u32) -> Option<u64>) -> Evaluated<'v> {
    let [number, by @ Value::Int(places)] = arguments else { return misfit(name, arguments) };
    if *places < 0 {
        return Err(format!("{name}: {} is not a number of places", shown(by)).into());
    }
    let places = u32::try_from(*places).unwrap_or(u32::MAX);
    match number {
        Value::Int(number) => {
            Ok(Value::Int(shifted(number.cast_unsigned(), places).unwrap_or(0).cast_signed()))
        }
        Value::Uint(number) => Ok(Value::Uint(shifted(*number, places).unwrap_or(0))),
        _ => misfit(name, arguments),
    }
}
