//! Quantities, with the methods of Kubernetes' own CEL library, and durations:
//! <https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-quantity-library>.

use std::cmp::Ordering;

use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::describe::shown;
use crate::expression::function::{Evaluated, Function, LONGEST_NUMBER, misfit};
use crate::expression::operator::Operator;
use crate::expression::value::Value;
use crate::quantity::Quantity;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::global("isQuantity", 1, 1, is_quantity),
    Function::global("quantity", 1, 1, quantity),
    Function::method("add", 2, 2, |_, arguments| by_name("add", Operator::Add, arguments)),
    Function::method("asApproximateFloat", 1, 1, as_approximate_float),
    Function::method("asInteger", 1, 1, as_integer),
    Function::method("compareTo", 2, 2, compare_to),
    Function::method("div", 2, 2, |_, arguments| by_name("div", Operator::Divide, arguments)),
    Function::method("getHours", 1, 1, |_, arguments| part("getHours", 3_600_000_000_000, arguments)),
    Function::method("getMilliseconds", 1, 1, |_, arguments| part("getMilliseconds", 1_000_000, arguments)),
    Function::method("getMinutes", 1, 1, |_, arguments| part("getMinutes", 60_000_000_000, arguments)),
    Function::method("getSeconds", 1, 1, |_, arguments| part("getSeconds", 1_000_000_000, arguments)),
    Function::method("isGreaterThan", 2, 2, is_greater_than),
    Function::method("isInteger", 1, 1, is_integer),
    Function::method("isLessThan", 2, 2, is_less_than),
    Function::method("mul", 2, 2, |_, arguments| by_name("mul", Operator::Multiply, arguments)),
    Function::method("sign", 1, 1, sign),
    Function::method("sub", 2, 2, |_, arguments| by_name("sub", Operator::Subtract, arguments)),
];

fn quantity<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(quantity)] => Ok(Value::Quantity(*quantity)),
        [Value::Int(number)] => Ok(Value::Quantity(Quantity::from_integer(*number))),
        [value @ Value::Text(text)] => match parsed(text) {
            Some(result) => result.map(Value::Quantity).map_err(EvaluationProblem::from),
            None => Err(format!("{} is not a quantity", shown(value)).into()),
        },
        _ => misfit("quantity", arguments),
    }
}

fn is_quantity<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(_)] => Ok(Value::Bool(true)),
        [Value::Text(text)] => Ok(Value::Bool(parsed(text).is_some_and(|result| result.is_ok()))),
        _ => misfit("isQuantity", arguments),
    }
}

/// Parses a quantity; `None` if the text is too long to be one.
fn parsed(text: &str) -> Option<Result<Quantity, String>> {
    (text.len() <= LONGEST_NUMBER).then(|| {
        text.parse::<Quantity>()
            .map_err(|error| format!("this string is not a quantity: {}", error.problem()))
    })
}

fn by_name<'v>(name: &str, operator: Operator, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [left @ Value::Quantity(_), right] => {
            calculate(operator, left, right).unwrap_or_else(|| misfit(name, arguments))
        }
        _ => misfit(name, arguments),
    }
}

/// Calculates with a quantity on either side; `None` if the operands do not fit the operator.
pub(crate) fn calculate<'v>(
    operator: Operator,
    left: &Value<'v>,
    right: &Value<'v>,
) -> Option<Evaluated<'v>> {
    let result = match (operator, left, right) {
        (Operator::Add, Value::Quantity(left), right) => left.checked_add(as_quantity(right)?),
        (Operator::Add, Value::Int(left), Value::Quantity(right)) => {
            right.checked_add(Quantity::from_integer(*left))
        }
        (Operator::Subtract, Value::Quantity(left), right) => left.checked_sub(as_quantity(right)?),
        (Operator::Multiply, Value::Quantity(quantity), Value::Int(by))
        | (Operator::Multiply, Value::Int(by), Value::Quantity(quantity)) => {
            quantity.checked_mul_ratio(i128::from(*by), 1)
        }
        (Operator::Multiply, Value::Quantity(quantity), Value::Double(by))
        | (Operator::Multiply, Value::Double(by), Value::Quantity(quantity)) => {
            ratio(*by).and_then(|(numerator, denominator)| quantity.checked_mul_ratio(numerator, denominator))
        }
        (Operator::Divide, Value::Quantity(_), Value::Int(0)) => {
            return Some(Err("this divides by zero".into()));
        }
        (Operator::Divide, Value::Quantity(quantity), Value::Int(by)) => {
            quantity.checked_mul_ratio(1, i128::from(*by))
        }
        _ => return None,
    };
    let out_of_range = || {
        EvaluationProblem::from(format!(
            "{} {} {} is out of range",
            shown(left),
            operator.sign(),
            shown(right)
        ))
    };
    Some(result.map(Value::Quantity).ok_or_else(out_of_range))
}

fn as_quantity(value: &Value<'_>) -> Option<Quantity> {
    match value {
        Value::Quantity(quantity) => Some(*quantity),
        Value::Int(number) => Some(Quantity::from_integer(*number)),
        _ => None,
    }
}

/// Returns a double as the exact fraction of its shortest decimal text: `0.1` is one tenth.
fn ratio(number: f64) -> Option<(i128, i128)> {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let numerator = format!("{whole}{fraction}").parse().ok()?;
    Some((numerator, 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?))
}

/// Compares two quantities, and converts the order to the result of the calling function.
fn compared<'v>(name: &str, arguments: &[Value<'v>], result: fn(Ordering) -> Value<'v>) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(left), Value::Quantity(right)] => Ok(result(left.cmp(right))),
        _ => misfit(name, arguments),
    }
}

fn compare_to<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    compared("compareTo", arguments, |order| Value::Int(order as i64))
}

fn is_greater_than<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    compared("isGreaterThan", arguments, |order| Value::Bool(order.is_gt()))
}

fn is_less_than<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    compared("isLessThan", arguments, |order| Value::Bool(order.is_lt()))
}

fn sign<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(quantity)] => Ok(Value::Int(quantity.cmp(&Quantity::ZERO) as i64)),
        _ => misfit("sign", arguments),
    }
}

fn is_integer<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(quantity)] => Ok(Value::Bool(quantity.as_integer().is_some())),
        _ => misfit("isInteger", arguments),
    }
}

fn as_integer<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Quantity(quantity)] => match quantity.as_integer() {
            Some(number) => Ok(Value::Int(number)),
            None => Err(format!("{quantity} is not an int").into()),
        },
        _ => misfit("asInteger", arguments),
    }
}

fn as_approximate_float<'v>(_: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        #[expect(clippy::cast_precision_loss, reason = "it is approximate by name")]
        [Value::Quantity(quantity)] => Ok(Value::Double(quantity.nanos() as f64 / 1e9)),
        _ => misfit("asApproximateFloat", arguments),
    }
}

/// Returns a duration in whole hours, minutes and so on.
fn part<'v>(name: &str, nanos: i64, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Duration(duration)] => Ok(Value::Int(duration.nanos() / nanos)),
        _ => misfit(name, arguments),
    }
}
