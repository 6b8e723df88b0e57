//! Values of expressions. They are cheap to clone: large parts are borrowed or reference-counted.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::rc::Rc;

use super::budget::{Budget, EvaluationProblem};
use super::constant::Constant;
use super::variables::{Json, NamespaceView, ParameterValue};
use crate::duration::Duration;
use crate::quantity::Quantity;
use crate::string_map::StringMap;

/// CEL value that borrows from the variables and from the expression.
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

/// String: borrowed from the input, or new.
#[derive(Clone, Debug)]
pub(super) enum Str<'v> {
    Borrowed(&'v str),
    Shared(Rc<str>),
}

/// List, borrowed from the input or new.
#[derive(Clone, Debug)]
pub(super) enum List<'v> {
    Json(&'v [Json<'v>]),
    Tree(&'v [serde_json::Value]),
    Texts(&'v [String]),
    Constants(&'v [Constant]),
    Built(Rc<Vec<Value<'v>>>),
}

/// Map, borrowed from the input or new.
#[derive(Clone, Debug)]
pub(super) enum Map<'v> {
    Json(&'v serde_json_borrow::ObjectAsVec<'v>),
    Tree(&'v serde_json::Map<String, serde_json::Value>),
    Texts(&'v StringMap),
    Params(&'v BTreeMap<String, ParameterValue>),
    Namespace(&'v NamespaceView<'v>),
    NamespaceMetadata(&'v NamespaceView<'v>),
    Profile(&'v str),
    /// Sorted by key.
    Built(Rc<Vec<(Key<'v>, Value<'v>)>>),
}

/// Key of a map. All integers are one kind of key, as CEL compares them.
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

    /// Returns a new string, charged to the budget.
    pub(super) fn new_text(budget: &mut Budget, text: &str) -> Result<Self, EvaluationProblem> {
        budget.produce(text.len())?;
        Ok(Self::Text(Str::Shared(Rc::from(text))))
    }

    /// Returns a new list, charged to the budget.
    pub(super) fn new_list(budget: &mut Budget, items: Vec<Self>) -> Result<Self, EvaluationProblem> {
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

    /// Returns the type's name, as in `type()` and messages.
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

    /// Returns a number without a fraction, of any type, as the index of a list.
    pub(super) fn as_index(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Uint(number) => i64::try_from(*number).ok(),
            #[expect(clippy::cast_possible_truncation, reason = "only whole doubles in range get here")]
            Self::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            _ => None,
        }
    }
}

impl<'v> Str<'v> {
    /// Returns a part of the string, copied only if the string itself is new. The range must be on character boundaries.
    pub(super) fn slice(
        &self,
        budget: &mut Budget,
        range: Range<usize>,
    ) -> Result<Value<'v>, EvaluationProblem> {
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
