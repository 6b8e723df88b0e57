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

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(in crate::expression) struct Pattern {
    regex: Regex,
    /// The memory that its program takes, rounded up to a power of two, in KiB.
    size: usize,
}

/// The most memory that the program of a pattern takes, in KiB.
const LARGEST: usize = 64;

/// The steps that compiling a pattern costs during a request.
const STEPS_TO_COMPILE: usize = 20_000;

/// Compiles a pattern.
///
/// # Errors
/// It is not one of <https://docs.rs/regex/latest/regex/#syntax>, or it would take too much memory.
pub(in crate::expression) fn compile(pattern: &str) -> Result<Pattern, String> {
    let pattern = with_ascii_classes(pattern);
    let mut size = 1;
    loop {
        match RegexBuilder::new(&pattern).size_limit(size << 10).build() {
            Ok(regex) => return Ok(Pattern { regex, size }),
            Err(regex::Error::CompiledTooBig(_)) if size < LARGEST => size *= 2,
            Err(regex::Error::CompiledTooBig(_)) => {
                return Err("this pattern is too large; repeat less in it".to_owned());
            }
            Err(error) => {
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Err(format!("this is not a pattern: {reason}"));
            }
        }
    }
}

/// The pattern with `\d`, `\s`, `\w` and `\b` as RE2 has them, and so CEL: of ASCII. It is also much smaller so.
fn with_ascii_classes(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            ascii.push(c);
            continue;
        }
        match characters.next() {
            Some('d') => ascii.push_str("[0-9]"),
            Some('D') => ascii.push_str("[^0-9]"),
            Some('s') => ascii.push_str("[\\t\\n\\f\\r ]"),
            Some('S') => ascii.push_str("[^\\t\\n\\f\\r ]"),
            Some('w') => ascii.push_str("[0-9A-Za-z_]"),
            Some('W') => ascii.push_str("[^0-9A-Za-z_]"),
            Some(edge @ ('b' | 'B')) => ascii.extend(['(', '?', '-', 'u', ':', '\\', edge, ')']),
            other => ascii.extend(std::iter::once(c).chain(other)),
        }
    }
    ascii
}

fn compile_now(budget: &mut Budget, pattern: &str) -> Result<Pattern, Problem> {
    budget.step(STEPS_TO_COMPILE)?;
    Ok(compile(pattern)?)
}

/// The time of a match grows with the text and with the program, but with nothing else.
fn read(budget: &mut Budget, text: &str, pattern: &Pattern) -> Result<(), Problem> {
    budget.step(text.len().saturating_mul(2 * pattern.size))
}

/// Whether the pattern matches anywhere in the text.
pub(in crate::expression) fn is_match<'v>(
    budget: &mut Budget,
    text: &Value<'v>,
    pattern: &Pattern,
) -> Outcome<'v> {
    match text {
        Value::Text(text) => {
            read(budget, text, pattern)?;
            Ok(Value::Bool(pattern.regex.is_match(text)))
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
    read(budget, text, &pattern)?;
    text.slice(budget, pattern.regex.find(text).map_or(0..0, |found| found.range()))
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
    read(budget, text, &pattern)?;
    for part in pattern.regex.find_iter(text).take(most) {
        budget.produce(size_of::<Value<'_>>())?;
        // To find the end of a match, the whole rest of the text may have to be read.
        read(budget, text.get(part.start()..).unwrap_or_default(), &pattern)?;
        found.push(text.slice(budget, part.range())?);
    }
    Ok(list_of(found))
}
