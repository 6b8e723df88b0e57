//! Budget for compiling one profile.

use std::collections::BTreeMap;

use super::pattern::Pattern;

/// Remaining memory and work for compiling one profile.
///
/// A text of a few kilobytes can compile to hundreds of megabytes: a pattern repeats, and Unicode classes are large. All parts
/// of a profile are charged to the same budget. Work is charged by the size of the input before it is compiled, so the result
/// does not depend on a clock.
#[derive(Debug)]
pub struct CompileBudget {
    memory: usize,
    work: usize,
    limits: (usize, usize),
    /// Compiled patterns by their source: the same pattern is compiled and charged once.
    patterns: BTreeMap<String, Pattern>,
}

/// Exhausted part of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The compiled form would take too much memory.
    #[error(
        "the compiled profile takes more than {} KiB of memory; write smaller patterns, fewer expressions or less text, or split the profile",
        CompileBudget::MEMORY >> 10
    )]
    Memory,
    /// Compiling would take too long.
    #[error(
        "the profile takes too much work to compile; write fewer or shorter expressions and patterns, and fewer Unicode classes"
    )]
    Work,
}

impl CompileBudget {
    /// Maximum memory of one compiled profile in bytes, 1 MiB. A profile of the catalogue takes about 20 KiB.
    pub const MEMORY: usize = 1 << 20;

    /// Maximum work of compiling one profile, in units of roughly a microsecond.
    pub const WORK: usize = 300_000;

    /// Returns a full budget.
    pub fn new() -> Self {
        Self::with_limits(Self::MEMORY, Self::WORK)
    }

    /// Returns a budget with these limits in bytes and units of work.
    pub(super) fn with_limits(memory: usize, work: usize) -> Self {
        Self { memory, work, limits: (memory, work), patterns: BTreeMap::new() }
    }

    /// Charges memory that the compiled profile keeps.
    ///
    /// # Errors
    /// The remaining memory does not suffice. The budget is exhausted from then on.
    pub fn keep(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.unwrap_or_default();
        left.map(drop).ok_or(OverBudget::Memory)
    }

    /// Charges work that is about to be done.
    ///
    /// # Errors
    /// The remaining work does not suffice. The budget is exhausted from then on.
    pub fn work(&mut self, units: usize) -> Result<(), OverBudget> {
        let left = self.work.checked_sub(units);
        self.work = left.unwrap_or_default();
        left.map(drop).ok_or(OverBudget::Work)
    }

    /// Returns the bytes that were charged.
    pub fn kept(&self) -> usize {
        self.limits.0 - self.memory
    }

    /// Returns the units of work that were charged.
    pub(super) fn worked(&self) -> usize {
        self.limits.1 - self.work
    }

    /// Returns the profile's charge against the server's quota: the larger of its bytes and its units of work.
    pub fn cost(&self) -> usize {
        self.kept().max(self.worked())
    }

    /// Returns the remaining bytes.
    pub(super) fn memory_left(&self) -> usize {
        self.memory
    }

    pub(super) fn known(&self, pattern: &str) -> Option<Pattern> {
        self.patterns.get(pattern).cloned()
    }

    pub(super) fn remember(&mut self, source: &str, pattern: &Pattern) {
        self.patterns.insert(source.to_owned(), pattern.clone());
    }
}

impl Default for CompileBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_counted_and_an_exhausted_budget_stays_exhausted() {
        let mut budget = CompileBudget::with_limits(100, 10);
        assert_eq!((budget.keep(40), budget.work(4)), (Ok(()), Ok(())));
        assert_eq!((budget.kept(), budget.worked(), budget.memory_left()), (40, 4, 60));
        assert_eq!((budget.keep(61), budget.work(7)), (Err(OverBudget::Memory), Err(OverBudget::Work)));
        assert_eq!((budget.keep(1), budget.work(1)), (Err(OverBudget::Memory), Err(OverBudget::Work)));
    }
}
