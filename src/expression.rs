//! The expressions of profiles: CEL, checked when a profile is loaded and evaluated for each pod.
//!
//! # What an expression may say
//!
//! CEL as <https://github.com/google/cel-spec> has it, on these variables: `pod`, `namespaceObject`
//! (`.metadata.name`, `.metadata.labels`, `.metadata.annotations`), `params`, `profile.name`, `cluster`, and
//! where the [`Scope`] says so `container`. There is no clock, no chance and no request: the same inputs give
//! the same result. The functions:
//!
//! - on any value: `size`, `type`, `dyn`, `bool`, `bytes`, `double`, `int`, `string`, `uint`, `max`, `min`;
//! - on strings: `charAt`, `contains`, `endsWith`, `find`, `findAll`, `format`, `indexOf`, `lastIndexOf`,
//!   `lowerAscii`, `matches`, `replace`, `reverse`, `split`, `startsWith`, `substring`, `trim`, `upperAscii`,
//!   `strings.quote`, `base64.encode`, `base64.decode`;
//! - on lists: `all`, `exists`, `exists_one`, `filter`, `map`, `distinct`, `flatten`, `indexOf`, `isSorted`,
//!   `join`, `lastIndexOf`, `max`, `min`, `reverse`, `slice`, `sort`, `sortBy`, `sum`, `lists.range`,
//!   `sets.contains`, `sets.equivalent`, `sets.intersects`; the first five also on the keys of maps;
//! - on quantities: `quantity(x)` of a string or int, `isQuantity`, `+ - * / == < <= > >=`, `add`, `sub`, `mul`,
//!   `div`, `compareTo`, `isGreaterThan`, `isLessThan`, `sign`, `isInteger`, `asInteger`, `asApproximateFloat`;
//!   on durations: `duration(x)`, `+ - == < <= > >=`, `getHours`, `getMinutes`, `getSeconds`, `getMilliseconds`.
//!   Either is its text where it is added to a string;
//! - `math.abs`, `bitAnd`, `bitNot`, `bitOr`, `bitShiftLeft`, `bitShiftRight`, `bitXor`, `ceil`, `floor`,
//!   `greatest`, `isFinite`, `isInf`, `isNaN`, `least`, `round`, `sign`, `sqrt`, `trunc`;
//! - `fail("words")`, which ends the decision about the profile with these words;
//! - for what may be absent: `has(a.b)`, `a.?b`, `a[?0]`, `[?x]`, `{?"key": x}`, `optional.of`, `optional.none`,
//!   `optional.ofNonZeroValue`, `hasValue`, `value`, `or`, `orValue`, `optMap`, `optFlatMap`.
//!
//! Left out: timestamps, messages, `cel.bind`, comprehensions of two variables, `url`, `ip`, `cidr`, `semver`,
//! and escaped names of fields (write `map["a.b/c"]`). Patterns are those of the `regex` crate,
//! with `\d`, `\s`, `\w` and `\b` of ASCII only, as in CEL.
//!
//! # How it is evaluated
//!
//! The `cel` crate parses. Its tree is lowered to one of our own, in which every name is resolved, and that is
//! evaluated here, not by the crate: it copies what it touches, counts nothing, and its errors know no place.
//! A pod of 200 KB is never converted; a value is a view until something new is computed from it.
//!
//! Hostile input is bounded: the length, the depth and the number of operations of an expression when it is
//! compiled, memory and work of compiling all that one profile has by one [`CompileBudget`], and work and memory of all the
//! expressions of a request together by one [`Budget`].

mod budget;
mod compile_budget;
mod containers;
mod describe;
mod evaluate;
mod expansion;
mod functions;
mod leaf;
mod lower;
mod node;
mod operators;
mod parse;
mod pattern;
mod result;
mod scan;
mod value;
mod variables;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use budget::Budget;
use budget::Problem;
pub use compile_budget::{CompileBudget, OverBudget};
use evaluate::{Failure, Machine};
pub(crate) use expansion::references;
pub use leaf::Text;
use parse::Program;
pub use pattern::{Pattern, PatternError};
use value::Value;
pub use variables::{Json, NamespaceView, ParameterValue, Reads, Scope, Variables};

/// The longest message of an [`EvaluationError`], in characters: it may name what a pod's author wrote.
const LONGEST_MESSAGE: usize = 600;

/// A compiled expression. A copy of it is cheap.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Program>);

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct CompileError {
    /// Where, from 1, in characters.
    pub column: usize,
    /// What is wrong, and what to write instead where that can be guessed.
    pub message: String,
    /// Whether the profile's [`CompileBudget`] is used up; every later compilation then fails as well.
    pub is_over_budget: bool,
}

impl CompileError {
    pub(crate) fn new(column: usize, message: String) -> Self {
        Self { column, message, is_over_budget: false }
    }

    pub(crate) fn over_budget(column: usize, over: OverBudget) -> Self {
        Self { column, message: over.to_string(), is_over_budget: true }
    }
}

/// Why an expression has no value for a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct EvaluationError {
    /// The operation that failed, from 1, in characters.
    pub column: usize,
    /// What is wrong, and what to write instead where that can be guessed.
    pub message: String,
    /// The budget of the request is used up, so whatever is evaluated next fails too.
    pub is_exhausted: bool,
    /// True if the message is that of a call of `fail`, in the words of the profile's author.
    pub is_stated: bool,
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is not CEL, it names a variable, a parameter or a function that is not there, or it is too large:
    /// more than 4096 bytes, 1000 operations, 64 of them nested, 8 nested loops, or more than the budget has left.
    pub fn compile(
        source: &str,
        scope: &Scope<'_>,
        budget: &mut CompileBudget,
    ) -> Result<Self, CompileError> {
        parse::compile(source, scope, budget).map(|program| Self(Arc::new(program)))
    }

    /// The value as JSON. A quantity or a duration becomes its text.
    ///
    /// # Errors
    /// An operation fails, the value has no form in JSON, or the budget is used up.
    pub fn evaluate(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
    ) -> Result<serde_json::Value, EvaluationError> {
        self.with_value(variables, budget, result::to_json)
    }

    /// Whether the expression holds.
    ///
    /// # Errors
    /// As [`Self::evaluate`]; or the value is not a bool.
    pub fn holds(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<bool, EvaluationError> {
        self.with_value(variables, budget, |_, value| match value {
            Value::Bool(value) => Ok(*value),
            other => {
                Err(format!("a condition is true or false; this is {}", describe::described(other)).into())
            }
        })
    }

    /// The variables that it reads.
    pub fn reads(&self) -> &Reads {
        &self.0.reads
    }

    fn with_value<T>(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
        take: impl FnOnce(&mut Budget, &Value<'_>) -> Result<T, Problem>,
    ) -> Result<T, EvaluationError> {
        let taken = Machine::run(&self.0, variables, budget).and_then(|value| {
            take(budget, &value).map_err(|problem| Failure { column: self.0.root.column, problem })
        });
        taken.map_err(|Failure { column, problem }| match problem {
            Problem::Operands(message) => {
                EvaluationError { column, message: shortened(message), is_exhausted: false, is_stated: false }
            }
            Problem::Stated(message) => {
                EvaluationError { column, message: shortened(message), is_exhausted: false, is_stated: true }
            }
            Problem::Exhausted(why) => EvaluationError {
                column,
                message: format!("the expression is stopped here: {why}"),
                is_exhausted: true,
                is_stated: false,
            },
        })
    }
}
