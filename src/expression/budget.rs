//! Shared budget of all expressions of one request.

/// Remaining work and memory for the expressions of one request.
///
/// Profiles and pods have different authors. The combination must not block the webhook. Every operation is charged to the
/// same budget; when it is used up, evaluation ends with an error that no `||` or `has()` can hide.
#[derive(Clone, Debug)]
pub struct Budget {
    steps: usize,
    bytes: usize,
    output: usize,
}

impl Budget {
    /// Steps of a request: one for each operation, for each element that an operation reads and for each 64 bytes of text that
    /// it reads. A condition over ten containers takes about a hundred.
    pub const STEPS: usize = 1_000_000;

    /// Bytes of text and values that the expressions of a request may produce, 1 MiB. Values that are only read from the pod
    /// are free.
    pub const BYTES: usize = 1 << 20;

    /// Bytes that the profiles of a request may add to the pod, 2 MiB: etcd does not accept objects of more than 1.5 MiB.
    pub const OUTPUT: usize = 2 << 20;

    /// Charge for an added element in addition to its text, in bytes: each element is compared with the others.
    const ELEMENT: usize = 512;

    /// Returns a full budget.
    pub fn new() -> Self {
        Self { steps: Self::STEPS, bytes: Self::BYTES, output: Self::OUTPUT }
    }

    /// Returns the number of steps taken.
    pub(crate) fn steps_taken(&self) -> usize {
        Self::STEPS - self.steps
    }

    /// Charges steps.
    pub(super) fn step(&mut self, steps: usize) -> Result<(), EvaluationProblem> {
        match self.steps.checked_sub(steps) {
            Some(left) => self.steps = left,
            None => return Err(self.exhaust("it takes more than the 1000000 steps that a request has")),
        }
        Ok(())
    }

    /// Charges the steps for reading so many bytes of text.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), EvaluationProblem> {
        self.step(bytes / 64)
    }

    /// Charges bytes that are about to be produced.
    pub(super) fn produce(&mut self, bytes: usize) -> Result<(), EvaluationProblem> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None => return Err(self.exhaust("it makes more than the 1 MiB of values that a request has")),
        }
        self.read(bytes)
    }

    /// Charges the bytes of an element that is about to be added to the pod. Returns `false` if the budget does not suffice.
    pub(crate) fn add_element(&mut self, bytes: usize) -> bool {
        let left = self.output.checked_sub(bytes.saturating_add(Self::ELEMENT));
        self.output = left.unwrap_or_default();
        left.is_some()
    }

    fn exhaust(&mut self, why: &'static str) -> EvaluationProblem {
        *self = Self { steps: 0, bytes: 0, output: self.output };
        EvaluationProblem::Exhausted(why)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Cause for which an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EvaluationProblem {
    /// The types or values of its operands do not fit the operation.
    Operands(String),
    /// The expression called `fail`.
    Stated(String),
    /// The budget is used up.
    Exhausted(&'static str),
}

impl From<String> for EvaluationProblem {
    fn from(message: String) -> Self {
        Self::Operands(message)
    }
}

impl From<&str> for EvaluationProblem {
    fn from(message: &str) -> Self {
        Self::Operands(message.to_owned())
    }
}
