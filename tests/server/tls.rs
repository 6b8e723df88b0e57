//! TLS with both HTTP versions.

use axum::http::StatusCode;
use hyper_util::rt::TokioIo;

use crate::running::{NAME, connect, material, request, start};

#[tokio::test]
async fn both_protocols_are_served_and_certificates_can_be_replaced() {
    let first = material();
    let server = start(&first).await;
    let http1 = connect(server.address, &first.authority.certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(http1)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(request("shop")).await.unwrap().status(), StatusCode::OK);

    let http2 = connect(server.address, &first.authority.certificate, b"h2").await.unwrap();
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
        connect(server.address, &first.authority.certificate, b"http/1.1").await.is_err(),
        "the old certificate is still served"
    );
    connect(server.address, &second.authority.certificate, b"http/1.1").await.unwrap();
    assert_eq!(
        sender.send_request(request("shop")).await.unwrap().status(),
        StatusCode::OK,
        "an open connection was closed"
    );
}
