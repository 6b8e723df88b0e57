//! The objects of a document, one at a time: a long List needs no more memory than its longest item.

use std::vec::IntoIter;

use libyaml_safer::EventData;
use serde_json::Value;

use super::compose::{Composer, Kind, MappingFields, Node};
use super::{Document, Error, json};

/// The value of a document, or each item of its list `items`.
pub(crate) struct Objects<'a>(ReadState<'a>);

/// An object of a document.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    /// Index in `items`; `None` for the whole document.
    pub(crate) index: Option<usize>,
    /// Value of the object.
    pub(crate) value: Value,
}

enum ReadState<'a> {
    /// Nothing has been read yet.
    Start(Document<'a>),
    /// Items of a YAML list.
    Yaml { composer: Box<Composer<'a>>, fields: MappingFields, index: usize },
    /// Items of a JSON list: text, and the number of lines before it.
    Json { items: IntoIter<(&'a str, u64)>, index: usize },
    /// All objects, or an error, have been returned.
    Done,
}

impl<'a> Document<'a> {
    /// Returns the objects of the document; an empty one has none.
    pub(crate) fn objects(self) -> Objects<'a> {
        Objects(ReadState::Start(self))
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<Object, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(object) => object.map(Ok),
            Err(error) => {
                self.0 = ReadState::Done;
                Some(Err(error))
            }
        }
    }
}

impl<'a> Objects<'a> {
    fn advance(&mut self) -> Result<Option<Object>, Error> {
        match std::mem::replace(&mut self.0, ReadState::Done) {
            ReadState::Start(Document::Yaml { text, line }) => {
                let mut composer = Box::new(Composer::new(text, line));
                match composer.begin()? {
                    None => Ok(None),
                    Some(event) if matches!(event.data, EventData::MappingStart { anchor: None, .. }) => {
                        self.root(composer, MappingFields::default(), false)
                    }
                    Some(event) => {
                        let value = composer.compose(event)?.into_value();
                        composer.end()?;
                        Ok(whole(value))
                    }
                }
            }
            ReadState::Start(Document::Json { text, line }) => match json::items(text, line)? {
                None => Ok(whole(json::value(text, line)?)),
                Some(items) => {
                    self.0 = ReadState::Json { items: items.into_iter(), index: 0 };
                    self.advance()
                }
            },
            ReadState::Yaml { composer, fields, index } => self.item(composer, fields, index),
            ReadState::Json { mut items, index } => {
                let Some((text, line)) = items.next() else { return Ok(None) };
                let value = json::value(text, line)?;
                self.0 = ReadState::Json { items, index: index + 1 };
                Ok(Some(Object { index: Some(index), value }))
            }
            ReadState::Done => Ok(None),
        }
    }

    /// Reads the root up to the list `items`, or to its end.
    fn root(
        &mut self,
        mut composer: Box<Composer<'a>>,
        mut fields: MappingFields,
        has_items: bool,
    ) -> Result<Option<Object>, Error> {
        while let Some(key) = composer.key()? {
            let event = composer.next()?;
            let is_list = matches!(event.data, EventData::SequenceStart { anchor: None, .. });
            if is_list && key.name.as_deref() == Some("items") {
                let line = composer.line(&event);
                fields.insert(key, Node { line, kind: Kind::Items(Vec::new()) })?;
                return self.item(composer, fields, 0);
            }
            let value = composer.compose(event)?;
            fields.insert(key, value)?;
        }
        composer.end()?;
        Ok(if has_items { None } else { whole(fields.into_value()) })
    }

    fn item(
        &mut self,
        mut composer: Box<Composer<'a>>,
        fields: MappingFields,
        index: usize,
    ) -> Result<Option<Object>, Error> {
        let event = composer.next()?;
        if event.data == EventData::SequenceEnd {
            return self.root(composer, fields, true);
        }
        let value = composer.compose(event)?.into_value();
        self.0 = ReadState::Yaml { composer, fields, index: index + 1 };
        Ok(Some(Object { index: Some(index), value }))
    }
}

fn whole(value: Value) -> Option<Object> {
    (!value.is_null()).then_some(Object { index: None, value })
}
