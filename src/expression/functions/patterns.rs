//! `matches`, and Kubernetes' `find` and `findAll`:
//! <https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-regex-library>.

use regex::{Regex, RegexBuilder};

use super::lists::list_of;
use super::{Function, Outcome, misfit};
use crate::expression::budget::{Budget, Problem};
use crate::expression::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::method("find", 2, 2, find),
    Function::method("findAll", 2, 3, find_all),
    Function::global("matches", 2, 2, matches),
    Function::method("matches", 2, 2, matches),
];

/// The most memory that a compiled pattern takes, in bytes.
const LARGEST: usize = 256 << 10;

/// The steps that compiling a pattern costs during a request.
const STEPS_TO_COMPILE: usize = 20_000;

/// Compiles a pattern.
///
/// # Errors
/// It is not one of <https://docs.rs/regex/latest/regex/#syntax>, or it would take too much memory.
pub(in crate::expression) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(LARGEST).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this pattern is too large; repeat less in it".to_owned(),
        error => {
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("this is not a pattern: {reason}")
        }
    })
}

fn compile_now(budget: &mut Budget, pattern: &str) -> Result<Regex, Problem> {
    budget.step(STEPS_TO_COMPILE)?;
    Ok(compile(pattern)?)
}

/// The time of a match grows only with the text, but faster than that of other reading.
fn read(budget: &mut Budget, text: &str) -> Result<(), Problem> {
    budget.step(text.len() / 2)
}

/// Whether the pattern matches anywhere in the text.
pub(in crate::expression) fn is_match<'v>(
    budget: &mut Budget,
    text: &Value<'v>,
    pattern: &Regex,
) -> Outcome<'v> {
    match text {
        Value::Text(text) => {
            read(budget, text)?;
            Ok(Value::Bool(pattern.is_match(text)))
        }
        other => misfit("matches", std::slice::from_ref(other)),
    }
}

fn matches<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Outcome<'v> {
    match arguments {
        [text @ Value::Text(_), Value::Text(pattern)] => {
            let pattern = compile_now(budget, pattern)?;
            is_match(budget, text, &pattern)
        }
        _ => misfit("matches", arguments),
    }
}

/// The first part that matches, or "".
fn find<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Outcome<'v> {
    let [Value::Text(text), Value::Text(pattern)] = arguments else { return misfit("find", arguments) };
    let pattern = compile_now(budget, pattern)?;
    read(budget, text)?;
    text.slice(budget, pattern.find(text).map_or(0..0, |found| found.range()))
}

/// All parts that match, or the first so many.
fn find_all<'v>(budget: &mut Budget, arguments: &[Value<'v>]) -> Outcome<'v> {
    let (text, pattern, most) = match arguments {
        [Value::Text(text), Value::Text(pattern)] => (text, pattern, usize::MAX),
        [Value::Text(text), Value::Text(pattern), Value::Int(most)] => {
            (text, pattern, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return misfit("findAll", arguments),
    };
    let pattern = compile_now(budget, pattern)?;
    let mut found = Vec::new();
    let mut searched = 0;
    for part in pattern.find_iter(text).take(most) {
        budget.produce(size_of::<Value<'_>>())?;
        read(budget, text.get(searched..part.end()).unwrap_or_default())?;
        searched = part.end();
        found.push(text.slice(budget, part.range())?);
    }
    read(budget, text.get(searched..).unwrap_or_default())?;
    Ok(list_of(found))
}
