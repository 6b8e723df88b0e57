//! Metrics, Events, and warnings about workloads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger::api::Scope;
use outrigger::cluster::{Announcer, Snapshot};
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::telemetry::Format;
use outrigger::webhook::{State, router};
use serde_json::{Value, json};

use crate::support::{answer, namespace, patched, pod, review, state};

#[tokio::test]
async fn a_second_review_of_a_pod_does_not_count_as_an_injection() {
    let state = state();
    let router = router(state.clone());
    let mut pod = pod(&json!({}));
    for _ in 0..2 {
        let response = answer(&router, "/mutate", &review("shop", &pod)).await;
        if !response["patch"].is_null() {
            pod = patched(&pod, &response);
        }
    }
    let text = state.metrics.encode(Format::Plain).unwrap();
    for line in [
        "outrigger_admission_requests_total{webhook=\"mutate\",outcome=\"injected\",reason=\"AlreadyInjected\"} 1",
        "outrigger_profile_injections_total{profile=\"log-shipper\"} 1",
    ] {
        assert!(text.contains(line), "{line}\nis missing in\n{text}");
    }
}

#[tokio::test]
async fn a_skipped_profile_is_counted_and_reported_in_an_event_except_in_dry_runs() {
    let spec = json!({
        "onError": "Ignore",
        "parameters": [{ "name": "to", "type": "string", "required": true }],
        "template": { "spec": { "containers": [{ "name": "x", "image": "x:1", "args": ["$[[ params.to ]]"] }] } },
    });
    let mut profiles = ProfileSet::default();
    let entry = ProfileEntry::new("needy", Scope::Cluster, &serde_json::from_value(spec).unwrap()).0;
    profiles.insert(None, "needy", entry);
    let known = namespace("shop", Some("enabled"), "needy");
    let namespaces = [("shop".to_owned(), Arc::new(known))].into();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot {
        profiles: Arc::new(profiles),
        namespaces,
        ..Snapshot::default()
    }));
    let (announcer, mut events) = Announcer::new();
    let state = State { snapshot, announcer, ..state() };
    let router = router(state.clone());
    let mut owned = pod(&json!({}));
    owned["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "u0" },
        { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u1", "controller": true },
    ]);
    let mut dry = review("shop", &owned);
    dry["request"]["dryRun"] = json!(true);
    answer(&router, "/mutate", &dry).await;
    assert!(events.try_recv().is_err() && !state.metrics.encode(Format::Plain).unwrap().contains("needy"));

    answer(&router, "/mutate", &review("shop", &pod(&json!({})))).await;
    assert!(events.try_recv().is_err(), "an event for a pod without an owner");
    let response = answer(&router, "/mutate", &review("shop", &owned)).await;
    assert_eq!(response["allowed"], true, "{response}");
    let event = events.try_recv().expect("an event for the owner");
    assert_eq!(
        (event.regarding.name.as_deref(), event.regarding.uid.as_deref()),
        (Some("web-1"), Some("u1"))
    );
    assert_eq!(event.regarding.namespace.as_deref(), Some("shop"));
    assert!(event.note.starts_with("profile \"needy\" was left out of a pod: "), "{}", event.note);
    let text = state.metrics.encode(Format::Plain).unwrap();
    let counted = "outrigger_profile_left_out_total{profile=\"needy\",reason=\"ParameterMissing\"} 2";
    assert!(text.contains(counted), "{text}");

    // When the events are no longer read, they are dropped, and pods are still answered.
    for _ in 0..300 {
        answer(&router, "/mutate", &review("shop", &owned)).await;
    }
    let text = state.metrics.encode(Format::Plain).unwrap();
    assert!(text.contains("outrigger_events_total{outcome=\"dropped\"} 44"), "{text}");
}

fn workload_review(group: &str, kind: &str, object: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "ad", "kind": { "group": group, "version": "v1", "kind": kind }, "namespace": "shop",
        "name": "web", "operation": "CREATE", "object": object,
    } })
}

fn deployment(annotations: &Value) -> Value {
    let pod = pod(annotations);
    json!({ "metadata": { "name": "web" }, "spec": { "template": { "metadata": { "annotations": annotations }, "spec": pod["spec"] } } })
}

#[tokio::test]
async fn rules_of_the_namespace_that_reject_the_sidecar_are_warnings() {
    let router = router(state());
    let warnings = async |namespace: &str| {
        let mut review = workload_review("apps", "Deployment", &deployment(&json!({})));
        review["request"]["namespace"] = json!(namespace);
        let answer = answer(&router, "/advise", &review).await;
        assert_eq!(answer["allowed"], true, "{answer}");
        serde_json::from_value::<Vec<String>>(answer["warnings"].clone()).unwrap_or_default()
    };
    let level =
        "container \"log-shipper\" of profile \"log-shipper\" violates the level restricted that namespace";
    let bounded = warnings("bounded").await;
    assert!(bounded.iter().any(|warning| warning.starts_with(level)), "{bounded:?}");
    let demanded = "the pod is refused: container \"log-shipper\" of profile \"log-shipper\": there is no limit of cpu, which ResourceQuota \"team\" demands [ResourceQuota]";
    assert!(warnings("bounded").await.contains(&demanded.to_owned()), "{bounded:?}");
    // If the objects cannot be read, the warnings are based on the namespace's labels only.
    let unreadable = warnings("unreadable").await;
    assert!(
        unreadable.iter().all(|warning| warning.ends_with("[PodSecurity]")) && !unreadable.is_empty(),
        "{unreadable:?}"
    );
    assert_eq!(warnings("shop").await, [""; 0]);
}

#[tokio::test]
async fn a_workload_whose_pods_will_be_rejected_gets_a_warning() {
    let state = state();
    let router = router(state.clone());
    let warnings = async |path: &str, review: &Value| {
        let response = answer(&router, path, review).await;
        assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None), "{response}");
        let found = response["warnings"].as_array().cloned().unwrap_or_default();
        found.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rejected = "will be refused: profile \"log-shiper\" (annotation outrigger.dev/profiles on the pod) does not exist in namespace \"shop\"; did you mean \"log-shipper\"? [ProfileNotFound]";
    let misspelled = deployment(&json!({ "outrigger.dev/profiles": "log-shiper" }));
    for path in ["/advise", "/advise/namespace"] {
        let found = warnings(path, &workload_review("apps", "Deployment", &misspelled)).await;
        assert_eq!(found, [format!("pods of this Deployment {rejected}")]);
    }
    let cron =
        json!({ "metadata": { "name": "web" }, "spec": { "jobTemplate": { "spec": misspelled["spec"] } } });
    let found = warnings("/advise", &workload_review("batch", "CronJob", &cron)).await;
    assert_eq!(found, [format!("pods of this CronJob {rejected}")]);

    assert_eq!(
        warnings("/advise", &workload_review("apps", "Deployment", &deployment(&json!({})))).await,
        [""; 0]
    );
    let mut going = misspelled.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
    assert_eq!(warnings("/advise", &workload_review("apps", "Deployment", &going)).await, [""; 0]);
    let found = warnings("/advise", &review("shop", &pod(&json!({})))).await;
    assert!(found[0].contains("correct the rules of the webhook configuration"), "{found:?}");

    // At most five warnings, each with its code and at most 256 characters, the limit of the API server.
    let keys: serde_json::Map<String, Value> = (0..9)
        .map(|number| (format!("log-shipper.outrigger.dev/{}{number}", "x".repeat(200)), json!("")))
        .collect();
    let found =
        warnings("/advise", &workload_review("apps", "Deployment", &deployment(&Value::Object(keys)))).await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(|warning| warning.chars().count() <= 256), "{found:?}");
    assert!(found[0].ends_with("… [UnknownKey]") && found[4].starts_with("and 5 more warnings"), "{found:?}");

    let text = state.metrics.encode(Format::Plain).unwrap();
    let counted = "outrigger_admission_requests_total{webhook=\"advise\",outcome=\"allowed\",reason=\"ProfileNotFound\"} 3";
    assert!(text.contains(counted) && !text.contains("injected"), "{text}");
}
