use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use outrigger::certificates::{Serving, acceptor};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{loopback, read};

/// Serves until it is killed, with the same TLS as Outrigger, hyper's HTTP, and one handler.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let serving = Arc::new(Serving::default());
    serving.set(&read(folder, "tls.crt")?, &read(folder, "tls.key")?)?;
    let tls = acceptor(serving);
    let router = Router::new().fallback(post(allow));
    let socket = TcpListener::bind(loopback()).await?;
    crate::print(format_args!("listen={}", socket.local_addr()?));
    loop {
        let (stream, _) = socket.accept().await?;
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            // A disconnect by the client is not an error.
            drop(connection(stream, tls, router).await);
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, router: Router) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await.context("no TLS")?;
    let service = TowerToHyperService::new(router);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let builder = http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(stream), service).await?;
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    }
    Ok(())
}

async fn allow(body: Bytes) -> Result<Json<Value>, StatusCode> {
    let review: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let uid = review.pointer("/request/uid").ok_or(StatusCode::BAD_REQUEST)?;
    Ok(Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": { "uid": uid, "allowed": true },
    })))
}
