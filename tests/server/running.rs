//! A listener on loopback, and its clients.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use outrigger::certificates::{ClientAuthority, Lifetimes, Material, Serving, acceptor, acceptor_that_asks};
use outrigger::supervise::Health;
use outrigger::telemetry::Metrics;
use outrigger::webhook::{Clients, Limits, Listener, LoadShed, router_behind};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::{pod, review, state};

pub(crate) const NAME: &str = "outrigger.test.svc";

pub(crate) fn material() -> Material {
    Material::new(&[NAME.to_owned()], Lifetimes::DEFAULT, time::OffsetDateTime::now_utc()).unwrap()
}

pub(crate) async fn connect(
    address: std::net::SocketAddr,
    authority: &str,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots(authority)).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(NAME).unwrap(), stream)
        .await
}

pub(crate) fn roots(authority: &str) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    roots
}

pub(crate) fn request(namespace: &str) -> Request<Full<Bytes>> {
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
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

pub(crate) async fn start(material: &Material) -> Running {
    start_with(material, Limits::default(), None).await
}

/// Starts a server with limits, and with client authentication if `clients` is given.
pub(crate) async fn start_with(
    material: &Material,
    limits: Limits,
    clients: Option<(Arc<ClientAuthority>, Clients)>,
) -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (serving, state) = (Arc::new(Serving::default()), state());
    serving.set(&material.certificate, &material.key).unwrap();
    let (metrics, health, stop) =
        (Arc::clone(&state.metrics), state.health.clone(), CancellationToken::new());
    let mut gate = LoadShed::new(limits, metrics.load.clone());
    let tls = match &clients {
        None => acceptor(Arc::clone(&serving)),
        Some((authority, _)) => {
            gate = gate.for_clients_only();
            acceptor_that_asks(Arc::clone(&serving), Arc::clone(authority))
        }
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Some(tls), limits).await.unwrap();
    let mut listener = listener.counted(metrics.load.clone());
    if let Some((_, clients)) = clients {
        listener = listener.with_clients(clients);
    }
    let address = listener.address().unwrap();
    let ended = tokio::spawn(listener.serve(router_behind(gate, state), health.clone(), stop.clone()));
    Running { address, serving, health, metrics, stop, ended }
}

/// Opens an HTTP/1.1 connection.
pub(crate) async fn http1(server: &Running, authority: &str) -> SendRequest<Full<Bytes>> {
    let stream = connect(server.address, authority, b"http/1.1").await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Returns the value of a metric.
pub(crate) fn metric(metrics: &Metrics, name: &str) -> String {
    let text = metrics.encode(outrigger::telemetry::Format::Plain).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in\n{text}")).to_owned()
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within a minute");
}
