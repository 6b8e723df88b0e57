//! Compiles a profile in YAML or JSON, and injects it if it is valid. The patch must apply, and a second injection must
//! change nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use outrigger::api::{ProfileSpec, Scope};
use outrigger::engine::{Namespace, Outcome, Settings, inject};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use serde_json::{Value, json};

static POD: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "a", "labels": { "app": "shop" }, "annotations": { "outrigger.dev/profiles": "fuzzed" } },
        "spec": {
            "initContainers": [{ "name": "migrate", "image": "m:1" }],
            "containers": [
                { "name": "app", "image": "x:1", "env": [{ "name": "A", "value": "1" }], "ports": [{ "containerPort": 80 }],
                  "resources": { "requests": { "cpu": "100m" }, "limits": { "cpu": "1", "memory": "64Mi" } },
                  "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
                { "name": "log-shipper", "image": "auto" },
            ],
            "volumes": [{ "name": "data", "emptyDir": {} }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        },
    })
});

fuzz_target!(|text: &str| {
    let Ok(object) = serde_saphyr::from_str::<Value>(text) else { return };
    let spec = object.get("spec").cloned().unwrap_or(object);
    let Ok(spec) = serde_json::from_value::<ProfileSpec>(spec) else { return };
    let (entry, _) = ProfileEntry::new("fuzzed", Scope::Cluster, &spec);
    let ProfileEntry::Ready(_) = entry else { return };
    let mut profiles = ProfileSet::default();
    profiles.insert(None, "fuzzed", entry);
    let mut namespace = Namespace { name: "shop".to_owned(), ..Namespace::default() };
    namespace.labels = [("outrigger.dev/inject", "enabled")].into();
    let settings = Settings::default();
    let first = inject(&Json::from(&*POD), &namespace, &profiles, &settings);
    let mut injected = POD.clone();
    json_patch::patch(&mut injected, &first.patch.operations()).expect("the patch applies");
    if first.outcome == Outcome::Injected {
        let second = inject(&Json::from(&injected), &namespace, &profiles, &settings);
        assert_eq!(second.outcome, Outcome::Injected, "{}", second.reason);
        assert!(second.patch.is_empty(), "a second injection changes the pod: {}", second.patch);
    }
});
