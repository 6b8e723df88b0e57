//! The documents of a stream, in order.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::compose::{self, Node};
use super::lines::lines;
use super::{Error, Kind, json};

/// A document of a stream.
#[derive(Clone, Debug)]
pub(crate) enum Document<'a> {
    /// YAML, with its first line in the stream, counted from 0.
    Yaml {
        /// Text of the document, with the separator before it.
        text: Cow<'a, str>,
        /// First line.
        line: u64,
    },
    /// JSON.
    Json {
        /// Text of the document.
        text: &'a str,
        /// First line, counted from 0.
        line: u64,
    },
}

impl Document<'_> {
    /// Returns the first line, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        match self {
            Self::Yaml { line, .. } | Self::Json { line, .. } => line + 1,
        }
    }

    /// Parses the document; an empty one is null.
    ///
    /// # Errors
    /// The document is not valid YAML.
    pub(crate) fn read(self) -> Result<Value, Error> {
        match self {
            Self::Yaml { text, line } => Ok(compose::node(text, line)?.map_or(Value::Null, Node::into_value)),
            Self::Json { text, line } => json::value(text, line),
        }
    }

    /// Parses the document and keeps the lines of all values.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub(crate) fn node(&self) -> Result<Node, Error> {
        let (text, line) = match self {
            Self::Yaml { text, line } => (text.as_ref(), *line),
            Self::Json { text, line } => (*text, *line),
        };
        let empty = Node { line: line + 1, kind: Kind::Scalar(Value::Null) };
        Ok(compose::node(Cow::Borrowed(text), line)?.unwrap_or(empty))
    }
}

/// Splits a stream into documents like kubectl's `YAMLOrJSONDecoder`: as JSON if it begins with a brace, and as YAML if that
/// proves not to be JSON before a second object.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Result<Document<'_>, Error>> {
    Documents { rest: text, line: 0, mode: DocumentMode::Unknown }
}

struct Documents<'a> {
    rest: &'a str,
    /// Number of lines before `rest`.
    line: u64,
    mode: DocumentMode,
}

enum DocumentMode {
    /// Nothing has been read yet.
    Unknown,
    /// JSON objects, and the number of those that were read.
    Json(usize),
    Yaml,
    /// An error has been returned, or the stream has ended.
    Done,
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<Document<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.mode, DocumentMode::Unknown) {
            let is_json = self.rest.trim_start().starts_with('{');
            self.mode = if is_json { DocumentMode::Json(0) } else { DocumentMode::Yaml };
        }
        let found = match self.mode {
            DocumentMode::Json(count) => self.json(count),
            DocumentMode::Yaml => self.yaml(),
            DocumentMode::Unknown | DocumentMode::Done => None,
        };
        if !matches!(found, Some(Ok(_))) {
            self.mode = DocumentMode::Done;
        }
        found
    }
}

impl<'a> Documents<'a> {
    fn json(&mut self, count: usize) -> Option<Result<Document<'a>, Error>> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<&RawValue>();
        let read = stream.next()?;
        let end = stream.byte_offset();
        match read {
            Ok(_) => {
                let (text, rest) = self.rest.split_at_checked(end)?;
                let line =
                    self.line + lines(text.get(..text.len() - text.trim_start().len()).unwrap_or_default());
                self.line += lines(text);
                self.rest = rest;
                self.mode = DocumentMode::Json(count + 1);
                Some(Ok(Document::Json { text: text.trim_start(), line }))
            }
            Err(error) => {
                let error = json::error(&error, self.line);
                if count > 1 {
                    return Some(Err(error));
                }
                self.skip_line();
                self.mode = DocumentMode::Yaml;
                // The intended format is unknown; like kubectl, report the first error.
                match self.yaml() {
                    Some(Ok(document)) if document.node().is_err() => Some(Err(error)),
                    other => other,
                }
            }
        }
    }

    /// Skips white space up to the next line, for example after a JSON object.
    fn skip_line(&mut self) {
        let blank = self.rest.len() - self.rest.trim_start().len();
        let blank = self.rest.get(..blank).unwrap_or_default();
        let skipped = blank.find('\n').map_or(blank.len(), |end| end + 1);
        self.line += lines(blank.get(..skipped).unwrap_or_default());
        self.rest = self.rest.get(skipped..).unwrap_or_default();
    }

    /// Returns the lines up to the next one that begins with `---`; that line belongs to the next document.
    fn yaml(&mut self) -> Option<Result<Document<'a>, Error>> {
        let (start, mut end, mut count) = (self.line, 0, 0);
        for line in self.rest.split_inclusive('\n') {
            if let Some(after) = line.strip_prefix("---") {
                let after = after.trim();
                if !after.is_empty() && !after.starts_with('#') {
                    let message =
                        format!("invalid document separator \"---{after}\"; write --- alone on its line");
                    return Some(Err(Error::at(start + count + 1, message)));
                }
                if end > 0 {
                    break;
                }
            }
            end += line.len();
            count += 1;
        }
        if end == 0 {
            return None;
        }
        let (text, rest) = self.rest.split_at_checked(end)?;
        (self.rest, self.line) = (rest, start + count);
        Some(Ok(Document::Yaml { text: unmarked(text), line: start }))
    }
}

/// Returns the text with plain line feeds, and without byte order marks at the beginning of lines, which have no meaning there.
fn unmarked(text: &str) -> Cow<'_, str> {
    if !text.contains(['\r', '\u{feff}']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n").replace("\n\u{feff}", "\n");
    Cow::Owned(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
