//! Operators: arithmetic, equality and order.

use std::cmp::Ordering;
use std::rc::Rc;

use super::budget::{Budget, EvaluationProblem};
use super::describe::{described, hint, shown};
use super::functions::quantities;
use super::operator::Operator;
use super::value::{Key, List, Map, Str, Value};

type Evaluated<T> = Result<T, EvaluationProblem>;

pub(super) fn binary<'v>(
    budget: &mut Budget,
    operator: Operator,
    left: &Value<'v>,
    right: &Value<'v>,
) -> Evaluated<Value<'v>> {
    let order = |ordering: fn(Ordering) -> bool, budget: &mut Budget| {
        compare(budget, left, right)?
            .map(|found| Value::Bool(ordering(found)))
            .ok_or_else(|| unfit(operator, left, right))
    };
    match operator {
        Operator::Add => add(budget, left, right),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            calculate(operator, left, right)
        }
        Operator::Equal => Ok(Value::Bool(checked_equal(budget, operator, left, right)?)),
        Operator::NotEqual => Ok(Value::Bool(!checked_equal(budget, operator, left, right)?)),
        Operator::Less => order(Ordering::is_lt, budget),
        Operator::LessOrEqual => order(Ordering::is_le, budget),
        Operator::Greater => order(Ordering::is_gt, budget),
        Operator::GreaterOrEqual => order(Ordering::is_ge, budget),
        Operator::In => is_in(budget, left, right).map(Value::Bool),
    }
}

fn add<'v>(budget: &mut Budget, left: &Value<'v>, right: &Value<'v>) -> Evaluated<Value<'v>> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => concatenated(budget, left, right),
        (Value::Text(left), Value::Quantity(right)) => concatenated(budget, left, &right.to_string()),
        (Value::Text(left), Value::Duration(right)) => concatenated(budget, left, &right.to_string()),
        (Value::Quantity(left), Value::Text(right)) => concatenated(budget, &left.to_string(), right),
        (Value::Duration(left), Value::Text(right)) => concatenated(budget, &left.to_string(), right),
        (Value::List(left), Value::List(right)) => {
            budget.produce(size_of::<Value<'_>>().saturating_mul(left.len() + right.len()))?;
            Ok(Value::List(List::Built(Rc::new(left.iter().chain(right.iter()).collect()))))
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            budget.produce(left.len() + right.len())?;
            Ok(Value::Bytes([&**left, &**right].concat().into()))
        }
        _ => calculate(Operator::Add, left, right),
    }
}

fn concatenated<'v>(budget: &mut Budget, left: &str, right: &str) -> Evaluated<Value<'v>> {
    budget.produce(left.len() + right.len())?;
    Ok(Value::Text(Str::Shared([left, right].concat().into())))
}

fn calculate<'v>(operator: Operator, left: &Value<'v>, right: &Value<'v>) -> Evaluated<Value<'v>> {
    let result = match (left, right) {
        (Value::Int(left), Value::Int(right)) => match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide | Operator::Remainder if *right == 0 => return Err(by_zero()),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        }
        .map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide | Operator::Remainder if *right == 0 => return Err(by_zero()),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        }
        .map(Value::Uint),
        (Value::Double(left), Value::Double(right)) => match operator {
            Operator::Add => Some(left + right),
            Operator::Subtract => Some(left - right),
            Operator::Multiply => Some(left * right),
            Operator::Divide => Some(left / right),
            _ => return Err(unfit(operator, &Value::Double(*left), &Value::Double(*right))),
        }
        .map(Value::Double),
        (Value::Duration(left), Value::Duration(right)) => match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            _ => return Err(unfit(operator, &Value::Duration(*left), &Value::Duration(*right))),
        }
        .map(Value::Duration),
        (Value::Quantity(_), _) | (_, Value::Quantity(_)) => {
            return quantities::calculate(operator, left, right)
                .unwrap_or_else(|| Err(unfit(operator, left, right)));
        }
        _ => return Err(unfit(operator, left, right)),
    };
    result
        .ok_or_else(|| format!("{} {} {} is out of range", shown(left), operator.sign(), shown(right)).into())
}

fn by_zero() -> EvaluationProblem {
    "this divides by zero".into()
}

pub(super) fn negate<'v>(value: &Value<'v>) -> Evaluated<Value<'v>> {
    match value {
        Value::Int(number) => {
            number.checked_neg().map(Value::Int).ok_or_else(|| format!("-({number}) is out of range").into())
        }
        Value::Double(number) => Ok(Value::Double(-number)),
        other => Err(format!("there is no - of {}", described(other)).into()),
    }
}

/// Compares like `==`; an error if the types look similar but can never be equal.
fn checked_equal(
    budget: &mut Budget,
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Evaluated<bool> {
    let is_measure = |value: &Value<'_>| matches!(value, Value::Quantity(_) | Value::Duration(_));
    let is_plain = |value: &Value<'_>| {
        matches!(value, Value::Text(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_))
    };
    if is_measure(left) && is_plain(right) || is_plain(left) && is_measure(right) {
        return Err(unfit(operator, left, right));
    }
    equal(budget, left, right)
}

/// Checks deep equality. Numbers of different types are compared as numbers.
pub(super) fn equal(budget: &mut Budget, left: &Value<'_>, right: &Value<'_>) -> Evaluated<bool> {
    budget.step(1)?;
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => {
            budget.read(left.len().min(right.len()))?;
            left == right
        }
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::Quantity(left), Value::Quantity(right)) => left == right,
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::Type(left), Value::Type(right)) => left == right,
        (Value::Optional(left), Value::Optional(right)) => match (left, right) {
            (None, None) => true,
            (Some(left), Some(right)) => equal(budget, left, right)?,
            _ => false,
        },
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(budget, &left, &right)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(left), Value::Map(right)) => equal_maps(budget, left, right)?,
        _ => compare_numbers(left, right) == Some(Ordering::Equal),
    })
}

fn equal_maps(budget: &mut Budget, left: &Map<'_>, right: &Map<'_>) -> Evaluated<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for key in left.keys() {
        let (Some(left), Some(right)) = (left.get(budget, &key)?, right.get(budget, &key)?) else {
            return Ok(false);
        };
        if !equal(budget, &left, &right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_in(budget: &mut Budget, needle: &Value<'_>, holder: &Value<'_>) -> Evaluated<bool> {
    match holder {
        Value::List(list) => {
            for item in list.iter() {
                if equal(budget, &item, needle)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) if Key::to_find(needle).is_some() => Ok(map.get(budget, needle)?.is_some()),
        _ => Err(unfit(Operator::In, needle, holder)),
    }
}

/// Returns the order of two values; `None` if they have none.
pub(super) fn compare(
    budget: &mut Budget,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Evaluated<Option<Ordering>> {
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => {
            budget.read(left.len().min(right.len()))?;
            Some(left.cmp(right))
        }
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Quantity(left), Value::Quantity(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => compare_numbers(left, right),
    })
}

fn compare_numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Double(left), right) => compare_double(*left, whole(right)?),
        (left, Value::Double(right)) => compare_double(*right, whole(left)?).map(Ordering::reverse),
        (left, right) => Some(whole(left)?.cmp(&whole(right)?)),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Uint(number) => Some(i128::from(*number)),
        _ => None,
    }
}

/// Compares without rounding the integer to a double.
fn compare_double(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "beyond i128 the cast gives its bound, in order")]
    let floor = double.floor() as i128;
    Some(floor.cmp(&whole).then(if double.fract() == 0.0 { Ordering::Equal } else { Ordering::Greater }))
}

fn unfit(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> EvaluationProblem {
    let hint = hint(left, right);
    format!("there is no {} {} {}{hint}", described(left), operator.sign(), described(right)).into()
}
