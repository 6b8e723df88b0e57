//! Access to the elements of lists and maps.

use super::budget::{Budget, EvaluationProblem};
use super::value::{Key, List, Map, Str, Value};

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

    /// Returns the value of a field. Objects of the pod are searched linearly, so the search is charged.
    pub(super) fn field(
        &self,
        budget: &mut Budget,
        name: &str,
    ) -> Result<Option<Value<'v>>, EvaluationProblem> {
        Ok(match self {
            Self::Json(fields) => {
                budget.step(fields.len() / 16)?;
                fields.get(name).map(Value::json)
            }
            Self::Tree(fields) => fields.get(name).map(Value::tree),
            Self::Texts(fields) => fields.get(name).map(Value::text),
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

    /// Returns the value of a key of any type.
    pub(super) fn get(
        &self,
        budget: &mut Budget,
        key: &Value<'_>,
    ) -> Result<Option<Value<'v>>, EvaluationProblem> {
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
            Self::Texts(fields) => fields.keys().map(Value::text).collect(),
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
    /// Returns a value as a key for a lookup; also a double without a fraction.
    pub(super) fn to_find(value: &Value<'v>) -> Option<Self> {
        match value {
            Value::Double(_) => value.as_index().map(|number| Self::Number(i128::from(number))),
            value => Self::from_value(value),
        }
    }

    /// Returns a value as a key; `None` if CEL has no keys of its type.
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
