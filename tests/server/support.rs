//! Shared by the tests of the server: the state of a small cluster, reviews, and calls of a router.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use outrigger::api::Scope;
use outrigger::cluster::{Looking, Lookup, LookupError, Snapshot};
use outrigger::engine::Namespace;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::webhook::State;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// Lookups of the namespace `held` wait for a permit.
pub(crate) static HELD: Semaphore = Semaphore::const_new(0);

/// A lookup with fixed results. It panics for one namespace.
#[derive(Default)]
struct FixedLookup {
    namespaces: HashMap<String, Namespace>,
    profiles: HashMap<String, ProfileEntry>,
}

impl Lookup for FixedLookup {
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        async move {
            assert_ne!(name, "panics", "an intentional panic");
            match name {
                "slow" => tokio::time::sleep(Duration::from_secs(1)).await,
                "held" => HELD.acquire().await.unwrap().forget(),
                "hangs" => std::future::pending().await,
                _ => {}
            }
            Ok(self.namespaces.get(name).cloned())
        }
        .boxed()
    }

    /// One namespace has a quota. The bounds of another one cannot be read.
    fn bounds<'a>(&'a self, namespace: &'a str) -> Looking<'a, Vec<Value>> {
        let quota = json!({
            "kind": "ResourceQuota", "metadata": { "name": "team" }, "spec": { "hard": { "limits.cpu": "1" } },
        });
        let found = match namespace {
            "bounded" => Ok(vec![quota]),
            "unreadable" => Err(LookupError("no answer".to_owned())),
            _ => Ok(Vec::new()),
        };
        futures::future::ready(found).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, name: &'a str) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
        if name == "silent" {
            return futures::future::ready(Err(LookupError("no answer".to_owned()))).boxed();
        }
        let found = self.profiles.get(name).map(|entry| (None, entry.clone())).into_iter().collect();
        futures::future::ready(Ok(found)).boxed()
    }
}

pub(crate) fn profile(name: &str) -> ProfileEntry {
    let spec = json!({ "template": { "spec": { "initContainers": [
        { "name": name, "image": format!("registry.example/{name}:1"), "restartPolicy": "Always" },
    ] } } });
    ProfileEntry::new(name, Scope::Cluster, &serde_json::from_value(spec).unwrap()).0
}

pub(crate) fn namespace(name: &str, inject: Option<&str>, profiles: &str) -> Namespace {
    Namespace {
        name: name.to_owned(),
        labels: inject.map(|value| ("outrigger.dev/inject", value)).into_iter().collect(),
        annotations: [("outrigger.dev/profiles", profiles)].into(),
    }
}

/// Returns an enabled namespace that enforces the `restricted` level.
fn restricted(name: &str) -> Namespace {
    let labels = [("outrigger.dev/inject", "enabled"), ("pod-security.kubernetes.io/enforce", "restricted")];
    Namespace { labels: labels.into(), ..namespace(name, None, "log-shipper") }
}

pub(crate) fn state() -> State {
    let mut profiles = ProfileSet::default();
    profiles.insert(None, "log-shipper", profile("log-shipper"));
    let known = [
        namespace("shop", Some("enabled"), "log-shipper"),
        namespace("stale", None, "log-shipper"),
        restricted("bounded"),
        restricted("unreadable"),
    ];
    let namespaces =
        known.into_iter().map(|namespace| (namespace.name.clone(), Arc::new(namespace))).collect();
    let lookup = FixedLookup {
        namespaces: [
            ("new".to_owned(), namespace("new", Some("enabled"), "log-shipper")),
            ("slow".to_owned(), namespace("slow", Some("enabled"), "log-shipper")),
            ("held".to_owned(), namespace("held", Some("enabled"), "log-shipper")),
            ("stale".to_owned(), namespace("stale", Some("enabled"), "log-shipper")),
        ]
        .into(),
        profiles: [("fresh".to_owned(), profile("fresh")), ("fresher".to_owned(), profile("fresher"))].into(),
    };
    let snapshot = Snapshot { profiles: Arc::new(profiles), namespaces, ..Snapshot::default() };
    State { lookup: Arc::new(lookup), ..State::fixed(snapshot) }
}

pub(crate) fn review(namespace: &str, object: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "8b1f", "kind": { "group": "", "version": "v1", "kind": "Pod" }, "namespace": namespace,
        "operation": "CREATE", "object": object, "oldObject": null, "dryRun": false,
    } })
}

pub(crate) fn pod(annotations: &Value) -> Value {
    json!({ "metadata": { "generateName": "web-", "annotations": annotations }, "spec": { "containers": [{ "name": "app", "image": "web:1" }] } })
}

pub(crate) async fn post(router: &Router, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request =
        Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    send(router, request).await
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, message(std::str::from_utf8(&body).unwrap()))
}

/// Returns the message of a Kubernetes `Status`, or the whole body.
pub(crate) fn message(body: &str) -> String {
    let status = serde_json::from_str::<Value>(body).ok().filter(|status| status["kind"] == "Status");
    status.map_or_else(|| body.to_owned(), |status| status["message"].as_str().unwrap().to_owned())
}

pub(crate) async fn answer(router: &Router, path: &str, review: &Value) -> Value {
    let (status, body) = post(router, path, review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

pub(crate) fn patched(pod: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["patchType"], "JSONPatch");
    let patch =
        base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}
