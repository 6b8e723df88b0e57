use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Change to a pod, as an RFC 6902 patch.
///
/// Kept as text: most of it are values of profiles, which are serialized without a copy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// JSON list of operations; empty if there are none.
    text: Vec<u8>,
}

impl Patch {
    /// Checks whether the patch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns the JSON list of operations.
    pub fn json(&self) -> &[u8] {
        if self.is_empty() { b"[]" } else { &self.text }
    }

    /// Returns the operations, parsed.
    pub fn operations(&self) -> json_patch::Patch {
        // serde_json can parse its own output.
        serde_json::from_slice(self.json()).unwrap_or_default()
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.json()))
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8_lossy(self.json()).into_owned();
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Writer of a patch, with a current path in the pod.
#[derive(Default)]
pub(super) struct PatchText {
    patch: Patch,
    path: String,
}

impl PatchText {
    pub(super) fn done(mut self) -> Patch {
        if !self.patch.is_empty() {
            self.patch.text.push(b']');
        }
        self.patch
    }

    /// Returns the length of the current path, for [`Self::up`].
    pub(super) fn path(&self) -> usize {
        self.path.len()
    }

    /// Appends a field to the path.
    pub(super) fn down(&mut self, field: &str) {
        self.path.push('/');
        for c in field.chars() {
            match c {
                '~' => self.path.push_str("~0"),
                '/' => self.path.push_str("~1"),
                c => self.path.push(c),
            }
        }
    }

    /// Appends an index to the path.
    pub(super) fn down_to(&mut self, index: usize) {
        // Writing to a string cannot fail.
        _ = write!(self.path, "/{index}");
    }

    /// Truncates the path to an earlier length.
    pub(super) fn up(&mut self, path: usize) {
        self.path.truncate(path);
    }

    pub(super) fn remove(&mut self) {
        self.begin("remove");
        self.patch.text.push(b'}');
    }

    pub(super) fn add(&mut self, value: &impl Serialize) {
        self.with_value("add", value);
    }

    pub(super) fn replace(&mut self, value: &impl Serialize) {
        self.with_value("replace", value);
    }

    fn with_value(&mut self, operation: &str, value: &impl Serialize) {
        self.begin(operation);
        self.patch.text.extend_from_slice(b",\"value\":");
        self.json(value);
        self.patch.text.push(b'}');
    }

    fn begin(&mut self, operation: &str) {
        let text = &mut self.patch.text;
        text.push(if text.is_empty() { b'[' } else { b',' });
        text.extend_from_slice(b"{\"op\":\"");
        text.extend_from_slice(operation.as_bytes());
        text.extend_from_slice(b"\",\"path\":");
        let path = std::mem::take(&mut self.path);
        self.json(&path);
        self.path = path;
    }

    fn json(&mut self, value: &impl Serialize) {
        // All these values have a JSON form, and writing to a vector cannot fail.
        _ = serde_json::to_writer(&mut self.patch.text, value);
    }
}
