//! `POST /restore`: restores injected values when the original manifest of an injected pod is applied.

use axum::http::StatusCode;
use tracing::{info, warn};

use super::reply::Reply;
use super::review::{self, Answer, Request};
use super::state::State;
use crate::engine::{self, Patch};
use crate::json::PodBody;
use crate::telemetry::{Verdict, trace_request};

type Review<'a> = Request<'a, PodBody<'a>>;

/// Answers `POST /restore`. It needs no data of the cluster, because the live pod's status records the injection.
pub(super) fn restore(state: &State, body: &[u8]) -> Reply {
    let started = tokio::time::Instant::now();
    let observe = |verdict: &Verdict| state.metrics.observe(verdict, started.elapsed());
    let request: Review<'_> = match review::read(body) {
        Ok(request) => request,
        Err(bad) => {
            warn!(error = %bad, "rejected a request body");
            observe(&Verdict::errored("restore", "BadReview"));
            return Reply::failed(StatusCode::BAD_REQUEST, &bad.to_string());
        }
    };
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    let patch = match &request {
        Review { object: Some(PodBody(updated)), old_object: Some(PodBody(live)), .. }
            if request.operation == "UPDATE" && request.sub_resource.is_empty() =>
        {
            engine::restore(live, updated)
        }
        _ => Patch::default(),
    };
    let reason = if patch.is_empty() { "Unchanged" } else { "Restored" };
    observe(&Verdict::new("restore", "allowed", reason));
    if !patch.is_empty() {
        info!(
            uid = %request.uid,
            namespace = %request.namespace,
            pod = %request.name,
            dry_run = request.dry_run.unwrap_or_default(),
            "restored injected fields"
        );
    }
    Reply::json(&Answer::allowed(&request.uid).with_patch(&patch).with_audit("reason", reason))
}
