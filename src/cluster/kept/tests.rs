use serde_json::json;

use super::*;

const KIB: usize = 1 << 10;

fn object(namespace: &str, name: &str, kib: usize) -> DynamicObject {
    // A string is stored twice.
    object_of(namespace, name, &json!({ "description": "x".repeat(kib * KIB / 2) }))
}

fn object_of(namespace: &str, name: &str, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "metadata": { "namespace": namespace, "name": name, "resourceVersion": "7", "generation": 1 }, "spec": spec,
    }))
    .unwrap()
}

fn kept(total: usize) -> KeptProfiles {
    KeptProfiles::new(Scope::Namespace, Quota::of_namespaces(total * KIB))
}

/// Returns the names of the profiles that can be injected.
fn ready(kept: &KeptProfiles) -> Vec<String> {
    let ready = kept.entries().filter(|(_, _, entry)| matches!(entry, ProfileEntry::Ready(_)));
    ready.map(|(namespace, name, _)| format!("{namespace}/{name}")).collect()
}

fn settled(kept: &mut KeptProfiles) -> Vec<String> {
    let mut observed = Vec::new();
    kept.limit(&mut observed);
    kept.recall(&mut observed);
    observed.iter().map(|(key, seen)| format!("{}: {}", key.name, seen.findings[0].message)).collect()
}

#[test]
fn the_share_of_a_namespace_does_not_depend_on_the_order() {
    let names = ["a", "b", "c", "d", "e"];
    for rotated in 0..names.len() {
        let mut kept = kept(400);
        let mut observed = Vec::new();
        for index in 0..names.len() {
            kept.apply(object("shop", names[(index + rotated) % names.len()], 28), None, &mut observed);
        }
        kept.apply(object("other", "z", 28), None, &mut observed);
        settled(&mut kept);
        assert_eq!(ready(&kept), ["other/z", "shop/a", "shop/b", "shop/c"], "{rotated}");
        let last: BTreeMap<_, _> = observed.into_iter().collect();
        let of = |name: &str| {
            let (scope, namespace) = (Scope::Namespace, "shop".to_owned());
            &last[&ProfileKey { scope, namespace, name: name.to_owned() }]
        };
        assert!(of("e").is_parked && !of("a").is_parked);
        assert!(of("e").findings[0].message.contains("\"shop\" that come before this one by name use up"));
    }
}

#[test]
fn parked_profiles_are_requested_again_when_there_is_space() {
    let mut kept = kept(400);
    let mut observed = Vec::new();
    for name in ["a", "b", "c", "d"] {
        kept.apply(object("shop", name, 28), None, &mut observed);
    }
    assert!(settled(&mut kept).is_empty());
    kept.remove(&ProfileKey { scope: Scope::Namespace, namespace: "shop".to_owned(), name: "b".to_owned() });
    assert_eq!(settled(&mut kept), [format!("d: {RECALLED}")]);
    kept.apply(object("shop", "d", 28), None, &mut observed);
    assert_eq!(ready(&kept), ["shop/a", "shop/c", "shop/d"]);
    assert!(settled(&mut kept).is_empty());
}

#[test]
fn namespaces_share_the_memory_and_small_ones_keep_all_profiles() {
    let mut kept = kept(400);
    let mut observed = Vec::new();
    for namespace in ["a", "b", "c", "d", "e", "f"] {
        for index in 0..10 {
            kept.apply(object(namespace, &format!("p{index}"), 20), None, &mut observed);
        }
    }
    kept.apply(object("zoo", "small", 10), None, &mut observed);
    settled(&mut kept);
    let ready = ready(&kept);
    assert!(ready.contains(&"zoo/small".to_owned()), "{ready:?}");
    assert_eq!(ready.len(), 6 * 2 + 1, "{ready:?}");
}

#[test]
fn hostile_profiles_are_limited_to_the_share_of_their_namespace() {
    let mut kept = KeptProfiles::new(Scope::Namespace, Quota::of_namespaces(16 << 20));
    let mut observed = Vec::new();
    let hostile = |index: usize| {
        let parameters: Vec<Value> = (0..64)
            .map(|n| json!({ "name": format!("p{n}"), "type": "string", "default": "a", "pattern": format!(r"\w{{5}}|a|x{n}") }))
            .collect();
        object_of("shop", &format!("rx-{index:04}"), &json!({ "parameters": parameters }))
    };
    for index in (0..2000).rev().take(20).chain(0..1980) {
        kept.apply(hostile(index), None, &mut observed);
    }
    kept.apply(object("other", "z", 28), None, &mut observed);
    kept.limit(&mut observed);
    let compiled: usize =
        kept.namespaces["shop"].profiles.values().filter_map(|record| record.cost).sum::<usize>() >> 20;
    assert!(compiled < 12, "{compiled} MiB");
    let held = kept.namespaces["shop"].profiles.values().filter(|record| !record.is_parked);
    assert!(held.filter_map(|record| record.cost).sum::<usize>() <= 4 << 20);
    assert!(ready(&kept).contains(&"other/z".to_owned()));
}

#[test]
fn the_same_spec_is_not_compiled_again() {
    let mut kept = kept(400);
    let mut observed = Vec::new();
    kept.apply(object("shop", "a", 1), None, &mut observed);
    let first = kept.entries().next().map(|(_, _, entry)| entry.clone());
    let mut next = kept.emptied();
    next.apply(object("shop", "a", 1), Some(&kept), &mut observed);
    let second = next.entries().next().map(|(_, _, entry)| entry.clone());
    let (Some(ProfileEntry::Ready(first)), Some(ProfileEntry::Ready(second))) = (first, second) else {
        panic!("it is ready")
    };
    assert!(Arc::ptr_eq(&first, &second));
    next.apply(object("shop", "a", 2), Some(&kept), &mut observed);
    assert!(
        matches!(next.entries().next(), Some((_, _, ProfileEntry::Ready(third))) if !Arc::ptr_eq(&first, third))
    );
}

#[test]
fn a_parked_profile_matches_only_by_its_selectors() {
    let spec = json!({
        "onError": "Ignore",
        "match": { "podSelector": { "matchLabels": { "app": "web" } }, "conditions": [{ "name": "a", "expression": "false" }] },
    });
    let (entry, _) = ProfileEntry::parked("a", Scope::Namespace, &spec, "full".to_owned());
    let selects = |entry: &ProfileEntry, label: &str| {
        entry.matching().is_some_and(|m| m.selects(&[], &[("app", label)]))
    };
    assert!(selects(&entry, "web") && !selects(&entry, "db"));
    let huge = json!({ "match": { "podSelector": { "matchLabels": { "app": "x".repeat(9000) } } } });
    assert!(
        selects(&ProfileEntry::parked("a", Scope::Namespace, &huge, "full".to_owned()).0, "db"),
        "no pod is admitted without it"
    );
    assert!(
        ProfileEntry::parked("a", Scope::Namespace, &json!({}), "full".to_owned()).0.matching().is_none()
    );
}
