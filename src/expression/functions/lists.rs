//! Functions on lists: CEL's lists extension, and Kubernetes' list library,
//! <https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-list-library>.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::describe::described;
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::operator::Operator;
use crate::expression::operators::{binary, compare, equal};
use crate::expression::value::{List, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::method("distinct", 1, 1, distinct),
    Function::method("flatten", 1, 2, flatten),
    Function::method("isSorted", 1, 1, is_sorted),
    Function::global("lists.range", 1, 1, range),
    Function::global("max", 1, usize::MAX, max),
    Function::method("max", 1, 1, max),
    Function::global("min", 1, usize::MAX, min),
    Function::method("min", 1, 1, min),
    Function::method("reverse", 1, 1, reverse),
    Function::method("slice", 3, 3, slice),
    Function::method("sort", 1, 1, sort),
    Function::method("sum", 1, 1, sum),
];

/// Maximum length of a list from `lists.range`.
const LONGEST_RANGE: i64 = 10_000;

/// Returns a size as a CEL int.
pub(super) fn count(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns a list whose elements are already charged.
pub(crate) fn list_of(items: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List::Built(Rc::new(items)))
}

fn distinct<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(list)] = arguments else { return misfit("distinct", arguments) };
    let mut kept: Vec<Value<'v>> = Vec::new();
    'items: for item in list.iter() {
        for other in &kept {
            if equal(budget, &item, other)? {
                continue 'items;
            }
        }
        budget.produce(size_of::<Value<'_>>())?;
        kept.push(item);
    }
    Ok(list_of(kept))
}

fn flatten<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (list, depth) = match arguments {
        [Value::List(list)] => (list, 1),
        [Value::List(list), Value::Int(depth)] if *depth >= 0 => (list, *depth),
        [Value::List(_), Value::Int(_)] => return Err("flatten: the depth cannot be negative".into()),
        _ => return misfit("flatten", arguments),
    };
    let mut flat = Vec::new();
    flatten_into(budget, list, depth, &mut flat)?;
    Ok(list_of(flat))
}

fn flatten_into<'v>(
    budget: &mut Budget,
    list: &List<'v>,
    depth: i64,
    flat: &mut Vec<Value<'v>>,
) -> Result<(), EvaluationProblem> {
    for item in list.iter() {
        budget.step(1)?;
        match item {
            Value::List(inner) if depth > 0 => flatten_into(budget, &inner, depth - 1, flat)?,
            item => {
                budget.produce(size_of::<Value<'_>>())?;
                flat.push(item);
            }
        }
    }
    Ok(())
}

fn range<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::Int(length)] if (0..=LONGEST_RANGE).contains(length) => {
            Value::new_list(budget, (0..*length).map(Value::Int).collect())
        }
        [Value::Int(_)] => Err(format!("lists.range takes 0 to {LONGEST_RANGE}").into()),
        _ => misfit("lists.range", arguments),
    }
}

fn reverse<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [Value::List(list)] => {
            budget.step(list.len())?;
            let items = (0..list.len()).rev().filter_map(|index| list.get(index));
            Value::new_list(budget, items.collect())
        }
        [Value::Text(text)] => {
            budget.read(text.len())?;
            Value::new_text(budget, &text.chars().rev().collect::<String>())
        }
        _ => misfit("reverse", arguments),
    }
}

fn slice<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = arguments else {
        return misfit("slice", arguments);
    };
    let length = count(list.len());
    if !(0 <= *start && start <= end && *end <= length) {
        return Err(format!("slice: a list of {length} has no slice from {start} to {end}").into());
    }
    let (start, end) = (usize::try_from(*start).unwrap_or(0), usize::try_from(*end).unwrap_or(0));
    budget.step(end - start)?;
    Value::new_list(budget, (start..end).filter_map(|index| list.get(index)).collect())
}

fn sort<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(list)] = arguments else { return misfit("sort", arguments) };
    budget.produce(list.len().saturating_mul(size_of::<Value<'_>>()))?;
    sort_by_key(budget, list.iter().map(|item| (item.clone(), item)).collect())
}

/// Returns the second parts of pairs, sorted by the first. The sort is stable.
pub(crate) fn sort_by_key<'v>(budget: &mut Budget, mut keyed: Vec<(Value<'v>, Value<'v>)>) -> Evaluated<'v> {
    budget.produce(keyed.len().saturating_mul(size_of::<Value<'_>>()))?;
    // Sorting requires a total order: one type, and no NaN. Comparing each with the first checks both.
    if let Some((first, _)) = keyed.first() {
        for (key, _) in &keyed {
            if first.type_name() != key.type_name() || compare(budget, first, key)?.is_none() {
                let (first, key) = (described(first), described(key));
                return Err(format!("these cannot be sorted: {first} and {key} have no order").into());
            }
        }
    }
    let mut failed = None;
    keyed.sort_by(|(left, _), (right, _)| match budget.step(1).and_then(|()| compare(budget, left, right)) {
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(problem) => {
            failed = Some(problem);
            Ordering::Equal
        }
    });
    match failed {
        Some(problem) => Err(problem),
        None => Ok(list_of(keyed.into_iter().map(|(_, item)| item).collect())),
    }
}

fn is_sorted<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(list)] = arguments else { return misfit("isSorted", arguments) };
    let mut before: Option<Value<'v>> = None;
    for item in list.iter() {
        if let Some(before) = &before
            && ordered("isSorted", budget, before, &item)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn ordered(
    name: &str,
    budget: &mut Budget,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Ordering, EvaluationProblem> {
    budget.step(1)?;
    compare(budget, left, right)?
        .ok_or_else(|| format!("{name}: {} and {} have no order", described(left), described(right)).into())
}

/// Returns the sum of numbers, quantities or durations; 0 for an empty list.
fn sum<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::List(list)] = arguments else { return misfit("sum", arguments) };
    let Some(mut sum) = list.get(0) else { return Ok(Value::Int(0)) };
    if !matches!(
        sum,
        Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Quantity(_) | Value::Duration(_)
    ) {
        return Err(format!("sum does not add {}", described(&sum)).into());
    }
    for item in list.iter().skip(1) {
        budget.step(1)?;
        sum = binary(budget, Operator::Add, &sum, &item)?;
    }
    Ok(sum)
}

fn max<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    extreme(budget, "max", arguments, Ordering::is_gt)
}

fn min<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    extreme(budget, "min", arguments, Ordering::is_lt)
}

/// Returns the greatest or least of a list or of the arguments; the first of equal ones.
pub(super) fn extreme<'v>(
    budget: &mut Budget,
    name: &str,
    arguments: &[Value<'v>],
    is_further: fn(Ordering) -> bool,
) -> Evaluated<'v> {
    let list = match arguments {
        [Value::List(list)] => list.clone(),
        values => List::Built(Rc::new(values.to_vec())),
    };
    let Some(mut found) = list.get(0) else { return Err(format!("{name}: the list is empty").into()) };
    for item in list.iter() {
        if is_further(ordered(name, budget, &item, &found)?) {
            found = item;
        }
    }
    Ok(found)
}

/// Returns the first or last index of an item in a list; -1 if it is missing.
pub(super) fn index_of_item<'v>(
    budget: &mut Budget,
    list: &List<'v>,
    item: &Value<'v>,
    is_last: bool,
) -> Evaluated<'v> {
    let mut found = -1;
    for (index, other) in list.iter().enumerate() {
        if equal(budget, &other, item)? {
            found = count(index);
            if !is_last {
                break;
            }
        }
    }
    Ok(Value::Int(found))
}
