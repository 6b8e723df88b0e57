use std::fmt;

/// An error in a text, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// Line in the whole text, counted from 1; 0 if unknown.
    pub(crate) line: u64,
    /// The problem.
    pub(crate) message: String,
}

impl Error {
    pub(super) fn at(line: u64, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {}
