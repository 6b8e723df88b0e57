//! The endpoints of the kubelet and of Prometheus.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::state::State;
use crate::telemetry::Format;

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(Extract(state): Extract<Arc<State>>) -> (StatusCode, String) {
    match state.health.waiting_for() {
        None => {
            let lines = ["ok".to_owned()].into_iter().chain(state.health.remarks());
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Some(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n")),
    }
}

pub(super) async fn metrics(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match state.metrics.encode(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
