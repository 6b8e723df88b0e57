use std::sync::Arc;

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::value::RawValue;
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::{info, warn};

use super::decide::decide;
use super::limits::Limits;
use super::pipeline::ReviewRequest;
use super::reply::Reply;
use super::review::{self, Answer, Request};
use super::review_context::{ReviewContext, Undecided, Unknown};
use super::state::State;
use super::webhook_entry::WebhookEntry;
use crate::engine::{Decision, Outcome, Reason};
use crate::json::{Json, PodBody, field, items, text};
use crate::telemetry::{Verdict, trace_profiles, trace_request};

type Review<'a> = Request<'a, PodBody<'a>>;

/// Answers a review of a pod from the snapshot, without HTTP, like the routes below `/mutate`. Returns `None` if a lookup is
/// needed first.
pub fn answer(state: &State, entry: WebhookEntry, body: &[u8]) -> Option<Reply> {
    let context = ReviewContext::new(state, entry);
    let (request, pod) = match read(&context, body) {
        Ok(read) => read,
        Err(reply) => return Some(reply),
    };
    let decided = match decide(&context, &request.namespace, &pod) {
        Ok(decision) => Ok(decision),
        Err(Undecided::Unknown(unknown)) => Err(unknown),
        Err(Undecided::Missing(_)) => return None,
    };
    Some(reply(&context, &request, &pod, decided))
}

/// Answers `POST /mutate…`.
pub(super) async fn mutate(state: Arc<State>, entry: WebhookEntry, request: ReviewRequest) -> Reply {
    let mut context = ReviewContext::new(&state, entry).until(request.deadline.at);
    let (body, size) = (&request.body, request.body.len());
    let (request, pod) = match aside(size, || read(&context, body)) {
        Ok(read) => read,
        Err(reply) => return reply,
    };
    let decide = |context: &ReviewContext<'_>| aside(size, || decide(context, &request.namespace, &pod));
    let decided = context.with_lookups(&request.uid, decide).await;
    aside(size, move || reply(&context, &request, &pod, decided))
}

/// Runs the work so that a large review does not delay the other tasks of this thread: they move to another thread.
fn aside<T>(size: usize, work: impl FnOnce() -> T) -> T {
    let can_step_aside = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if size >= Limits::LARGE_BODY && can_step_aside() { tokio::task::block_in_place(work) } else { work() }
}

/// Reads the request and its pod.
///
/// # Errors
/// The answer to a body that is no review, or whose review needs no decision.
fn read<'a>(context: &ReviewContext<'_>, body: &'a [u8]) -> Result<(Review<'a>, Json<'a>), Reply> {
    let mut request: Review<'_> = match review::read(body) {
        Ok(request) => request,
        Err(bad) => {
            // With the pod as unparsed text, an invalid pod does not hide the UID of its review.
            if let Ok(request) = review::read::<&RawValue>(body) {
                let message = format!("the pod in the review cannot be read: {bad}");
                return Err(refused(context, &request.uid, message));
            }
            warn!(error = %bad, "rejected a request body");
            context.observe(&Verdict::errored("mutate", "BadReview"));
            return Err(Reply::failed(StatusCode::BAD_REQUEST, &bad.to_string()));
        }
    };
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    match take_pod(&mut request) {
        Ok(Some(pod)) => Ok((request, pod)),
        Ok(None) => Err(Reply::json(&Answer::allowed(&request.uid))),
        Err(message) => Err(refused(context, &request.uid, message)),
    }
}

/// Returns the answer with a decision, and records it.
fn reply(
    context: &ReviewContext<'_>,
    request: &Review<'_>,
    pod: &Json<'_>,
    decided: Result<Decision, Unknown>,
) -> Reply {
    match decided {
        Ok(decision) => {
            report(context, request, pod, &decision);
            Reply::json(&answer_with(request, &decision))
        }
        Err(unknown) => {
            let message = unknown.message(&request.namespace);
            warn!(uid = %request.uid, error = message, "cannot decide");
            context.observe(&Verdict::errored("mutate", unknown.code()));
            Reply::failed(StatusCode::SERVICE_UNAVAILABLE, &message)
        }
    }
}

/// Returns the answer to a review that is invalid.
fn refused(context: &ReviewContext<'_>, uid: &str, message: String) -> Reply {
    warn!(uid, error = message, "rejected a review");
    context.observe(&Verdict::errored("mutate", "BadReview"));
    Reply::json(&Answer::denied(uid, StatusCode::BAD_REQUEST, message))
}

/// Records a decision in metrics and the log.
fn report(context: &ReviewContext<'_>, request: &Review<'_>, pod: &Json<'_>, decision: &Decision) {
    let took = context.started.elapsed();
    let is_dry_run = request.dry_run.unwrap_or_default();
    context.state.metrics.observe(&Verdict::of("mutate", decision), took);
    if !is_dry_run {
        // An already injected pod was counted at its first injection.
        let is_first = matches!(decision.reason, Reason::Injected { .. });
        for profile in decision.profiles.iter().filter(|_| is_first) {
            context.state.metrics.count_injection(profile.scope, &profile.name);
        }
        if decision.outcome != Outcome::Denied {
            for (profile, cause) in decision.left_out() {
                let scope = context.scope_of(&request.namespace, profile);
                context.state.metrics.count_left_out(scope, profile, cause.code());
                if let Some(owner) = owner_of(pod, &request.namespace) {
                    context.state.announcer.announce(owner, profile, cause, &context.state.metrics);
                }
            }
        }
    }
    let profiles = || {
        let names: Vec<&str> = decision.profiles.iter().map(|profile| profile.name.as_str()).collect();
        names.join(",")
    };
    trace_profiles(profiles);
    info!(
        uid = %request.uid,
        namespace = %request.namespace,
        pod = pod_name(request, pod),
        outcome = decision.outcome.as_str(),
        reason = decision.reason.code(),
        error = (decision.outcome == Outcome::Denied).then(|| tracing::field::display(&decision.reason)),
        profiles = profiles(),
        dry_run = is_dry_run,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "decided"
    );
}

/// Takes the pod to decide about out of its review; returns `None` for an operation that never injects.
fn take_pod<'a>(request: &mut Review<'a>) -> Result<Option<Json<'a>>, String> {
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
    match request.object.take() {
        Some(PodBody(pod)) => Ok(Some(pod)),
        None => Err("the review of a pod's creation has no object".to_owned()),
    }
}

/// Returns the pod's controller, in the form that an Event needs.
fn owner_of(pod: &Json<'_>, namespace: &str) -> Option<ObjectReference> {
    let owners = items(field(pod, "metadata").and_then(|metadata| field(metadata, "ownerReferences")));
    let is_controller = |owner: &&Json<'_>| field(owner, "controller").and_then(Json::as_bool) == Some(true);
    let owner = owners.iter().find(is_controller)?;
    let of = |name: &str| text(owner, name).map(str::to_owned);
    Some(ObjectReference {
        api_version: of("apiVersion"),
        kind: of("kind"),
        name: Some(of("name")?),
        namespace: Some(namespace.to_owned()),
        uid: Some(of("uid")?),
        ..ObjectReference::default()
    })
}

fn pod_name<'r>(request: &'r Review<'_>, pod: &'r Json<'_>) -> &'r str {
    if request.name.is_empty() {
        let metadata = |name| text(field(pod, "metadata")?, name);
        metadata("name").or_else(|| metadata("generateName")).unwrap_or_default()
    } else {
        &request.name
    }
}

fn answer_with<'d>(request: &'d Review<'_>, decision: &'d Decision) -> Answer<'d> {
    let with_code = |reason: &Reason| format!("{reason} [{}]", reason.code());
    let answer = match decision.outcome {
        Outcome::Denied => Answer::denied(&request.uid, StatusCode::FORBIDDEN, with_code(&decision.reason)),
        Outcome::Injected | Outcome::Skipped => Answer::allowed(&request.uid).with_patch(&decision.patch),
    };
    answer
        .with_warnings(decision.warnings().map(with_code))
        .with_audit("outcome", decision.outcome.as_str())
        .with_audit("reason", decision.reason.code())
        // The API server's audit log has its own ID for the request. This UID leads to Outrigger's log line.
        .with_audit("uid", &request.uid)
}
