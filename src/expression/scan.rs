//! Search for the end of an expression. It does not parse the expression, and only tracks brackets, strings and comments.

use super::CompileError;

/// Iterator over the characters of CEL outside strings and comments.
pub(super) struct Scanner<'s> {
    source: &'s str,
    /// Offset of the next byte.
    at: usize,
    /// Open brackets with their offsets.
    open: Vec<(char, usize)>,
}

impl<'s> Scanner<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, at: 0, open: Vec::new() }
    }

    /// Returns the number of open brackets.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Returns the next character outside strings and comments, with its byte offset. A bracket changes the depth.
    ///
    /// # Errors
    /// A string has no end, or a closing bracket does not match the last open one.
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
            // The parser reports it, or it is the end of an expression in a text.
            None => Ok(()),
            Some((last, opened)) => Err(self.error(
                at,
                format!("`{c}` does not close the `{last}` at column {}", column_at(self.source, *opened)),
            )),
        }
    }

    /// Skips a string in any form of CEL: one or three quotes of either kind, with or without escapes.
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

    /// Checks whether the quote has the prefix `r`, alone or with a `b`.
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

/// Returns the column of a byte offset in a text, from 1, in characters.
pub(super) fn column_at(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count() + 1
}
