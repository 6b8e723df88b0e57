//! Regular expressions with bounded memory and work: <https://docs.rs/regex/latest/regex/#syntax>. As in RE2 and CEL, `\d`,
//! `\s`, `\w` and `\b` match ASCII only.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{self, Ast, ClassSetItem, Visitor};
use regex_syntax::hir::translate::Translator;

use super::budget::Budget;
use super::compile_budget::{CompileBudget, OverBudget};

/// A compiled pattern. A copy of it is cheap.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    regex: Regex,
    /// The memory of its program, in bytes.
    size: usize,
}

/// The most memory that the program of a pattern in an expression takes, in bytes: it may be matched in a loop.
pub(super) const LARGEST_IN_EXPRESSION: usize = 64 << 10;

/// Memory of a pattern besides its program, in bytes: tables of the engines, and the text.
const OVERHEAD: usize = 3 << 10;

/// The work of one pattern besides what depends on it, and that of each character of its text.
const WORK: usize = 100;
const WORK_OF_CHARACTER: usize = 1;

/// The bytes of a program that are built in one unit of work.
const BUILT: usize = 32;

/// The work of one Unicode class, such as `\p{Greek}`.
const WORK_OF_CLASS: usize = 250;

/// The code points of a class that cost one unit of work where letters match in either case: each is looked up.
const FOLDED: usize = 64;

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is not a pattern.
    #[error("this is not a pattern: {0}")]
    Syntax(String),
    /// It would take too much memory.
    #[error("this pattern is too large; repeat less in it")]
    TooLarge,
    /// The profile's budget does not suffice.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl Pattern {
    /// The most memory that the program of a parameter's pattern takes, in bytes: `[a-z./-]{1,500}` takes about 100 KiB.
    pub const LARGEST: usize = 256 << 10;

    /// Compiles a parameter's pattern within the remaining budget.
    ///
    /// # Errors
    /// The pattern is invalid or too large, or the budget is used up.
    pub fn compile(source: &str, budget: &mut CompileBudget) -> Result<Self, PatternError> {
        Self::compile_within(Self::LARGEST, source, budget)
    }

    /// Compiles a pattern whose program takes at most so many bytes.
    pub(super) fn compile_within(
        largest: usize,
        source: &str,
        budget: &mut CompileBudget,
    ) -> Result<Self, PatternError> {
        if let Some(known) = budget.known(source) {
            return if known.size <= largest { Ok(known) } else { Err(PatternError::TooLarge) };
        }
        let text = with_ascii_classes(source);
        budget.work(WORK + text.len() * WORK_OF_CHARACTER)?;
        let ast =
            Parser::new().parse(&text).map_err(|error| PatternError::Syntax(error.kind().to_string()))?;
        budget.work(Weight::of(&ast))?;
        let hir = Translator::new()
            .translate(&text, &ast)
            .map_err(|error| PatternError::Syntax(error.kind().to_string()))?;
        let fixed = OVERHEAD + source.len();
        let left = budget.memory_left().saturating_sub(fixed);
        let built = Regex::builder()
            .configure(config(left.min(largest)))
            .syntax(syntax::Config::new())
            .build_from_hir(&hir);
        let Ok(regex) = built else {
            budget.work(largest / BUILT)?;
            return Err(if left < largest { OverBudget::Memory.into() } else { PatternError::TooLarge });
        };
        let size = regex.memory_usage();
        budget.work(size / BUILT)?;
        budget.keep(size + fixed)?;
        let pattern = Self { source: source.into(), regex, size };
        budget.remember(source, &pattern);
        Ok(pattern)
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The steps of one match: they grow with the text and with the program, and with nothing else.
    pub(super) fn steps(&self, length: usize) -> usize {
        let size = self.size.div_ceil(1 << 10);
        (length + 8).saturating_mul(2 * size)
    }

    /// Whether it matches anywhere in the text; `None` if the request's budget is used up before that is known.
    pub fn matches(&self, text: &str, budget: &mut Budget) -> Option<bool> {
        budget.step(self.steps(text.len())).ok()?;
        Some(self.is_match(text))
    }

    /// Whether it matches anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        // Memory for the match lives as long as the match: a cache in each pattern for each thread would take a multiple of
        // the program, for as long as the profile.
        let input = Input::new(text).earliest(true);
        self.regex.search_half_with(&mut self.regex.create_cache(), &input).is_some()
    }

    /// The first parts of the text that match, one after another, at most so many.
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

/// The engines whose memory is bounded by that of the program: neither lazily built automata nor literals that are looked
/// for beforehand.
fn config(size: usize) -> Config {
    Config::new()
        .nfa_size_limit(Some(size))
        .onepass(false)
        .hybrid(false)
        .dfa(false)
        .auto_prefilter(false)
        .which_captures(WhichCaptures::Implicit)
}

/// What translating a pattern costs beyond its length.
#[derive(Default)]
struct Weight {
    classes: usize,
    /// The code points of all ranges in brackets.
    points: usize,
    ignores_case: bool,
}

impl Weight {
    /// All code points of Unicode, which a class may have.
    const ALL: usize = 0x0011_0000;

    fn of(ast: &Ast) -> usize {
        let weight = ast::visit(ast, Self::default()).unwrap_or_default();
        let folded = weight.points.saturating_add(weight.classes.saturating_mul(Self::ALL / 8)) / FOLDED;
        weight.classes * WORK_OF_CLASS + if weight.ignores_case { folded } else { 0 }
    }

    fn flags(&mut self, flags: &ast::Flags) {
        self.ignores_case |= flags.flag_state(ast::Flag::CaseInsensitive) == Some(true);
    }

    fn range(&mut self, first: char, last: char) {
        self.points = self.points.saturating_add((last as usize).saturating_sub(first as usize) + 1);
    }
}

impl Visitor for Weight {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(_) | Ast::ClassPerl(_) => self.classes += 1,
            // `.` is one range; a literal has few other cases.
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ClassSetItem::Range(range) => self.range(range.start.c, range.end.c),
            ClassSetItem::Unicode(_) | ClassSetItem::Perl(_) => self.classes += 1,
            ClassSetItem::Bracketed(class) if class.negated => self.points += Self::ALL,
            _ => {}
        }
        Ok(())
    }
}

/// The pattern with `\d`, `\s`, `\w` and `\b` as RE2 has them, and so CEL: of ASCII. It is also much smaller so.
fn with_ascii_classes(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            ascii.push(c);
            continue;
        }
        match characters.next() {
            Some('d') => ascii.push_str("[0-9]"),
            Some('D') => ascii.push_str("[^0-9]"),
            Some('s') => ascii.push_str("[\\t\\n\\f\\r ]"),
            Some('S') => ascii.push_str("[^\\t\\n\\f\\r ]"),
            Some('w') => ascii.push_str("[0-9A-Za-z_]"),
            Some('W') => ascii.push_str("[^0-9A-Za-z_]"),
            Some(edge @ ('b' | 'B')) => ascii.extend(['(', '?', '-', 'u', ':', '\\', edge, ')']),
            other => ascii.extend(std::iter::once(c).chain(other)),
        }
    }
    ascii
}
