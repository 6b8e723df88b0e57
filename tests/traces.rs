//! Traces, as a collector gets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use outrigger::api::Scope;
use outrigger::cluster::Snapshot;
use outrigger::engine::Namespace;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use outrigger::telemetry::Traces;
use outrigger::webhook::{State, router};
use prost::Message as _;
use serde_json::json;
use tower::ServiceExt as _;

/// The snapshot knows everything here.
type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that keeps what it gets.
async fn collector() -> (String, Received) {
    let received = Received::default();
    let keep = Arc::clone(&received);
    let routes = Router::new().route(
        "/v1/traces",
        post(async move |body: Bytes| {
            keep.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        }),
    );
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(routes.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    (format!("http://{address}"), received)
}

fn webhook(traces: &Traces) -> Router {
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "x", "image": "x:1" }] } } });
    let mut profiles = ProfileSet::default();
    profiles.insert(
        None,
        "x",
        ProfileEntry::new("x", Scope::Cluster, &serde_json::from_value(spec).unwrap()).0,
    );
    let shop = Namespace {
        name: "shop".to_owned(),
        labels: [("outrigger.dev/inject", "enabled")].into(),
        annotations: [("outrigger.dev/profiles", "x")].into(),
    };
    let namespaces = [("shop".to_owned(), Arc::new(shop))].into();
    let snapshot = Snapshot { profiles: Arc::new(profiles), namespaces, ..Snapshot::default() };
    router(State { traces: traces.clone(), ..State::fixed(snapshot) })
}

async fn ask(router: &Router, namespace: &str, parent: Option<&str>) {
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "8b1f", "kind": { "group": "", "version": "v1", "kind": "Pod" }, "namespace": namespace,
        "operation": "CREATE", "dryRun": false,
        "object": { "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "app", "image": "web:1", "env": [{ "name": "TOKEN", "value": "hunter2" }] }] } },
    } });
    let mut request = Request::post("/mutate").header(header::CONTENT_TYPE, "application/json");
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    router.clone().oneshot(request.body(Body::from(review.to_string())).unwrap()).await.unwrap();
}

fn spans(received: &Received) -> Vec<Span> {
    let received = received.lock().unwrap();
    let scopes =
        received.iter().flat_map(|request| &request.resource_spans).flat_map(|part| &part.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::BoolValue(value) => value.to_string(),
        Any::IntValue(value) => value.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs.map(|pair| (pair.key.clone(), text(pair.value.clone().unwrap().value.unwrap()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_below_the_api_servers_and_the_last_are_delivered_at_the_end() {
    let (endpoint, received) = collector().await;
    let traces = Traces::start(&endpoint.parse().unwrap(), 1.0).unwrap();
    let router = webhook(&traces);
    ask(&router, "shop", Some(PARENT)).await;
    ask(&router, "nowhere", None).await;
    router.clone().oneshot(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
    traces.stop().await;
    let spans = spans(&received);
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert_eq!(hex(&spans[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
    let injected = attributes(&spans[0]);
    for (key, value) in [
        ("outrigger.uid", "8b1f"),
        ("k8s.namespace.name", "shop"),
        ("outrigger.webhook", "mutate"),
        ("outrigger.outcome", "injected"),
        ("outrigger.reason", "Injected"),
        ("outrigger.profiles", "x"),
        ("outrigger.dry_run", "false"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(injected.get(key).map(String::as_str), Some(value), "{key} in {injected:?}");
    }
    let failed = attributes(&spans[1]);
    assert_eq!(failed["outrigger.reason"], "UnknownNamespace", "{failed:?}");
    assert_eq!(spans[1].status.as_ref().unwrap().code, 2, "{spans:?}");
    assert!(spans[1].parent_span_id.is_empty());
    let received = received.lock().unwrap();
    let resource = received[0].resource_spans[0].resource.as_ref().unwrap();
    assert!(format!("{resource:?}").contains("\"outrigger\""), "{resource:?}");
    assert!(!format!("{received:?}").contains("hunter2"), "no part of a pod leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_arrive() {
    let (endpoint, received) = collector().await;
    let traces = Traces::start(&endpoint.parse().unwrap(), 1.0).unwrap();
    let router = webhook(&traces);
    for _ in 0..1500 {
        ask(&router, "shop", None).await;
    }
    traces.stop().await;
    assert_eq!(spans(&received).len(), 1500);
    assert!(received.lock().unwrap().len() > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_servers_sampling_comes_before_ours() {
    let (endpoint, received) = collector().await;
    let traces = Traces::start(&endpoint.parse().unwrap(), 0.0).unwrap();
    let router = webhook(&traces);
    for _ in 0..20 {
        ask(&router, "shop", None).await;
    }
    ask(&router, "shop", Some(PARENT)).await;
    traces.stop().await;
    assert_eq!(spans(&received).len(), 1);

    let (endpoint, received) = collector().await;
    let traces = Traces::start(&endpoint.parse().unwrap(), 1.0).unwrap();
    let router = webhook(&traces);
    ask(&router, "shop", Some(&PARENT.replace("-01", "-00"))).await;
    traces.stop().await;
    assert_eq!(spans(&received).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_without_an_answer_does_not_delay_requests() {
    // The kernel accepts connections for a socket that is listening, and no program answers them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let traces = Traces::start(&endpoint.parse().unwrap(), 1.0).unwrap();
    let router = webhook(&traces);
    // More spans than one batch has, so that an export is due.
    let answered = async {
        for _ in 0..1000 {
            ask(&router, "shop", None).await;
        }
    };
    let export = async { silent.accept().await.unwrap() };
    // A request that waited for the collector would take the exporter's time limit of five seconds, and all of them more than
    // an hour.
    let both = async { tokio::join!(answered, export) };
    let ((), _unanswered) = tokio::time::timeout(Duration::from_mins(2), both).await.expect("requests wait");
    // The last export has a time limit of its own.
    tokio::time::timeout(Duration::from_mins(1), traces.stop()).await.expect("the shutdown waits");
}
