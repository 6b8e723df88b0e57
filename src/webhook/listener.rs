use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// What one client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; a further one waits in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the end of one request on a connection to the end of the next one's head.
    pub head: Duration,
    /// For the requests that are under way when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(3),
            // The API server closes a connection that is idle for 90 s. Were we to close it first, it could
            // do so just as a review is sent, and the review would be lost.
            head: Duration::from_secs(95),
            drain: Duration::from_secs(10),
        }
    }
}

/// A bound socket that serves a router until it is told to stop.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Listener {
    /// Binds the address. Without `tls` it speaks plain HTTP.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>, limits: Limits) -> anyhow::Result<Self> {
        let socket =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket, tls, limits })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`, then finishes the requests that are under way.
    ///
    /// # Errors
    /// None that one connection caused.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let connections = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit?,
            };
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, say: trying again at once would only burn the processor.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (tls, limits, router, stop) = (self.tls.clone(), self.limits, router.clone(), stop.clone());
            connections.spawn(async move {
                if let Err(error) = connection(stream, tls, limits, router, stop).await {
                    debug!(%error, "a connection ended badly");
                }
                drop(permit);
            });
        }
        drop(self.socket);
        connections.close();
        if tokio::time::timeout(self.limits.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "gave up connections that did not end in time");
        }
        Ok(())
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return speak_http1(stream, limits, router, stop).await };
    let stream = tokio::time::timeout(limits.handshake, tls.accept(stream))
        .await
        .context("no TLS handshake in time")??;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        speak_http2(stream, router, stop).await
    } else {
        speak_http1(stream, limits, router, stop).await
    }
}

async fn speak_http1<I>(io: I, limits: Limits, router: Router, stop: CancellationToken) -> anyhow::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn speak_http2<I>(io: I, router: Router, stop: CancellationToken) -> anyhow::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(128)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}
