use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::advise::advise;
use super::decide::{Entry, Lookup};
use super::mutate::mutate;
use super::validate::validate;
use crate::cluster::{Announcer, Snapshot};
use crate::engine::Settings;
use crate::supervise::Health;
use crate::telemetry::{Format, Metrics, Traces, traced};

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
    /// Who tells the owners of pods what was left out.
    pub announcer: Announcer,
    /// Where traces go.
    pub traces: Traces,
}

/// The largest review, in bytes: an object of the API server's own limit (3 MiB), new and old, and the rest.
const MOST_BYTES: usize = 7 * 1024 * 1024;
/// How long a body may take to come in.
const BODY_LIMIT: Duration = Duration::from_secs(3);
/// How long a request may take in all: less than the webhook's own timeout of 5 s, so that the API server
/// hears why.
const REQUEST_LIMIT: Duration = Duration::from_millis(4500);

/// The webhook's routes, to be served over TLS.
pub fn router(state: State) -> Router {
    let routes = Router::new()
        .route("/mutate", post(|state, body| handle(state, Entry::Any, body)))
        .route("/mutate/namespace", post(|state, body| handle(state, Entry::Namespace, body)))
        .route("/mutate/pod", post(|state, body| handle(state, Entry::Pod, body)))
        .route(
            "/validate",
            post(async |Extract(state): Extract<State>, Review(body)| validate(&state, &body)),
        )
        .route("/advise", post(|state, body| handle_advise(state, Entry::Any, body)))
        .route("/advise/namespace", post(|state, body| handle_advise(state, Entry::Namespace, body)))
        .route("/advise/template", post(|state, body| handle_advise(state, Entry::Pod, body)))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "no such path; the webhook is at /mutate, /validate and /advise\n")
        });
    let traces = state.traces.clone();
    let routes = guarded(routes, &state).with_state(state);
    // Outside of everything else, so that a request that fails there is in its trace, too.
    if traces.is_on() { routes.layer(middleware::from_fn_with_state(traces, traced)) } else { routes }
}

/// The routes for the kubelet and for Prometheus, to be served without TLS.
pub fn metrics_router(state: State) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    guarded(routes, &state).with_state(state)
}

/// What stands around every route: a panic answers its own request only, no request takes for ever, and a
/// server that is going away says so.
fn guarded(routes: Router<State>, state: &State) -> Router<State> {
    let guards = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(state.health.clone(), close_while_draining))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_LIMIT));
    routes.layer(guards)
}

/// The API server keeps its connections to a pod that is going away, unless it is told.
async fn close_while_draining(Extract(health): Extract<Health>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if health.is_draining() && response.version() < axum::http::Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that tower-http wants")]
fn answer_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "a request panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, "this request failed by a fault of Outrigger's; its log says more\n")
        .into_response()
}

async fn handle(Extract(state): Extract<State>, entry: Entry, Review(body): Review) -> Response {
    mutate(state, entry, body).await.into_response()
}

async fn handle_advise(Extract(state): Extract<State>, entry: Entry, Review(body): Review) -> Response {
    advise(state, entry, body).await.into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(Extract(state): Extract<State>) -> (StatusCode, String) {
    match state.health.waiting_for() {
        None => {
            let lines = ["ok".to_owned()].into_iter().chain(state.health.remarks());
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Some(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n")),
    }
}

async fn metrics(Extract(state): Extract<State>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match state.metrics.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The whole body of a review, bounded in size and time.
struct Review(Bytes);

impl<S: Send + Sync> FromRequest<S> for Review {
    type Rejection = (StatusCode, String);

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let message = format!("the content type is {kind:?}; a review is application/json\n");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let too_large =
            || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MOST_BYTES} bytes\n"));
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > MOST_BYTES) {
            return Err(too_large());
        }
        let body = http_body_util::Limited::new(request.into_body(), MOST_BYTES);
        match tokio::time::timeout(BODY_LIMIT, body.collect()).await {
            Err(_) => Err((
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not come within {} s\n", BODY_LIMIT.as_secs()),
            )),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}\n"))),
            Ok(Ok(collected)) => Ok(Self(collected.to_bytes())),
        }
    }
}

pub(super) fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], Body::from(bytes)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
