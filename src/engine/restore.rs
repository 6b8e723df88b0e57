//! Live pods whose original manifest is applied again.
//!
//! `kubectl apply` sets fields back to the manifest's values. An injection may have changed some of them: the grace period,
//! the image of a container with `image: auto`, a list that `kubectl` replaces as a whole, or the order of a list. The API
//! server rejects most of these updates, since a pod's spec is immutable, and accepts the image `auto`. So the injected values
//! are restored, and the pod is unchanged. `kubectl diff` then shows no difference.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Draft, Slot};
use super::patch::{self, Patch};
use super::pod::{PodElement, PodView as _, SubmittedPod};
use super::{reinvocation, shape};
use crate::api::{InjectedProfile, Replaced, keys};
use crate::fields::lists::key_of;
use crate::fields::{Place, SpecList};
use crate::json::{Json, lent, same, text};
use crate::profiles::Rendered;

/// Returns the changes that restore the live values of injected fields which an update has set to the values before the
/// injection. Other updates are kept.
pub fn restore(live: &Json<'_>, updated: &Json<'_>) -> Patch {
    if shape::check(live).is_err() || shape::check(updated).is_err() {
        return Patch::default();
    }
    let (before, mut draft) = (SubmittedPod(live), Draft::new(SubmittedPod(updated)));
    let Ok(Some(status)) = reinvocation::status(before) else { return Patch::default() };
    for (place, ours) in lists(&status.profiles) {
        restore_list(before, &mut draft, &place, &ours);
    }
    for injected in &status.profiles {
        for place in injected.overlays.keys().filter_map(|place| place.parse::<Place>().ok()) {
            restore_overlays(before, &mut draft, &place);
        }
        for (path, replaced) in &injected.replaced {
            restore_value(before, &mut draft, path, replaced);
        }
    }
    patch::of(&draft)
}

/// Returns the lists that profiles added to, each with the keys of the added elements.
fn lists(profiles: &[InjectedProfile]) -> BTreeMap<Place, BTreeSet<&str>> {
    let mut lists: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
    for (place, added) in profiles.iter().flat_map(|injected| &injected.added) {
        match place.parse::<Place>() {
            Ok(Place::Map(_)) | Err(()) => {}
            Ok(place) => lists.entry(place).or_default().extend(added.iter().map(String::as_str)),
        }
    }
    lists
}

/// Restores the live order of a list, and its injected elements if it has none of them.
fn restore_list<'a>(before: SubmittedPod<'a>, draft: &mut Draft<'a>, place: &Place, ours: &BTreeSet<&str>) {
    let field = place.field();
    let keys = |items: &'a [Json<'a>]| -> Vec<Cow<'a, str>> {
        items.iter().map(|item| key_of(field, item)).collect()
    };
    let (live, updated) = (before.list(place), draft.submitted().list(place));
    let (live_keys, updated_keys) = (keys(live), keys(updated));
    let has_twins = |keys: &[Cow<'_, str>]| keys.iter().collect::<BTreeSet<_>>().len() != keys.len();
    let is_gone = match place {
        Place::Container { kind, name, .. } => draft.get(&Place::Spec(kind.list()), name).is_none(),
        _ => false,
    };
    if is_gone || has_twins(&live_keys) || has_twins(&updated_keys) {
        return;
    }
    // A removed container is a change by a user, which the API server rejects with its own message.
    let is_container = matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers));
    let is_original = !is_container && !updated_keys.iter().any(|key| ours.contains(&**key));
    let mut slots: Vec<Slot<'a>> = Vec::with_capacity(live.len());
    for (key, item) in live_keys.iter().zip(live) {
        match updated_keys.iter().position(|other| other == key) {
            Some(index) => slots.push(Slot::Kept(index)),
            None if is_original && ours.contains(&**key) => {
                slots.push(Slot::Added(Rendered::Made(lent(item))));
            }
            None => {}
        }
    }
    let new = updated_keys.iter().enumerate().filter(|(_, key)| !live_keys.contains(key));
    slots.extend(new.map(|(index, _)| Slot::Kept(index)));
    let is_unchanged = slots.len() == updated.len()
        && slots.iter().enumerate().all(|(at, slot)| matches!(slot, Slot::Kept(index) if *index == at));
    if !is_unchanged {
        draft.set_list(place, slots);
    }
}

/// Restores the live image and fields of containers whose image is `auto` again.
fn restore_overlays<'a>(before: SubmittedPod<'a>, draft: &mut Draft<'a>, place: &Place) {
    let (live, updated) = (before.list(place), draft.submitted().list(place));
    for (index, container) in
        updated.iter().enumerate().filter(|(_, one)| PodElement::Submitted(one).has_image_auto())
    {
        let of_name = |other: &&Json<'_>| text(other, "name") == text(container, "name");
        if let Some(other) =
            live.iter().find(of_name).filter(|other| !PodElement::Submitted(other).has_image_auto())
        {
            draft.replace(place, index, Slot::Changed(index, Rendered::Made(lent(other))));
        }
    }
}

/// Restores the live value of a field that an injection replaced, if the update has the value before the injection.
fn restore_value<'a>(before: SubmittedPod<'a>, draft: &mut Draft<'a>, path: &str, replaced: &Replaced) {
    let Some((map, key)) = reinvocation::replaced_key(path) else { return };
    let is = |value: Option<&Json<'_>>, wanted: &Value| match value {
        None => wanted.is_null(),
        Some(value) => same(value, &Json::from(wanted)),
    };
    let (live, updated) = (before.value_in(map, key), draft.submitted().value_in(map, key));
    if let Some(live) = live.filter(|live| is(Some(live), &replaced.after))
        && is(updated, &replaced.before)
        && key != keys::STATUS
    {
        draft.set(map, Cow::Owned(key.to_owned()), Rendered::Made(lent(live)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the updated pod with the restored values.
    fn restored(live: &Value, updated: &Value) -> Value {
        let patch = restore(&Json::from(live), &Json::from(updated));
        let mut pod = updated.clone();
        json_patch::patch(&mut pod, &patch.operations()).unwrap();
        pod
    }

    fn live() -> Value {
        let status = json!({ "profiles": [{
            "name": "side", "scope": "Cluster", "revision": "1",
            "added": {
                "initContainers": ["side"], "tolerations": ["{\"key\":\"ours\",\"operator\":\"Exists\"}"],
                "containers[app].env": ["OURS"], "dnsConfig.searches": ["ours"],
            },
            "replaced": {
                "spec.terminationGracePeriodSeconds": { "before": 5, "after": 60 },
                "metadata.annotations.example.com/list": { "before": "own", "after": "own,ours" },
            },
            "overlays": { "containers": [{ "name": "proxy", "image": "auto" }] },
        }] });
        json!({
            "metadata": {
                "annotations": { "outrigger.dev/status": status.to_string(), "example.com/list": "own,ours" },
            },
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "initContainers": [{ "name": "side", "image": "s:1" }, { "name": "init", "image": "i:1" }],
                "containers": [
                    { "name": "app", "image": "a:1", "env": [{ "name": "OURS" }, { "name": "URL", "value": "$(OURS)" }] },
                    { "name": "proxy", "image": "p:1" },
                ],
                "tolerations": [{ "key": "own", "operator": "Exists" }, { "key": "ours", "operator": "Exists" }],
                "dnsConfig": { "searches": ["own", "ours"] },
            },
        })
    }

    #[test]
    fn an_original_manifest_leaves_the_pod_as_it_is() {
        let live = live();
        let mut updated = live.clone();
        updated["spec"]["terminationGracePeriodSeconds"] = json!(5);
        updated["metadata"]["annotations"]["example.com/list"] = json!("own");
        updated["spec"]["initContainers"].as_array_mut().unwrap().reverse();
        updated["spec"]["containers"][0]["env"].as_array_mut().unwrap().reverse();
        updated["spec"]["containers"][1]["image"] = json!("auto");
        updated["spec"]["tolerations"].as_array_mut().unwrap().truncate(1);
        updated["spec"]["dnsConfig"]["searches"] = json!(["own"]);
        assert_eq!(restored(&live, &updated), live);
    }

    #[test]
    fn other_updates_are_left_alone() {
        let live = live();
        for (pointer, value) in [
            ("/spec/terminationGracePeriodSeconds", json!(7)),
            ("/spec/containers/0/image", json!("a:2")),
            ("/spec/containers/1/image", json!("p:2")),
            ("/spec/initContainers", json!([{ "name": "init", "image": "i:1" }])),
            ("/spec/tolerations", json!([{ "key": "ours", "operator": "Exists" }])),
            ("/spec/dnsConfig", json!({ "searches": ["ours"] })),
            ("/metadata/annotations", json!({ "outrigger.dev/status": "{}", "a": "b" })),
        ] {
            let mut updated = live.clone();
            *updated.pointer_mut(pointer).unwrap() = value;
            assert_eq!(restored(&live, &updated), updated, "{pointer}");
        }
        let mut more = live.clone();
        more["spec"]["tolerations"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "key": "new", "operator": "Exists" }));
        assert_eq!(restored(&live, &more), more);
    }

    #[test]
    fn a_pod_without_a_status_is_left_alone() {
        let mut live = live();
        live["metadata"]["annotations"] = json!({});
        let mut updated = live.clone();
        updated["spec"]["terminationGracePeriodSeconds"] = json!(5);
        assert_eq!(restored(&live, &updated), updated);
        let status = |text: &str| json!({ "metadata": { "annotations": { "outrigger.dev/status": text } }, "spec": {} });
        for text in ["", "{", "[]", "{\"profiles\":[{}]}"] {
            assert!(restore(&Json::from(&status(text)), &Json::from(&json!({ "spec": 1 }))).is_empty());
            assert!(restore(&Json::from(&status(text)), &Json::from(&status(""))).is_empty());
        }
    }
}
