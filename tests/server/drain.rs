//! Graceful shutdown of the listener.

use axum::http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::running::{connect, material, metric, request, start, until};
use crate::support::HELD;

#[tokio::test]
async fn a_drain_closes_connections_and_finishes_requests_in_flight() {
    let material = material();
    let server = start(&material).await;
    let stream = connect(server.address, &material.authority.certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(request("shop")).await.unwrap().headers().get(header::CONNECTION).is_none());
    server.health.drain();
    let response = sender.send_request(request("shop")).await.unwrap();
    assert_eq!(response.headers()[header::CONNECTION], "close");

    let stream = connect(server.address, &material.authority.certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let held = tokio::spawn(async move { sender.send_request(request("held")).await });
    until("the request being in flight", async || {
        metric(&server.metrics, "outrigger_requests_in_flight") == "1"
    })
    .await;
    server.stop.cancel();
    until("the socket being closed", async || TcpStream::connect(server.address).await.is_err()).await;
    assert!(!held.is_finished() && !server.ended.is_finished(), "the request has no answer yet");
    HELD.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::OK, "a request in flight was cut off");
    server.ended.await.unwrap().unwrap();
}
