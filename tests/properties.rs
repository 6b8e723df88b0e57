//! Properties of decisions about generated pods and profiles.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use outrigger::api::{ProfileSpec, Scope};
use outrigger::engine::{Decision, Namespace, Outcome, Settings};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Returns one of a few names, so that pods and profiles have names in common.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "proxy", "logs"]).prop_map(str::to_owned)
}

fn env() -> impl Strategy<Value = Value> {
    (name(), "[0-9]{0,2}").prop_map(|(name, value)| json!({ "name": name.to_uppercase(), "value": value }))
}

fn volume() -> impl Strategy<Value = (String, Value)> {
    (name(), prop::bool::ANY).prop_map(|(name, memory)| {
        let source = if memory { json!({ "medium": "Memory" }) } else { json!({}) };
        (name.clone(), json!({ "name": name, "emptyDir": source }))
    })
}

/// Returns named elements with distinct names.
fn distinct(
    elements: impl Strategy<Value = (String, Value)>,
    max: usize,
) -> impl Strategy<Value = Vec<Value>> {
    vec(elements, 0..=max).prop_map(|elements| {
        let mut seen = std::collections::BTreeSet::new();
        elements
            .into_iter()
            .filter(|(name, _)| seen.insert(name.clone()))
            .map(|(_, element)| element)
            .collect()
    })
}

fn container(prefix: &'static str) -> impl Strategy<Value = (String, Value)> {
    (name(), vec(env(), 0..3), prop::bool::ANY).prop_map(move |(name, env, mounts)| {
        let name = format!("{prefix}{name}");
        let mut container =
            json!({ "name": name, "image": "x:1", "args": ["-v"], "unknownField": { "deep": [1, null] } });
        if !env.is_empty() {
            container["env"] = Value::Array(env);
        }
        if mounts {
            container["volumeMounts"] = json!([{ "name": "own", "mountPath": "/own" }]);
        }
        (name, container)
    })
}

/// Returns an overlay: a container whose image is set by a profile.
fn overlay() -> impl Strategy<Value = (String, Value)> {
    (name(), vec(env(), 0..2)).prop_map(|(name, env)| {
        (name.clone(), json!({ "name": name, "image": "auto", "imagePullPolicy": "Always", "env": env }))
    })
}

/// Returns a parameter, a grace period, and whether there is a toleration.
fn settings() -> impl Strategy<Value = (Option<&'static str>, Option<i64>, bool)> {
    let value = prop::sample::select(vec!["x", "", "a: b\n- c", "\"]}", "$$[[", "too long for it"]);
    (option::of(value), option::of(0..100_i64), prop::bool::ANY)
}

fn pod() -> impl Strategy<Value = Value> {
    // The API server omits empty maps.
    let labels = btree_map(name(), "[a-z]{0,3}", 1..3);
    let choice = option::of(prop::sample::select(vec![
        "one",
        "two,one",
        "+two",
        "-one",
        "",
        "three",
        "one,two,three",
    ]));
    (
        option::of(labels),
        choice,
        distinct(prop_oneof![3 => container("init-"), 1 => overlay()], 3),
        distinct(container(""), 3),
        distinct(volume(), 3),
        settings(),
    )
        .prop_map(|(labels, choice, init, containers, volumes, settings)| {
            let mut pod = json!({ "metadata": {}, "spec": { "containers": containers } });
            if let Some(labels) = labels {
                pod["metadata"]["labels"] = json!(labels);
            }
            if let Some(choice) = choice {
                pod["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": choice, "other": "x" });
            }
            if !init.is_empty() {
                pod["spec"]["initContainers"] = Value::Array(init);
            }
            if !volumes.is_empty() {
                pod["spec"]["volumes"] = Value::Array(volumes);
            }
            let (parameter, grace_period, toleration) = settings;
            if let Some(value) = parameter {
                pod["metadata"]["annotations"]["one.outrigger.dev/p"] = json!(value);
            }
            if let Some(seconds) = grace_period {
                pod["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
            }
            if toleration {
                pod["spec"]["tolerations"] = json!([{ "key": "a", "operator": "Exists" }]);
            }
            pod
        })
}

fn profile() -> impl Strategy<Value = Value> {
    let when =
        prop::sample::select(vec!["true", "has(pod.metadata.labels)", "size(pod.spec.containers) > 1"]);
    let sidecar = (container(""), when).prop_map(|((name, mut container), when)| {
        let fields = container.as_object_mut().unwrap();
        fields.remove("unknownField");
        fields.remove("volumeMounts");
        fields.insert("restartPolicy".to_owned(), json!("Always"));
        fields.insert("when".to_owned(), json!(when));
        fields.insert("args".to_owned(), json!(["--p=$[[ params.p ]]", "$[[ size(pod.spec.containers) ]]s"]));
        (name, container)
    });
    let extras = btree_map(name(), "[a-z]{0,2}", 0..2);
    let app = vec((prop::sample::select(vec!["*", "a*", "b"]), vec(env(), 0..3), prop::bool::ANY), 0..3);
    let rules = (
        prop::sample::select(vec!["First", "Last"]),
        prop::sample::select(vec!["Fail", "Skip"]),
        prop::sample::select(vec!["Fail", "Ignore"]),
        prop::sample::select(vec![
            Value::Null,
            json!({}),
            json!({ "podSelector": { "matchExpressions": [{ "key": "a", "operator": "Exists" }] } }),
            json!({ "conditions": [{ "name": "c", "expression": "size(pod.spec.containers) == 2" }] }),
        ]),
        prop::sample::select(vec!["Native", "Classic"]),
        prop::sample::select(vec![
            json!({}),
            json!({ "terminationGracePeriodSeconds": 60, "securityContext": { "fsGroup": 1 } }),
            json!({ "tolerations": [{ "key": "a", "operator": "Exists" }, { "key": "b", "value": "$[[ params.p ]]" }] }),
            json!({ "dnsConfig": { "searches": ["a.b"], "options": [{ "name": "x" }] }, "imagePullSecrets": [{ "name": "s" }] }),
        ]),
        prop::sample::select(vec![json!([]), json!(["two"]), json!(["three"])]),
    );
    (distinct(sidecar, 2), distinct(volume(), 2), extras, app, rules).prop_map(
        |(sidecars, volumes, labels, app, rules)| {
            let (position, on_conflict, on_error, matching, mode, mut spec, requires) = rules;
            let app: Vec<Value> = app
                .into_iter()
                .map(|(containers, env, init)| {
                    let when = "container.name != 'b' || !has(container.env)";
                    json!({ "containers": [containers], "env": env, "initContainers": init, "when": when })
                })
                .collect();
            spec["initContainers"] = json!(sidecars);
            spec["volumes"] = json!(volumes);
            json!({
                "template": { "metadata": { "labels": labels }, "spec": spec },
                "appContainers": app, "order": { "position": position }, "onConflict": on_conflict, "onError": on_error,
                "match": matching, "sidecarMode": mode, "requires": requires,
                "parameters": [{ "name": "p", "type": "string", "default": "d", "pattern": "^.{0,10}$" }],
                "files": [{ "volume": "files", "items": { "f": "$[[ params.p ]] and $[[ profile.name ]]" } }],
            })
        },
    )
}

fn set<'a>(profiles: impl Iterator<Item = (&'a str, &'a Value)>) -> ProfileSet {
    let mut set = ProfileSet::default();
    for (name, spec) in profiles {
        let spec: ProfileSpec = serde_json::from_value(spec.clone()).unwrap();
        let (entry, findings) = ProfileEntry::new(name, Scope::Cluster, &spec);
        // The only possible error is that a profile requires itself.
        let is_fine =
            matches!(entry, ProfileEntry::Ready(_)) || findings[0].path.starts_with("spec.requires");
        assert!(is_fine, "{findings:?}");
        set.insert(None, name, entry);
    }
    set
}

/// Returns the pod without the additions to its own containers that its status lists.
fn without_additions(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let status = pod["metadata"]["annotations"]["outrigger.dev/status"].as_str().unwrap_or("{}").to_owned();
    let status: Value = serde_json::from_str(&status).unwrap();
    for profile in status["profiles"].as_array().into_iter().flatten() {
        for (place, keys) in profile["added"].as_object().into_iter().flatten() {
            let keys: Vec<&str> = keys.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let added = |key: &Value| keys.iter().any(|known| key == known);
            let Some((list, rest)) = place.split_once('[') else {
                if let Some(items) = pod["spec"].get_mut(place.as_str()).and_then(Value::as_array_mut) {
                    items.retain(|item| !added(&item["name"]));
                }
                continue;
            };
            let (container, field) = rest.split_once("].").unwrap();
            for found in pod["spec"][list].as_array_mut().into_iter().flatten() {
                if found["name"] == container {
                    let items = found[field].as_array_mut().unwrap();
                    items.retain(|item| !added(&item["name"]) && !added(&item["mountPath"]));
                    if items.is_empty() {
                        found.as_object_mut().unwrap().remove(field);
                    }
                }
            }
        }
    }
    pod
}

/// Returns the pod's own containers, without overlays.
fn own<'a>(pod: &'a Value, list: &str) -> Vec<&'a Value> {
    pod["spec"][list]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|container| container["image"] != "auto")
        .collect()
}

fn namespace() -> Namespace {
    Namespace {
        name: "shop".to_owned(),
        labels: [("outrigger.dev/inject", "enabled")].into(),
        annotations: [("outrigger.dev/profiles", "one")].into(),
    }
}

fn inject(pod: &Value, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    outrigger::engine::inject(&Json::from(pod), namespace, profiles, settings)
}

fn apply(pod: &Value, decision: &Decision) -> Value {
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &decision.patch.operations()).unwrap();
    patched
}

/// Returns whether `after` has everything that `before` has, in the same order.
fn keeps(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|after| keeps(value, after)))
        }
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            before.iter().all(|item| rest.any(|other| keeps(item, other)))
        }
        (before, after) => before == after,
    }
}

/// Returns a JSON value of any shape.
fn anything() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "labels",
        "annotations",
        "containers",
        "initContainers",
        "volumes",
        "env",
        "name",
        "outrigger.dev/inject",
        "outrigger.dev/profiles",
        "outrigger.dev/status",
        "os",
        "nodeSelector",
        "hostNetwork",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["", "one", "enabled", "{\"profiles\":[]}", "é"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key.clone(), inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn a_decision_is_deterministic_idempotent_and_reversible(pod in pod(), one in profile(), two in profile()) {
        let names = [("one", &one), ("two", &two)];
        let decide = |pod: &Value, set: &ProfileSet| inject(pod, &namespace(), set, &Settings::default());
        let profiles = set(names.into_iter());
        let first = decide(&pod, &profiles);
        let backwards = decide(&pod, &set(names.into_iter().rev()));
        prop_assert_eq!(&first.patch, &backwards.patch);
        prop_assert_eq!(first.trace.lines(), backwards.trace.lines());
        if first.outcome == Outcome::Denied {
            prop_assert!(first.patch.is_empty());
            return Ok(());
        }
        let injected = apply(&pod, &first);
        // The app's own containers change only as the status lists.
        let left = without_additions(&injected);
        for list in ["initContainers", "containers"] {
            let is_overlay = |name: &Value| pod["spec"][list].as_array().into_iter().flatten().any(|c| c["name"] == *name && c["image"] == "auto");
            let rest: Vec<&Value> = own(&left, list).into_iter().filter(|c| !is_overlay(&c["name"])).collect();
            prop_assert_eq!(rest, own(&pod, list), "in\n{}", injected);
        }
        let second = decide(&injected, &profiles);
        prop_assert!(second.patch.is_empty(), "a second injection is not a no-op: {}", second.patch);
        prop_assert_eq!(second.outcome, first.outcome, "{} after {}", second.reason, injected);

        // After an opt-out, the pod equals the original pod.
        let mut declined = injected.clone();
        declined["metadata"]["labels"]["outrigger.dev/inject"] = json!("disabled");
        let left = apply(&declined, &decide(&declined, &profiles));
        prop_assert!(left["metadata"]["labels"].get("outrigger.dev/injected").is_none());
        let of = |pod: &Value| pod["spec"].as_object().unwrap().clone();
        if first.outcome == Outcome::Injected {
            prop_assert_eq!(of(&left), of(&pod));
        } else {
            prop_assert!(keeps(&pod, &left));
        }
    }

    #[test]
    fn no_pod_causes_a_panic(pod in anything(), one in profile()) {
        let decision = inject(&pod, &namespace(), &set([("one", &one)].into_iter()), &Settings::default());
        if decision.outcome != Outcome::Denied {
            apply(&pod, &decision);
        }
    }

    #[test]
    fn no_profile_causes_a_panic(spec in anything()) {
        if let Ok(spec) = serde_json::from_value::<ProfileSpec>(json!({ "template": spec.clone(), "appContainers": [spec] })) {
            ProfileEntry::new("any", Scope::Cluster, &spec);
        }
    }
}
