use super::Reads;
use super::node::Node;

/// Compiled expression.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Node,
    /// Maximum number of loop variables in scope at once.
    pub(super) slots: usize,
    pub(super) reads: Reads,
}
