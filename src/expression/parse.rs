//! Compilation of an expression from its text.

use std::thread;

use cel::Env;
use cel::parser::ParseErrors;

use super::compile_budget::CompileBudget;
use super::lower::Lower;
use super::program::Program;
use super::scan::{Scanner, column_at};
use super::{CompileError, ExpressionScope};

/// Maximum length of an expression, in bytes.
const LONGEST: usize = 4096;

/// Maximum depth of nested brackets.
const DEEPEST_BRACKETS: usize = 48;

/// Stack of the parser's thread, in bytes. The parser recurses once for each link of `a.b.c…` and each operand of `1+1+…`; the
/// longest expression takes less than 8 MiB in a debug build. Only the used part of the stack takes memory.
const STACK: usize = 64 << 20;

/// Fixed work of parsing an expression, in addition to its length, and the work for each bracket and for each other operator
/// outside of strings, where the parser looks ahead.
const WORK: usize = 150;
const WORK_OF_BRACKET: usize = 150;
const WORK_OF_SIGN: usize = 50;

/// Compiles an expression.
///
/// # Errors
/// It is too long or nested too deeply, it is not valid CEL, or it uses an unknown name.
pub(super) fn compile(
    source: &str,
    scope: &ExpressionScope<'_>,
    budget: &mut CompileBudget,
) -> Result<Program, CompileError> {
    if source.len() > LONGEST {
        let message = format!("an expression has at most {LONGEST} bytes; this one has {}", source.len());
        return Err(CompileError::new(1, message));
    }
    let mut work = WORK + source.len();
    let mut scanner = Scanner::new(source);
    while let Some((at, character)) = scanner.next_outside_strings()? {
        work += match character {
            '(' | '[' | '{' => WORK_OF_BRACKET,
            character if character.is_alphanumeric() || character == ' ' => 0,
            _ => WORK_OF_SIGN,
        };
        if scanner.depth() > DEEPEST_BRACKETS {
            let message = format!("brackets are nested more than {DEEPEST_BRACKETS} deep");
            return Err(CompileError::new(column_at(source, at), message));
        }
    }
    budget
        .work(work)
        .and_then(|()| budget.keep(size_of::<Program>() + source.len()))
        .map_err(|over| CompileError::over_budget(1, over))?;
    let unparsable = || CompileError::new(1, "this cannot be parsed".to_owned());
    thread::scope(|threads| {
        let parser = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        match parser.spawn_scoped(threads, || parse(source, scope, budget)) {
            Ok(parsed) => parsed.join().unwrap_or_else(|_| Err(unparsable())),
            Err(error) => {
                Err(CompileError::new(1, format!("no thread could be started to parse it: {error}")))
            }
        }
    })
}

fn parse(
    source: &str,
    scope: &ExpressionScope<'_>,
    budget: &mut CompileBudget,
) -> Result<Program, CompileError> {
    // Without macros: `has`, `all` and so on remain calls, and `lower` turns them into loops.
    match Env::default().parser().parse_with_source_info(source) {
        Ok((expression, positions)) => Lower::new(scope, &positions, budget).lower(&expression),
        Err(errors) => Err(first_error(source, &errors)),
    }
}

fn first_error(source: &str, errors: &ParseErrors) -> CompileError {
    let Some(error) = errors.errors.first() else {
        return CompileError::new(1, "this is not CEL".to_owned());
    };
    let line = usize::try_from(error.pos.0).unwrap_or(1).max(1);
    let before: usize = source.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
    let column = before + usize::try_from(error.pos.1).unwrap_or(1).max(1);
    CompileError::new(column, reworded(&error.msg))
}

/// Returns the parser's message without its list of all possible tokens.
fn reworded(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split_once(" expecting ").map_or(message, |(message, _)| message);
    let quoted = |prefix: &str| message.strip_prefix(prefix);
    if message.ends_with("'<EOF>'") {
        return "the expression ends too early".to_owned();
    }
    let unexpected = [
        "mismatched input ",
        "extraneous input ",
        "no viable alternative at input ",
        "token recognition error at: ",
    ]
    .into_iter()
    .find_map(quoted);
    match unexpected {
        Some(what) => format!("unexpected {}", what.chars().take(40).collect::<String>()),
        None => message.chars().take(200).collect(),
    }
}
