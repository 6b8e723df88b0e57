//! A document's tree, made from the events of the parser.

use std::collections::HashMap;

use libyaml_safer::{Encoding, Event, EventData, Parser};
use serde_json::{Map, Value};

use super::{Error, scalar};

/// The deepest nesting that is read. Kubernetes' own objects have some ten levels, schemas in definitions some thirty.
const DEPTH: usize = 500;
/// How many nodes aliases may add to a document, so that ten lines cannot fill the memory ("billion laughs").
const ALIASED: usize = 400_000;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The line on which it begins, counted from 1.
    pub(crate) line: u64,
    /// The value.
    pub(crate) kind: Kind,
}

/// Kind and content of a node.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    /// A list.
    Items(Vec<Node>),
    /// A mapping: each key with the line on which it stands.
    Fields(Vec<(String, u64, Node)>),
}

impl Node {
    /// The node without its places.
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

/// Reads one document, which begins after so many lines; `None` where there is nothing in it.
pub(super) fn node(text: &str, lines_before: u64) -> Result<Option<Node>, Error> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    // Otherwise the parser takes every text that begins with a byte 0xEF for one with a byte order mark.
    parser.set_encoding(Encoding::Utf8);
    parser.set_input_string(&mut bytes);
    let mut composer = Composer { parser, lines_before, anchors: HashMap::new(), aliased: 0, depth: 0 };
    let mut root = None;
    loop {
        let event = composer.next()?;
        let line = composer.line(&event);
        match event.data {
            EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
            EventData::StreamEnd => return Ok(root),
            EventData::DocumentStart { .. } if root.is_some() => {
                let message =
                    "something follows the end of the document; begin another one with --- on its own line";
                return Err(Error::at(line, message));
            }
            EventData::DocumentStart { .. } => {
                let event = composer.next()?;
                root = Some(composer.compose(event)?);
            }
            _ => return Err(Error::at(line, "invalid YAML")),
        }
    }
}

struct Composer<'r, 'b> {
    parser: Parser<&'b mut &'r [u8]>,
    lines_before: u64,
    anchors: HashMap<String, Node>,
    /// How many nodes aliases added.
    aliased: usize,
    depth: usize,
}

impl Composer<'_, '_> {
    fn next(&mut self) -> Result<Event, Error> {
        self.parser.parse().map_err(|error| {
            let line = error
                .problem_mark()
                .or(error.context_mark())
                .map_or(0, |mark| self.lines_before + mark.line + 1);
            let context = error.context().map_or_else(String::new, |context| format!(" {context}"));
            Error::at(line, format!("invalid YAML: {}{context}", error.problem()))
        })
    }

    fn line(&self, event: &Event) -> u64 {
        self.lines_before + event.start_mark.line + 1
    }

    fn compose(&mut self, event: Event) -> Result<Node, Error> {
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

    /// An anchor does not exist before its own value is complete.
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
        let mut fields = Fields::default();
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                return Ok(Kind::Fields(fields.fields));
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
            let key = self.compose(event)?;
            let event = self.next()?;
            let value = self.compose(event)?;
            if is_merge {
                fields.merge(value).map_err(|what| Error::at(line, what))?;
                continue;
            }
            let Kind::Scalar(key) = key.kind else {
                return Err(Error::at(line, "a key is a list or a mapping"));
            };
            let key = match float {
                Some(float) => float,
                None => scalar::key(key).map_err(|what| Error::at(line, what))?,
            };
            fields.set(key, line, value)?;
        }
    }
}

/// The fields of a mapping that is being read.
#[derive(Default)]
struct Fields {
    fields: Vec<(String, u64, Node)>,
    /// The place of each key in `fields`, and whether it came by a merge key, so that the mapping may set it itself.
    known: HashMap<String, (usize, bool)>,
}

impl Fields {
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

    /// Takes in the fields of a merge key's mapping, or of several, of which the first wins.
    ///
    /// They replace what stands before the merge key in this mapping, as in go-yaml.
    fn merge(&mut self, value: Node) -> Result<(), &'static str> {
        let mappings = match value.kind {
            Kind::Fields(fields) => vec![fields],
            Kind::Items(items) => {
                let fields =
                    |item: Node| if let Kind::Fields(fields) = item.kind { Ok(fields) } else { Err(MERGE) };
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
