//! Functions of expressions.

pub(super) mod convert;
pub(super) mod lists;
pub(super) mod math;
pub(super) mod optionals;
pub(super) mod quantities;
mod sets;
pub(super) mod text;

mod format;
pub(super) mod patterns;

use super::budget::{Budget, Problem};
use super::describe::{described, hint};
use super::value::Value;
use crate::api::nearest;

/// Result of a function.
type Outcome<'v> = Result<Value<'v>, Problem>;

/// Implementation of a function; the receiver of a method is the first argument.
type Native = for<'v> fn(&mut Budget, &[Value<'v>]) -> Outcome<'v>;

/// Function or method.
#[derive(Debug)]
pub(super) struct Function {
    name: &'static str,
    is_method: bool,
    /// Minimum and maximum number of arguments, including the receiver of a method.
    arguments: (usize, usize),
    pub(super) call: Native,
}

/// First part of names such as `math.greatest`.
pub(super) const NAMESPACES: [&str; 6] = ["base64", "lists", "math", "optional", "sets", "strings"];

impl Function {
    const fn global(name: &'static str, fewest: usize, most: usize, call: Native) -> Self {
        Self { name, is_method: false, arguments: (fewest, most), call }
    }

    const fn method(name: &'static str, fewest: usize, most: usize, call: Native) -> Self {
        Self { name, is_method: true, arguments: (fewest, most), call }
    }

    /// Checks whether it takes so many arguments, including the receiver of a method.
    pub(super) fn takes(&self, count: usize) -> bool {
        (self.arguments.0..=self.arguments.1).contains(&count)
    }

    /// Describes how many arguments it takes.
    pub(super) fn how_many(&self, count: usize) -> String {
        let itself = usize::from(self.is_method);
        let (fewest, most) = (self.arguments.0 - itself, self.arguments.1 - itself);
        let takes = match (fewest, most) {
            (fewest, most) if most > usize::MAX / 2 => format!("{fewest} or more"),
            (fewest, most) if fewest == most => fewest.to_string(),
            (fewest, most) => format!("{fewest} to {most}"),
        };
        format!("{} takes {takes} arguments, not {}", self.name, count - itself)
    }
}

/// Maximum length of a text that is parsed as a number, in bytes.
const LONGEST_NUMBER: usize = 1000;

/// Macros that look like methods, but take a variable's name.
const LOOPS: [&str; 6] = ["all", "exists", "exists_one", "filter", "map", "sortBy"];

fn all() -> impl Iterator<Item = &'static Function> {
    [
        convert::FUNCTIONS,
        text::FUNCTIONS,
        lists::FUNCTIONS,
        math::FUNCTIONS,
        quantities::FUNCTIONS,
        optionals::FUNCTIONS,
        sets::FUNCTIONS,
        patterns::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Returns the function or method with a name.
///
/// # Errors
/// There is no such function; the message suggests the closest name.
pub(super) fn find(name: &str, is_method: bool) -> Result<&'static Function, String> {
    if let Some(function) = all().find(|function| function.name == name && function.is_method == is_method) {
        return Ok(function);
    }
    if all().any(|function| function.name == name) {
        let how = if is_method { format!("{name}(…)") } else { format!("x.{name}(…)") };
        return Err(format!("{name} is called as {how}"));
    }
    let names = all().filter(|function| function.is_method == is_method).map(|function| function.name);
    let names = names.chain(LOOPS.into_iter().filter(|_| is_method));
    Err(match nearest(name, names) {
        Some(meant) => format!("there is no function {name}; did you mean {meant}?"),
        None => format!("there is no function {name}"),
    })
}

/// Returns the problem of arguments that a function does not take.
fn misfit<'v>(name: &str, arguments: &[Value<'_>]) -> Result<Value<'v>, Problem> {
    let (first, rest) = (arguments.first(), arguments.get(1..).unwrap_or_default());
    let of = first.map(described).unwrap_or_default();
    let with: Vec<String> = rest.iter().map(described).collect();
    let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(" and ")) };
    let hint = match (first, rest.first()) {
        (Some(Value::Optional(_)), _) => "; end an optional with .orValue(…)",
        (Some(first), Some(second)) => hint(first, second),
        _ => "",
    };
    Err(format!("{name} does not work on {of}{with}{hint}").into())
}
