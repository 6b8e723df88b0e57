//! Connections: more than may be, and bodies of every size over real ones.

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
use crate::support::{pod, review, said};

#[tokio::test]
async fn for_one_connection_too_many_the_most_idle_one_makes_room() {
    let material = material();
    let server = start_with(&material, Limits { connections: 4, ..Limits::default() }, None).await;
    let mut used = http1(&server, &material.authority.certificate).await;
    assert_eq!(used.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);
    // One that never finishes its handshake, and two that never ask.
    let mut half_open = TcpStream::connect(server.address).await.unwrap();
    let mut silent = connect(server.address, &material.authority.certificate, b"http/1.1").await.unwrap();
    let _silent_too = connect(server.address, &material.authority.certificate, b"h2").await.unwrap();
    assert_eq!(metric(&server.metrics, "outrigger_connections"), "4");

    for made_room in 1..=2 {
        let mut fresh = http1(&server, &material.authority.certificate).await;
        assert_eq!(fresh.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);
        assert_eq!(
            metric(&server.metrics, "outrigger_requests_shed_total{reason=\"connections\"}"),
            made_room.to_string()
        );
        if made_room == 1 {
            assert_eq!(half_open.read(&mut [0]).await.unwrap_or_default(), 0, "the oldest that never asked");
        } else {
            assert_eq!(silent.read(&mut [0]).await.unwrap_or_default(), 0, "the next one");
        }
        // It keeps its place.
        std::mem::forget(fresh);
    }
    assert_eq!(
        used.send_request(request("shop")).await.unwrap().status(),
        StatusCode::OK,
        "one in use went before those that were not"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(&material(), limits, None).await;
    let mut half_open = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), half_open.read(&mut [0])).await;
    assert_eq!(read.expect("the server has to close it").unwrap_or_default(), 0);
}

/// The status that a body of so many bytes is answered with.
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

/// From none to 16 MB, each answered, on connections that are as good as before.
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
            let text = said(std::str::from_utf8(&body).unwrap());
            if bytes > Limits::MOST_BYTES {
                assert_eq!(text, "the body is larger than 7340032 bytes");
            }
        }
    }
}
