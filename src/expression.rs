//! Expressions of profiles: CEL, checked when a profile is loaded and evaluated for each pod.
//!
//! # Language
//!
//! CEL as specified at <https://github.com/google/cel-spec>, on these variables: `pod`, `namespaceObject` (`.metadata.name`,
//! `.metadata.labels`, `.metadata.annotations`), `params`, `profile.name`, `cluster`, and `container` if the [`ExpressionScope`] has it.
//! Expressions have no access to the clock, random numbers or the request: the same inputs give the same result. The
//! functions:
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
//!   A quantity or duration that is added to a string is converted to text;
//! - `math.abs`, `bitAnd`, `bitNot`, `bitOr`, `bitShiftLeft`, `bitShiftRight`, `bitXor`, `ceil`, `floor`,
//!   `greatest`, `isFinite`, `isInf`, `isNaN`, `least`, `round`, `sign`, `sqrt`, `trunc`;
//! - `fail("words")`, which rejects the profile for the pod with these words as the message;
//! - for values that may be absent: `has(a.b)`, `a.?b`, `a[?0]`, `[?x]`, `{?"key": x}`, `optional.of`, `optional.none`,
//!   `optional.ofNonZeroValue`, `hasValue`, `value`, `or`, `orValue`, `optMap`, `optFlatMap`.
//!
//! Not supported: timestamps, messages, `cel.bind`, comprehensions of two variables, `url`, `ip`, `cidr`, `semver`, and
//! escaped names of fields (write `map["a.b/c"]`). Patterns are those of the `regex` crate, with `\d`, `\s`, `\w` and `\b` of
//! ASCII only, as in CEL.
//!
//! # Evaluation
//!
//! The `cel` crate only parses. Its tree is lowered to a tree of its own (`node`), in which every name is resolved, and
//! evaluated here: the crate's own evaluator copies values, counts no steps, and its errors have no position. A pod of 200 KB
//! is never converted; a value borrows from it until something new is computed.
//!
//! Hostile input is bounded: the length, the depth and the number of operations of an expression at compilation, the memory
//! and work of compiling one profile by a [`CompileBudget`], and the work and memory of all expressions of a request by a
//! [`Budget`].

mod budget;
mod compile_budget;
mod compile_error;
mod compile_pattern;
mod constant;
mod containers;
mod describe;
mod evaluate;
mod expansion;
mod function;
mod functions;
mod leaf;
mod lower;
mod missing;
mod node;
mod operator;
mod operators;
mod parse;
mod pattern;
mod program;
mod result;
mod scan;
mod value;
mod variables;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use budget::Budget;
use budget::EvaluationProblem;
pub use compile_budget::{CompileBudget, OverBudget};
pub use compile_error::CompileError;
pub use compile_pattern::PatternError;
use evaluate::{Failure, Machine};
pub(crate) use expansion::references;
pub use leaf::Text;
pub use pattern::Pattern;
use program::Program;
use value::Value;
pub use variables::{ExpressionScope, Json, NamespaceView, ParameterValue, Reads, Variables};

/// Maximum length of an [`EvaluationError`]'s message, in characters: it may contain names from the pod.
const LONGEST_MESSAGE: usize = 600;

/// Compiled expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Program>);

/// Error for which an expression has no value for a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct EvaluationError {
    /// Position of the failed operation in characters, from 1.
    pub column: usize,
    /// Problem, with a suggestion where one is known.
    pub message: String,
    /// `true` if the budget of the request is used up; every later evaluation then fails as well.
    pub is_exhausted: bool,
    /// `true` if the message is the text of a call of `fail`.
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
    /// It is not valid CEL, it names an unknown variable, parameter or function, or it is too large: more than 4096 bytes,
    /// 1000 operations, 64 of them nested, 8 nested loops, or more than the remaining budget.
    pub fn compile(
        source: &str,
        scope: &ExpressionScope<'_>,
        budget: &mut CompileBudget,
    ) -> Result<Self, CompileError> {
        parse::compile(source, scope, budget).map(|program| Self(Arc::new(program)))
    }

    /// Evaluates the expression to JSON. A quantity or a duration becomes text.
    ///
    /// # Errors
    /// An operation fails, the value has no JSON form, or the budget is used up.
    pub fn evaluate(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
    ) -> Result<serde_json::Value, EvaluationError> {
        self.with_value(variables, budget, result::to_json)
    }

    /// Evaluates the expression to a bool.
    ///
    /// # Errors
    /// Those of [`Self::evaluate`], or the value is not a bool.
    pub fn is_true(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<bool, EvaluationError> {
        self.with_value(variables, budget, |_, value| match value {
            Value::Bool(value) => Ok(*value),
            other => {
                Err(format!("a condition is true or false; this is {}", describe::described(other)).into())
            }
        })
    }

    /// Returns the variables that it reads.
    pub fn reads(&self) -> &Reads {
        &self.0.reads
    }

    fn with_value<T>(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
        take: impl FnOnce(&mut Budget, &Value<'_>) -> Result<T, EvaluationProblem>,
    ) -> Result<T, EvaluationError> {
        let taken = Machine::run(&self.0, variables, budget).and_then(|value| {
            take(budget, &value).map_err(|problem| Failure { column: self.0.root.column, problem })
        });
        taken.map_err(|Failure { column, problem }| match problem {
            EvaluationProblem::Operands(message) => {
                EvaluationError { column, message: shortened(message), is_exhausted: false, is_stated: false }
            }
            EvaluationProblem::Stated(message) => {
                EvaluationError { column, message: shortened(message), is_exhausted: false, is_stated: true }
            }
            EvaluationProblem::Exhausted(why) => EvaluationError {
                column,
                message: format!("the expression is stopped here: {why}"),
                is_exhausted: true,
                is_stated: false,
            },
        })
    }
}
