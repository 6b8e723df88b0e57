//! The listener on loopback, and clients of it.

use std::sync::Arc;

use axum::http::{Request, header};
use http_body_util::Full;
use outrigger::certificates::{Material, Serving, acceptor};
use outrigger::supervise::Health;
use outrigger::webhook::{Limits, Listener, router};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::{pod, review, state};

pub(crate) const NAME: &str = "outrigger.test.svc";

pub(crate) fn material() -> Material {
    Material::new(&[NAME.to_owned()], time::OffsetDateTime::now_utc()).unwrap()
}

pub(crate) async fn connect(
    address: std::net::SocketAddr,
    authority: &str,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(NAME).unwrap(), stream)
        .await
}

pub(crate) fn request(namespace: &str) -> Request<Full<axum::body::Bytes>> {
    Request::post("/mutate")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::HOST, NAME)
        .body(Full::from(review(namespace, &pod(&json!({}))).to_string()))
        .unwrap()
}

pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) serving: Arc<Serving>,
    pub(crate) health: Health,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

pub(crate) async fn start(material: &Material) -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let serving = Arc::new(Serving::default());
    serving.set(&material.certificate, &material.key).unwrap();
    let tls = acceptor(Arc::clone(&serving));
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), Some(tls), Limits::default()).await.unwrap();
    let (address, stop, state) = (listener.address().unwrap(), CancellationToken::new(), state());
    let health = state.health.clone();
    let ended = tokio::spawn(listener.serve(router(state.clone()), state.health, stop.clone()));
    Running { address, serving, health, stop, ended }
}
