//! Answers arbitrary request bodies, and checks that the response is one that the API server can read.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use outrigger::api::{ProfileSpec, Scope};
use outrigger::cluster::Snapshot;
use outrigger::engine::Namespace;
use outrigger::profiles::{self, ProfileSet};
use outrigger::webhook::{State, WebhookEntry, answer};
use serde_json::Value;

static STATE: LazyLock<State> = LazyLock::new(|| {
    let yaml = include_str!("../../profiles/log-shipper/profile.yaml");
    let profile: Value = serde_saphyr::from_str(yaml).expect("the catalogue's profile is YAML");
    let spec: ProfileSpec =
        serde_json::from_value(profile["spec"].clone()).expect("the catalogue's profile is valid");
    let mut profiles = ProfileSet::default();
    profiles.insert(None, "log-shipper", profiles::ProfileEntry::new("log-shipper", Scope::Cluster, &spec).0);
    let mut shop = Namespace { name: "shop".to_owned(), ..Namespace::default() };
    shop.labels = [("outrigger.dev/inject", "enabled")].into();
    shop.annotations = [("outrigger.dev/profiles", "log-shipper")].into();
    let namespaces = [("shop".to_owned(), Arc::new(shop))].into();
    State::fixed(Snapshot { profiles: Arc::new(profiles), namespaces, ..Snapshot::default() })
});

fuzz_target!(|body: &[u8]| {
    let Some(reply) = answer(&STATE, WebhookEntry::Namespace, body) else { return };
    if !reply.status.is_success() {
        assert!(std::str::from_utf8(&reply.body).is_ok_and(|text| !text.is_empty()));
        return;
    }
    let answer: Value = serde_json::from_slice(&reply.body).expect("the answer is JSON");
    let response = &answer["response"];
    assert!(response["uid"].is_string() && response["allowed"].is_boolean(), "{answer}");
    assert_eq!(response["patch"].is_null(), response["patchType"].is_null(), "{answer}");
    assert_eq!(response["allowed"] == false, response["status"]["message"].is_string(), "{answer}");
});
