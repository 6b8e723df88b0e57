use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tower::Service as _;

use super::activity::Activity;
use super::client::Client;
use super::idle::Watched;
use super::limits::Limits;
use crate::supervise::Health;

/// Interval at which an HTTP/2 connection is checked while the server drains.
const LOOK: Duration = Duration::from_millis(100);

/// A stream that a connection reads from and writes to.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for I {}

/// The HTTP exchange on one connection.
#[derive(Clone)]
pub(super) struct HttpConnection {
    pub(super) router: Router,
    pub(super) activity: Arc<Activity>,
    pub(super) limits: Limits,
    pub(super) health: Health,
    /// Client of the connection, if clients must show a certificate.
    pub(super) client: Option<Client>,
}

impl HttpConnection {
    fn answer(
        &self,
        mut request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        let under_way = self.activity.begin();
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        let health = self.health.clone();
        let answer = self.router.clone().call(Request::from(request));
        async move {
            let mut response = answer.await?;
            // The API server keeps its connections to a terminating pod unless a response closes them.
            if health.is_draining() && response.version() < Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            drop(under_way);
            Ok(response)
        }
    }

    /// Completes when an HTTP/2 connection should close.
    async fn http2_is_over(&self) {
        loop {
            let is_served = self.activity.begun() > 0;
            // A new client gets one answer first: other replicas may not be ready yet.
            if self.health.is_draining() && is_served {
                return;
            }
            let patience = if is_served { self.limits.idle } else { self.limits.head };
            let deadline = self.activity.idle_since().map(|since| since + patience);
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            let next_look = deadline.unwrap_or_else(|| Instant::now() + patience);
            tokio::select! {
                () = self.activity.closed() => return,
                () = tokio::time::sleep_until(next_look) => {}
                () = self.health.draining() => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

pub(super) async fn serve_http1(io: impl Io, talk: HttpConnection) -> anyhow::Result<()> {
    let io = Watched::new(io, Arc::clone(&talk.activity), talk.limits, true);
    let service = service_fn(|request| talk.answer(request));
    let connection = http1::Builder::new()
        // `Watched` enforces this limit.
        .header_read_timeout(None)
        .max_buf_size(Limits::BUFFER)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        done = connection.as_mut() => return Ok(done?),
        () = talk.activity.closed() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

pub(super) async fn serve_http2(io: impl Io, talk: HttpConnection) -> anyhow::Result<()> {
    let io = Watched::new(io, Arc::clone(&talk.activity), talk.limits, false);
    let service = service_fn(|request| talk.answer(request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(Limits::STREAMS)
        .max_header_list_size(Limits::HEAD_BYTES)
        .initial_stream_window_size(Limits::WINDOW)
        .initial_connection_window_size(Limits::WINDOW)
        .max_send_buf_size(Limits::SEND)
        .max_pending_accept_reset_streams(Limits::RESETS)
        .max_local_error_reset_streams(Limits::RESETS)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        done = connection.as_mut() => return Ok(done?),
        () = talk.http2_is_over() => connection.as_mut().graceful_shutdown(),
    }
    // A client that has not sent the HTTP/2 preface gets no time to drain.
    let patience = if talk.activity.begun() > 0 { talk.limits.drain } else { LOOK };
    Ok(tokio::time::timeout(patience, connection).await??)
}

#[cfg(test)]
mod tests;
