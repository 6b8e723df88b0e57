use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{info, warn};

use super::decide::{ReviewContext, WebhookEntry, settled};
use super::mutate::Reply;
use super::review::{self, Answer, Request};
use super::router::State;
use super::status::refusal;
use crate::engine::Reason;
use crate::json::PodBody;
use crate::telemetry::{Verdict, trace_request};

type Review<'a> = Request<'a, &'a RawValue>;

/// The object of a request for verification.
enum Asked<'a> {
    /// A finished pod that is about to be stored.
    Created(PodBody<'a>),
    /// A live pod, before and after a change.
    Changed(PodBody<'a>, PodBody<'a>),
    /// A binding to a node. The API server copies its annotations to the pod.
    Bound(PodBody<'a>),
    /// Access to a container of a live pod.
    Entered { verb: &'static str, container: String },
    /// An object that concerns no Mandatory profile.
    Nothing,
}

/// The container, out of `PodExecOptions` and `PodAttachOptions`.
#[derive(Deserialize)]
struct ExecOrAttachOptions {
    #[serde(default)]
    container: String,
}

/// Answers `POST /verify/{profile}`.
pub(super) async fn verify(state: &State, profile: String, body: &Bytes, deadline: Instant) -> Response {
    let mut known = ReviewContext::new(state, WebhookEntry::Mandatory(profile)).until(deadline);
    let observe = |verdict: &Verdict, known: &ReviewContext<'_>| {
        state.metrics.observe(verdict, known.started.elapsed());
    };
    let request: Review<'_> = match review::read(body) {
        Ok(request) => request,
        Err(bad) => {
            warn!(error = %bad, "rejected a request body");
            observe(&Verdict::errored("verify", "BadReview"), &known);
            return refusal(StatusCode::BAD_REQUEST, &bad.to_string());
        }
    };
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    let asked = match asked(&request) {
        Ok(asked) => asked,
        Err(message) => {
            warn!(uid = %request.uid, error = message, "rejected a review");
            observe(&Verdict::errored("verify", "BadReview"), &known);
            let answer = Answer::denied(&request.uid, StatusCode::BAD_REQUEST, message);
            return Reply::json(&answer).into_response();
        }
    };
    let is_own = !state.own_user.is_empty() && request.user_info.username == *state.own_user;
    let namespace = request.namespace.as_ref();
    let verify = |known: &ReviewContext<'_>| {
        let verdict = match &asked {
            Asked::Created(pod) => known.verify(namespace, &pod.0),
            Asked::Changed(..) if is_own => Ok(Ok(())),
            Asked::Changed(old, new) => known.verify_change(namespace, (&old.0, &new.0)),
            Asked::Bound(binding) => known.verify_binding(namespace, &binding.0),
            Asked::Entered { verb, container } => known.verify_entry(namespace, (verb, container)),
            Asked::Nothing => Ok(Ok(())),
        };
        settled(verdict, &request.uid, namespace)
    };
    let verdict = match known.with_lookups(verify).await {
        Ok(verdict) => verdict,
        Err((code, message)) => {
            warn!(uid = %request.uid, error = message, "cannot verify");
            observe(&Verdict::errored("verify", code), &known);
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &message);
        }
    };
    let (outcome, code) = match &verdict {
        Ok(()) => ("allowed", "Complete"),
        Err(reason) => ("denied", reason.code()),
    };
    observe(&Verdict::new("verify", outcome, code), &known);
    info!(
        uid = %request.uid, namespace, pod = %request.name, operation = %request.operation, outcome, reason = code,
        error = verdict.as_ref().err().map(tracing::field::display),
        "verified"
    );
    Reply::json(&answer(&request, verdict, code)).into_response()
}

fn answer<'r>(request: &'r Review<'_>, verdict: Result<(), Reason>, code: &'static str) -> Answer<'r> {
    let answer = match verdict {
        Ok(()) => Answer::allowed(&request.uid),
        Err(reason) => Answer::denied(&request.uid, StatusCode::FORBIDDEN, format!("{reason} [{code}]")),
    };
    answer.with_audit("reason", code).with_audit("uid", &request.uid)
}

fn asked<'a>(request: &Review<'a>) -> Result<Asked<'a>, String> {
    let kind = &request.kind;
    let read = |object: Option<&'a RawValue>, what: &str| {
        let object = object.ok_or_else(|| format!("the review has no {what}"))?;
        serde_json::from_str::<PodBody<'a>>(object.get())
            .map_err(|error| format!("the {what} in the review cannot be read: {error}"))
    };
    match (kind.group.as_ref(), kind.kind.as_ref(), request.operation.as_ref()) {
        ("", "Pod", "CREATE") if request.sub_resource.is_empty() => {
            Ok(Asked::Created(read(request.object, "object")?))
        }
        ("", "Pod", "UPDATE") => {
            let old = read(request.old_object, "oldObject")?;
            Ok(Asked::Changed(old, read(request.object, "object")?))
        }
        ("", "Binding", "CREATE") => Ok(Asked::Bound(read(request.object, "object")?)),
        ("", "Pod" | "Binding", _) => Ok(Asked::Nothing),
        ("", kind @ ("PodExecOptions" | "PodAttachOptions"), _) => {
            let options = request.object.ok_or("the review has no object")?;
            let options: ExecOrAttachOptions = serde_json::from_str(options.get())
                .map_err(|error| format!("the {kind} in the review cannot be read: {error}"))?;
            let verb = if kind == "PodExecOptions" { "exec" } else { "attach" };
            Ok(Asked::Entered { verb, container: options.container })
        }
        (group, kind, _) => Err(format!(
            "this webhook verifies pods, bindings, exec and attach, and was asked about {kind} of group {group:?}; correct the rules of the webhook configuration"
        )),
    }
}
