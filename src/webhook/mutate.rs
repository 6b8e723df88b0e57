use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::decide::{Entry, decide};
use super::review::{self, Answer, Request};
use super::router::{State, json};
use crate::engine::{Decision, Outcome};
use crate::json::{Json, PodBody, field, text};
use crate::telemetry::Verdict;

type Review<'a> = Request<'a, PodBody<'a>>;

/// Answers `POST /mutate…`.
pub(super) async fn mutate(state: State, entry: Entry, body: Bytes) -> Response {
    let started = std::time::Instant::now();
    let request: Review<'_> = match review::read(&body) {
        Ok(request) => request,
        Err(bad) => {
            // Read as text, the pod's own faults do not hide the uid of the review around it.
            if let Ok(request) = review::read::<&RawValue>(&body) {
                warn!(uid = %request.uid, error = %bad, "refused a review");
                state.metrics.observe(&Verdict::errored("mutate", "BadReview"), started.elapsed());
                let message = format!("the pod in the review cannot be read: {bad}");
                return json(&Answer::denied(&request.uid, StatusCode::BAD_REQUEST, message));
            }
            warn!(error = %bad, "refused a body");
            state.metrics.observe(&Verdict::errored("mutate", "BadReview"), started.elapsed());
            return (StatusCode::BAD_REQUEST, bad.to_string()).into_response();
        }
    };
    let pod = match pod_of(&request) {
        Ok(Some(pod)) => pod,
        Ok(None) => return json(&Answer::allowed(&request.uid)),
        Err(message) => {
            warn!(uid = %request.uid, error = message, "refused a review");
            state.metrics.observe(&Verdict::errored("mutate", "BadReview"), started.elapsed());
            return json(&Answer::denied(&request.uid, StatusCode::BAD_REQUEST, message));
        }
    };
    let decision = match decide(&state, entry, &request.namespace, pod).await {
        Ok(decision) => decision,
        Err(unknown) => {
            warn!(uid = %request.uid, error = %unknown, "cannot decide");
            state.metrics.observe(&Verdict::errored("mutate", "UnknownNamespace"), started.elapsed());
            return (StatusCode::SERVICE_UNAVAILABLE, unknown.to_string()).into_response();
        }
    };
    let took = started.elapsed();
    state.metrics.observe(&Verdict::of("mutate", &decision), took);
    let profiles: Vec<&str> = decision.profiles.iter().map(|profile| profile.name.as_str()).collect();
    if !request.dry_run.unwrap_or_default() {
        state.metrics.count_profiles(&profiles);
    }
    info!(
        uid = %request.uid,
        namespace = %request.namespace,
        pod = pod_name(&request, pod),
        outcome = decision.outcome.as_str(),
        reason = decision.reason.code(),
        message = (decision.outcome == Outcome::Denied).then(|| tracing::field::display(&decision.reason)),
        profiles = profiles.join(","),
        dry_run = request.dry_run.unwrap_or_default(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "decided"
    );
    answer(&request, &decision).map_or_else(
        |error| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the patch cannot be written: {error}"))
                .into_response()
        },
        |answer| json(&answer),
    )
}

/// The pod to decide about; `None` for an operation that never injects.
fn pod_of<'r, 'a>(request: &'r Review<'a>) -> Result<Option<&'r Json<'a>>, String> {
    let kind = &request.kind;
    if (kind.group.as_ref(), kind.version.as_ref(), kind.kind.as_ref()) != ("", "v1", "Pod") {
        return Err(format!(
            "this webhook mutates pods (v1 Pod), and was asked about {}/{} {}; correct the rules of the webhook configuration",
            kind.group, kind.version, kind.kind
        ));
    }
    if request.operation != "CREATE" || !request.sub_resource.is_empty() {
        return Ok(None);
    }
    match &request.object {
        Some(PodBody(pod)) => Ok(Some(pod)),
        None => Err("the review of a pod's creation has no object".to_owned()),
    }
}

fn pod_name<'r>(request: &'r Review<'_>, pod: &'r Json<'_>) -> &'r str {
    if request.name.is_empty() {
        let metadata = |name| text(field(pod, "metadata")?, name);
        metadata("name").or_else(|| metadata("generateName")).unwrap_or_default()
    } else {
        &request.name
    }
}

fn answer(request: &Review<'_>, decision: &Decision) -> Result<Answer, serde_json::Error> {
    let with_code = |reason: &crate::engine::Reason| format!("{reason} [{}]", reason.code());
    let answer = match decision.outcome {
        Outcome::Denied => Answer::denied(&request.uid, StatusCode::FORBIDDEN, with_code(&decision.reason)),
        Outcome::Injected | Outcome::Skipped => Answer::allowed(&request.uid).with_patch(&decision.patch)?,
    };
    Ok(answer
        .with_warnings(decision.warnings().map(with_code))
        .with_audit("outcome", decision.outcome.as_str().to_owned())
        .with_audit("reason", decision.reason.code().to_owned()))
}
