//! Limits on request bodies: content, size and time.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, Version, header};
use futures::StreamExt as _;
use outrigger::webhook::router;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{pod, post, review, send, state};

#[tokio::test]
async fn a_body_that_is_not_a_review_is_rejected_with_the_reason() {
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
async fn the_size_of_bodies_is_limited_with_and_without_content_length() {
    let router = router(state());
    let large = vec![b' '; 8 << 20];
    let (status, message) = post(&router, "/mutate", large.clone()).await;
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7340032 bytes")
    );
    let chunks =
        large.chunks(1 << 16).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let (status, _) = post(&router, "/mutate", Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_times_out() {
    let stalled = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, message) = post(&router(state()), "/mutate", stalled).await;
    assert_eq!((status, message.as_str()), (StatusCode::REQUEST_TIMEOUT, "the body did not come within 3s"));
}

/// Only a few large bodies are read concurrently. Bodies of stalled clients give way to others.
#[tokio::test(start_paused = true)]
async fn stalled_large_bodies_delay_others_only_briefly() {
    let router = router(state());
    let with_length = |length: usize, body: Body| {
        let request = Request::post("/mutate").header(header::CONTENT_TYPE, "application/json");
        request.header(header::CONTENT_LENGTH, length).body(body).unwrap()
    };
    let stalled = || {
        let begun = futures::stream::once(async { Ok::<_, std::io::Error>(vec![b' '; 100 << 10]) });
        with_length(1 << 20, Body::from_stream(begun.chain(futures::stream::pending())))
    };
    let all: Vec<_> = (0..32).map(|_| tokio::spawn(send_owned(router.clone(), stalled()))).collect();
    tokio::task::yield_now().await;
    let started = Instant::now();
    let padded = format!("{}{}", review("shop", &pod(&json!({}))), " ".repeat(200 << 10));
    // Over HTTP/2, bodies do not wait: a waiting body would fill the flow-control window that all streams share.
    let mut over_http2 = with_length(padded.len(), Body::from(padded.clone()));
    *over_http2.version_mut() = Version::HTTP_2;
    let (status, _) = send(&router, over_http2).await;
    assert_eq!((status, started.elapsed()), (StatusCode::OK, Duration::ZERO));
    let (status, _) = send(&router, with_length(padded.len(), Body::from(padded))).await;
    assert_eq!((status, started.elapsed()), (StatusCode::OK, Duration::from_millis(500)));
    for stalled in all {
        assert_eq!(stalled.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

async fn send_owned(router: Router, request: Request<Body>) -> StatusCode {
    send(&router, request).await.0
}

/// The body is small, but its parsed form would take about 100 MB.
#[tokio::test]
async fn a_body_with_too_many_values_is_rejected() {
    let body = review("shop", &json!("VALUES"))
        .to_string()
        .replace("\"VALUES\"", &format!("[0{}]", ",0".repeat(1_000_000)));
    let (status, message) = post(&router(state()), "/mutate", body).await;
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 900000 values")
    );
}
