//! Changes between two values of a pod, by the paths of their fields.

use serde_json::Value;

use crate::fields::lists::{key_of, merge_key};

/// A field with a different value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Path with elements of lists by their keys: `spec.initContainers[proxy].image`.
    pub(super) path: String,
    /// Old value; null if the field is new.
    pub(super) before: Value,
    /// New value; null if the field was removed.
    pub(super) after: Value,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.before, &self.after) {
            (Value::Null, after) => write!(f, "{}: added {after}", self.path),
            (_, Value::Null) => write!(f, "{}: removed", self.path),
            (before, after) => write!(f, "{}: {before} becomes {after}", self.path),
        }
    }
}

/// Returns the changes from one value to another.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    walk("", "", before, after, &mut found);
    found
}

fn walk(path: &str, name: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(was), Value::Object(now)) => {
            let names = was.keys().chain(now.keys().filter(|name| !was.contains_key(*name)));
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                walk(&path, name, &of(was), &of(now), found);
            }
        }
        (Value::Array(was), Value::Array(now)) if merge_key(name).is_some() => {
            let find =
                |list: &[Value], key: &str| list.iter().find(|item| key_of(name, *item) == key).cloned();
            let mut keys: Vec<String> = Vec::new();
            for item in was.iter().chain(now) {
                let key = key_of(name, item).into_owned();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            for key in keys {
                let (was, now) = (find(was, &key).unwrap_or_default(), find(now, &key).unwrap_or_default());
                walk(&format!("{path}[{key}]"), "", &was, &now, found);
            }
        }
        (before, after) => {
            found.push(Change { path: path.to_owned(), before: before.clone(), after: after.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_elements_are_compared_by_their_keys() {
        let before = json!({ "spec": { "containers": [{ "name": "a", "image": "1" }, { "name": "b", "args": ["x"] }] } });
        let after = json!({ "spec": { "containers": [{ "name": "b", "args": ["y"] }, { "name": "a", "image": "2" }], "x": 1 } });
        let found: Vec<String> = changes(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "spec.containers[a].image: \"1\" becomes \"2\"",
                "spec.containers[b].args: [\"x\"] becomes [\"y\"]",
                "spec.x: added 1",
            ]
        );
        assert!(changes(&before, &before).is_empty());
    }
}
