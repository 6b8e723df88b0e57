//! Profiles that are small as text and large when compiled, sent by unauthenticated clients.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use outrigger::api::Scope;
use outrigger::engine::{Outcome, Settings, inject};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::webhook::{Limits, LoadShed, router, router_behind};
use serde_json::{Value, json};

use crate::running::metric;
use crate::support::{answer, namespace, pod, post, review, state};

fn review_of(spec: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "cel",
        "kind": { "group": "outrigger.dev", "version": "v1alpha1", "kind": "SidecarProfile" },
        "object": { "metadata": { "name": "cel", "namespace": "shop" }, "spec": spec },
    } })
}

/// Returns a profile with this number of expressions, which have 85 constant patterns each.
fn expressions(count: usize) -> Value {
    let patterns: Vec<String> =
        (0..85).map(|n| format!("pod.metadata.name.matches('(a|b|c){{300}}x{n}')")).collect();
    let value = format!("$[[ string({}) ]]", patterns.join("&&"));
    let env: Vec<Value> = (0..count)
        .map(|n| json!({ "name": format!("E{n}"), "value": value.replace("300", &format!("{}", 300 + n)) }))
        .collect();
    json!({ "template": { "spec": { "initContainers": [{ "name": "a", "image": "bash:5.2", "env": env }] } } })
}

fn patterns() -> Value {
    let parameter = |n: usize| json!({ "name": format!("p{n}"), "type": "string", "default": "a", "pattern": format!(r"\p{{L}}{{5}}|a|x{n}") });
    let parameters: Vec<Value> = (0..64).map(parameter).collect();
    json!({ "parameters": parameters, "template": { "spec": { "initContainers": [{ "name": "a", "image": "bash:5.2" }] } } })
}

#[tokio::test]
async fn profiles_that_are_large_when_compiled_are_rejected() {
    let router = router(state());
    for (what, spec) in [
        ("expressions", expressions(40)),
        ("patterns", patterns()),
        ("values", json!({ "template": { "spec": { "volumes": vec![json!([]); 200_000] } } })),
        ("text", json!({ "files": [{ "volume": "a", "items": { "a": "x".repeat(1 << 20) } }] })),
    ] {
        let started = Instant::now();
        let response = answer(&router, "/validate", &review_of(&spec)).await;
        let message = response["status"]["message"].as_str().unwrap();
        assert_eq!(response["status"]["code"], 422, "{what}: {response}");
        assert!(
            message.contains("of memory; write smaller patterns") && message.len() < 2000,
            "{what}: {message}"
        );
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn the_number_of_listed_findings_is_limited() {
    let fields: serde_json::Map<String, Value> = (0..3000).map(|n| (format!("f{n}"), json!(1))).collect();
    let response =
        answer(&router(state()), "/validate", &review_of(&json!({ "template": { "spec": fields } }))).await;
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("2936 more problems are not listed") && message.len() < 100_000, "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn excess_validations_are_shed_and_do_not_delay_pods() {
    let state = state();
    let metrics = std::sync::Arc::clone(&state.metrics);
    let router = router_behind(LoadShed::new(Limits::default(), metrics.load.clone()), state);
    let hostile = review_of(&expressions(40)).to_string();
    let validations: Vec<_> = (0..64)
        .map(|_| {
            let (router, body) = (router.clone(), hostile.clone());
            tokio::spawn(async move { post(&router, "/validate", body).await.0 })
        })
        .collect();
    let mut pods = 0;
    while !validations.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(answer(&router, "/mutate", &review("shop", &pod(&json!({})))).await["allowed"], true);
        pods += 1;
    }
    let mut answers = Vec::new();
    for answer in validations {
        answers.push(answer.await.unwrap());
    }
    let shed = answers.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    // Debug builds compile slowly, so an accepted review may exceed its deadline.
    let expected = [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::GATEWAY_TIMEOUT];
    assert!(shed >= 32 && answers.iter().all(|status| expected.contains(status)), "{answers:?}");
    assert_eq!(metric(&metrics, "outrigger_requests_shed_total{reason=\"validations\"}"), shed.to_string());
    assert!(pods > answers.len(), "only {pods} pods were answered during {} reviews", answers.len());
}

#[test]
fn additions_to_a_pod_with_many_containers_are_limited() {
    let spec = json!({ "appContainers": [
        { "containers": ["*"], "env": [{ "name": "LARGE", "value": "x".repeat(100_000) }] },
    ] });
    let entry = ProfileEntry::new("large", Scope::Cluster, &serde_json::from_value(spec).unwrap()).0;
    let mut profiles = ProfileSet::default();
    profiles.insert(None, "large", entry);
    for (containers, outcome) in [(10, Outcome::Injected), (100, Outcome::Denied)] {
        let containers: Vec<Value> =
            (0..containers).map(|n| json!({ "name": format!("c{n}"), "image": "a:1" })).collect();
        let pod = json!({ "metadata": { "annotations": {} }, "spec": { "containers": containers } });
        let shop = namespace("shop", Some("enabled"), "large");
        let decision = inject(&Json::from(&pod), &shop, &profiles, &Settings::default());
        assert_eq!(decision.outcome, outcome, "{}", decision.reason);
        let is_told = decision.reason.to_string().contains("the profiles add more than 2 MiB to the pod");
        assert_eq!(is_told, outcome == Outcome::Denied, "{}", decision.reason);
    }
}
