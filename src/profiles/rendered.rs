use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{Json, length, lent};

/// Value of a profile, rendered for one pod.
#[derive(Clone, Debug)]
pub enum Rendered<'a> {
    /// Value that is the same for every pod. Most of a patch are such values, so they are kept serialized.
    Literal {
        /// Parsed value.
        value: &'a Json<'a>,
        /// Serialized value.
        text: &'a RawValue,
    },
    /// Borrowed value.
    Lent(&'a Json<'a>),
    /// Value computed for this pod.
    Made(Json<'a>),
}

impl<'a> Rendered<'a> {
    /// Returns the approximate length of the serialized value in bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Literal { text, .. } => text.get().len(),
            Self::Lent(value) => length(value),
            Self::Made(value) => length(value),
        }
    }

    /// Returns the value for modification.
    pub fn into_value(self) -> Json<'a> {
        match self {
            Self::Literal { value, .. } | Self::Lent(value) => lent(value),
            Self::Made(value) => value,
        }
    }
}

impl<'a> Deref for Rendered<'a> {
    type Target = Json<'a>;

    fn deref(&self) -> &Json<'a> {
        match self {
            Self::Literal { value, .. } | Self::Lent(value) => value,
            Self::Made(value) => value,
        }
    }
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Literal { text, .. } => text.serialize(serializer),
            Self::Lent(value) => value.serialize(serializer),
            Self::Made(value) => value.serialize(serializer),
        }
    }
}
