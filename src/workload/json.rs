//! Access to owned JSON objects by field name.

use serde_json::{Map, Value, json};

/// Fields of a JSON object.
pub(super) type Fields = Map<String, Value>;

/// Returns the object in a field, created if it is missing or null; `None` if the field has another type.
pub(super) fn object_in<'a>(parent: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    let value = parent.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

/// Returns the list in a field, created if it is missing or null; `None` if the field has another type.
pub(super) fn list_in<'a>(parent: &'a mut Fields, name: &str) -> Option<&'a mut Vec<Value>> {
    let value = parent.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut()
}

/// Returns the objects of the list in a field; none if the field is not a list.
pub(super) fn objects_in<'a>(parent: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    let list = parent.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Returns the text in a field if it is not empty.
pub(super) fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the text at a JSON pointer if it is not empty.
pub(super) fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Sets a field that is missing, null or an empty text.
pub(super) fn set_if_absent(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    if fields.get(name).is_none_or(is_unset) {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Checks for Go's zero value, if it is the same as no value.
pub(super) fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}
