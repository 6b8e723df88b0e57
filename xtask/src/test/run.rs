//! Selection and results of the steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::args::{Args, Usage, unknown};
use crate::report::{note, print, progress, short};

/// Steps and tests that the command line selects.
#[derive(Default)]
pub(super) struct Filter {
    steps: Vec<String>,
    tests: Vec<String>,
}

impl Filter {
    /// Parses the words: those up to `e2e` or `unit` are steps, and those after it are names of tests.
    pub(super) fn from_args(args: Args, known: &[&str]) -> Result<Self, Usage> {
        let mut filter = Self { steps: Vec::new(), tests: Vec::new() };
        let mut words = args.rest().into_iter();
        while let Some(word) = words.next() {
            if !known.contains(&word.as_str()) {
                return Err(unknown(&word, known));
            }
            if word == "e2e" || word == "unit" {
                filter.tests = words.by_ref().collect();
            }
            filter.steps.push(word);
        }
        Ok(filter)
    }

    pub(super) fn wants(&self, step: &str) -> bool {
        self.steps.is_empty() || self.steps.iter().any(|name| name == step)
    }
}

enum State {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Outcome {
    step: String,
    state: State,
    took: Duration,
}

/// One run of the tests.
pub(super) struct Run {
    filter: Filter,
    outcomes: Mutex<Vec<Outcome>>,
    cluster_was_up: AtomicBool,
    cluster_started: AtomicBool,
}

impl Run {
    pub(super) fn new(filter: Filter) -> Self {
        Self {
            filter,
            outcomes: Mutex::new(Vec::new()),
            cluster_was_up: AtomicBool::new(false),
            cluster_started: AtomicBool::new(false),
        }
    }

    pub(super) fn wants(&self, step: &str) -> bool {
        self.filter.wants(step)
    }

    /// Returns the arguments with which `cargo test` selects tests by name.
    pub(super) fn test_names(&self) -> &[String] {
        &self.filter.tests
    }

    /// Runs a step if it is selected, and records its result.
    pub(super) fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        if self.wants(name) { self.always(name, work) } else { None }
    }

    /// Runs a step that others need, even if it is not selected.
    pub(super) fn always<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        progress(format_args!("test step {name}"));
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        let (state, value) = match result {
            Ok(value) => (State::Passed, Some(value)),
            Err(error) => {
                progress(format_args!("test step {name} FAILED after {}: {error:#}", short(took)));
                (State::Failed(format!("{error:#}")), None)
            }
        };
        if name == "cluster" && value.is_some() {
            self.cluster_started.store(true, Ordering::Relaxed);
        }
        self.record(name, state, took);
        value
    }

    /// Records the reason why steps cannot run.
    pub(super) fn skip(&self, names: &[&str], why: &str) {
        for name in names.iter().filter(|name| self.wants(name)) {
            self.record(name, State::Skipped(why.to_owned()), Duration::ZERO);
        }
    }

    /// Stores whether the cluster was up before this run, because it then stays up.
    pub(super) fn found_cluster(&self, was_up: bool) {
        self.cluster_was_up.store(was_up, Ordering::Relaxed);
    }

    pub(super) fn started_cluster(&self) -> bool {
        self.cluster_started.load(Ordering::Relaxed) && !self.cluster_was_up.load(Ordering::Relaxed)
    }

    /// Prints the results. Returns whether all steps passed.
    pub(super) fn finish(&self, order: &[&str]) -> bool {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|outcome| order.iter().position(|&name| name == outcome.step));
        for outcome in outcomes.iter() {
            if let State::Failed(error) = &outcome.state {
                note(format_args!("\n---- {} ----\n{error}", outcome.step));
            }
        }
        print("\ndurations:\n");
        let width = outcomes.iter().map(|outcome| outcome.step.len()).max().unwrap_or_default();
        for outcome in outcomes.iter() {
            let state = match &outcome.state {
                State::Passed => "passed".to_owned(),
                State::Failed(_) => "FAILED".to_owned(),
                State::Skipped(why) => format!("not run: {why}"),
            };
            print(format_args!("  {:<width$} {:>8}  {state}", outcome.step, short(outcome.took)));
        }
        let count = |is: fn(&State) -> bool| outcomes.iter().filter(|outcome| is(&outcome.state)).count();
        let passed = count(|state| matches!(state, State::Passed));
        let failed = count(|state| matches!(state, State::Failed(_)));
        let skipped = outcomes.len() - passed - failed;
        let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} not run") };
        print(format_args!("\n{passed} passed, {failed} failed{skipped}"));
        passed == outcomes.len()
    }

    fn record(&self, step: &str, state: State, took: Duration) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.push(Outcome { step: step.to_owned(), state, took });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(words: &str) -> Result<Filter, Usage> {
        Filter::from_args(Args::from(words), &["format", "unit", "e2e"])
    }

    #[test]
    fn without_words_every_step_is_selected() -> Result<(), Usage> {
        assert!(filter("")?.wants("e2e"));
        assert!(!filter("format")?.wants("e2e"));
        Ok(())
    }

    #[test]
    fn words_after_e2e_are_test_names() -> Result<(), Usage> {
        let filter = filter("format e2e drain kube-system")?;
        assert!(filter.wants("format") && filter.wants("e2e") && !filter.wants("unit"));
        assert_eq!(filter.tests, ["drain", "kube-system"]);
        Ok(())
    }

    #[test]
    fn an_unknown_step_is_a_usage_error() {
        assert!(filter("e2ee").is_err());
    }
}
