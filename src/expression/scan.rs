//! Finding where an expression ends, without parsing it: brackets, strings and comments are enough.

use super::CompileError;
use super::parse::column_at;

/// Walks over the characters of CEL that are in no string and no comment.
pub(super) struct Scanner<'s> {
    source: &'s str,
    /// The next byte.
    at: usize,
    /// The open brackets: which, and where.
    open: Vec<(char, usize)>,
}

impl<'s> Scanner<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, at: 0, open: Vec::new() }
    }

    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next character outside strings and comments, and its byte. A bracket changes the depth.
    ///
    /// # Errors
    /// A string has no end, or a bracket closes another one than the last that was opened.
    pub(super) fn next_outside_strings(&mut self) -> Result<Option<(usize, char)>, CompileError> {
        loop {
            let at = self.at;
            let Some(c) = self.rest().chars().next() else { return Ok(None) };
            match c {
                '"' | '\'' => self.skip_string(c)?,
                '/' if self.rest().starts_with("//") => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                }
                c => {
                    self.at += c.len_utf8();
                    self.note_bracket(at, c)?;
                    return Ok(Some((at, c)));
                }
            }
        }
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn note_bracket(&mut self, at: usize, c: char) -> Result<(), CompileError> {
        let opening = match c {
            '(' | '[' | '{' => {
                self.open.push((c, at));
                return Ok(());
            }
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => return Ok(()),
        };
        match self.open.last() {
            Some((last, _)) if *last == opening => {
                self.open.pop();
                Ok(())
            }
            // Left to the parser, or the end of an expression in a text.
            None => Ok(()),
            Some((last, opened)) => Err(self.error(
                at,
                format!("`{c}` does not close the `{last}` at column {}", column_at(self.source, *opened)),
            )),
        }
    }

    /// Skips a string of any of CEL's forms: one or three quotes of either kind, with or without escapes.
    fn skip_string(&mut self, quote: char) -> Result<(), CompileError> {
        let start = self.at;
        let is_raw = self.is_raw_prefix(start);
        let triple: String = [quote; 3].iter().collect();
        let end = if self.rest().starts_with(&triple) { triple } else { quote.to_string() };
        self.at += end.len();
        while let Some(c) = self.rest().chars().next() {
            if self.rest().starts_with(&end) {
                self.at += end.len();
                return Ok(());
            }
            if end.len() == 1 && (c == '\n' || c == '\r') {
                break;
            }
            self.at += c.len_utf8();
            if c == '\\' && !is_raw {
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            }
        }
        Err(self.error(start, "this string has no end".to_owned()))
    }

    /// Whether an `r` stands before the quote, alone or with a `b`.
    fn is_raw_prefix(&self, quote: usize) -> bool {
        let before = self.source.get(..quote).unwrap_or_default();
        let word_start =
            before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let word = before.get(word_start..).unwrap_or_default().to_ascii_lowercase();
        matches!(word.as_str(), "r" | "br" | "rb")
    }

    fn error(&self, at: usize, message: String) -> CompileError {
        CompileError::new(column_at(self.source, at), message)
    }
}
