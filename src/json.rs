//! JSON, borrowed from the bytes of a review.
//!
//! A pod of 200 KB is parsed into this tree without copying a string, and parts that no decision reads are skipped
//! ([`PodBody`]).

use std::borrow::Cow;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// JSON value whose text is borrowed if possible.
pub type Json<'a> = serde_json_borrow::Value<'a>;

/// Returns the field of an object; `None` if the value is not an object, or the field is missing or null.
pub fn field<'a, 'b>(value: &'a Json<'b>, name: &str) -> Option<&'a Json<'b>> {
    value.as_object()?.get(name).filter(|value| !value.is_null())
}

/// Returns the text in a field of an object.
pub fn text<'a>(value: &'a Json<'_>, name: &str) -> Option<&'a str> {
    field(value, name)?.as_str()
}

/// Checks whether a value is null, or an empty list or object.
pub fn is_empty(value: &Json<'_>) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Returns the elements of a list; none if the value is not a list.
pub fn items<'a, 'b>(value: Option<&'a Json<'b>>) -> &'a [Json<'b>] {
    value.and_then(Json::as_array).unwrap_or_default()
}

/// Converts to a value with its own text, which takes much less memory than serde's maps.
pub fn owned(value: Value) -> Json<'static> {
    // Every JSON value can be deserialized as JSON.
    Json::deserialize(value).unwrap_or_default()
}

/// Returns a value that borrows its text from another one.
pub fn lent<'a>(value: &'a Json<'_>) -> Json<'a> {
    match value {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        Json::Number(number) => Json::Number(*number),
        Json::Str(text) => Json::Str(Cow::Borrowed(text)),
        Json::Array(items) => Json::Array(items.iter().map(lent).collect()),
        Json::Object(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name, lent(value))).collect())
        }
    }
}

/// Returns the approximate length of the serialized value in bytes.
pub fn length(value: &Json<'_>) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 8,
        Json::Str(text) => 2 + text.len(),
        Json::Array(items) => 2 + items.iter().map(|item| 1 + length(item)).sum::<usize>(),
        Json::Object(fields) => {
            2 + fields.iter().map(|(name, value)| 4 + name.len() + length(value)).sum::<usize>()
        }
    }
}

/// Checks whether two values are equal; the order of an object's fields is ignored.
pub fn same(one: &Json<'_>, other: &Json<'_>) -> bool {
    match (one, other) {
        (Json::Null, Json::Null) => true,
        (Json::Bool(one), Json::Bool(other)) => one == other,
        (Json::Str(one), Json::Str(other)) => one == other,
        (Json::Number(one), Json::Number(other)) => one
            .as_i64()
            .zip(other.as_i64())
            .map_or_else(|| one.as_f64() == other.as_f64(), |(one, other)| one == other),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        _ => false,
    }
}

/// Pod of a review, without the parts that no decision reads: its status and `metadata.managedFields`, which are often more
/// than half of it.
#[derive(Clone, Debug)]
pub struct PodBody<'a>(pub Json<'a>);

impl<'de> Deserialize<'de> for PodBody<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectFields { level: BodyLevel::Pod }).map(Self)
    }
}

/// Depth of an object in the pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyLevel {
    Pod,
    MetadataBody,
}

struct ObjectFields {
    level: BodyLevel,
}

struct MetadataBody<'a>(Json<'a>);

impl<'de> Deserialize<'de> for MetadataBody<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectFields { level: BodyLevel::MetadataBody }).map(Self)
    }
}

/// Key of an object. A key with escapes cannot be borrowed, and no field of a pod has one.
struct FieldKey<'a>(Option<&'a str>);

impl<'de> Deserialize<'de> for FieldKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = FieldKey<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<FieldKey<'de>, E> {
                Ok(FieldKey(Some(key)))
            }

            fn visit_str<E>(self, _: &str) -> Result<FieldKey<'de>, E> {
                Ok(FieldKey(None))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de> Visitor<'de> for ObjectFields {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields: Vec<(&'de str, Json<'de>)> = Vec::with_capacity(8);
        while let Some(FieldKey(key)) = map.next_key()? {
            match (self.level, key) {
                (_, None)
                | (BodyLevel::Pod, Some("status"))
                | (BodyLevel::MetadataBody, Some("managedFields")) => {
                    map.next_value::<IgnoredAny>()?;
                }
                (BodyLevel::Pod, Some(key @ "metadata")) => {
                    fields.push((key, map.next_value::<MetadataBody<'de>>()?.0));
                }
                (_, Some(key)) => fields.push((key, map.next_value()?)),
            }
        }
        Ok(Json::Object(fields.into()))
    }

    // Values of the wrong type are kept, for the error message.

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(value.to_owned().into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Json<'de>, A::Error> {
        Json::deserialize(SeqAccessDeserializer::new(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_no_decision_reads_are_skipped() {
        let body = r#"{"kind":"Pod","metadata":{"name":"a","labels":{"status":"x"},"managedFields":[{"a":1}]},"spec":{"status":1},"status":{"phase":"Pending"}}"#;
        let PodBody(pod) = serde_json::from_str(body).unwrap();
        assert_eq!(
            serde_json::to_string(&pod).unwrap(),
            r#"{"kind":"Pod","metadata":{"name":"a","labels":{"status":"x"}},"spec":{"status":1}}"#
        );
    }

    #[test]
    fn values_other_than_objects_are_kept() {
        let PodBody(pod) = serde_json::from_str(r#"{"metadata":null,"spec":{}}"#).unwrap();
        assert_eq!(field(&pod, "metadata"), None);
        for odd in ["[1]", "1", "-1", "1.5", "true", "\"a\"", "null", r#"{"metadata":[]}"#] {
            let PodBody(pod) = serde_json::from_str(odd).unwrap();
            assert_eq!(serde_json::to_string(&pod).unwrap(), odd);
        }
    }
}
