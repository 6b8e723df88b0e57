//! CEL's sets extension: lists as sets.

use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::operators::equal;
use crate::expression::value::{List, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::global("sets.contains", 2, 2, contains),
    Function::global("sets.equivalent", 2, 2, equivalent),
    Function::global("sets.intersects", 2, 2, intersects),
];

fn contains_item(budget: &mut Budget, list: &List<'_>, item: &Value<'_>) -> Result<bool, EvaluationProblem> {
    for other in list.iter() {
        if equal(budget, &other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds_all(budget: &mut Budget, list: &List<'_>, items: &List<'_>) -> Result<bool, EvaluationProblem> {
    for item in items.iter() {
        if !contains_item(budget, list, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::List(list), Value::List(items)] => Ok(Value::Bool(holds_all(budget, list, items)?)),
        _ => misfit("sets.contains", arguments),
    }
}

fn equivalent<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::List(left), Value::List(right)] => {
            Ok(Value::Bool(holds_all(budget, left, right)? && holds_all(budget, right, left)?))
        }
        _ => misfit("sets.equivalent", arguments),
    }
}

fn intersects<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(left), Value::List(right)] = arguments else {
        return misfit("sets.intersects", arguments);
    };
    for item in left.iter() {
        if contains_item(budget, right, &item)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
