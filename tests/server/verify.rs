//! Mandatory profiles: their webhook entries, and `/verify`.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use outrigger::api::Scope;
use outrigger::cluster::Snapshot;
use outrigger::engine::Namespace;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::webhook::router;
use serde_json::{Value, json};

use crate::support::{answer, patched, pod, post, review, state};

/// Returns a router for which the profile "guard" is Mandatory in namespaces with the label `guarded`. The namespace
/// "vault" has this label, and not Outrigger's own.
fn guarded() -> Router {
    let mut state = state();
    let spec = json!({
        "enforcement": "Mandatory",
        "match": { "namespaceSelector": { "matchLabels": { "guarded": "yes" } } },
        "template": { "spec": { "initContainers": [{ "name": "guard", "image": "guard:1", "restartPolicy": "Always" }] } },
    });
    let entry = ProfileEntry::new("guard", Scope::Cluster, &serde_json::from_value(spec).unwrap()).0;
    let mut profiles = ProfileSet::clone(&state.snapshot.load().profiles);
    profiles.insert(None, "guard", entry);
    let labels = [("guarded", "yes")].into();
    let vault = Namespace { name: "vault".to_owned(), labels, ..Namespace::default() };
    let mut namespaces = state.snapshot.load().namespaces.clone();
    namespaces.insert("vault".to_owned(), Arc::new(vault));
    state.snapshot.store(Arc::new(Snapshot {
        profiles: Arc::new(profiles),
        namespaces,
        ..Snapshot::default()
    }));
    state.own_user = "system:serviceaccount:outrigger-system:outrigger".into();
    router(state)
}

fn review_with(fields: &Value) -> Value {
    let mut review = review("vault", &json!(null));
    for (name, value) in fields.as_object().unwrap() {
        review["request"][name] = value.clone();
    }
    review
}

#[tokio::test]
async fn a_mandatory_profile_needs_no_label_and_a_complete_pod_is_accepted() {
    let router = guarded();
    let plain = pod(&json!({}));
    let response = answer(&router, "/mutate/mandatory/guard", &review("vault", &plain)).await;
    let complete = patched(&plain, &response);
    assert_eq!(complete["spec"]["initContainers"][0]["name"], "guard");
    let response = answer(&router, "/verify/guard", &review("vault", &complete)).await;
    assert_eq!(response["allowed"], true, "{response}");

    let mut lost = complete;
    lost["spec"]["initContainers"] = json!([]);
    let response = answer(&router, "/verify/guard", &review("vault", &lost)).await;
    assert_eq!(response["allowed"], false);
    assert!(response["status"]["message"].as_str().unwrap().ends_with("[MandatoryIncomplete]"), "{response}");
    assert_eq!(response["auditAnnotations"]["reason"], "MandatoryIncomplete");
}

#[tokio::test]
async fn only_the_servers_own_user_changes_a_mandatory_container() {
    let router = guarded();
    let plain = pod(&json!({}));
    let response = answer(&router, "/mutate/mandatory/guard", &review("vault", &plain)).await;
    let old = patched(&plain, &response);
    let mut new = old.clone();
    new["spec"]["initContainers"][0]["image"] = json!("busybox");
    let change = |user: &str| {
        review_with(
            &json!({ "operation": "UPDATE", "object": new, "oldObject": old, "userInfo": { "username": user, "groups": [] } }),
        )
    };
    let response = answer(&router, "/verify/guard", &change("system:admin")).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("initContainers[guard].image belongs to the mandatory profile"), "{message}");
    let own = change("system:serviceaccount:outrigger-system:outrigger");
    assert_eq!(answer(&router, "/verify/guard", &own).await["allowed"], true);
}

#[tokio::test]
async fn changes_by_the_status_and_by_a_binding_are_rejected() {
    let router = guarded();
    let plain = pod(&json!({}));
    // The entry for submitted pods, which is called once, injects an ordinary pod too.
    let response = answer(&router, "/mutate/submitted/guard", &review("vault", &plain)).await;
    let old = patched(&plain, &response);
    let mut new = old.clone();
    new["metadata"]["annotations"].as_object_mut().unwrap().remove("outrigger.dev/status");
    let status = review_with(
        &json!({ "operation": "UPDATE", "subResource": "status", "object": new, "oldObject": old }),
    );
    let response = answer(&router, "/verify/guard", &status).await;
    assert_eq!(response["auditAnnotations"]["reason"], "MandatoryChanged", "{response}");

    let bind = |annotations: Value| {
        review_with(&json!({
            "operation": "CREATE", "kind": { "group": "", "version": "v1", "kind": "Binding" }, "subResource": "binding",
            "object": { "metadata": { "name": "app", "annotations": annotations }, "target": { "name": "node" } },
        }))
    };
    let response = answer(&router, "/verify/guard", &bind(json!({ "outrigger.dev/status": "{}" }))).await;
    assert_eq!(response["auditAnnotations"]["reason"], "MandatoryChanged", "{response}");
    let response = answer(&router, "/verify/guard", &bind(json!({ "team": "a" }))).await;
    assert_eq!(response["allowed"], true, "{response}");
}

#[tokio::test]
async fn exec_and_attach_are_rejected_by_the_containers_name() {
    let router = guarded();
    for (kind, container, allowed) in [
        ("PodExecOptions", "guard", false),
        ("PodAttachOptions", "guard", false),
        ("PodExecOptions", "app", true),
        ("PodExecOptions", "", true),
    ] {
        let enter = review_with(&json!({
            "operation": "CONNECT", "kind": { "group": "", "version": "v1", "kind": kind }, "object": { "container": container },
        }));
        assert_eq!(answer(&router, "/verify/guard", &enter).await["allowed"], allowed, "{kind} {container}");
    }
}

/// The snapshot may be older than the webhook entry, or the profile may have been deleted.
#[tokio::test]
async fn an_unknown_profile_of_an_entry_is_looked_up_and_pods_are_admitted_without_it() {
    let response = answer(&guarded(), "/mutate/mandatory/gone", &review("vault", &pod(&json!({})))).await;
    assert!(response["allowed"] == true, "{response}");
    // In the snapshot, the namespace does not have the label that the entry selects.
    let response = answer(&guarded(), "/mutate/mandatory/guard", &review("stale", &pod(&json!({})))).await;
    assert_eq!(response["allowed"], true, "{response}");
}

/// If the lookup fails, the profile may be Mandatory, so the pod must not be admitted.
#[tokio::test]
async fn a_failed_lookup_of_an_entrys_profile_is_an_error_not_a_skip() {
    for path in ["/mutate/mandatory/silent", "/verify/silent"] {
        let body = review("vault", &pod(&json!({}))).to_string();
        let (status, message) = post(&guarded(), path, body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{message}");
        assert!(message.contains("profile \"silent\" is not known yet"), "{message}");
    }
}

#[tokio::test]
async fn reviews_of_other_objects_are_rejected() {
    let router = guarded();
    let (status, _) = post(&router, "/verify/guard", "{}").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let other = review_with(&json!({ "kind": { "group": "apps", "version": "v1", "kind": "Deployment" } }));
    let response = answer(&router, "/verify/guard", &other).await;
    assert!(response["status"]["message"].as_str().unwrap().contains("correct the rules"), "{response}");
    let nothing = review_with(&json!({ "operation": "UPDATE" }));
    let response = answer(&router, "/verify/guard", &nothing).await;
    assert!(response["status"]["message"].as_str().unwrap().contains("no oldObject"), "{response}");
}
