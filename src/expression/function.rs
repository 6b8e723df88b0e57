//! Function of expressions, as its implementation and as an entry of the table.

use super::budget::{Budget, EvaluationProblem};
use super::describe::{described, hint};
use super::value::Value;

/// Result of a function.
pub(super) type Evaluated<'v> = Result<Value<'v>, EvaluationProblem>;

/// Implementation of a function; the receiver of a method is the first argument.
pub(super) type Native = for<'v> fn(&mut Budget, &[Value<'v>]) -> Evaluated<'v>;

/// Function or method.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) is_method: bool,
    /// Minimum and maximum number of arguments, including the receiver of a method.
    arguments: (usize, usize),
    pub(super) call: Native,
}

impl Function {
    pub(super) const fn global(name: &'static str, fewest: usize, most: usize, call: Native) -> Self {
        Self { name, is_method: false, arguments: (fewest, most), call }
    }

    pub(super) const fn method(name: &'static str, fewest: usize, most: usize, call: Native) -> Self {
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
pub(super) const LONGEST_NUMBER: usize = 1000;

/// Returns the problem of arguments that a function does not take.
pub(super) fn misfit<'v>(name: &str, arguments: &[Value<'_>]) -> Result<Value<'v>, EvaluationProblem> {
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
