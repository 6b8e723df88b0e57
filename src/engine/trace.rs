use super::Reason;
use super::reason::Level;

/// What happened while a pod was decided, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<Line>,
    is_brief: bool,
}

/// One line of a [`Trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The step that wrote it.
    pub step: Step,
    /// What it says.
    pub reason: Reason,
}

/// A step of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The pod's shape, and what an earlier injection left.
    Read,
    /// Whether the namespace or the pod is never injected.
    Exclude,
    /// Whether namespace or pod asked for it.
    Enable,
    /// Which profiles.
    Choose,
    /// With which parameters.
    Parameters,
    /// In which order they start.
    Order,
    /// Putting them into the pod.
    Merge,
    /// Writing the difference.
    Patch,
    /// A look at the finished pod, and at changes of a live one.
    Verify,
}

impl Trace {
    /// One for a request, where nobody reads more than what is wrong.
    pub(super) fn brief() -> Self {
        Self { lines: Vec::new(), is_brief: true }
    }

    /// Whether what only explains need not be found out.
    pub(super) fn is_brief(&self) -> bool {
        self.is_brief
    }

    pub(super) fn add(&mut self, reason: Reason) {
        if !self.is_brief || reason.level() != Level::Info {
            self.lines.push(Line { step: reason.step(), reason });
        }
    }

    /// Adds what only explains; for a request it is not even made.
    pub(super) fn add_detail(&mut self, reason: impl FnOnce() -> Reason) {
        if !self.is_brief {
            self.add(reason());
        }
    }

    /// The lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}
