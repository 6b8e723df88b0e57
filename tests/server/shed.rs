//! Load shedding and deadlines.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use outrigger::telemetry::Metrics;
use outrigger::webhook::{Limits, LoadShed, metrics_router, router_behind};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::running::metric;
use crate::support::{answer, pod, post, review, send, state};

const MIB: usize = 1 << 20;

fn with_limits(limits: Limits) -> (Router, Router, Arc<Metrics>) {
    let state = state();
    let metrics = Arc::clone(&state.metrics);
    let gate = LoadShed::new(limits, metrics.load.clone());
    (router_behind(gate, state.clone()), metrics_router(state), metrics)
}

fn of(namespace: &str) -> String {
    review(namespace, &pod(&json!({}))).to_string()
}

fn asking(router: &Router, path: &'static str, body: impl Into<Body>) -> JoinHandle<(StatusCode, String)> {
    let (router, body) = (router.clone(), body.into());
    tokio::spawn(async move { post(&router, path, body).await })
}

#[tokio::test(start_paused = true)]
async fn excess_requests_are_shed_with_retry_after() {
    let (router, for_metrics, metrics) = with_limits(Limits { requests: 3, ..Limits::default() });
    let waiting: Vec<_> = (0..3).map(|_| asking(&router, "/mutate/namespace", of("slow"))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(metric(&metrics, "outrigger_requests_in_flight"), "3");

    for path in ["/mutate", "/validate"] {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let response = router.clone().oneshot(request.body(Body::from(of("shop"))).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            response.headers()[header::RETRY_AFTER],
            "1",
            "the API server retries only with this header"
        );
    }
    for (router, path) in [(&router, "/healthz"), (&router, "/readyz"), (&for_metrics, "/metrics")] {
        let get = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(send(router, get).await.0, StatusCode::OK, "{path} is never shed");
    }

    for ended in waiting {
        assert_eq!(ended.await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(metric(&metrics, "outrigger_requests_in_flight"), "0");
    assert_eq!(answer(&router, "/mutate", &review("shop", &pod(&json!({})))).await["allowed"], true);
    assert_eq!(metric(&metrics, "outrigger_requests_shed_total{reason=\"requests\"}"), "2");
    let errored =
        "outrigger_admission_requests_total{webhook=\"validate\",outcome=\"errored\",reason=\"Shed\"}";
    assert_eq!(metric(&metrics, errored), "1");
}

/// Returns a body that is sent in pieces by the test.
fn piecewise() -> (mpsc::UnboundedSender<Vec<u8>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    let pieces = futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (Ok::<_, std::io::Error>(Bytes::from(piece)), receiver))
    });
    (sender, Body::from_stream(pieces))
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_large_bodies_is_limited() {
    let limits = Limits { body_memory: 8 * MIB, ..Limits::default() };
    let (router, _, metrics) = with_limits(limits);
    // A stalled body keeps the memory that it has reserved.
    let (pieces, body) = piecewise();
    let first = asking(&router, "/mutate", body);
    let padded = format!("{}{}", of("shop"), " ".repeat(6 * MIB));
    pieces.send(padded.clone().into_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;

    let others: Vec<_> = (0..50).map(|_| asking(&router, "/mutate", padded.clone())).collect();
    for other in others {
        let (status, message) = other.await.unwrap();
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{message}");
        assert!(message.contains("too many concurrent large reviews"), "{message}");
    }
    assert_eq!(metric(&metrics, "outrigger_requests_shed_total{reason=\"memory\"}"), "50");
    assert_eq!(post(&router, "/mutate", of("shop")).await.0, StatusCode::OK, "an ordinary review is shed");

    drop(pieces);
    assert_eq!(first.await.unwrap().0, StatusCode::OK);
    assert_eq!(post(&router, "/mutate", padded).await.0, StatusCode::OK, "the memory was not released");
}

#[tokio::test(start_paused = true)]
async fn responses_are_sent_before_the_api_servers_timeout() {
    let (router, _, metrics) = with_limits(Limits::default());
    // The API server's timeout, the operation that hangs, and the response with its time in milliseconds.
    for (path, hangs, code, message, millis) in [
        ("/mutate?timeout=1s", "the body", StatusCode::GATEWAY_TIMEOUT, "no answer within 900ms", 900),
        ("/mutate?timeout=30s", "the body", StatusCode::REQUEST_TIMEOUT, "did not come within 3s", 3000),
        ("/mutate?timeout=1s", "a lookup", StatusCode::SERVICE_UNAVAILABLE, "is not known yet", 850),
        ("/mutate?timeout=30s", "a lookup", StatusCode::SERVICE_UNAVAILABLE, "is not known yet", 1500),
        ("/mutate?timeout=nonsense", "a lookup", StatusCode::SERVICE_UNAVAILABLE, "is not known yet", 1500),
        ("/validate?timeout=2s", "the body", StatusCode::GATEWAY_TIMEOUT, "no answer within 1.8s", 1800),
    ] {
        let (pieces, stalled) = piecewise();
        pieces.send(of("shop").into_bytes()).unwrap();
        let body = if hangs == "the body" { stalled } else { Body::from(of("hangs")) };
        let started = Instant::now();
        let (status, text) = post(&router, path, body).await;
        assert_eq!(status, code, "{path} {hangs}: {text}");
        assert!(text.contains(message), "{path} {hangs}: {text}");
        let took = started.elapsed().as_millis();
        assert!((millis..millis + 10).contains(&took), "{path} {hangs}: {took} ms");
        drop(pieces);
    }
    assert_eq!(metric(&metrics, "outrigger_requests_in_flight"), "0");
}
