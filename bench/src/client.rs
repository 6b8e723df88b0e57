use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::files::NAME;
use crate::{read, reviews};

/// The server, and the requests to send.
#[derive(Args, Clone)]
pub(crate) struct Load {
    /// The folder with the certificate.
    pub(crate) folder: PathBuf,
    /// The server's address.
    #[arg(long)]
    address: SocketAddr,
    /// The server's process ID.
    #[arg(long)]
    pub(crate) pid: u32,
    #[arg(long, value_enum, default_value_t)]
    review: Review,
    /// Use HTTP/2, with four concurrent requests on each connection.
    #[arg(long)]
    pub(crate) http2: bool,
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Duration of the measurement in seconds.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
}

/// The request body.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Review {
    /// 8 KB.
    #[default]
    Small,
    /// 230 KB, of which 135 are `managedFields`.
    Large,
}

/// Concurrent requests on one HTTP/2 connection.
pub(crate) const STREAMS: usize = 4;

/// A connection. With HTTP/2, clones share it.
pub(crate) enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Load {
    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(match self.review {
            Review::Small => reviews::ORDINARY.to_owned(),
            Review::Large => reviews::large_and_managed(),
        })
    }

    /// Opens the connections. Each client has one request at a time.
    pub(crate) async fn clients(&self) -> anyhow::Result<Vec<Client>> {
        let connector = self.connector()?;
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let stream = connector.connect(ServerName::try_from(NAME)?, stream).await?;
            if self.http2 {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                clients.extend((0..STREAMS).map(|_| Client::Http2(sender.clone())));
            } else {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                clients.push(Client::Http1(sender));
            }
        }
        Ok(clients)
    }

    fn connector(&self) -> anyhow::Result<TlsConnector> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(read(&self.folder, "ca.crt")?.as_bytes())?)?;
        let versions = &[&rustls::version::TLS13];
        let mut config = rustls::ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Client {
    /// Sends a body and reads the whole response.
    pub(crate) async fn send(&mut self, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = |uri: &str| {
            Request::post(uri)
                .header(header::HOST, NAME)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json, */*")
                .header(header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(body))
                .context("a request")
        };
        let response = match self {
            Self::Http1(sender) => {
                let request = request("/mutate/namespace?timeout=5s")?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                let request = request(&format!("https://{NAME}/mutate/namespace?timeout=5s"))?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Ok((response.status(), response.into_body().collect().await?.to_bytes()))
    }

    /// Sends one request. The benchmark fails unless the response allows the pod.
    pub(crate) async fn request(&mut self, body: &Bytes) -> anyhow::Result<()> {
        let (status, answer) = self.send(body.clone()).await?;
        let allowed = b"\"allowed\":true";
        if status != StatusCode::OK || !answer.windows(allowed.len()).any(|part| part == allowed) {
            bail!("the answer is {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}
