//! The values that expressions compute with. A copy of one is cheap: what is large is borrowed or counted.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::rc::Rc;

use super::budget::{Budget, Problem};
use super::node::Constant;
use super::variables::{Json, NamespaceView, ParameterValue};
use crate::duration::Duration;
use crate::quantity::Quantity;

/// A CEL value that borrows from the variables and from the expression.
#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Str<'v>),
    Bytes(Rc<[u8]>),
    Quantity(Quantity),
    Duration(Duration),
    Type(&'static str),
    Optional(Option<Rc<Value<'v>>>),
    List(List<'v>),
    Map(Map<'v>),
}

/// A string: a part of what was given, or a new one.
#[derive(Clone, Debug)]
pub(super) enum Str<'v> {
    Borrowed(&'v str),
    Shared(Rc<str>),
}

/// A list: a view of one that was given, or a new one.
#[derive(Clone, Debug)]
pub(super) enum List<'v> {
    Json(&'v [Json<'v>]),
    Tree(&'v [serde_json::Value]),
    Texts(&'v [String]),
    Constants(&'v [Constant]),
    Built(Rc<Vec<Value<'v>>>),
}

/// A map: a view of one that was given, or a new one.
#[derive(Clone, Debug)]
pub(super) enum Map<'v> {
    Json(&'v serde_json_borrow::ObjectAsVec<'v>),
    Tree(&'v serde_json::Map<String, serde_json::Value>),
    Texts(&'v BTreeMap<String, String>),
    Params(&'v BTreeMap<String, ParameterValue>),
    Namespace(&'v NamespaceView<'v>),
    NamespaceMetadata(&'v NamespaceView<'v>),
    Profile(&'v str),
    /// In the order of the keys.
    Built(Rc<Vec<(Key<'v>, Value<'v>)>>),
}

/// The key of a map. Whole numbers are one kind of key, as CEL compares them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'v> {
    Bool(bool),
    Number(i128),
    Text(Str<'v>),
}

impl<'v> Value<'v> {
    pub(super) fn text(text: &'v str) -> Self {
        Self::Text(Str::Borrowed(text))
    }

    /// A new string, charged to the budget.
    pub(super) fn new_text(budget: &mut Budget, text: &str) -> Result<Self, Problem> {
        budget.produce(text.len())?;
        Ok(Self::Text(Str::Shared(Rc::from(text))))
    }

    /// A new list, charged to the budget.
    pub(super) fn new_list(budget: &mut Budget, items: Vec<Self>) -> Result<Self, Problem> {
        budget.produce(size_of::<Self>().saturating_mul(items.len()))?;
        Ok(Self::List(List::Built(Rc::new(items))))
    }

    pub(super) fn json(json: &'v Json<'v>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::Uint))
                .or_else(|| number.as_f64().map(Self::Double))
                .unwrap_or(Self::Null),
            Json::Str(text) => Self::text(text),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(fields) => Self::Map(Map::Json(fields)),
        }
    }

    pub(super) fn tree(tree: &'v serde_json::Value) -> Self {
        match tree {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::Uint))
                .or_else(|| number.as_f64().map(Self::Double))
                .unwrap_or(Self::Null),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(List::Tree(items)),
            serde_json::Value::Object(fields) => Self::Map(Map::Tree(fields)),
        }
    }

    pub(super) fn constant(constant: &'v Constant) -> Self {
        match constant {
            Constant::Null => Self::Null,
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Int(number) => Self::Int(*number),
            Constant::Uint(number) => Self::Uint(*number),
            Constant::Double(number) => Self::Double(*number),
            Constant::Text(text) => Self::text(text),
            Constant::Bytes(bytes) => Self::Bytes(Rc::from(&**bytes)),
            Constant::Type(name) => Self::Type(name),
            Constant::List(items) => Self::List(List::Constants(items)),
        }
    }

    pub(super) fn param(value: &'v ParameterValue) -> Self {
        match value {
            ParameterValue::String(text) => Self::text(text),
            ParameterValue::Integer(number) => Self::Int(*number),
            ParameterValue::Boolean(value) => Self::Bool(*value),
            ParameterValue::Quantity(quantity) => Self::Quantity(*quantity),
            ParameterValue::Duration(duration) => Self::Duration(*duration),
            ParameterValue::List(items) => Self::List(List::Texts(items)),
        }
    }

    /// The type's name, as `type()` gives it and messages say it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Quantity(_) => "quantity",
            Self::Duration(_) => "duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

impl<'v> Str<'v> {
    /// A part of the string, copied only if the string itself is new. The range must be of whole characters.
    pub(super) fn slice(&self, budget: &mut Budget, range: Range<usize>) -> Result<Value<'v>, Problem> {
        match self {
            Self::Borrowed(text) => Ok(Value::text(text.get(range).unwrap_or_default())),
            Self::Shared(text) => Value::new_text(budget, text.get(range).unwrap_or_default()),
        }
    }
}

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Str<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Str<'_> {}

impl PartialOrd for Str<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<'v> List<'v> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Tree(items) => items.len(),
            Self::Texts(items) => items.len(),
            Self::Constants(items) => items.len(),
            Self::Built(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'v>> {
        match self {
            Self::Json(items) => items.get(index).map(Value::json),
            Self::Tree(items) => items.get(index).map(Value::tree),
            Self::Texts(items) => items.get(index).map(|text| Value::text(text)),
            Self::Constants(items) => items.get(index).map(Value::constant),
            Self::Built(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'v>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'v> Map<'v> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(fields) => fields.len(),
            Self::Tree(fields) => fields.len(),
            Self::Texts(fields) => fields.len(),
            Self::Params(fields) => fields.len(),
            Self::Namespace(_) | Self::Profile(_) => 1,
            Self::NamespaceMetadata(_) => 3,
            Self::Built(entries) => entries.len(),
        }
    }

    /// The value of a field. Objects of the pod are searched from their start, so that costs steps.
    pub(super) fn field(&self, budget: &mut Budget, name: &str) -> Result<Option<Value<'v>>, Problem> {
        Ok(match self {
            Self::Json(fields) => {
                budget.step(fields.len() / 16)?;
                fields.get(name).map(Value::json)
            }
            Self::Tree(fields) => fields.get(name).map(Value::tree),
            Self::Texts(fields) => fields.get(name).map(|text| Value::text(text)),
            Self::Params(fields) => fields.get(name).map(Value::param),
            Self::Namespace(view) => {
                (name == "metadata").then_some(Value::Map(Self::NamespaceMetadata(view)))
            }
            Self::NamespaceMetadata(view) => match name {
                "name" => Some(Value::text(view.name)),
                "labels" => Some(Value::Map(Self::Texts(view.labels))),
                "annotations" => Some(Value::Map(Self::Texts(view.annotations))),
                _ => None,
            },
            Self::Profile(profile) => (name == "name").then_some(Value::text(profile)),
            Self::Built(entries) => built_field(entries, &Key::Text(Str::Borrowed(name))),
        })
    }

    /// The value of a key of any type.
    pub(super) fn get(&self, budget: &mut Budget, key: &Value<'_>) -> Result<Option<Value<'v>>, Problem> {
        match (self, key) {
            (Self::Built(entries), key) => Ok(Key::to_find(key).and_then(|key| built_field(entries, &key))),
            (map, Value::Text(name)) => map.field(budget, name),
            _ => Ok(None),
        }
    }

    pub(super) fn keys(&self) -> Vec<Value<'v>> {
        match self {
            Self::Json(fields) => {
                let key = |index| fields.get_key_value_at(index).map(|(key, _)| Value::text(key));
                (0..fields.len()).filter_map(key).collect()
            }
            Self::Tree(fields) => fields.keys().map(|key| Value::text(key)).collect(),
            Self::Texts(fields) => fields.keys().map(|key| Value::text(key)).collect(),
            Self::Params(fields) => fields.keys().map(|key| Value::text(key)).collect(),
            Self::Namespace(_) => vec![Value::text("metadata")],
            Self::NamespaceMetadata(_) => ["name", "labels", "annotations"].map(Value::text).into(),
            Self::Profile(_) => vec![Value::text("name")],
            Self::Built(entries) => entries.iter().map(|(key, _)| key.to_value()).collect(),
        }
    }
}

fn built_field<'v>(entries: &[(Key<'v>, Value<'v>)], key: &Key<'_>) -> Option<Value<'v>> {
    let at = entries.binary_search_by(|(other, _)| Ord::cmp(other, key)).ok()?;
    entries.get(at).map(|(_, value)| value.clone())
}

impl<'v> Key<'v> {
    /// A value as a key to look for: also a whole double.
    pub(super) fn to_find(value: &Value<'v>) -> Option<Self> {
        match value {
            Value::Double(_) => {
                super::operators::as_index(value).map(|number| Self::Number(i128::from(number)))
            }
            value => Self::from_value(value),
        }
    }

    /// A value as a key; `None` if it is of a type that CEL has no keys of.
    pub(super) fn from_value(value: &Value<'v>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(number) => Some(Self::Number(i128::from(*number))),
            Value::Uint(number) => Some(Self::Number(i128::from(*number))),
            Value::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    fn to_value(&self) -> Value<'v> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => i64::try_from(*number)
                .map(Value::Int)
                .or_else(|_| u64::try_from(*number).map(Value::Uint))
                .unwrap_or(Value::Null),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }
}
