//! Going away.

use std::time::Duration;

use axum::http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::running::{connect, material, request, start};

#[tokio::test]
async fn a_drain_says_close_and_finishes_what_is_under_way() {
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
    let slow = tokio::spawn(async move { sender.send_request(request("slow")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.cancel();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK, "a request under way was cut off");
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the socket is still open");
}
