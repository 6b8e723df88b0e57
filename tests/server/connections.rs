//! Connections: their limit, and bodies of every size.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger::webhook::Limits;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::running::{NAME, connect, http1, material, metric, request, start, start_with};
use crate::support::{message, pod, review};

#[tokio::test]
async fn at_the_limit_the_most_idle_connection_is_closed_for_a_new_one() {
    let material = material();
    let server = start_with(&material, Limits { connections: 4, ..Limits::default() }, None).await;
    let mut used = http1(&server, &material.authority.certificate).await;
    assert_eq!(used.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);
    // One connection without a finished handshake, and two without a request.
    let mut half_open = TcpStream::connect(server.address).await.unwrap();
    let mut silent = connect(server.address, &material.authority.certificate, b"http/1.1").await.unwrap();
    let _silent_too = connect(server.address, &material.authority.certificate, b"h2").await.unwrap();
    assert_eq!(metric(&server.metrics, "outrigger_connections"), "4");

    for closed in 1..=2 {
        let mut fresh = http1(&server, &material.authority.certificate).await;
        assert_eq!(fresh.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);
        assert_eq!(
            metric(&server.metrics, "outrigger_requests_shed_total{reason=\"connections\"}"),
            closed.to_string()
        );
        if closed == 1 {
            assert_eq!(
                half_open.read(&mut [0]).await.unwrap_or_default(),
                0,
                "the oldest connection without a request is open"
            );
        } else {
            assert_eq!(
                silent.read(&mut [0]).await.unwrap_or_default(),
                0,
                "the second oldest connection without a request is open"
            );
        }
        // The connection stays open.
        std::mem::forget(fresh);
    }
    assert_eq!(
        used.send_request(request("shop")).await.unwrap().status(),
        StatusCode::OK,
        "a used connection was closed before unused ones"
    );
}

#[tokio::test]
async fn an_unfinished_handshake_times_out() {
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(&material(), limits, None).await;
    let mut half_open = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), half_open.read(&mut [0])).await;
    assert_eq!(read.expect("the server closes the connection").unwrap_or_default(), 0);
}

/// Returns the expected status of a response to a body of this size.
fn expected(bytes: usize) -> StatusCode {
    match bytes {
        0..1000 => StatusCode::BAD_REQUEST,
        1000..=Limits::MOST_BYTES => StatusCode::OK,
        _ => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

fn of_size(bytes: usize) -> Request<Full<Bytes>> {
    let mut body = review("shop", &pod(&json!({}))).to_string().into_bytes();
    body.resize(bytes, b' ');
    Request::post(format!("https://{NAME}/mutate"))
        .header(header::HOST, NAME)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .unwrap()
}

/// From 0 B to 16 MB. Each body is answered, and the connections stay usable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_size_are_answered_over_both_protocols() {
    let sizes =
        [0, 1, 1000, 64 << 10, 1 << 20, Limits::MOST_BYTES, Limits::MOST_BYTES + 1, 16_000_000, 8 << 10];
    let material = material();
    let server = start(&material).await;
    let mut over_http1 = http1(&server, &material.authority.certificate).await;
    let stream = connect(server.address, &material.authority.certificate, b"h2").await.unwrap();
    let (mut over_http2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for bytes in sizes {
        over_http1.ready().await.unwrap();
        let first = over_http1.send_request(of_size(bytes)).await.unwrap();
        let second = over_http2.send_request(of_size(bytes)).await.unwrap();
        for response in [first, second] {
            assert_eq!(response.status(), expected(bytes), "{bytes} bytes");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = message(std::str::from_utf8(&body).unwrap());
            if bytes > Limits::MOST_BYTES {
                assert_eq!(text, "the body is larger than 7340032 bytes");
            }
        }
    }
}
