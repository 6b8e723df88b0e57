use serde_json::{Value, json};

use super::*;
use crate::profiles::Severity;

fn set(profiles: &[(Option<&str>, &str, Value)]) -> ProfileSet {
    let mut set = ProfileSet::default();
    for (namespace, name, spec) in profiles {
        let scope = if namespace.is_some() { Scope::Namespace } else { Scope::Cluster };
        let spec = serde_json::from_value(spec.clone()).unwrap();
        set.insert(*namespace, name, ProfileEntry::new(name, scope, &spec).0);
    }
    set
}

fn warnings(profiles: &[(Option<&str>, &str, Value)], namespace: Option<&str>, name: &str) -> Vec<String> {
    let set = set(profiles);
    let findings = Relations::new(&set, namespace).of(name);
    let word = |severity| if severity == Severity::Error { "error" } else { "warning" };
    findings.iter().map(|finding| format!("{}: {finding}", word(finding.severity))).collect()
}

#[test]
fn a_cycle_is_reported_at_each_field_that_contributes_to_it() {
    let three = [
        (None, "a", json!({ "order": { "before": ["b"] } })),
        (None, "b", json!({ "order": { "before": ["c"] } })),
        (None, "c", json!({ "requires": ["d"], "order": { "before": ["a"] } })),
        (None, "d", json!({})),
    ];
    for (name, wanted) in [
        ("a", "error: spec.order.before[0]: the start order is a cycle: a → b → c → a"),
        ("b", "error: spec.order.before[0]: the start order is a cycle: b → c → a → b"),
        ("c", "error: spec.order.before[0]: the start order is a cycle: c → a → b → c"),
    ] {
        assert_eq!(warnings(&three, None, name), [wanted]);
    }
    assert!(warnings(&three, None, "d").is_empty());
}

#[test]
fn a_cycle_of_requirements_is_reported() {
    let two = [(None, "a", json!({ "requires": ["b"] })), (None, "b", json!({ "requires": ["a"] }))];
    assert_eq!(
        warnings(&two, None, "a"),
        ["error: spec.requires[0]: the profiles require each other in a circle: a → b → a"]
    );
    let required_by_one =
        [(None, "a", json!({ "requires": ["b"], "order": { "before": ["b"] } })), (None, "b", json!({}))];
    assert_eq!(
        warnings(&required_by_one, None, "a"),
        ["error: spec.order.before[0]: the start order is a cycle: a → b → a"]
    );
    assert!(warnings(&required_by_one, None, "b").is_empty(), "it requires nothing");
}

#[test]
fn an_order_that_contradicts_the_positions_is_a_cycle() {
    let two = [
        (None, "a", json!({ "order": { "after": ["b"] } })),
        (None, "b", json!({ "order": { "position": "Last" } })),
    ];
    let found = warnings(&two, None, "a");
    assert!(found[0].starts_with("error: spec.order.after[0]: the start order is a cycle: b → a → b;"));
}

#[test]
fn an_optional_profile_cannot_start_before_a_mandatory_one() {
    let mandatory = |order: Value| json!({ "enforcement": "Mandatory", "match": { "namespaceSelector": {} }, "requires": ["ca"], "order": order });
    let helper = json!({ "order": { "before": ["audit", "ca"] } });
    let all = |order| {
        [(None, "audit", mandatory(order)), (None, "ca", json!({})), (Some("shop"), "helper", helper.clone())]
    };
    let found = warnings(&all(json!({})), Some("shop"), "helper");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[0],
        "warning: spec.order.before[0]: \"audit\" is Mandatory, or required by a Mandatory profile, and starts first; remove it here, or let \"audit\" say order.after \"helper\""
    );
    let found = warnings(&all(json!({ "after": ["helper"] })), Some("shop"), "helper");
    assert!(found.len() == 1 && found[0].contains("order.before[1]"), "{found:?}");
}

#[test]
fn an_unknown_name_is_a_warning_with_a_suggestion() {
    let some = [
        (None, "a", json!({ "order": { "after": ["valt"] }, "requires": ["other", "local"] })),
        (None, "vault", json!({})),
        (Some("shop"), "local", json!({ "order": { "before": ["nothing"] } })),
    ];
    assert_eq!(
        warnings(&some, None, "a"),
        [
            "warning: spec.order.after[0]: there is no profile \"valt\" here, so this orders nothing; did you mean \"vault\"?",
            "warning: spec.requires[0]: there is no profile \"other\" here, and without it this one cannot be injected",
        ]
    );
    let own = warnings(&some, Some("shop"), "local");
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0].contains("no profile \"nothing\""), "{own:?}");
}

#[test]
fn a_namespaced_profile_that_a_mandatory_one_overrides_is_reported() {
    let mandatory = json!({ "enforcement": "Mandatory", "match": { "namespaceSelector": {} } });
    let two = [(None, "a", mandatory), (Some("shop"), "a", json!({ "requires": ["nobody"] }))];
    assert_eq!(
        warnings(&two, Some("shop"), "a"),
        [
            "warning: metadata.name: the Mandatory ClusterSidecarProfile \"a\" beats it, so it is never injected"
        ]
    );
    assert!(warnings(&two, None, "a").is_empty());
}

#[test]
fn equal_container_names_in_two_matching_profiles_are_reported() {
    let proxy = |matching: Value| {
        json!({ "match": matching, "template": { "spec": { "initContainers": [
        { "name": "proxy", "image": "p:1", "restartPolicy": "Always" } ] } } })
    };
    let selects = |value: &str| json!({ "podSelector": { "matchLabels": { "mesh": value } } });
    let two = [(None, "a", proxy(json!({}))), (None, "b", proxy(selects("on")))];
    assert_eq!(
        warnings(&two, None, "a"),
        [
            "warning: spec.template.spec.initContainers[0].name: profile \"b\" has a container \"proxy\", too, and both match by themselves; a pod that both match can have only one of them"
        ]
    );
    let apart = [(None, "a", proxy(selects("off"))), (None, "b", proxy(selects("on")))];
    assert!(warnings(&apart, None, "a").is_empty(), "no pod has both labels");
    let one_is_selected = [(None, "a", proxy(json!({}))), (None, "b", proxy(Value::Null))];
    assert!(warnings(&one_is_selected, None, "a").is_empty());
}
