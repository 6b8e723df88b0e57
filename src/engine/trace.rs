//! Trace of a decision: its lines in order.

use super::reason::{Level, Reason};
use super::step::Step;

/// Ordered lines of a decision.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<Line>,
    is_brief: bool,
}

/// One line of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Step that added the line.
    pub step: Step,
    /// Reason of the line.
    pub reason: Reason,
}

impl Trace {
    /// Returns a trace for an admission request: it keeps only warnings and denials.
    pub(super) fn brief() -> Self {
        Self { lines: Vec::new(), is_brief: true }
    }

    /// Checks whether details can be omitted.
    pub(super) fn is_brief(&self) -> bool {
        self.is_brief
    }

    pub(super) fn add(&mut self, reason: Reason) {
        if !self.is_brief || reason.level() != Level::Info {
            self.lines.push(Line { step: reason.step(), reason });
        }
    }

    /// Adds a detail that only explains the decision; a brief trace does not compute it.
    pub(super) fn add_detail(&mut self, reason: impl FnOnce() -> Reason) {
        if !self.is_brief {
            self.add(reason());
        }
    }

    /// Returns the lines in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}
