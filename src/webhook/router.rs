use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use futures::FutureExt as _;
use serde::Serialize;
use tokio::time::Instant;
use tracing::warn;

use super::body::{self, Refused};
use super::client::Client;
use super::deadline::deadline;
use super::decide::{Entry, Lookup};
use super::gate::Gate;
use super::limits::Limits;
use super::mutate::mutate;
use super::status::refusal;
use super::validate::validate;
use crate::cluster::Snapshot;
use crate::engine::Settings;
use crate::supervise::Health;
use crate::telemetry::{Metrics, Verdict};

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    /// What is known of the cluster.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// A live look, for what is not known yet.
    pub lookup: Arc<dyn Lookup>,
    /// What the operator set.
    pub settings: Arc<Settings>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether requests should come here.
    pub health: Health,
}

/// What the routes share.
struct Shared {
    state: State,
    gate: Arc<Gate>,
}

/// The webhook's routes, to be served over TLS.
pub fn router(state: State) -> Router {
    let gate = Gate::new(Limits::default(), state.metrics.load.clone());
    router_behind(gate, state)
}

/// The same, with limits of its own.
pub fn router_behind(gate: Gate, state: State) -> Router {
    Router::new()
        .route("/mutate", mutating(Entry::Any))
        .route("/mutate/namespace", mutating(Entry::Namespace))
        .route("/mutate/pod", mutating(Entry::Pod))
        .route(
            "/validate",
            post(|shared, request| {
                review(shared, "validate", request, async |state, body, _| validate(state, &body))
            }),
        )
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "no such path; the webhook is at /mutate and /validate\n"))
        .with_state(Arc::new(Shared { state, gate: Arc::new(gate) }))
}

/// The routes for the kubelet and for Prometheus, to be served without TLS.
pub fn metrics_router(state: State) -> Router {
    let gate = Arc::new(Gate::new(Limits::default(), state.metrics.load.clone()));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(Shared { state, gate }))
}

fn mutating(entry: Entry) -> MethodRouter<Arc<Shared>> {
    post(move |shared, request| {
        review(shared, "mutate", request, async move |state, body, deadline| {
            mutate(state, entry, &body, deadline).await.into_response()
        })
    })
}

/// What stands around every review: it comes from a client that may ask, there is room for it, its body is
/// bounded, it takes no longer than the API server waits, and a panic answers it alone.
async fn review(
    Extract(shared): Extract<Arc<Shared>>,
    webhook: &'static str,
    request: Request,
    answer: impl AsyncFnOnce(&State, Bytes, Instant) -> Response,
) -> Response {
    let (started, gate) = (Instant::now(), &shared.gate);
    let deadline = deadline(request.uri(), gate.limits.request);
    let (head, body) = request.into_parts();
    let work = async {
        if gate.asks_clients && head.extensions.get() != Some(&Client::Verified) {
            let message = match head.extensions.get() {
                Some(Client::Unverified(why)) => why.to_string(),
                _ => "this webhook answers only clients with a certificate; see --client-ca".to_owned(),
            };
            let (code, reason) = (StatusCode::FORBIDDEN, "ClientNotVerified");
            return Err(Refused { code, reason, message, rest: Some(body) });
        }
        let Some(_admitted) = gate.enter() else {
            let message = "too many reviews at once; come again in a second".to_owned();
            let (code, reason) = (StatusCode::TOO_MANY_REQUESTS, "Shed");
            return Err(Refused { code, reason, message, rest: Some(body) });
        };
        let read = body::read(gate, &head.headers, body).await?;
        Ok(answer(&shared.state, read.bytes, deadline).await)
    };
    let done = tokio::time::timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await;
    let refused = match done {
        Ok(Ok(Ok(answer))) => return answer,
        Ok(Ok(Err(refused))) => refused,
        Ok(Err(panic)) => panicked(panic.as_ref()),
        Err(_) => {
            let message = format!("there was no answer within {:?}", deadline.duration_since(started));
            Refused { code: StatusCode::GATEWAY_TIMEOUT, reason: "TooSlow", message, rest: None }
        }
    };
    warn!(webhook, error = refused.message, "refused a request");
    shared.state.metrics.observe(&Verdict::errored(webhook, refused.reason), started.elapsed());
    if let Some(rest) = refused.rest {
        body::discard(gate, rest).await;
    }
    refusal(refused.code, &refused.message)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Refused {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message = said, "a request panicked");
    let message = "this request failed by a fault of Outrigger's; its log says more".to_owned();
    Refused { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "Panicked", message, rest: None }
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(Extract(shared): Extract<Arc<Shared>>) -> (StatusCode, String) {
    match shared.state.health.waiting_for() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n")),
    }
}

async fn metrics(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(super) fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], Body::from(bytes)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
