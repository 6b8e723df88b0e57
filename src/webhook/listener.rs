use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::client::Clients;
use super::connections::{ConnectionSlot, Connections};
use super::http_connection::{HttpConnection, serve_http1, serve_http2};
use super::limits::Limits;
use crate::supervise::Health;
use crate::telemetry::Load;

/// A bound socket that serves a router until it is told to stop.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    clients: Option<Clients>,
    limits: Limits,
    load: Option<Load>,
}

impl Listener {
    /// Binds the address. Without `tls`, the listener serves plain HTTP.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>, limits: Limits) -> anyhow::Result<Self> {
        let socket =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket, tls, clients: None, limits, load: None })
    }

    /// Counts connections in the metrics of `load`.
    #[must_use]
    pub fn counted(mut self, load: Load) -> Self {
        self.load = Some(load);
        self
    }

    /// Passes the identity of each client's certificate to the router.
    #[must_use]
    pub fn with_clients(mut self, clients: Clients) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// The socket is closed.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`, then finishes the requests that are under way. While `health` reports draining, clients are told to
    /// close their connections.
    ///
    /// # Errors
    /// None that are caused by a single connection.
    pub async fn serve(self, router: Router, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
        let tracker = TaskTracker::new();
        let connections = Connections::new(self.limits.connections, self.load);
        let server = Server { tls: self.tls, clients: self.clients, limits: self.limits, router, health };
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The process may be out of file descriptors, for example. An immediate retry would only use CPU.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Further connections wait in the kernel's backlog meanwhile.
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = connections.place() => place,
            };
            let server = server.clone();
            tracker.spawn(async move {
                if let Err(error) = server.connection(stream, place).await {
                    debug!(error = format!("{error:#}"), "connection closed with an error");
                }
            });
        }
        drop(self.socket);
        tracker.close();
        connections.close();
        if tokio::time::timeout(self.limits.drain, tracker.wait()).await.is_err() {
            tracing::warn!(connections = tracker.len(), "closed connections that did not end in time");
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Server {
    tls: Option<TlsAcceptor>,
    clients: Option<Clients>,
    limits: Limits,
    router: Router,
    health: Health,
}

impl Server {
    async fn connection(self, stream: TcpStream, place: ConnectionSlot) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return serve_http1(stream, self.http_connection(&place, None)).await;
        };
        let stream = tokio::select! {
            stream = tokio::time::timeout(self.limits.handshake, tls.accept(buffered(stream))) => {
                stream.context("no TLS handshake in time")??
            }
            () = place.activity.closed() => return Ok(()),
        };
        let session = stream.get_ref().1;
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let client = self.clients.as_ref().map(|clients| clients.of(session.peer_certificates()));
        let talk = self.http_connection(&place, client);
        if is_http2 { serve_http2(stream, talk).await } else { serve_http1(stream, talk).await }
    }

    fn http_connection(
        &self,
        place: &ConnectionSlot,
        client: Option<super::client::Client>,
    ) -> HttpConnection {
        HttpConnection {
            router: self.router.clone(),
            activity: Arc::clone(&place.activity),
            limits: self.limits,
            health: self.health.clone(),
            client,
        }
    }
}

/// Wraps a stream in a larger buffer: rustls reads four KiB at a time, and an ordinary review has twice that.
fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(Limits::READ, stream)
}
