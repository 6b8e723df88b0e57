//! Regular expressions with bounded memory and work: <https://docs.rs/regex/latest/regex/#syntax>. As in RE2 and CEL, `\d`,
//! `\s`, `\w` and `\b` match ASCII only.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use super::budget::Budget;

/// Compiled pattern. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) source: Box<str>,
    pub(super) regex: Regex,
    /// Memory of its program, in bytes.
    pub(super) size: usize,
}

impl Pattern {
    /// Returns the text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Returns the steps of one match, which depend only on the lengths of the text and the program.
    pub(super) fn steps(&self, length: usize) -> usize {
        let size = self.size.div_ceil(1 << 10);
        (length + 8).saturating_mul(2 * size)
    }

    /// Checks whether it matches anywhere in the text; `None` if the request's budget is used up first.
    pub fn matches(&self, text: &str, budget: &mut Budget) -> Option<bool> {
        budget.step(self.steps(text.len())).ok()?;
        Some(self.is_match(text))
    }

    /// Checks whether it matches anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        // The cache is dropped after the match: one per pattern and thread would take a multiple of the program's memory for
        // the lifetime of the profile.
        let input = Input::new(text).earliest(true);
        self.regex.search_half_with(&mut self.regex.create_cache(), &input).is_some()
    }

    /// Returns the first matches, which do not overlap, up to a limit.
    pub(super) fn find<E>(
        &self,
        text: &str,
        most: usize,
        mut each: impl FnMut(Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cache = self.regex.create_cache();
        let mut finder = regex_automata::util::iter::Searcher::new(Input::new(text));
        for _ in 0..most {
            let found = finder.advance(|input| Ok(self.regex.search_with(&mut cache, input)));
            match found {
                Some(found) => each(found.range())?,
                None => break,
            }
        }
        Ok(())
    }
}
