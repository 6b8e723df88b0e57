//! Compilation of patterns within a budget.

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{self, Ast, ClassSetItem, Visitor};
use regex_syntax::hir::translate::Translator;

use super::compile_budget::{CompileBudget, OverBudget};
use super::pattern::Pattern;

/// Maximum memory of a pattern's program in an expression, in bytes: it may be matched in a loop.
pub(super) const LARGEST_IN_EXPRESSION: usize = 64 << 10;

/// Memory of a pattern in addition to its program, in bytes: tables of the engines, and the text.
const OVERHEAD: usize = 3 << 10;

/// Fixed work of one pattern, and the work for each character of its text.
const WORK: usize = 100;
const WORK_OF_CHARACTER: usize = 1;

/// Bytes of a program that one unit of work builds.
const BUILT: usize = 32;

/// Work for one Unicode class, such as `\p{Greek}`.
const WORK_OF_CLASS: usize = 250;

/// Code points of a case-insensitive class for one unit of work: each is looked up.
const FOLDED: usize = 64;

/// Error for which a pattern is rejected.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// The syntax is invalid.
    #[error("this is not a pattern: {0}")]
    Syntax(String),
    /// The program takes too much memory.
    #[error("this pattern is too large; repeat less in it")]
    TooLarge,
    /// The profile's budget does not suffice.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl Pattern {
    /// Maximum memory of the program of a parameter's pattern, in bytes: `[a-z./-]{1,500}` takes about 100 KiB.
    pub const LARGEST: usize = 256 << 10;

    /// Compiles a parameter's pattern within the remaining budget.
    ///
    /// # Errors
    /// The pattern is invalid or too large, or the budget is used up.
    pub fn compile(source: &str, budget: &mut CompileBudget) -> Result<Self, PatternError> {
        Self::compile_within(Self::LARGEST, source, budget)
    }

    /// Compiles a pattern whose program takes at most `largest` bytes.
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
}

/// Returns a configuration with only the engines whose memory is bounded by the size of the program: no lazily built automata,
/// and no literal prefilters.
fn config(size: usize) -> Config {
    Config::new()
        .nfa_size_limit(Some(size))
        .onepass(false)
        .hybrid(false)
        .dfa(false)
        .auto_prefilter(false)
        .which_captures(WhichCaptures::Implicit)
}

/// Cost of translating a pattern, in addition to its length.
#[derive(Default)]
struct Weight {
    classes: usize,
    /// Code points of all ranges in brackets.
    points: usize,
    ignores_case: bool,
}

impl Weight {
    /// Number of all code points of Unicode, which a class may contain.
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
            // `.` is one range, and a literal has few case variants.
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

/// Replaces `\d`, `\s`, `\w` and `\b` with their ASCII forms, as in RE2 and CEL. This also makes the program much smaller.
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
