//! The tree of a document, composed from the events of the parser.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufReader, Cursor};

use libyaml_safer::{Encoding, Event, EventData, Parser};
use serde_json::{Map, Value};

use super::{Error, scalar};

/// Maximum nesting depth. Kubernetes' own objects have some ten levels, schemas in definitions some thirty.
const DEPTH: usize = 500;
/// Maximum number of bytes of a document that the parser reads at once.
const CHUNK: usize = 16 * 1024;
/// Maximum number of nodes that aliases add to a document, so that ten lines cannot fill the memory ("billion laughs").
const ALIASED: usize = 400_000;

/// A value with its line.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// First line of the value, counted from 1.
    pub(crate) line: u64,
    /// The value.
    pub(crate) kind: Kind,
}

/// Kind and content of a node.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Null, a boolean, a number or a string.
    Scalar(Value),
    /// A list.
    Items(Vec<Node>),
    /// A mapping: each key with its line.
    Fields(Vec<(String, u64, Node)>),
}

impl Node {
    /// Returns the value without lines.
    pub(crate) fn into_value(self) -> Value {
        match self.kind {
            Kind::Scalar(value) => value,
            Kind::Items(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Kind::Fields(fields) => {
                let fields = fields.into_iter().map(|(key, _, value)| (key, value.into_value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::Items(items) => items.iter().map(Self::count).sum(),
            Kind::Fields(fields) => fields.iter().map(|(_, _, value)| value.count()).sum(),
        }
    }
}

/// Reads one document, which begins after this number of lines; `None` if it is empty.
pub(super) fn node(text: Cow<'_, str>, lines_before: u64) -> Result<Option<Node>, Error> {
    let mut composer = Composer::new(text, lines_before);
    let Some(event) = composer.begin()? else { return Ok(None) };
    let root = composer.compose(event)?;
    composer.end()?;
    Ok(Some(root))
}

/// The reader of one document.
pub(super) struct Composer<'a> {
    parser: Parser<BufReader<Cursor<Cow<'a, [u8]>>>>,
    lines_before: u64,
    anchors: HashMap<String, Node>,
    /// Number of nodes that aliases added.
    aliased: usize,
    depth: usize,
}

impl<'a> Composer<'a> {
    pub(super) fn new(text: Cow<'a, str>, lines_before: u64) -> Self {
        let bytes = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let mut parser = Parser::new();
        // Otherwise, the parser treats every text that begins with the byte 0xEF as one with a byte order mark.
        parser.set_encoding(Encoding::Utf8);
        // The parser decodes everything that its input offers at once.
        let most = bytes.len().min(CHUNK);
        parser.set_input(BufReader::with_capacity(most, Cursor::new(bytes)));
        Self { parser, lines_before, anchors: HashMap::new(), aliased: 0, depth: 0 }
    }

    /// Returns the first event of the document's value; `None` if the document is empty.
    pub(super) fn begin(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let event = self.next()?;
            match event.data {
                EventData::StreamStart { .. } => {}
                EventData::StreamEnd => return Ok(None),
                EventData::DocumentStart { .. } => return self.next().map(Some),
                _ => return Err(Error::at(self.line(&event), "invalid YAML")),
            }
        }
    }

    /// Checks that nothing follows the document's value.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        loop {
            let event = self.next()?;
            match event.data {
                EventData::DocumentEnd { .. } => {}
                EventData::StreamEnd => return Ok(()),
                EventData::DocumentStart { .. } => {
                    let message = "something follows the end of the document; begin another one with --- on its own line";
                    return Err(Error::at(self.line(&event), message));
                }
                _ => return Err(Error::at(self.line(&event), "invalid YAML")),
            }
        }
    }

    pub(super) fn next(&mut self) -> Result<Event, Error> {
        self.parser.parse().map_err(|error| {
            let line = error
                .problem_mark()
                .or(error.context_mark())
                .map_or(0, |mark| self.lines_before + mark.line + 1);
            let context = error.context().map_or_else(String::new, |context| format!(" {context}"));
            Error::at(line, format!("invalid YAML: {}{context}", error.problem()))
        })
    }

    pub(super) fn line(&self, event: &Event) -> u64 {
        self.lines_before + event.start_mark.line + 1
    }

    pub(super) fn compose(&mut self, event: Event) -> Result<Node, Error> {
        let line = self.line(&event);
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Error::at(line, format!("nested deeper than {DEPTH} levels")));
        }
        let (anchor, kind) = match event.data {
            EventData::Alias { anchor } => (None, self.alias(&anchor, line)?.kind),
            EventData::Scalar { anchor, tag, value, plain_implicit, .. } => (
                anchor,
                Kind::Scalar(scalar_value(tag, value, plain_implicit).map_err(|what| Error::at(line, what))?),
            ),
            EventData::SequenceStart { anchor, .. } => {
                self.forget(anchor.as_deref());
                (anchor, self.sequence()?)
            }
            EventData::MappingStart { anchor, .. } => {
                self.forget(anchor.as_deref());
                (anchor, self.mapping()?)
            }
            _ => return Err(Error::at(line, "invalid YAML")),
        };
        self.depth -= 1;
        let node = Node { line, kind };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Removes an anchor: it does not exist before its own value is complete.
    fn forget(&mut self, anchor: Option<&str>) {
        anchor.map(|anchor| self.anchors.remove(anchor));
    }

    fn alias(&mut self, anchor: &str, line: u64) -> Result<Node, Error> {
        let Some(node) = self.anchors.get(anchor) else {
            return Err(Error::at(line, format!("there is no anchor &{anchor} before its alias")));
        };
        self.aliased += node.count();
        if self.aliased > ALIASED {
            return Err(Error::at(line, "too many values come from aliases"));
        }
        Ok(node.clone())
    }

    fn sequence(&mut self) -> Result<Kind, Error> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(Kind::Items(items));
            }
            items.push(self.compose(event)?);
        }
    }

    fn mapping(&mut self) -> Result<Kind, Error> {
        let mut fields = MappingFields::default();
        while let Some(key) = self.key()? {
            let event = self.next()?;
            let value = self.compose(event)?;
            fields.insert(key, value)?;
        }
        Ok(Kind::Fields(fields.fields))
    }

    /// Reads the next key of a mapping; `None` at its end.
    pub(super) fn key(&mut self) -> Result<Option<MappingKey>, Error> {
        let event = self.next()?;
        if event.data == EventData::MappingEnd {
            return Ok(None);
        }
        let line = self.line(&event);
        let is_merge = matches!(
            &event.data,
            EventData::Scalar { value, plain_implicit, tag, .. }
                if value == "<<" && (*plain_implicit || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
        );
        let float = match &event.data {
            EventData::Scalar { value, plain_implicit: true, tag: None, .. } => scalar::float_key(value),
            _ => None,
        };
        let Kind::Scalar(key) = self.compose(event)?.kind else {
            return Err(Error::at(line, "a key is a list or a mapping"));
        };
        if is_merge {
            return Ok(Some(MappingKey { line, name: None }));
        }
        let name = match float {
            Some(float) => float,
            None => scalar::key(key).map_err(|problem| Error::at(line, problem))?,
        };
        Ok(Some(MappingKey { line, name: Some(name) }))
    }
}

/// A key of a mapping.
pub(super) struct MappingKey {
    /// Line of the key.
    line: u64,
    /// Name of the key; `None` for a merge key.
    pub(super) name: Option<String>,
}

/// The fields of a mapping during parsing.
#[derive(Default)]
pub(super) struct MappingFields {
    fields: Vec<(String, u64, Node)>,
    /// Index of each key in `fields`, and whether a merge key added it: the mapping may then still set the key itself.
    known: HashMap<String, (usize, bool)>,
}

impl MappingFields {
    pub(super) fn into_value(self) -> Value {
        Node { line: 0, kind: Kind::Fields(self.fields) }.into_value()
    }

    pub(super) fn insert(&mut self, key: MappingKey, value: Node) -> Result<(), Error> {
        match key.name {
            Some(name) => self.set(name, key.line, value),
            None => self.merge(value).map_err(|problem| Error::at(key.line, problem)),
        }
    }

    fn set(&mut self, key: String, line: u64, value: Node) -> Result<(), Error> {
        if let Some((index, false)) = self.known.get(&key) {
            let first = self.fields.get(*index).map_or(0, |(_, line, _)| *line);
            let message = format!("key {key:?} is there twice, first on line {first}; remove one of the two");
            return Err(Error::at(line, message));
        }
        self.put(key, line, value, false);
        Ok(())
    }

    fn put(&mut self, key: String, line: u64, value: Node, is_merged: bool) {
        if let Some((index, merged)) = self.known.get_mut(&key) {
            *merged = is_merged && *merged;
            if let Some(field) = self.fields.get_mut(*index) {
                *field = (key, line, value);
            }
        } else {
            self.known.insert(key.clone(), (self.fields.len(), is_merged));
            self.fields.push((key, line, value));
        }
    }

    /// Adds the fields of a merge key's mapping, or of several, the first of which wins.
    ///
    /// They replace fields before the merge key in this mapping, as in go-yaml.
    fn merge(&mut self, value: Node) -> Result<(), &'static str> {
        let mappings = match value.kind {
            Kind::Fields(fields) => vec![fields],
            Kind::Items(items) => {
                let fields = |item: Node| {
                    if let Kind::Fields(fields) = item.kind { Ok(fields) } else { Err(MERGE) }
                };
                items.into_iter().rev().map(fields).collect::<Result<_, _>>()?
            }
            Kind::Scalar(_) => return Err(MERGE),
        };
        for (key, line, value) in mappings.into_iter().flatten() {
            self.put(key, line, value, true);
        }
        Ok(())
    }
}

const MERGE: &str = "the value of a merge key << is neither a mapping nor a list of mappings";

fn scalar_value(tag: Option<String>, text: String, plain_implicit: bool) -> Result<Value, String> {
    match tag {
        Some(tag) => scalar::tagged(&tag, &text),
        None if !plain_implicit => Ok(Value::String(text)),
        None if scalar::is_infinite(&text) => Err(format!("{text} is no number that JSON has")),
        None => Ok(scalar::plain(&text)),
    }
}
