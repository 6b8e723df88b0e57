//! JSON without duplicate keys.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::Error;
use super::lines::lines;

/// Parses a JSON text that begins after this number of lines.
pub(super) fn value(text: &str, lines_before: u64) -> Result<Value, Error> {
    let read: Result<Strict, _> = serde_json::from_str(text);
    read.map(|Strict(value)| value).map_err(|found| error(&found, lines_before))
}

/// Finds the items of a List in a JSON text, each with the number of lines before it. `None` for other values.
///
/// The items are not parsed yet, so only one at a time has to be in memory.
pub(super) fn items(text: &str, lines_before: u64) -> Result<Option<Vec<(&str, u64)>>, Error> {
    // An invalid text is reported when its value is parsed.
    let Ok(Root(Some(list))) = serde_json::from_str::<Root<'_>>(text) else { return Ok(None) };
    let items: Vec<&RawValue> = serde_json::from_str(list).map_err(|found| error(&found, lines_before))?;
    let mut position = (0, lines_before);
    let placed = items.into_iter().map(|item| {
        let start = item.get().as_ptr().addr() - text.as_ptr().addr();
        position = (start, position.1 + lines(text.get(position.0..start).unwrap_or_default()));
        (item.get(), position.1)
    });
    Ok(Some(placed.collect()))
}

/// The text of the list `items` at the root of an object without duplicate keys.
struct Root<'a>(Option<&'a str>);

impl<'de> Deserialize<'de> for Root<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RootVisitor)
    }
}

struct RootVisitor;

impl<'de> Visitor<'de> for RootVisitor {
    type Value = Root<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Root<'de>, A::Error> {
        let (mut items, mut others) = (None, Map::new());
        while let Some(key) = entries.next_key::<String>()? {
            if items.is_some() && key == "items" || others.contains_key(&key) {
                return Err(A::Error::custom("duplicate key"));
            }
            if key == "items" {
                items = Some(entries.next_value::<&RawValue>()?.get());
            } else {
                let value = entries.next_value_seed(StrictSeed)?;
                others.insert(key, value);
            }
        }
        Ok(Root(items.filter(|items| items.starts_with('['))))
    }
}

pub(super) fn error(error: &serde_json::Error, lines_before: u64) -> Error {
    let line = lines_before + u64::try_from(error.line()).unwrap_or_default();
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    Error::at(line, format!("invalid JSON: {}", text.strip_suffix(&place).unwrap_or(&text)))
}

/// A JSON value without duplicate keys.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {key:?} is there twice; remove one of the two")));
            }
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = elements.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}
