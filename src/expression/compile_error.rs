use super::compile_budget::OverBudget;

/// Error for which an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct CompileError {
    /// Position in characters, from 1.
    pub column: usize,
    /// Problem, with a suggestion where one is known.
    pub message: String,
    /// `true` if the profile's [`CompileBudget`](super::CompileBudget) is used up; every later compilation then fails as well.
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
