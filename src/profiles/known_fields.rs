//! Unknown fields of a type, with suggestions.
//!
//! A type's `Deserialize` tells its deserializer the names of its fields. The deserializer here follows a path and records
//! these names, so that no list of Kubernetes' fields has to be maintained.

use std::cell::Cell;
use std::iter::once;

use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::Value;

use crate::api::nearest;

/// Reports each field of `value` that `T` does not have, with its path and the closest known field. A field that is null
/// counts as absent.
pub fn unknown_fields<'v, T: Deserialize<'v>>(
    path: &str,
    value: &'v Value,
    report: &mut dyn FnMut(String, Option<&'static str>),
) {
    report_unknown::<T>(path, value, &mut Vec::new(), report);
}

fn report_unknown<'v, T: Deserialize<'v>>(
    path: &str,
    value: &'v Value,
    way: &mut Vec<&'v str>,
    report: &mut dyn FnMut(String, Option<&'static str>),
) {
    match value {
        Value::Object(fields) => {
            let known = fields_at::<T>(way);
            for (field, inner) in fields.iter().filter(|(_, inner)| !inner.is_null()) {
                let here = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
                if known.is_some_and(|known| !known.contains(&field.as_str())) {
                    report(here, known.and_then(|known| probably(field, known)));
                    continue;
                }
                if inner.is_object() || inner.is_array() {
                    way.push(field);
                    report_unknown::<T>(&here, inner, way, report);
                    way.pop();
                }
            }
        }
        Value::Array(items) => {
            way.push("");
            for (index, item) in items.iter().enumerate() {
                report_unknown::<T>(&format!("{path}[{index}]"), item, way, report);
            }
            way.pop();
        }
        _ => {}
    }
}

/// Returns the closest known field. Kubernetes' names are long: a difference in case is closer than a missing letter.
fn probably(field: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let in_other_case = known.iter().copied().find(|name| name.eq_ignore_ascii_case(field));
    in_other_case.or_else(|| nearest(field, known.iter().copied()))
}

/// Returns the fields of the struct at the end of the path; `None` if it is not a struct.
fn fields_at<'v, T: Deserialize<'v>>(way: &[&'v str]) -> Option<&'static [&'static str]> {
    let fields = Cell::new(None);
    // This always fails, since there is no complete value.
    let _ = T::deserialize(Walk { way, fields: &fields });
    fields.get()
}

/// Deserializer that follows a path through structs, maps and lists (whose step is empty).
#[derive(Clone, Copy)]
struct Walk<'w, 'v> {
    way: &'w [&'v str],
    fields: &'w Cell<Option<&'static [&'static str]>>,
}

impl<'v> Walk<'_, 'v> {
    fn step(self) -> Result<(&'v str, Self), Error> {
        let (first, way) = self.way.split_first().ok_or_else(arrived)?;
        Ok((first, Self { way, ..self }))
    }
}

fn arrived() -> Error {
    Error::custom("the end of the way")
}

impl<'v> IntoDeserializer<'v> for Walk<'_, 'v> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'v> Deserializer<'v> for Walk<'_, 'v> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'v>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.way.is_empty() {
            self.fields.set(Some(fields));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(once(self.step()?)))
    }

    fn deserialize_seq<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(once(self.step()?.1)))
    }

    fn deserialize_option<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'v>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'v>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(arrived())
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'v>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, Volume};
    use serde_json::json;

    use super::*;
    use crate::api::ProfileSpec;

    fn unknown<T: for<'v> Deserialize<'v>>(value: &Value) -> Vec<(String, Option<&'static str>)> {
        let mut found = Vec::new();
        unknown_fields::<T>("", value, &mut |path, probably| found.push((path, probably)));
        found
    }

    #[test]
    fn a_misspelled_field_of_a_container_is_reported_with_a_suggestion() {
        let container = json!({
            "name": "a", "imagePulPolicy": "Never",
            "ports": [{ "containerPort": 1 }, { "containerport": 80 }],
            "env": [{ "name": "A", "valueFrom": { "fieldref": { "fieldPath": "x" } } }],
            "securityContext": { "capabilities": { "dorp": ["ALL"] } },
            "resources": { "limits": { "cpu": "1", "example.com/gpu": 1 } },
            "unknownField": {},
        });
        let wanted = [
            ("env[0].valueFrom.fieldref", Some("fieldRef")),
            ("imagePulPolicy", Some("imagePullPolicy")),
            ("ports[1].containerport", Some("containerPort")),
            ("securityContext.capabilities.dorp", Some("drop")),
            ("unknownField", None),
        ];
        assert_eq!(unknown::<Container>(&container), wanted.map(|(path, near)| (path.to_owned(), near)));
    }

    #[test]
    fn map_keys_and_nulls_are_not_unknown_fields() {
        let volume = json!({
            "name": "a", "csi": { "driver": "d", "volumeAttributes": { "any": "thing" } }, "nothing": null,
        });
        assert!(unknown::<Volume>(&volume).is_empty());
    }

    #[test]
    fn misspelled_fields_of_a_profile_are_reported_too() {
        let spec = json!({ "onErorr": "Ignore", "order": { "befor": ["a"] }, "template": { "any": { "thing": 1 } } });
        let wanted = [("onErorr", Some("onError")), ("order.befor", Some("before"))];
        assert_eq!(unknown::<ProfileSpec>(&spec), wanted.map(|(path, near)| (path.to_owned(), near)));
    }
}
