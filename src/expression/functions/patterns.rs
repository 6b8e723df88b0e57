//! `matches`, and Kubernetes' `find` and `findAll`:
//! <https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-regex-library>.

use super::lists::list_of;
use crate::expression::budget::{Budget, EvaluationProblem};
use crate::expression::compile_budget::CompileBudget;
use crate::expression::compile_pattern::{LARGEST_IN_EXPRESSION, PatternError};
use crate::expression::function::{Evaluated, Function, misfit};
use crate::expression::pattern::Pattern;
use crate::expression::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::method("find", 2, 2, find),
    Function::method("findAll", 2, 3, find_all),
    Function::global("matches", 2, 2, matches),
    Function::method("matches", 2, 2, matches),
];

/// Fixed steps for compiling a pattern during a request, in addition to the work for its size.
const STEPS_TO_COMPILE: usize = 20_000;

/// Maximum work of compiling a pattern during a request.
const WORK_TO_COMPILE: usize = 20_000;

/// Maximum memory of a pattern that is compiled during a request, in bytes.
const MEMORY_TO_COMPILE: usize = 128 << 10;

fn compile_now(budget: &mut Budget, pattern: &str) -> Result<Pattern, EvaluationProblem> {
    budget.step(STEPS_TO_COMPILE)?;
    let mut compiling = CompileBudget::with_limits(MEMORY_TO_COMPILE, WORK_TO_COMPILE);
    let compiled = Pattern::compile_within(LARGEST_IN_EXPRESSION, pattern, &mut compiling);
    budget.step(compiling.worked())?;
    compiled.map_err(|error| match error {
        PatternError::OverBudget(_) => "this pattern is too large; repeat less in it".into(),
        error => error.to_string().into(),
    })
}

/// Checks whether the pattern matches anywhere in the text.
pub(crate) fn is_match<'v>(budget: &mut Budget, text: &Value<'v>, pattern: &Pattern) -> Evaluated<'v> {
    match text {
        Value::Text(text) => {
            budget.step(pattern.steps(text.len()))?;
            Ok(Value::Bool(pattern.is_match(text)))
        }
        other => misfit("matches", std::slice::from_ref(other)),
    }
}

fn matches<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    match arguments {
        [text @ Value::Text(_), Value::Text(pattern)] => {
            let pattern = compile_now(budget, pattern)?;
            is_match(budget, text, &pattern)
        }
        _ => misfit("matches", arguments),
    }
}

/// Returns the first match, or "".
fn find<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let [Value::Text(text), Value::Text(pattern)] = arguments else { return misfit("find", arguments) };
    let pattern = compile_now(budget, pattern)?;
    budget.step(pattern.steps(text.len()))?;
    let mut first = 0..0;
    pattern.find(text, 1, |found| {
        first = found;
        Ok::<_, EvaluationProblem>(())
    })?;
    text.slice(budget, first)
}

/// Returns all matches, or the first ones up to a limit.
fn find_all<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Evaluated<'v> {
    let (text, pattern, most) = match arguments {
        [Value::Text(text), Value::Text(pattern)] => (text, pattern, usize::MAX),
        [Value::Text(text), Value::Text(pattern), Value::Int(most)] => {
            (text, pattern, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return misfit("findAll", arguments),
    };
    let pattern = compile_now(budget, pattern)?;
    let mut parts = Vec::new();
    budget.step(pattern.steps(text.len()))?;
    pattern.find(text, most, |found| {
        budget.produce(size_of::<Value<'_>>())?;
        // Finding the end of a match may require the whole rest of the text.
        budget.step(pattern.steps(text.len() - found.start))?;
        parts.push(text.slice(budget, found)?);
        Ok::<_, EvaluationProblem>(())
    })?;
    Ok(list_of(parts))
}
