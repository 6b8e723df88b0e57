//! Reviews of pods.

use std::sync::Arc;

use axum::http::StatusCode;
use outrigger::api::Scope;
use outrigger::cluster::Snapshot;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::telemetry::Format;
use outrigger::webhook::router;
use serde_json::json;

use crate::support::{answer, namespace, patched, pod, post, review, state};

#[tokio::test]
async fn a_pod_is_injected() {
    let router = router(state());
    let pod = pod(&json!({}));
    for path in ["/mutate", "/mutate/namespace"] {
        let response = answer(&router, path, &review("shop", &pod)).await;
        assert_eq!(patched(&pod, &response)["spec"]["initContainers"][0]["name"], "log-shipper");
        assert_eq!(
            response["auditAnnotations"],
            json!({ "outcome": "injected", "reason": "Injected", "uid": "8b1f" })
        );
    }
}

#[tokio::test]
async fn a_skipped_pod_gets_no_patch() {
    let pod = json!({ "metadata": { "labels": { "outrigger.dev/inject": "disabled" } }, "spec": { "containers": [] } });
    let response = answer(&router(state()), "/mutate", &review("shop", &pod)).await;
    assert_eq!(response["allowed"], true);
    assert!(
        response.get("patch").is_none()
            && response.get("patchType").is_none()
            && response.get("status").is_none()
    );
}

#[tokio::test]
async fn a_denial_suggests_the_right_name() {
    let pod = pod(&json!({ "outrigger.dev/profiles": "log-shiper" }));
    let response = answer(&router(state()), "/mutate/namespace", &review("shop", &pod)).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(
        response["status"]["message"],
        "profile \"log-shiper\" (annotation outrigger.dev/profiles on the pod) does not exist in namespace \"shop\"; did you mean \"log-shipper\"? [ProfileNotFound]"
    );
}

#[tokio::test]
async fn objects_that_are_missing_in_the_snapshot_are_looked_up() {
    let router = router(state());
    let plain = pod(&json!({}));
    // An unknown namespace, and one whose labels in the snapshot contradict the webhook entry of the request.
    for name in ["new", "stale"] {
        let response = answer(&router, "/mutate/namespace", &review(name, &plain)).await;
        assert_eq!(patched(&plain, &response)["spec"]["initContainers"][0]["name"], "log-shipper", "{name}");
    }
    let selecting = pod(&json!({ "outrigger.dev/profiles": "fresh,fresher" }));
    let response = answer(&router, "/mutate/namespace", &review("shop", &selecting)).await;
    assert_eq!(patched(&selecting, &response)["spec"]["initContainers"].as_array().unwrap().len(), 2);
}

/// If the lookup fails, the profile may exist. Thus the failure policy decides about the pod, even if a missing profile
/// would only be skipped.
#[tokio::test]
async fn a_failed_lookup_of_a_profile_is_an_error_not_an_absent_profile() {
    let state = state();
    let mut snapshot = Snapshot::clone(&state.snapshot.load());
    let mut profiles = ProfileSet::clone(&snapshot.profiles);
    for (name, on_error) in [("strict", "Fail"), ("lenient", "Ignore")] {
        let spec = json!({ "requires": ["silent"], "onError": on_error, "template": { "metadata": { "labels": { "a": "b" } } } });
        let spec = serde_json::from_value(spec).unwrap();
        profiles.insert(None, name, ProfileEntry::new(name, Scope::Cluster, &spec).0);
    }
    snapshot.profiles = Arc::new(profiles);
    let asks = namespace("asks", Some("enabled"), "silent");
    snapshot.namespaces.insert("asks".to_owned(), Arc::new(asks));
    state.snapshot.store(Arc::new(snapshot));
    let router = router(state);
    let chosen = |profiles: &str| pod(&json!({ "outrigger.dev/profiles": profiles }));
    for (namespace, pod) in [
        ("shop", chosen("silent")),
        ("shop", chosen("+silent")),
        ("shop", chosen("strict")),
        ("shop", chosen("lenient")),
        ("asks", pod(&json!({}))),
        ("shop", chosen("absent,silent")),
    ] {
        let (status, message) = post(&router, "/mutate/namespace", review(namespace, &pod).to_string()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{pod}: {message}");
        assert!(message.contains("profile \"silent\" is not known yet"), "{pod}: {message}");
    }
    // A profile that certainly does not exist is a denial.
    let response = answer(&router, "/mutate/namespace", &review("shop", &chosen("absent,gone"))).await;
    let message = response["status"]["message"].as_str().unwrap();
    for part in ["profile \"absent\"", "profile \"gone\"", "[ProfileNotFound]"] {
        assert!(message.contains(part), "{message}");
    }
}

/// With the failure policy `Fail`, no pod may be admitted while it is unknown whether its namespace is enabled.
#[tokio::test(start_paused = true)]
async fn an_unknown_namespace_is_an_error_not_a_skip() {
    let state = state();
    // The snapshot has it without the label, which contradicts the webhook entry, and the lookup does not find it.
    let mut snapshot = Snapshot::clone(&state.snapshot.load());
    snapshot.namespaces.insert("gone".to_owned(), Arc::new(namespace("gone", None, "log-shipper")));
    state.snapshot.store(Arc::new(snapshot));
    let router = router(state);
    for name in ["unknown", "gone", "hangs"] {
        let body = review(name, &pod(&json!({}))).to_string();
        let (status, message) = post(&router, "/mutate/namespace", body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{message}");
        assert!(message.contains(&format!("namespace {name:?} is not known yet")), "{message}");
    }
}

#[tokio::test]
async fn an_invalid_object_in_a_review_is_a_denial_with_its_uid() {
    let router = router(state());
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let deep = review("shop", &json!("DEEP")).to_string().replace("\"DEEP\"", &deep);
    let (_, body) = post(&router, "/mutate", deep).await;
    assert!(
        body.contains("\"allowed\":false") && body.contains("8b1f") && body.contains("recursion limit"),
        "{body}"
    );

    let mut other = review("shop", &pod(&json!({})));
    other["request"]["kind"] = json!({ "group": "apps", "version": "v1", "kind": "Deployment" });
    let response = answer(&router, "/mutate", &other).await;
    assert_eq!(response["status"]["code"], 400);
    assert!(response["status"]["message"].as_str().unwrap().contains("apps/v1 Deployment"));

    let response = answer(&router, "/mutate", &review("shop", &json!({ "metadata": [] }))).await;
    assert!(response["status"]["message"].as_str().unwrap().contains("the pod's metadata is malformed"));
}

#[tokio::test]
async fn only_create_operations_are_mutated() {
    let mut update = review("shop", &pod(&json!({ "outrigger.dev/profiles": "no-such" })));
    update["request"]["operation"] = json!("UPDATE");
    let response = answer(&router(state()), "/mutate", &update).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
}

#[tokio::test]
async fn a_panic_affects_only_its_own_request() {
    let state = state();
    let router = router(state.clone());
    let (status, message) = post(&router, "/mutate", review("panics", &pod(&json!({}))).to_string()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(message.contains("by a fault of Outrigger's"), "{message}");
    let text = state.metrics.encode(Format::Plain).unwrap();
    let counted =
        "outrigger_admission_requests_total{webhook=\"mutate\",outcome=\"errored\",reason=\"Panicked\"} 1";
    assert!(text.contains(counted), "{text}");
    assert_eq!(answer(&router, "/mutate", &review("shop", &pod(&json!({})))).await["allowed"], true);
}

/// A required profile may be missing in the snapshot, so the failure policy decides about the pod.
#[tokio::test]
async fn while_a_resource_is_not_synced_pods_that_may_need_profiles_get_an_error() {
    let state = state();
    let mut snapshot = Snapshot::clone(&state.snapshot.load());
    snapshot.unsynced = vec!["sidecarprofiles"];
    for name in ["plain", "kube-system"] {
        snapshot.namespaces.insert(name.to_owned(), Arc::new(namespace(name, None, "")));
    }
    state.snapshot.store(Arc::new(snapshot));
    let metrics = Arc::clone(&state.metrics);
    let router = router(state);
    let unknown = json!({ "outrigger.dev/profiles": "fresh" });
    for (path, name, pod) in [
        ("/mutate/namespace", "shop", pod(&json!({}))),
        ("/mutate", "shop", pod(&unknown)),
        ("/mutate/namespace", "new", pod(&json!({}))),
        ("/mutate/mandatory/guard", "plain", pod(&json!({}))),
        ("/verify/guard", "plain", pod(&json!({}))),
    ] {
        let (status, message) = post(&router, path, review(name, &pod).to_string()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} {name}: {message}");
        assert!(message.contains("no current list of sidecarprofiles"), "{message}");
    }
    let text = metrics.encode(Format::Plain).unwrap();
    assert!(text.contains("outcome=\"errored\",reason=\"NotSynced\""), "{text}");

    let mut disabled = pod(&json!({}));
    disabled["metadata"]["labels"] = json!({ "outrigger.dev/inject": "disabled" });
    for (name, pod) in [("shop", disabled), ("kube-system", pod(&json!({}))), ("plain", pod(&json!({})))] {
        let response = answer(&router, "/mutate", &review(name, &pod)).await;
        assert!(response["allowed"] == true && response.get("patch").is_none(), "{name}: {response}");
    }
}
