//! What all expressions of one request may use together.

/// The work and the memory that are left to the expressions of one request.
///
/// A profile is written by a person, and the pod it meets by another: together they must not be able to hold
/// up the webhook. Every operation draws on the same budget; when it is used up, evaluation ends with an error
/// that no `||` or `has()` can hide.
#[derive(Clone, Debug)]
pub struct Budget {
    steps: usize,
    bytes: usize,
    output: usize,
}

impl Budget {
    /// The steps of a request: one for each operation, for each element that one looks at and for each 64
    /// bytes of text that one reads. A condition over ten containers takes about a hundred.
    pub const STEPS: usize = 1_000_000;

    /// The bytes of text and of values that the expressions of a request may produce, 1 MiB. What they only
    /// read from the pod costs nothing.
    pub const BYTES: usize = 1 << 20;

    /// The bytes that the profiles of a request may add to the pod, 2 MiB: etcd takes no object of more than 1.5 MiB.
    pub const OUTPUT: usize = 2 << 20;

    /// Charge for an added element besides its text, in bytes: each element is compared with the others.
    const ELEMENT: usize = 512;

    /// A whole budget.
    pub fn new() -> Self {
        Self { steps: Self::STEPS, bytes: Self::BYTES, output: Self::OUTPUT }
    }

    /// The steps that were taken.
    pub(crate) fn steps_taken(&self) -> usize {
        Self::STEPS - self.steps
    }

    /// Takes steps away.
    pub(super) fn step(&mut self, steps: usize) -> Result<(), Problem> {
        match self.steps.checked_sub(steps) {
            Some(left) => self.steps = left,
            None => return Err(self.exhaust("it takes more than the 1000000 steps that a request has")),
        }
        Ok(())
    }

    /// Takes the steps away that reading so many bytes of text costs.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), Problem> {
        self.step(bytes / 64)
    }

    /// Takes bytes away that are about to be produced.
    pub(super) fn produce(&mut self, bytes: usize) -> Result<(), Problem> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None => return Err(self.exhaust("it makes more than the 1 MiB of values that a request has")),
        }
        self.read(bytes)
    }

    /// Takes the bytes of an element away that is about to be added to the pod. Returns whether there were so many.
    pub(crate) fn add_element(&mut self, bytes: usize) -> bool {
        let left = self.output.checked_sub(bytes.saturating_add(Self::ELEMENT));
        self.output = left.unwrap_or_default();
        left.is_some()
    }

    fn exhaust(&mut self, why: &'static str) -> Problem {
        *self = Self { steps: 0, bytes: 0, output: self.output };
        Problem::Exhausted(why)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Its operands do not fit.
    Operands(String),
    /// The expression called `fail`.
    Stated(String),
    /// The budget is used up.
    Exhausted(&'static str),
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self::Operands(message)
    }
}

impl From<&str> for Problem {
    fn from(message: &str) -> Self {
        Self::Operands(message.to_owned())
    }
}
