//! Difference between the submitted pod and the draft, as an RFC 6902 patch.
//!
//! Lists are compared element by element, so that an inserted container is one operation and not a rewritten list. For each
//! list, removals come first, from the end; then insertions from the start, each at its index in the resulting list; then
//! changes inside the remaining elements.

mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use super::draft::{Draft, Slot};
use super::pod::PodView as _;
use crate::fields::lists::{is_keyed, key_of};
use crate::fields::{ContainerKind, DnsList, Map, Place, SpecList};
use crate::json::{Json, field, same, text};
use crate::profiles::Rendered;
pub use text::Patch;
use text::PatchText;

/// Returns the operations that apply the changes to a pod.
pub(super) fn of(draft: &Draft<'_>) -> Patch {
    let mut writer = PatchWriter::default();
    for (place, slots) in draft.changed_lists() {
        match place {
            Place::Spec(list) => {
                let submitted = draft.submitted().spec(list.name());
                writer.within("spec", |writer| writer.list_field(list.name(), submitted, slots));
            }
            Place::Container { kind, name, field: list } => {
                let Some((index, container)) = container(draft, *kind, name) else { continue };
                let submitted = field(container, list.name());
                writer.within("spec", |writer| {
                    writer.within(kind.list().name(), |writer| {
                        writer
                            .within_element(index, |writer| writer.list_field(list.name(), submitted, slots));
                    });
                });
            }
            Place::Dns(_) | Place::Map(_) => {}
        }
    }
    writer.dns(draft);
    for map in Map::ALL {
        writer.keys(draft, map);
    }
    writer.text.done()
}

/// Checks that the operations, applied by an independent library, result in the merged pod. Only tests call it. Empty and null
/// values count as absent.
pub(super) fn makes(patch: &Patch, submitted: &Json<'_>, merged: &Json<'_>) -> bool {
    let mut patched = Value::from(submitted);
    let mut merged = Value::from(merged);
    let applies = json_patch::patch(&mut patched, &patch.operations()).is_ok();
    drop_empty(&mut patched);
    drop_empty(&mut merged);
    applies && patched == merged
}

fn drop_empty(value: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_empty);
            fields.retain(|_, value| !is_empty(value));
        }
        _ => {}
    }
}

/// Returns a container of the submitted pod, and its index in the resulting list.
fn container<'a>(draft: &Draft<'a>, kind: ContainerKind, name: &str) -> Option<(usize, &'a Json<'a>)> {
    let place = Place::Spec(kind.list());
    let submitted =
        draft.submitted().list(&place).iter().position(|container| text(container, "name") == Some(name))?;
    let index = match draft.changed_lists().get(&place) {
        None => submitted,
        Some(slots) => {
            slots.iter().position(|slot| matches!(slot, Slot::Kept(index) if *index == submitted))?
        }
    };
    Some((index, draft.submitted().at(&place, submitted)?))
}

#[derive(Default)]
struct PatchWriter {
    text: PatchText,
    /// Objects directly under the root that the submitted pod lacks and that the patch has created.
    made: Vec<&'static str>,
}

/// Elements of a list, serialized on demand.
struct Elements<'s> {
    before: &'s [Json<'s>],
    slots: &'s [Slot<'s>],
}

/// Object of which only some parents exist, serialized with the missing parents around it.
struct Nested<'s, T> {
    missing: &'s [&'static str],
    fields: &'s [(&'s str, T)],
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.slots.iter().map(|slot| ListElement { before: self.before, slot }))
    }
}

impl<T: Serialize> Serialize for Nested<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((first, missing)) = self.missing.split_first() else {
            return serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)));
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(first, &Nested { missing, fields: self.fields })?;
        map.end()
    }
}

/// One element of a list.
struct ListElement<'s> {
    before: &'s [Json<'s>],
    slot: &'s Slot<'s>,
}

impl Serialize for ListElement<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.slot {
            Slot::Kept(index) => self.before.get(*index).serialize(serializer),
            Slot::Changed(_, value) | Slot::Added(value) => value.serialize(serializer),
        }
    }
}

impl PatchWriter {
    /// Writes a list: a field of the object at the path.
    fn list_field(&mut self, name: &'static str, submitted: Option<&Json<'_>>, slots: &[Slot<'_>]) {
        let before = submitted.and_then(Json::as_array).unwrap_or_default();
        self.within(name, |writer| match (submitted, slots) {
            // A pod always has a list of containers, even if it is empty.
            (Some(_), []) if name == SpecList::Containers.name() => writer.list(before, slots),
            (Some(_), []) if !before.is_empty() => writer.text.remove(),
            (_, []) => {}
            (Some(Json::Array(_)), slots) => writer.list(before, slots),
            (_, slots) => writer.text.add(&Elements { before, slots }),
        });
    }

    fn list(&mut self, before: &[Json<'_>], slots: &[Slot<'_>]) {
        let counterparts: Vec<Option<usize>> = slots
            .iter()
            .map(|slot| match slot {
                Slot::Kept(index) | Slot::Changed(index, _) => Some(*index),
                Slot::Added(_) => None,
            })
            .collect();
        let stays = longest_increasing(&counterparts);
        let mut is_kept = vec![false; before.len()];
        for index in stays.iter().filter_map(|index| *counterparts.get(*index)?) {
            if let Some(kept) = is_kept.get_mut(index) {
                *kept = true;
            }
        }
        for (index, _) in is_kept.iter().enumerate().rev().filter(|(_, kept)| !**kept) {
            self.within_element(index, |writer| writer.text.remove());
        }
        let mut next = stays.iter().copied().peekable();
        for (index, slot) in slots.iter().enumerate() {
            if next.next_if_eq(&index).is_none() {
                self.within_element(index, |writer| writer.text.add(&ListElement { before, slot }));
            }
        }
        for index in stays {
            if let Some(Slot::Changed(old, value)) = slots.get(index)
                && let Some(old) = before.get(*old)
            {
                self.within_element(index, |writer| writer.values("", old, value));
            }
        }
    }

    /// Writes the lists of the DNS configuration, and creates the configuration first if needed.
    fn dns(&mut self, draft: &Draft<'_>) {
        let changed = DnsList::ALL.map(|list| (list, draft.changed_lists().get(&Place::Dns(list))));
        let submitted = draft.submitted().spec("dnsConfig");
        if let Some(dns) = submitted {
            self.dns_lists(dns, &changed);
            return;
        }
        let lists: Vec<(&str, Elements<'_>)> = changed
            .into_iter()
            .filter_map(|(list, slots)| Some((list.name(), Elements { before: &[], slots: slots? })))
            .filter(|(_, elements)| !elements.slots.is_empty())
            .collect();
        if !lists.is_empty() {
            let lists = Nested { missing: &[], fields: &lists };
            self.within("spec", |writer| writer.within("dnsConfig", |writer| writer.text.add(&lists)));
        }
    }

    fn dns_lists(&mut self, dns: &Json<'_>, changed: &[(DnsList, Option<&Vec<Slot<'_>>>)]) {
        let is_emptied = |name: &str| {
            changed.iter().any(|(list, slots)| list.name() == name && slots.is_some_and(Vec::is_empty))
        };
        let is_all_gone =
            dns.as_object().is_some_and(|fields| !fields.is_empty() && fields.keys().all(is_emptied));
        self.within("spec", |writer| {
            writer.within("dnsConfig", |writer| {
                if is_all_gone {
                    return writer.text.remove();
                }
                for (list, slots) in changed {
                    if let Some(slots) = slots {
                        writer.list_field(list.name(), field(dns, list.name()), slots);
                    }
                }
            });
        });
    }

    /// Writes the keys of a map, and creates the map and its parents first if needed.
    fn keys(&mut self, draft: &Draft<'_>, map: Map) {
        let changed: Vec<(&str, Option<&Rendered<'_>>)> = draft.changed_keys(map).collect();
        let mut submitted = Some(draft.submitted().json());
        let mut there = map.path().iter().take_while(|name| self.made.contains(name)).count();
        for name in map.path() {
            submitted = submitted.and_then(|value| field(value, name));
            there += usize::from(submitted.is_some());
        }
        let submitted = submitted.and_then(Json::as_object);
        let Some(submitted) = submitted else {
            let set = changed.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
            let set: Vec<(&str, &Rendered<'_>)> = set.collect();
            if !set.is_empty() {
                self.add_nested(map.path(), there, &set);
            }
            return;
        };
        let taken =
            changed.iter().filter(|(key, value)| value.is_none() && submitted.contains_key(key)).count();
        let up = self.text.path();
        for name in map.path() {
            self.text.down(name);
        }
        if taken > 0 && taken == submitted.len() && changed.len() == taken {
            self.text.remove();
        } else {
            for (key, value) in changed {
                self.within(key, |writer| match (submitted.get(key), value) {
                    (None, None) => {}
                    (None, Some(value)) => writer.text.add(value),
                    (Some(_), None) => writer.text.remove(),
                    (Some(old), Some(value)) => writer.values(key, old, value),
                });
            }
        }
        self.text.up(up);
    }

    /// Adds an object of whose path only the first `there` fields exist.
    fn add_nested(&mut self, path: &[&'static str], there: usize, fields: &[(&str, &Rendered<'_>)]) {
        let (existing, missing) = path.split_at(there.min(path.len() - 1) + 1);
        self.made.extend(path.first());
        let up = self.text.path();
        for name in existing {
            self.text.down(name);
        }
        self.text.add(&Nested { missing, fields });
        self.text.up(up);
    }

    fn values(&mut self, name: &str, before: &Json<'_>, after: &Json<'_>) {
        match (before, after) {
            (before, after) if same(after, before) => {}
            (Json::Object(before), Json::Object(after)) => {
                for key in before.keys().filter(|key| !after.contains_key(key)) {
                    self.within(key, |writer| writer.text.remove());
                }
                for (key, value) in after.iter() {
                    self.within(key, |writer| match before.get(key) {
                        None => writer.text.add(value),
                        Some(old) => writer.values(key, old, value),
                    });
                }
            }
            (Json::Array(before), Json::Array(after)) if is_keyed(name) => {
                self.list(before, &counterparts(name, before, after));
            }
            (_, after) => self.text.replace(after),
        }
    }

    fn within(&mut self, field: &str, write: impl FnOnce(&mut Self)) {
        let up = self.text.path();
        self.text.down(field);
        write(self);
        self.text.up(up);
    }

    fn within_element(&mut self, index: usize, write: impl FnOnce(&mut Self)) {
        let up = self.text.path();
        self.text.down_to(index);
        write(self);
        self.text.up(up);
    }
}

/// Pairs the elements of a list with the earlier ones of the same key. Kubernetes allows some keys to repeat; the n-th is
/// paired with the n-th.
fn counterparts<'a>(name: &str, before: &[Json<'_>], after: &'a [Json<'a>]) -> Vec<Slot<'a>> {
    let mut there: BTreeMap<Cow<'_, str>, Vec<usize>> = BTreeMap::new();
    for (index, item) in before.iter().enumerate().rev() {
        there.entry(key_of(name, item)).or_default().push(index);
    }
    after
        .iter()
        .map(|item| match there.get_mut(&key_of(name, item)).and_then(Vec::pop) {
            Some(index) => Slot::Changed(index, Rendered::Lent(item)),
            None => Slot::Added(Rendered::Lent(item)),
        })
        .collect()
}

/// Returns the indexes of the longest subsequence of elements whose counterparts are in increasing order: those that need not
/// move.
fn longest_increasing(counterparts: &[Option<usize>]) -> Vec<usize> {
    // Fast path: elements rarely move.
    if counterparts.iter().flatten().is_sorted_by(|left, right| left < right) {
        return (0..counterparts.len())
            .filter(|index| matches!(counterparts.get(*index), Some(Some(_))))
            .collect();
    }
    // For every length, the index at which the best subsequence of that length ends; for every index, its predecessor.
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
    use crate::engine::pod::SubmittedPod;
    use crate::json::owned;
    use serde_json::json;

    /// Returns the patch that turns `before` into `after`.
    fn check(before: &Value, after: &Value, operations: usize) -> json_patch::Patch {
        let mut writer = PatchWriter::default();
        writer.values("", &Json::from(before), &Json::from(after));
        let patch = writer.text.done().operations();
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

    fn changed(before: &Value, change: impl FnOnce(&mut Draft<'_>)) -> (Vec<String>, Value) {
        let submitted = Json::from(before);
        let mut draft = Draft::new(SubmittedPod(&submitted));
        change(&mut draft);
        let patch = of(&draft).operations();
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        (patch.iter().map(|operation| operation.path().to_string()).collect(), patched)
    }

    #[test]
    fn keys_are_escaped_and_missing_parents_are_made() {
        let label = |draft: &mut Draft<'_>| {
            draft.set(Map::Labels, Cow::Borrowed("a/b~c"), Rendered::Made("1".into()));
        };
        for (before, path) in [
            (json!({}), "/metadata"),
            (json!({"metadata": {"name": "a"}}), "/metadata/labels"),
            (json!({"metadata": {"labels": null}}), "/metadata/labels"),
            (json!({"metadata": {"labels": {}}}), "/metadata/labels/a~1b~0c"),
        ] {
            let (paths, patched) = changed(&before, label);
            assert_eq!(paths, [path]);
            assert_eq!(patched["metadata"]["labels"], json!({"a/b~c": "1"}));
        }
    }

    #[test]
    fn missing_metadata_is_made_once() {
        let (paths, patched) = changed(&json!({"spec": {}}), |draft| {
            draft.set(Map::Labels, Cow::Borrowed("a"), Rendered::Made("1".into()));
            draft.set(Map::Annotations, Cow::Borrowed("b"), Rendered::Made("2".into()));
        });
        assert_eq!(paths, ["/metadata", "/metadata/annotations"]);
        assert_eq!(patched["metadata"], json!({"labels": {"a": "1"}, "annotations": {"b": "2"}}));
    }

    #[test]
    fn what_is_put_back_where_it_was_changes_nothing() {
        let pod =
            json!({"spec": {"initContainers": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v"}]}});
        let (paths, _) = changed(&pod, |draft| {
            let index = draft.take(&Place::INIT_CONTAINERS, "a").unwrap();
            draft.insert(&Place::INIT_CONTAINERS, 0, Slot::Kept(index));
        });
        assert!(paths.is_empty(), "{paths:?}");
        let (paths, patched) = changed(&pod, |draft| {
            draft.take(&Place::VOLUMES, "v");
        });
        assert_eq!((paths, patched["spec"].get("volumes")), (vec!["/spec/volumes".to_owned()], None));
    }

    #[test]
    fn a_dns_configuration_is_made_once() {
        let (paths, patched) = changed(&json!({"spec": {}}), |draft| {
            draft.insert(&Place::Dns(DnsList::Searches), 0, Slot::Added(Rendered::Made("a.b".into())));
            draft.insert(
                &Place::Dns(DnsList::Options),
                0,
                Slot::Added(Rendered::Made(owned(json!({"name": "x"})))),
            );
        });
        assert_eq!(paths, ["/spec/dnsConfig"]);
        assert_eq!(patched["spec"]["dnsConfig"], json!({"searches": ["a.b"], "options": [{"name": "x"}]}));
    }
}
