use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};

use super::advise::advise;
use super::limits::Limits;
use super::load_shed::LoadShed;
use super::mutate::mutate;
use super::pipeline::{Pipeline, ReviewRequest};
use super::probes::{healthz, metrics, readyz};
use super::restore::restore;
use super::state::State;
use super::validate::validate_apart;
use super::verify::verify;
use super::webhook_entry::WebhookEntry;
use crate::telemetry::traced;

/// Returns the webhook's routes, to be served over TLS.
pub fn router(state: State) -> Router {
    let load_shed = LoadShed::new(Limits::default(), state.metrics.load.clone());
    router_behind(load_shed, state)
}

/// Returns the same routes as [`router`], behind the given load limits.
pub fn router_behind(load_shed: LoadShed, state: State) -> Router {
    let (traces, state) = (state.traces.clone(), Arc::new(state));
    let pipeline = Pipeline { state: Arc::clone(&state), load_shed: Arc::new(load_shed) };
    let routes = Router::new()
        .route("/mutate", mutating(&pipeline, WebhookEntry::Any))
        .route("/mutate/namespace", mutating(&pipeline, WebhookEntry::Namespace))
        .route("/mutate/pod", mutating(&pipeline, WebhookEntry::Pod))
        .route("/mutate/mandatory/{profile}", mutating_for_profile(&pipeline, WebhookEntry::Mandatory))
        .route("/mutate/submitted/{profile}", mutating_for_profile(&pipeline, WebhookEntry::Submitted))
        .route("/verify/{profile}", verifying(&pipeline))
        .route("/restore", restoring(&pipeline))
        .route("/validate", validating(&pipeline))
        .route("/advise", advising(&pipeline, WebhookEntry::Any))
        .route("/advise/namespace", advising(&pipeline, WebhookEntry::Namespace))
        .route("/advise/template", advising(&pipeline, WebhookEntry::Pod))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .with_state(state);
    // The outermost layer, so that a trace also contains requests that fail in the other layers.
    if traces.is_on() { routes.layer(middleware::from_fn_with_state(traces, traced)) } else { routes }
}

/// Returns the routes for the kubelet and Prometheus, to be served without TLS.
pub fn metrics_router(state: State) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(state))
}

type Route = MethodRouter<Arc<State>>;

fn mutating(pipeline: &Pipeline, entry: WebhookEntry) -> Route {
    pipeline.serve("mutate", move |state, request| mutate(state, entry.clone(), request))
}

fn mutating_for_profile(pipeline: &Pipeline, entry: fn(String) -> WebhookEntry) -> Route {
    pipeline.serve("mutate", move |state, mut request| async move {
        match request.name().await {
            Ok(profile) => mutate(state, entry(profile), request).await.into_response(),
            Err(invalid) => invalid.into_response(),
        }
    })
}

fn verifying(pipeline: &Pipeline) -> Route {
    async fn answer(state: Arc<State>, mut request: ReviewRequest) -> Response {
        match request.name().await {
            Ok(profile) => verify(state, profile, request).await,
            Err(invalid) => invalid.into_response(),
        }
    }
    pipeline.serve("verify", answer)
}

fn restoring(pipeline: &Pipeline) -> Route {
    pipeline.serve("restore", |state, request| async move { restore(&state, &request.body) })
}

fn validating(pipeline: &Pipeline) -> Route {
    let load_shed = Arc::clone(&pipeline.load_shed);
    pipeline.serve("validate", move |state, request| validate_apart(state, Arc::clone(&load_shed), request))
}

fn advising(pipeline: &Pipeline, entry: WebhookEntry) -> Route {
    pipeline.serve("advise", move |state, request| advise(state, entry.clone(), request))
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "no such path; the webhook is at /mutate, /restore, /validate, /verify and /advise\n",
    )
}
