use super::Reason;
use super::reason::Level;

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

/// A step of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads the pod: its shape and the elements of an earlier injection.
    Read,
    /// Checks for namespaces and pods that are never injected.
    Exclude,
    /// Checks whether the namespace or the pod enables injection.
    Enable,
    /// Selects the profiles.
    Choose,
    /// Resolves their parameters.
    Parameters,
    /// Finds their start order.
    Order,
    /// Merges them into the pod.
    Merge,
    /// Computes the patch.
    Patch,
    /// Verifies finished pods and changes of live pods.
    Verify,
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
