use std::sync::Arc;

use axum::http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::Value;
use tracing::{info, warn};

use super::decide::decide;
use super::pipeline::ReviewRequest;
use super::reply::Reply;
use super::review::{self, Answer, Request};
use super::review_context::ReviewContext;
use super::state::State;
use super::webhook_entry::WebhookEntry;
use crate::engine::{Decision, Outcome};
use crate::json::Json;
use crate::telemetry::{Verdict, trace_request};
use crate::workload::{Facts, MisplacedKey, foreseen, misplaced, pod_pointer, submitted};

type Review<'a> = Request<'a, Value>;

/// Maximum number of warnings for one workload; the API server limits the total length of the warnings of all webhooks.
const MOST_WARNINGS: usize = 5;
/// Maximum length of a warning, in characters; the API server truncates longer ones.
const WARNING_LENGTH: usize = 256;

/// Answers `POST /advise…`: warns the user who applies a workload about the results for its pods. The API server shows a pod's
/// own warnings only to the pod's controller. The workload is always allowed.
pub(super) async fn advise(state: Arc<State>, entry: WebhookEntry, request: ReviewRequest) -> Reply {
    let (body, deadline) = (&request.body, request.deadline.at);
    let mut context = ReviewContext::new(&state, entry).until(deadline);
    match review::read::<Value>(body) {
        Ok(request) => {
            trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
            let (answer, verdict) = answer(&mut context, &request).await;
            context.observe(&verdict);
            Reply::json(&answer)
        }
        Err(bad) => {
            let request = review::read::<IgnoredAny>(body).ok();
            let uid = request.as_ref().map(|request| request.uid.as_ref());
            warn!(uid, error = %bad, "rejected a request body");
            context.observe(&Verdict::errored("advise", "BadReview"));
            Reply::failed(StatusCode::BAD_REQUEST, &bad.to_string())
        }
    }
}

async fn answer<'r>(context: &mut ReviewContext<'_>, request: &'r Review<'_>) -> (Answer<'r>, Verdict) {
    let allowed = Answer::allowed(&request.uid);
    let mut facts = Facts::default();
    if let Some(minor) = context.state.lookup.minor_version() {
        facts.set_minor_version(minor);
    }
    let pod = match pod_in(request, &facts) {
        Ok(Some(pod)) => pod,
        Ok(None) => return (allowed, Verdict::new("advise", "allowed", "NoTemplate")),
        Err(message) => {
            warn!(uid = %request.uid, error = message, "cannot advise");
            return (allowed.with_warnings([message]), Verdict::errored("advise", "BadReview"));
        }
    };
    let namespace = request.namespace.as_ref();
    let decide = |context: &ReviewContext<'_>| decide(context, namespace, &Json::from(&pod));
    let decision = match context.with_lookups(&request.uid, decide).await {
        Ok(decision) => decision,
        Err(unknown) => {
            let message = unknown.message(namespace);
            warn!(uid = %request.uid, error = message, "cannot advise");
            let warning = format!("whether its pods will get their sidecars is not known now: {message}");
            return (allowed.with_warnings([warning]), Verdict::errored("advise", unknown.code()));
        }
    };
    info!(
        uid = %request.uid,
        namespace = %request.namespace,
        kind = %request.kind.kind,
        name = %request.name,
        would_be = decision.outcome.as_str(),
        reason = decision.reason.code(),
        "advised"
    );
    let verdict = Verdict::new("advise", "allowed", decision.reason.code());
    let refusals = refusals(context, request, pod, &decision).await;
    let advised = allowed
        .with_warnings(warnings(&request.kind.kind, &decision, &refusals))
        .with_warnings(misplaced_keys(request))
        .with_audit("reason", decision.reason.code())
        .with_audit("uid", &request.uid);
    (advised, verdict)
}

/// Returns the refusals by the namespace's own rules that a decision's injection causes, each with its code.
///
/// If the API server does not return the rules in time, refusals that depend on them are left out: they are advice.
async fn refusals(
    context: &ReviewContext<'_>,
    request: &Review<'_>,
    mut pod: Value,
    decision: &Decision,
) -> Vec<(&'static str, String)> {
    let (uid, name) = (&request.uid, request.namespace.as_ref());
    let Ok(namespace) = context.namespace(name) else { return Vec::new() };
    if decision.profiles.is_empty() || json_patch::patch(&mut pod, &decision.patch.operations()).is_err() {
        return Vec::new();
    }
    let mut facts = Facts::default();
    match context.in_time(context.state.lookup.bounds(name)).await {
        Ok(bounds) => bounds.iter().for_each(|bound| facts.add(bound, name)),
        Err(error) => {
            warn!(uid = uid.as_ref(), namespace = name, %error, "failed to look up limit ranges and quotas");
        }
    }
    foreseen(&pod, &decision.profiles, namespace, &facts)
}

/// Returns the pod that the workload's controller would create; `None` if there is nothing to warn about.
fn pod_in(request: &Review<'_>, facts: &Facts) -> Result<Option<Value>, String> {
    let kind = &request.kind;
    let pointer = match kind.group.as_ref() {
        "apps" | "batch" => pod_pointer(&kind.kind),
        _ => None,
    };
    let Some(pointer) = pointer else {
        return Err(format!(
            "this webhook advises on workloads of the groups apps and batch, and was asked about {}/{} {}; correct the rules of the webhook configuration",
            kind.group, kind.version, kind.kind
        ));
    };
    let is_write = ["CREATE", "UPDATE"].contains(&request.operation.as_ref());
    let Some(object) = request.object.as_ref().filter(|_| is_write && request.sub_resource.is_empty()) else {
        return Ok(None);
    };
    if object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str).is_some() {
        return Ok(None);
    }
    // The servers have no permission to read most of the objects that admission plugins use, such as service accounts.
    let submitted = submitted(object, pointer, &request.namespace, facts);
    Ok(submitted.map(|submitted| submitted.pod))
}

/// Returns warnings about Outrigger's keys on the workload itself.
fn misplaced_keys(request: &Review<'_>) -> Vec<String> {
    let found = request.object.as_ref().zip(pod_pointer(&request.kind.kind));
    let found = found.map(|(object, pointer)| misplaced(object, pointer)).unwrap_or_default();
    found.iter().map(|key| format!("{key} [{}]", MisplacedKey::CODE)).collect()
}

fn warnings(kind: &str, decision: &Decision, foreseen: &[(&'static str, String)]) -> Vec<String> {
    let refusal = format!("pods of this {kind} will be refused: {}", decision.reason);
    let denial = (decision.outcome == Outcome::Denied).then(|| fit(&refusal, decision.reason.code()));
    let others = decision.warnings().map(|reason| fit(&reason.to_string(), reason.code()));
    let foreseen = foreseen.iter().map(|(code, message)| fit(message, code));
    let mut warnings: Vec<String> = denial.into_iter().chain(foreseen).chain(others).collect();
    if warnings.len() > MOST_WARNINGS {
        let more = warnings.len() + 1 - MOST_WARNINGS;
        warnings.truncate(MOST_WARNINGS - 1);
        warnings.push(format!("and {more} more warnings, which `outrigger explain` has"));
    }
    warnings
}

/// Returns the text with the code appended, truncated so that the code remains.
fn fit(text: &str, code: &str) -> String {
    let code = format!(" [{code}]");
    let most = WARNING_LENGTH.saturating_sub(code.len());
    if text.chars().count() <= most {
        return text.to_owned() + &code;
    }
    text.chars().take(most.saturating_sub(1)).chain("…".chars()).collect::<String>() + &code
}
