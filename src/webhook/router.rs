use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use futures::FutureExt as _;
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tracing::warn;

use super::advise::advise;
use super::body::{self, Refused};
use super::client::Client;
use super::deadline::deadline;
use super::limits::Limits;
use super::load_shed::LoadShed;
use super::mutate::mutate;
use super::restore::restore;
use super::review;
use super::state::State;
use super::status::refusal;
use super::validate::validate_apart;
use super::verify::verify;
use super::webhook_entry::WebhookEntry;
use crate::telemetry::{Format, Verdict, traced};

/// The state that all routes share.
struct Shared {
    state: State,
    gate: Arc<LoadShed>,
}

/// Returns the webhook's routes, to be served over TLS.
pub fn router(state: State) -> Router {
    let gate = LoadShed::new(Limits::default(), state.metrics.load.clone());
    router_behind(gate, state)
}

/// Returns the same routes as [`router`], behind the given load limits.
pub fn router_behind(gate: LoadShed, state: State) -> Router {
    let traces = state.traces.clone();
    let routes = Router::new()
        .route("/mutate", mutating(WebhookEntry::Any))
        .route("/mutate/namespace", mutating(WebhookEntry::Namespace))
        .route("/mutate/pod", mutating(WebhookEntry::Pod))
        .route(
            "/mutate/mandatory/{profile}",
            post(|Path(profile), shared, request| mutated(shared, WebhookEntry::Mandatory(profile), request)),
        )
        .route(
            "/mutate/submitted/{profile}",
            post(|Path(profile), shared, request| mutated(shared, WebhookEntry::Submitted(profile), request)),
        )
        .route(
            "/verify/{profile}",
            post(|Path(profile): Path<String>, shared, request| {
                answered(shared, "verify", request, async move |state, body, deadline| {
                    verify(state, profile, &body, deadline).await
                })
            }),
        )
        .route(
            "/restore",
            post(|shared: Extract<Arc<Shared>>, request| {
                answered(shared, "restore", request, async move |state, body, _| {
                    restore(state, &body).into_response()
                })
            }),
        )
        .route(
            "/validate",
            post(|shared: Extract<Arc<Shared>>, request| {
                let gate = Arc::clone(&shared.gate);
                answered(shared, "validate", request, async move |state, body, deadline| {
                    validate_apart(state, &gate, body, deadline).await
                })
            }),
        )
        .route("/advise", advising(WebhookEntry::Any))
        .route("/advise/namespace", advising(WebhookEntry::Namespace))
        .route("/advise/template", advising(WebhookEntry::Pod))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "no such path; the webhook is at /mutate, /restore, /validate, /verify and /advise\n",
            )
        })
        .with_state(Arc::new(Shared { state, gate: Arc::new(gate) }));
    // The outermost layer, so that a trace also contains requests that fail in the other layers.
    if traces.is_on() { routes.layer(middleware::from_fn_with_state(traces, traced)) } else { routes }
}

/// Returns the routes for the kubelet and Prometheus, to be served without TLS.
pub fn metrics_router(state: State) -> Router {
    let gate = Arc::new(LoadShed::new(Limits::default(), state.metrics.load.clone()));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(Shared { state, gate }))
}

fn mutating(entry: WebhookEntry) -> MethodRouter<Arc<Shared>> {
    post(move |shared, request| mutated(shared, entry, request))
}

fn advising(entry: WebhookEntry) -> MethodRouter<Arc<Shared>> {
    post(move |shared, request| {
        answered(shared, "advise", request, async move |state, body, deadline| {
            advise(state, entry, &body, deadline).await.into_response()
        })
    })
}

async fn mutated(shared: Extract<Arc<Shared>>, entry: WebhookEntry, request: Request) -> Response {
    answered(shared, "mutate", request, async move |state, body, deadline| {
        mutate(state, entry, &body, deadline).await.into_response()
    })
    .await
}

/// Runs a review within all limits: client authorization, load, body size and deadline. A panic fails only its own request.
async fn answered(
    Extract(shared): Extract<Arc<Shared>>,
    webhook: &'static str,
    request: Request,
    answer: impl AsyncFnOnce(&State, Bytes, Instant) -> Response,
) -> Response {
    let (started, gate) = (Instant::now(), &shared.gate);
    let deadline = deadline(request.uri(), gate.limits.request);
    let (head, body) = request.into_parts();
    let mut seen = Bytes::new();
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
            let message = "too many concurrent reviews; retry after 1s".to_owned();
            let (code, reason) = (StatusCode::TOO_MANY_REQUESTS, "Shed");
            return Err(Refused { code, reason, message, rest: Some(body) });
        };
        let read = body::read(gate, &head, body, deadline).await?;
        seen = read.bytes.clone();
        // The first poll comes before the check of the time, and nearly always returns the answer.
        let answer = answer(&shared.state, read.bytes, deadline.at);
        tokio::time::timeout_at(deadline.at, answer).await.map_err(|_| body::too_slow(deadline))
    };
    let refused = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(answer)) => return answer,
        Ok(Err(refused)) => refused,
        Err(panic) => panicked(panic.as_ref()),
    };
    let uid = review::read::<IgnoredAny>(&seen).ok().map(|request| request.uid);
    warn!(uid = uid.as_deref(), webhook, error = refused.message, "rejected a request");
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
    tracing::error!(error = said, "a request panicked");
    let message = "this request failed by a fault of Outrigger's; its log says more".to_owned();
    Refused { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "Panicked", message, rest: None }
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(Extract(shared): Extract<Arc<Shared>>) -> (StatusCode, String) {
    match shared.state.health.waiting_for() {
        None => {
            let lines = ["ok".to_owned()].into_iter().chain(shared.state.health.remarks());
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Some(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n")),
    }
}

async fn metrics(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match shared.state.metrics.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
