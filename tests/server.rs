//! The webhook's routes, called in-process, and its listener on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use outrigger::api::Scope;
use outrigger::certificates::{Material, Serving, acceptor};
use outrigger::cluster::{Announcer, Snapshot};
use outrigger::engine::{Namespace, Settings};
use outrigger::profiles::{Entry, ProfileSet};
use outrigger::supervise::Health;
use outrigger::telemetry::{Format, Metrics, Traces};
use outrigger::webhook::{Limits, Listener, Looking, Lookup, State, metrics_router, router};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What a live look finds; one namespace makes it panic.
#[derive(Default)]
struct FixedLookup {
    namespaces: HashMap<String, Namespace>,
    profiles: HashMap<String, Entry>,
}

impl Lookup for FixedLookup {
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        async move {
            assert_ne!(name, "panics", "a fault made on purpose");
            match name {
                "slow" => tokio::time::sleep(Duration::from_secs(1)).await,
                "hangs" => std::future::pending().await,
                _ => {}
            }
            Ok(self.namespaces.get(name).cloned())
        }
        .boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, name: &'a str) -> Looking<'a, Vec<(Option<String>, Entry)>> {
        let found = self.profiles.get(name).map(|entry| (None, entry.clone())).into_iter().collect();
        futures::future::ready(Ok(found)).boxed()
    }
}

fn profile(name: &str) -> Entry {
    let spec = json!({ "template": { "spec": { "initContainers": [
        { "name": name, "image": format!("registry.example/{name}:1"), "restartPolicy": "Always" },
    ] } } });
    Entry::new(name, Scope::Cluster, &serde_json::from_value(spec).unwrap()).0
}

fn namespace(name: &str, inject: Option<&str>, profiles: &str) -> Namespace {
    Namespace {
        name: name.to_owned(),
        labels: inject
            .map(|value| ("outrigger.dev/inject".to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        annotations: [("outrigger.dev/profiles".to_owned(), profiles.to_owned())].into(),
    }
}

fn state() -> State {
    let mut profiles = ProfileSet::default();
    profiles.insert(None, "log-shipper", profile("log-shipper"));
    let known = [namespace("shop", Some("enabled"), "log-shipper"), namespace("stale", None, "log-shipper")];
    let namespaces =
        known.into_iter().map(|namespace| (namespace.name.clone(), Arc::new(namespace))).collect();
    let lookup = FixedLookup {
        namespaces: [
            ("new".to_owned(), namespace("new", Some("enabled"), "log-shipper")),
            ("slow".to_owned(), namespace("slow", Some("enabled"), "log-shipper")),
            ("stale".to_owned(), namespace("stale", Some("enabled"), "log-shipper")),
        ]
        .into(),
        profiles: [("fresh".to_owned(), profile("fresh")), ("fresher".to_owned(), profile("fresher"))].into(),
    };
    State {
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot { profiles: Arc::new(profiles), namespaces })),
        lookup: Arc::new(lookup),
        settings: Arc::new(Settings::default()),
        metrics: Arc::new(Metrics::default()),
        health: Health::default(),
        announcer: Announcer::default(),
        traces: Traces::default(),
    }
}

fn review(namespace: &str, object: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "8b1f", "kind": { "group": "", "version": "v1", "kind": "Pod" }, "namespace": namespace,
        "operation": "CREATE", "object": object, "oldObject": null, "dryRun": false,
    } })
}

fn pod(annotations: &Value) -> Value {
    json!({ "metadata": { "generateName": "web-", "annotations": annotations }, "spec": { "containers": [{ "name": "app", "image": "web:1" }] } })
}

async fn post(router: &Router, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request =
        Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    send(router, request).await
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn answer(router: &Router, path: &str, review: &Value) -> Value {
    let (status, body) = post(router, path, review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

fn patched(pod: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["patchType"], "JSONPatch");
    let patch =
        base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

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
async fn a_pod_that_comes_again_is_no_second_injection() {
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
async fn a_skipped_pod_gets_neither_patch_nor_patch_type() {
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
async fn a_denial_says_what_was_meant() {
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
async fn what_the_snapshot_does_not_hold_yet_is_looked_up() {
    let router = router(state());
    let plain = pod(&json!({}));
    // A namespace that is not known, and one whose labels contradict the entry that called.
    for name in ["new", "stale"] {
        let response = answer(&router, "/mutate/namespace", &review(name, &plain)).await;
        assert_eq!(patched(&plain, &response)["spec"]["initContainers"][0]["name"], "log-shipper", "{name}");
    }
    let chooses = pod(&json!({ "outrigger.dev/profiles": "fresh,fresher" }));
    let response = answer(&router, "/mutate/namespace", &review("shop", &chooses)).await;
    assert_eq!(patched(&chooses, &response)["spec"]["initContainers"].as_array().unwrap().len(), 2);
}

/// With the failure policy Fail no pod may slip in because nobody could say whether its namespace is enabled.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_nobody_knows_is_an_error_and_not_a_skip() {
    let state = state();
    // Known without the label, which the entry that calls contradicts, and gone when looked at live.
    let mut snapshot = Snapshot::clone(&state.snapshot.load());
    snapshot.namespaces.insert("gone".to_owned(), Arc::new(namespace("gone", None, "log-shipper")));
    state.snapshot.store(Arc::new(snapshot));
    let router = router(state);
    for name in ["never-heard-of", "gone", "hangs"] {
        let body = review(name, &pod(&json!({}))).to_string();
        let (status, message) = post(&router, "/mutate/namespace", body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{message}");
        assert!(message.contains(&format!("namespace {name:?} is not known yet")), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_review_is_a_4xx_that_says_why() {
    let router = router(state());
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    let empty = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" });
    for (body, part) in [
        (String::new(), "not an AdmissionReview in JSON"),
        ("{".to_owned(), "line 1 column"),
        ("[]".to_owned(), "not an AdmissionReview in JSON"),
        (deployment.to_string(), "\"apps/v1\" \"Deployment\""),
        (empty.to_string(), "no request"),
        ("[".repeat(100_000), "not an AdmissionReview in JSON"),
    ] {
        for path in ["/mutate", "/mutate/pod", "/validate"] {
            let (status, message) = post(&router, path, body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
            assert!(message.contains(part), "{message}");
        }
    }
    let text =
        Request::post("/mutate").header(header::CONTENT_TYPE, "text/plain").body(Body::from("{}")).unwrap();
    assert_eq!(send(&router, text).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        send(&router, Request::get("/mutate").body(Body::empty()).unwrap()).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(post(&router, "/elsewhere", "{}").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_is_bounded_whether_or_not_it_says_its_length() {
    let router = router(state());
    let large = vec![b' '; 8 << 20];
    let (status, message) = post(&router, "/mutate", large.clone()).await;
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7340032 bytes\n")
    );
    let chunks =
        large.chunks(1 << 16).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let (status, _) = post(&router, "/mutate", Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stalled = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, message) = post(&router(state()), "/mutate", stalled).await;
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::REQUEST_TIMEOUT, "the body did not come within 3 s\n")
    );
}

#[tokio::test]
async fn what_is_wrong_in_a_review_is_a_denial_with_its_uid() {
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
async fn only_creations_are_decided() {
    let mut update = review("shop", &pod(&json!({ "outrigger.dev/profiles": "no-such" })));
    update["request"]["operation"] = json!("UPDATE");
    let response = answer(&router(state()), "/mutate", &update).await;
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
}

#[tokio::test]
async fn a_panic_answers_its_own_request_only() {
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

#[tokio::test]
async fn a_profile_that_is_left_out_is_told_to_the_pods_owner_and_counted_but_not_in_a_dry_run() {
    let spec = json!({
        "onError": "Ignore",
        "parameters": [{ "name": "to", "type": "string", "required": true }],
        "template": { "spec": { "containers": [{ "name": "x", "image": "x:1", "args": ["$[[ params.to ]]"] }] } },
    });
    let mut profiles = ProfileSet::default();
    let entry = Entry::new("needy", Scope::Cluster, &serde_json::from_value(spec).unwrap()).0;
    profiles.insert(None, "needy", entry);
    let known = namespace("shop", Some("enabled"), "needy");
    let namespaces = [("shop".to_owned(), Arc::new(known))].into();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot { profiles: Arc::new(profiles), namespaces }));
    let (announcer, mut told) = Announcer::new();
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
    assert!(told.try_recv().is_err() && !state.metrics.encode(Format::Plain).unwrap().contains("needy"));

    answer(&router, "/mutate", &review("shop", &pod(&json!({})))).await;
    assert!(told.try_recv().is_err(), "a pod that nobody owns");
    let response = answer(&router, "/mutate", &review("shop", &owned)).await;
    assert_eq!(response["allowed"], true, "{response}");
    let event = told.try_recv().expect("the owner is told");
    assert_eq!((event.owner.name.as_deref(), event.owner.uid.as_deref()), (Some("web-1"), Some("u1")));
    assert_eq!(event.owner.namespace.as_deref(), Some("shop"));
    assert!(event.note.starts_with("profile \"needy\" was left out of a pod: "), "{}", event.note);
    let text = state.metrics.encode(Format::Plain).unwrap();
    let counted = "outrigger_profile_left_out_total{profile=\"needy\",reason=\"ParameterMissing\"} 2";
    assert!(text.contains(counted), "{text}");

    // Nobody reads them any more, and pods are answered all the same.
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
async fn who_writes_a_workload_hears_what_will_become_of_its_pods() {
    let state = state();
    let router = router(state.clone());
    let ask = async |path: &str, review: &Value| {
        let response = answer(&router, path, review).await;
        assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None), "{response}");
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let refused = "will be refused: profile \"log-shiper\" (annotation outrigger.dev/profiles on the pod) does not exist in namespace \"shop\"; did you mean \"log-shipper\"? [ProfileNotFound]";
    let misspelt = deployment(&json!({ "outrigger.dev/profiles": "log-shiper" }));
    for path in ["/advise", "/advise/namespace"] {
        let said = ask(path, &workload_review("apps", "Deployment", &misspelt)).await;
        assert_eq!(said, [format!("pods of this Deployment {refused}")]);
    }
    let cron =
        json!({ "metadata": { "name": "web" }, "spec": { "jobTemplate": { "spec": misspelt["spec"] } } });
    let said = ask("/advise", &workload_review("batch", "CronJob", &cron)).await;
    assert_eq!(said, [format!("pods of this CronJob {refused}")]);

    assert_eq!(
        ask("/advise", &workload_review("apps", "Deployment", &deployment(&json!({})))).await,
        [""; 0]
    );
    let mut going = misspelt.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
    assert_eq!(ask("/advise", &workload_review("apps", "Deployment", &going)).await, [""; 0]);
    let said = ask("/advise", &review("shop", &pod(&json!({})))).await;
    assert!(said[0].contains("correct the rules of the webhook configuration"), "{said:?}");

    // A handful, and each as long as the API server takes, with its code.
    let keys: serde_json::Map<String, Value> = (0..9)
        .map(|number| (format!("log-shipper.outrigger.dev/{}{number}", "x".repeat(180)), json!("")))
        .collect();
    let said =
        ask("/advise", &workload_review("apps", "Deployment", &deployment(&Value::Object(keys)))).await;
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said.iter().all(|warning| warning.chars().count() <= 256), "{said:?}");
    assert!(said[0].ends_with("… [UnknownKey]") && said[4].starts_with("and 5 more warnings"), "{said:?}");

    let text = state.metrics.encode(Format::Plain).unwrap();
    let counted = "outrigger_admission_requests_total{webhook=\"advise\",outcome=\"allowed\",reason=\"ProfileNotFound\"} 3";
    assert!(text.contains(counted) && !text.contains("injected"), "{text}");
}

fn profile_review(kind: &str, metadata: &Value, spec: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "5c", "kind": { "group": "outrigger.dev", "version": "v1alpha1", "kind": kind },
        "operation": "CREATE", "object": { "metadata": metadata, "spec": spec },
    } })
}

#[tokio::test]
async fn a_profile_is_judged_with_all_its_findings_at_once() {
    let router = router(state());
    let spec = json!({
        "template": { "spec": {
            "affinity": {},
            "initContainers": [
                { "name": "a", "image": "x:1", "restartPolicy": "Always", "imagePulPolicy": "Never", "volumeMounts": [{ "name": "log", "mountPath": "/l" }] },
                { "name": "a", "image": "x:1", "readinessProbe": {} },
                { "name": "b", "image": "x:1", "ports": "80" },
            ],
            "volumes": [{ "name": "logs", "emptyDir": {} }, { "name": "nothing" }],
        } },
        "appContainers": [{ "env": [{ "name": "A", "value": "$[[ params.a ]]" }] }],
        "order": { "after": ["x", "me"] },
        "match": {
            "podSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] },
            "conditions": [{ "name": "c", "expression": "size(pod" }],
        },
    });
    let response = answer(
        &router,
        "/validate",
        &profile_review("ClusterSidecarProfile", &json!({ "name": "me" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 422);
    let message = response["status"]["message"].as_str().unwrap();
    for part in [
        "spec.template.spec.affinity: this field cannot be injected",
        "initContainers[0].imagePulPolicy: Kubernetes has no such field here; did you mean \"imagePullPolicy\"?",
        "initContainers[0].volumeMounts[0].name: the volume \"log\" is not one of the profile's volumes; did you mean \"logs\"?",
        "initContainers[1].name: the name \"a\" is used twice",
        "initContainers[1].readinessProbe: an init container has this only as a native sidecar",
        "initContainers[2].ports: invalid type",
        "spec.template.spec.volumes[1]: a volume has exactly one source",
        "spec.appContainers[0].containers: name the pod's containers",
        "spec.appContainers[0].env[0].value: column ",
        "spec.order.after[1]: a profile cannot stand before or after itself",
        "spec.match.podSelector.matchExpressions[0]: In and NotIn need values",
        "spec.match.conditions[0].expression: column ",
    ] {
        assert!(message.contains(part), "{part}\nis missing in\n{message}");
    }
}

#[tokio::test]
async fn a_good_profile_is_accepted_with_its_warnings() {
    let router = router(state());
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "untagged", "resources": { "limits": { "cpu": 1 } } }] } } });
    let response = answer(
        &router,
        "/validate",
        &profile_review("SidecarProfile", &json!({ "generateName": "a-" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    let going = json!({ "name": "UPPER", "deletionTimestamp": "2026-11-23T00:00:00Z" });
    let response =
        answer(&router, "/validate", &profile_review("SidecarProfile", &going, &json!({ "order": 5 }))).await;
    assert_eq!(response["allowed"], true, "finalizers must come off");
    let response = answer(&router, "/validate", &review("shop", &pod(&json!({})))).await;
    assert_eq!(response["status"]["code"], 400);
}

#[tokio::test]
async fn what_is_wrong_between_profiles_is_a_warning() {
    let router = router(state());
    let spec = json!({
        "template": { "metadata": { "labels": { "a": "b" } } },
        // A profile that is not installed may still come; a misspelt one will not.
        "order": { "before": ["log-shipper"], "after": ["mesh-proxy", "log-shippr"] }, "requires": ["log-shipper", "log-shiper"],
    });
    let response = answer(
        &router,
        "/validate",
        &profile_review("ClusterSidecarProfile", &json!({ "name": "a" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    let warnings = response["warnings"].as_array().unwrap();
    assert_eq!(
        warnings.iter().map(|warning| warning.as_str().unwrap()).collect::<Vec<_>>(),
        [
            "spec.order.after[1]: there is no profile \"log-shippr\" here, so this orders nothing; did you mean \"log-shipper\"?",
            "spec.requires[1]: there is no profile \"log-shiper\" here, and without it this one cannot be injected; did you mean \"log-shipper\"?",
            "spec.order.before[0]: the start order is a cycle: a → log-shipper → a",
        ]
    );
}

#[tokio::test]
async fn health_and_metrics() {
    let state = state();
    state.health.wait_for("test", "the first list");
    let routes = router(state.clone()).merge(Router::new());
    let metrics = metrics_router(state.clone());
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for router in [&routes, &metrics] {
        assert_eq!(send(router, get("/healthz")).await.0, StatusCode::OK);
        let (status, body) = send(router, get("/readyz")).await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready: the first list\n"));
    }
    state.health.ready("test");
    assert_eq!(send(&routes, get("/readyz")).await.0, StatusCode::OK);
    answer(&routes, "/mutate", &review("shop", &pod(&json!({})))).await;
    let (_, text) = send(&metrics, get("/metrics")).await;
    assert!(!text.contains("# EOF") && text.contains("# TYPE outrigger_build_info gauge"), "{text}");
    let open = Request::get("/metrics").header(header::ACCEPT, "application/openmetrics-text;version=1.0.0");
    let (_, text) = send(&metrics, open.body(Body::empty()).unwrap()).await;
    for line in [
        "outrigger_admission_requests_total{webhook=\"mutate\",outcome=\"injected\",reason=\"Injected\"} 1",
        "outrigger_profile_injections_total{profile=\"log-shipper\"} 1",
        "outrigger_admission_duration_seconds_count{webhook=\"mutate\"} 1",
        "outrigger_build_info{version=",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\nis missing in\n{text}");
    }
}

const NAME: &str = "outrigger.test.svc";

fn material() -> Material {
    Material::new(&[NAME.to_owned()], time::OffsetDateTime::now_utc()).unwrap()
}

async fn connect(
    address: std::net::SocketAddr,
    authority: &str,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(NAME).unwrap(), stream)
        .await
}

fn request(namespace: &str) -> Request<Full<axum::body::Bytes>> {
    Request::post("/mutate")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::HOST, NAME)
        .body(Full::from(review(namespace, &pod(&json!({}))).to_string()))
        .unwrap()
}

struct Running {
    address: std::net::SocketAddr,
    serving: Arc<Serving>,
    health: Health,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn start(material: &Material) -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let serving = Arc::new(Serving::default());
    serving.set(&material.certificate, &material.key).unwrap();
    let tls = acceptor(Arc::clone(&serving));
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), Some(tls), Limits::default()).await.unwrap();
    let (address, stop, state) = (listener.address().unwrap(), CancellationToken::new(), state());
    let health = state.health.clone();
    let ended = tokio::spawn(listener.serve(router(state), stop.clone()));
    Running { address, serving, health, stop, ended }
}

#[tokio::test]
async fn tls_with_both_protocols_and_a_certificate_changed_in_service() {
    let first = material();
    let server = start(&first).await;
    let http1 = connect(server.address, &first.authority, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(http1)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);

    let http2 = connect(server.address, &first.authority, b"h2").await.unwrap();
    assert_eq!(http2.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(http2)).await.unwrap();
    tokio::spawn(connection);
    let mut over_http2 = request("shop");
    *over_http2.uri_mut() = format!("https://{NAME}/mutate").parse().unwrap();
    assert_eq!(h2.send_request(over_http2).await.unwrap().status(), StatusCode::OK);

    let second = material();
    server.serving.set(&second.certificate, &second.key).unwrap();
    assert!(
        connect(server.address, &first.authority, b"http/1.1").await.is_err(),
        "the old certificate is still served"
    );
    connect(server.address, &second.authority, b"http/1.1").await.unwrap();
    assert_eq!(
        sender.send_request(request("shop")).await.unwrap().status(),
        StatusCode::OK,
        "an old connection goes on"
    );
}

#[tokio::test]
async fn a_drain_says_close_and_finishes_what_is_under_way() {
    let material = material();
    let server = start(&material).await;
    let stream = connect(server.address, &material.authority, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(request("shop")).await.unwrap().headers().get(header::CONNECTION).is_none());
    server.health.drain();
    let response = sender.send_request(request("shop")).await.unwrap();
    assert_eq!(response.headers()[header::CONNECTION], "close");

    let stream = connect(server.address, &material.authority, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let slow = tokio::spawn(async move { sender.send_request(request("slow")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.cancel();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK, "a request under way was cut off");
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the socket is still open");
}

/// The server as a process, without a cluster.
struct Standalone {
    child: std::process::Child,
    address: std::net::SocketAddr,
}

impl Drop for Standalone {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn standalone(folder: &std::path::Path) -> Standalone {
    use std::io::BufRead as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--profiles",
            "profiles",
        ])
        .args(["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--log-format", "json"])
        .current_dir(folder)
        .env_remove("KUBECONFIG")
        .env_remove("POD_NAMESPACE")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said.by_ref().find_map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["listen"].as_str().map(|address| address.parse().unwrap())
    });
    // A pipe that nobody reads would stop the server.
    std::thread::spawn(move || said.for_each(drop));
    Standalone { child, address: address.expect("the server says where it listens") }
}

#[tokio::test]
async fn it_serves_files_without_a_cluster_and_follows_their_changes() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("standalone");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(folder.join("profiles")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let certify = |material: &Material| {
        put("tls.key", &material.key);
        put("tls.crt", &material.certificate);
    };
    let profile = |image: &str| {
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSidecarProfile",
            "metadata": { "name": "proxy" },
            "spec": { "template": { "spec": { "initContainers": [
                { "name": "proxy", "image": image, "restartPolicy": "Always" },
            ] } } },
        })
        .to_string()
    };
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {outrigger.dev/inject: enabled}\n  annotations: {outrigger.dev/profiles: proxy}\n";
    let first = material();
    certify(&first);
    put("profiles/namespace.yaml", namespace);
    put("profiles/proxy.json", &profile("proxy:1"));
    let server = standalone(&folder);

    let ask = async |authority: &str, namespace: &str| -> Option<Value> {
        let stream = connect(server.address, authority, b"http/1.1").await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request(namespace)).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let response = &answer["response"];
        assert_eq!(response["allowed"], true, "{response}");
        if response["patch"].is_null() {
            Some(Value::Null)
        } else {
            Some(patched(&pod(&json!({})), response))
        }
    };
    let image = |pod: &Value| pod["spec"]["initContainers"][0]["image"].as_str().map(str::to_owned);
    let eventually = async |authority: &str, wanted: &str| {
        for _ in 0..300 {
            if let Some(pod) = ask(authority, "shop").await
                && image(&pod).as_deref() == Some(wanted)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{wanted} was not injected in time");
    };
    eventually(&first.authority, "proxy:1").await;
    // No file holds it, so nobody enabled it.
    assert_eq!(image(&ask(&first.authority, "elsewhere").await.unwrap()), None);

    put("profiles/proxy.json", &profile("proxy:2"));
    eventually(&first.authority, "proxy:2").await;
    put("profiles/proxy.json", "{ half of a cha");
    let second = material();
    certify(&second);
    eventually(&second.authority, "proxy:2").await;
    assert!(ask(&first.authority, "shop").await.is_none(), "the old certificate is still served");
}
