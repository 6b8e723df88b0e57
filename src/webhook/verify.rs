use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::pipeline::ReviewRequest;
use super::reply::Reply;
use super::review::{self, Answer, Request};
use super::review_context::{ReviewContext, Undecided};
use super::state::State;
use super::status::refusal;
use super::webhook_entry::WebhookEntry;
use crate::engine::{self, Reason};
use crate::json::{Json, PodBody};
use crate::telemetry::{Verdict, trace_request};

type VerifyReview<'a> = Request<'a, &'a RawValue>;

/// The object of a request for verification.
enum VerifiedRequest<'a> {
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
pub(super) async fn verify(state: Arc<State>, profile: String, request: ReviewRequest) -> Response {
    let (body, deadline) = (&request.body, request.deadline.at);
    let mut context = ReviewContext::new(&state, WebhookEntry::Mandatory(profile)).until(deadline);
    let request: VerifyReview<'_> = match review::read(body) {
        Ok(request) => request,
        Err(bad) => {
            warn!(error = %bad, "rejected a request body");
            context.observe(&Verdict::errored("verify", "BadReview"));
            return refusal(StatusCode::BAD_REQUEST, &bad.to_string());
        }
    };
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    let asked = match asked(&request) {
        Ok(asked) => asked,
        Err(message) => {
            warn!(uid = %request.uid, error = message, "rejected a review");
            context.observe(&Verdict::errored("verify", "BadReview"));
            let answer = Answer::denied(&request.uid, StatusCode::BAD_REQUEST, message);
            return Reply::json(&answer).into_response();
        }
    };
    let namespace = request.namespace.as_ref();
    let is_own = !state.own_user.is_empty() && request.user_info.username == *state.own_user;
    let check = |context: &ReviewContext<'_>| check(context, namespace, &asked, is_own);
    let verdict = match context.with_lookups(&request.uid, check).await {
        Ok(verdict) => verdict,
        Err(unknown) => {
            let message = unknown.message(namespace);
            warn!(uid = %request.uid, error = message, "cannot verify");
            context.observe(&Verdict::errored("verify", unknown.code()));
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &message);
        }
    };
    let (outcome, code) = match &verdict {
        Ok(()) => ("allowed", "Complete"),
        Err(reason) => ("denied", reason.code()),
    };
    context.observe(&Verdict::new("verify", outcome, code));
    info!(
        uid = %request.uid, namespace, pod = %request.name, operation = %request.operation, outcome, reason = code,
        error = verdict.as_ref().err().map(tracing::field::display),
        "verified"
    );
    Reply::json(&answer(&request, verdict, code)).into_response()
}

/// Verifies the object. `is_own` is true if the server's own user sent the request.
///
/// # Errors
/// A lookup is needed first, or a required name is still unknown after its lookup.
fn check(
    context: &ReviewContext<'_>,
    namespace: &str,
    asked: &VerifiedRequest<'_>,
    is_own: bool,
) -> Result<Result<(), Reason>, Undecided> {
    match asked {
        VerifiedRequest::Created(pod) => check_created(context, namespace, &pod.0),
        VerifiedRequest::Changed(..) if is_own => Ok(Ok(())),
        VerifiedRequest::Changed(old, new) => {
            let namespace = context.namespace(namespace)?;
            Ok(engine::verify_change(&old.0, &new.0, namespace, context.profiles()))
        }
        VerifiedRequest::Bound(binding) => {
            let namespace = context.namespace(namespace)?;
            Ok(engine::verify_binding(&binding.0, namespace, context.profiles()))
        }
        VerifiedRequest::Entered { verb, container } => {
            let namespace = context.namespace(namespace)?;
            Ok(engine::verify_entry(container, verb, namespace, context.profiles()))
        }
        VerifiedRequest::Nothing => Ok(Ok(())),
    }
}

/// Verifies a finished pod.
///
/// # Errors
/// See [`check`].
fn check_created(
    context: &ReviewContext<'_>,
    namespace: &str,
    pod: &Json<'_>,
) -> Result<Result<(), Reason>, Undecided> {
    let namespace = context.namespace(namespace)?;
    context.synced()?;
    let verdict = engine::verify(pod, namespace, context.profiles(), &context.state.settings);
    match verdict.as_ref().err().and_then(Reason::incomplete_profile) {
        // The pod may have been injected by a server that has a newer version of the profile.
        Some(profile) if context.may_look_up(profile) => {
            Err(Undecided::missing_profile(&namespace.name, profile))
        }
        Some(profile) if context.has_missed(profile) => Err(Undecided::unknown_profile(profile)),
        _ => Ok(verdict),
    }
}

fn answer<'r>(request: &'r VerifyReview<'_>, verdict: Result<(), Reason>, code: &'static str) -> Answer<'r> {
    let answer = match verdict {
        Ok(()) => Answer::allowed(&request.uid),
        Err(reason) => Answer::denied(&request.uid, StatusCode::FORBIDDEN, format!("{reason} [{code}]")),
    };
    answer.with_audit("reason", code).with_audit("uid", &request.uid)
}

fn asked<'a>(request: &VerifyReview<'a>) -> Result<VerifiedRequest<'a>, String> {
    let kind = &request.kind;
    let read = |object: Option<&'a RawValue>, what: &str| {
        let object = object.ok_or_else(|| format!("the review has no {what}"))?;
        serde_json::from_str::<PodBody<'a>>(object.get())
            .map_err(|error| format!("the {what} in the review cannot be read: {error}"))
    };
    match (kind.group.as_ref(), kind.kind.as_ref(), request.operation.as_ref()) {
        ("", "Pod", "CREATE") if request.sub_resource.is_empty() => {
            Ok(VerifiedRequest::Created(read(request.object, "object")?))
        }
        ("", "Pod", "UPDATE") => {
            let old = read(request.old_object, "oldObject")?;
            Ok(VerifiedRequest::Changed(old, read(request.object, "object")?))
        }
        ("", "Binding", "CREATE") => Ok(VerifiedRequest::Bound(read(request.object, "object")?)),
        ("", "Pod" | "Binding", _) => Ok(VerifiedRequest::Nothing),
        ("", kind @ ("PodExecOptions" | "PodAttachOptions"), _) => {
            let options = request.object.ok_or("the review has no object")?;
            let options: ExecOrAttachOptions = serde_json::from_str(options.get())
                .map_err(|error| format!("the {kind} in the review cannot be read: {error}"))?;
            let verb = if kind == "PodExecOptions" { "exec" } else { "attach" };
            Ok(VerifiedRequest::Entered { verb, container: options.container })
        }
        (group, kind, _) => Err(format!(
            "this webhook verifies pods, bindings, exec and attach, and was asked about {kind} of group {group:?}; correct the rules of the webhook configuration"
        )),
    }
}
