//! The difference between two pods, as RFC 6902 writes it.
//!
//! Lists are compared by their merge keys, so that one inserted container is one operation and not a
//! rewritten list. In a list removals come first, from the end; then insertions from the start, each at its
//! place in the finished list; then what changed inside elements that stayed.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use super::lists::{is_keyed, key_of};

/// The operations that make `after` of `before`.
pub(super) fn between(before: &Value, after: &Value) -> Patch {
    let mut writer = Writer { operations: Vec::new(), path: Vec::new() };
    writer.values("", before, after);
    Patch(writer.operations)
}

struct Writer {
    operations: Vec<PatchOperation>,
    path: Vec<String>,
}

impl Writer {
    fn values(&mut self, field: &str, before: &Value, after: &Value) {
        match (before, after) {
            (before, after) if before == after => {}
            (Value::Object(before), Value::Object(after)) => self.maps(before, after),
            (Value::Array(before), Value::Array(after)) if is_keyed(field) => {
                self.lists(field, before, after);
            }
            (_, after) => {
                let path = self.pointer();
                self.operations
                    .push(PatchOperation::Replace(ReplaceOperation { path, value: after.clone() }));
            }
        }
    }

    fn maps(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            self.within(key.clone(), Self::remove);
        }
        for (key, value) in after {
            match before.get(key) {
                None => self.within(key.clone(), |writer| writer.add(value)),
                Some(old) => self.within(key.clone(), |writer| writer.values(key, old, value)),
            }
        }
    }

    fn lists(&mut self, field: &str, before: &[Value], after: &[Value]) {
        let (old_ids, new_ids) = (identities(field, before), identities(field, after));
        let positions: BTreeMap<&Identity, usize> =
            old_ids.iter().enumerate().map(|(index, id)| (id, index)).collect();
        let counterparts: Vec<Option<usize>> = new_ids.iter().map(|id| positions.get(id).copied()).collect();
        let stays = longest_increasing(&counterparts);
        let kept: Vec<usize> = stays.iter().filter_map(|index| *counterparts.get(*index)?).collect();

        for index in (0..before.len()).rev().filter(|index| !kept.contains(index)) {
            self.within(index.to_string(), Self::remove);
        }
        for (index, value) in after.iter().enumerate().filter(|(index, _)| !stays.contains(index)) {
            self.within(index.to_string(), |writer| writer.add(value));
        }
        for (new, old) in stays.iter().zip(kept) {
            if let (Some(old), Some(value)) = (before.get(old), after.get(*new)) {
                self.within(new.to_string(), |writer| writer.values("", old, value));
            }
        }
    }

    fn within(&mut self, token: String, write: impl FnOnce(&mut Self)) {
        self.path.push(token);
        write(self);
        self.path.pop();
    }

    fn add(&mut self, value: &Value) {
        let path = self.pointer();
        self.operations.push(PatchOperation::Add(AddOperation { path, value: value.clone() }));
    }

    fn remove(&mut self) {
        let path = self.pointer();
        self.operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }

    fn pointer(&self) -> PointerBuf {
        PointerBuf::from_tokens(&self.path)
    }
}

/// An element's key, and how many elements of that key stand before it: Kubernetes lets some keys repeat.
type Identity = (String, usize);

fn identities(field: &str, items: &[Value]) -> Vec<Identity> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    items
        .iter()
        .map(|item| {
            let key = key_of(field, item).into_owned();
            let count = seen.entry(key.clone()).or_default();
            *count += 1;
            (key, *count)
        })
        .collect()
}

/// The indexes of the longest run of elements whose counterparts are in increasing order: those that need
/// not move.
fn longest_increasing(counterparts: &[Option<usize>]) -> Vec<usize> {
    // For every length the index at which the best run of that length ends, and for every index its predecessor.
    let mut ends: Vec<usize> = Vec::new();
    let mut predecessors: Vec<Option<usize>> = vec![None; counterparts.len()];
    for (index, counterpart) in counterparts.iter().enumerate() {
        let Some(counterpart) = counterpart else { continue };
        let length =
            ends.partition_point(|end| counterparts.get(*end).copied().flatten() < Some(*counterpart));
        if let Some(slot) = predecessors.get_mut(index) {
            *slot = length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied());
        }
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut run: Vec<usize> =
        std::iter::successors(ends.last().copied(), |index| predecessors.get(*index).copied().flatten())
            .collect();
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(before: &Value, after: &Value, operations: usize) -> Patch {
        let patch = between(before, after);
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(&patched, after, "{patch}");
        assert_eq!(patch.len(), operations, "{patch}");
        patch
    }

    #[test]
    fn an_insertion_at_the_front_is_one_operation() {
        let patch = check(
            &json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            &json!({"spec": {"containers": [{"name": "x"}, {"name": "a"}, {"name": "b", "env": [{"name": "E"}]}]}}),
            2,
        );
        assert_eq!(patch[0].path().as_str(), "/spec/containers/0");
        assert_eq!(patch[1].path().as_str(), "/spec/containers/2/env");
    }

    #[test]
    fn keys_are_escaped_and_missing_parents_are_made() {
        let patch = check(&json!({}), &json!({"metadata": {"labels": {"a/b~c": "1"}}}), 1);
        assert_eq!(patch[0].path().as_str(), "/metadata");
        let patch =
            check(&json!({"metadata": {"labels": {}}}), &json!({"metadata": {"labels": {"a/b~c": "1"}}}), 1);
        assert_eq!(patch[0].path().as_str(), "/metadata/labels/a~1b~0c");
    }

    #[test]
    fn removals_moves_and_repeated_keys_apply() {
        let list = |names: &[&str]| json!({"env": names.iter().enumerate().map(|(i, n)| json!({"name": n, "value": i.to_string()})).collect::<Vec<_>>()});
        let named =
            |names: &[&str]| json!({"volumes": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()});
        check(&named(&["a", "b", "c", "d"]), &named(&["d", "a", "c"]), 3);
        check(&named(&["a", "b"]), &named(&[]), 2);
        check(&list(&["A", "A", "B"]), &list(&["A", "A", "B", "C"]), 1);
        check(&list(&["A", "A"]), &list(&["A"]), 1);
        check(&json!({"args": ["a", "b"]}), &json!({"args": ["b"]}), 1);
        check(&json!({"volumes": null}), &json!({"volumes": [{"name": "a"}]}), 1);
    }
}
