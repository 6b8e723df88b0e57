mod named;

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::load_shed::LoadShed;
use super::pipeline::ReviewRequest;
use super::reply::Reply;
use super::review::{self, Answer, BadReview, Cause, Request};
use super::state::State;
use super::status::refusal;
use crate::api::{Scope, keys};
use crate::cluster::ask_cluster;
use crate::expression::OverBudget;
use crate::profiles::{
    Finding, ProfileEntry, ProfileSet, Relations, Severity, is_oversized, sample_template,
};
use crate::telemetry::{Verdict, trace_request};

type Review<'a> = Request<'a, &'a RawValue>;

#[derive(Deserialize)]
struct ProfileObject<'a> {
    #[serde(default)]
    metadata: ProfileMetadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProfileMetadata {
    name: String,
    generate_name: String,
    deletion_timestamp: Option<String>,
}

/// Answers `POST /validate` on a separate thread: the compilation of a profile takes longer than a hundred decisions about
/// pods, and no pod waits for it.
pub(super) async fn validate_apart(
    state: Arc<State>,
    load_shed: Arc<LoadShed>,
    ReviewRequest { body, deadline, .. }: ReviewRequest,
) -> Response {
    let started = std::time::Instant::now();
    let Some(turn) = load_shed.validation().await else {
        let message = "too many profiles are being checked; retry after 1s";
        warn!(error = message, "rejected the review of a profile");
        state.metrics.observe(&Verdict::errored("validate", "Shed"), started.elapsed());
        return refusal(StatusCode::TOO_MANY_REQUESTS, message);
    };
    let (known, span) = (Arc::clone(&state), tracing::Span::current());
    let checked = tokio::task::spawn_blocking(move || {
        // The handler may have timed out. The next request still has to wait for this thread, so the thread owns the turn.
        let _turn = turn;
        span.in_scope(|| read_and_check(&known, &body))
    });
    let checked = match checked.await {
        Ok(checked) => checked,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; retry after 1s"),
    };
    let CheckedProfile { uid, namespace, kind, name, findings } = match checked {
        Ok(checked) => checked,
        Err(bad) => {
            warn!(error = %bad, "rejected a request body");
            state.metrics.observe(&Verdict::errored("validate", "BadReview"), started.elapsed());
            return refusal(StatusCode::BAD_REQUEST, &bad.to_string());
        }
    };
    let (answer, verdict) = match findings {
        Ok((mut findings, sample)) => {
            if let Some(template) = sample {
                findings.extend(ask_cluster(state.lookup.as_ref(), &template, deadline.at).await);
            }
            judge(&uid, (&kind, &name), &findings)
        }
        Err(message) => (
            Answer::denied(&uid, StatusCode::BAD_REQUEST, message),
            Verdict::errored("validate", "BadReview"),
        ),
    };
    info!(uid, namespace, profile = name, outcome = verdict.outcome, "validated");
    state.metrics.observe(&verdict, started.elapsed());
    Reply::json(&answer).into_response()
}

/// The result of the check of one review's profile.
struct CheckedProfile {
    uid: String,
    namespace: String,
    kind: String,
    name: String,
    findings: Result<(Vec<Finding>, Option<Value>), String>,
}

fn read_and_check(state: &State, body: &Bytes) -> Result<CheckedProfile, BadReview> {
    let request: Review<'_> = review::read(body)?;
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    Ok(CheckedProfile {
        findings: check(state, &request),
        uid: request.uid.to_string(),
        namespace: request.namespace.to_string(),
        kind: request.kind.kind.to_string(),
        name: request.name.to_string(),
    })
}

/// Returns the errors in the form of the API server's own validation.
fn causes(findings: &[Finding]) -> Vec<Cause> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let cause = |finding: &Finding| Cause {
        reason: "FieldValueInvalid",
        message: finding.message.clone(),
        field: finding.path.clone(),
    };
    errors.map(cause).collect()
}

fn judge<'r>(uid: &'r str, object: (&str, &str), findings: &[Finding]) -> (Answer<'r>, Verdict) {
    let of = |severity| {
        findings.iter().filter(move |finding| finding.severity == severity).map(ToString::to_string)
    };
    let errors: Vec<String> = of(Severity::Error).collect();
    let answer = match errors.as_slice() {
        [] => {
            return (
                Answer::allowed(uid).with_warnings(of(Severity::Warning)),
                Verdict::new("validate", "allowed", "Accepted"),
            );
        }
        [one] => one.clone(),
        several => {
            let numbered: Vec<String> =
                several.iter().enumerate().map(|(index, error)| format!("({}) {error}", index + 1)).collect();
            format!("{} problems: {}", several.len(), numbered.join("; "))
        }
    };
    (
        Answer::denied(uid, StatusCode::UNPROCESSABLE_ENTITY, answer)
            .with_causes(object, causes(findings))
            .with_warnings(of(Severity::Warning)),
        Verdict::new("validate", "denied", "Invalid"),
    )
}

/// Returns the findings, and the pod template that the API server validates.
fn check(state: &State, request: &Review<'_>) -> Result<(Vec<Finding>, Option<Value>), String> {
    let kind = &request.kind;
    let scope = match (kind.group.as_ref(), kind.kind.as_ref()) {
        (keys::GROUP, "ClusterSidecarProfile") => Scope::Cluster,
        (keys::GROUP, "SidecarProfile") => Scope::Namespace,
        (group, kind) => {
            return Err(format!(
                "this webhook validates profiles, and was asked about {kind} of group {group:?}; correct the rules of the webhook configuration"
            ));
        }
    };
    if request.operation == "DELETE" {
        return Ok((named::still_named(&state.snapshot.load(), request, scope), None));
    }
    let Some(object) = request.object else { return Ok((Vec::new(), None)) };
    let unreadable = |error: serde_json::Error| format!("the profile in the review cannot be read: {error}");
    let object: ProfileObject<'_> = serde_json::from_str(object.get()).map_err(unreadable)?;
    // A deleted object must be able to lose its finalizers, even if its spec is invalid.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok((Vec::new(), None));
    }
    let spec = object.spec.map_or("null", RawValue::get);
    if is_oversized(spec) {
        let (path, message) = ("spec".to_owned(), OverBudget::Memory.to_string());
        return Ok((vec![Finding { severity: Severity::Error, path, message }], None));
    }
    let spec: Value = serde_json::from_str(spec).map_err(unreadable)?;
    let name =
        if object.metadata.name.is_empty() { generated(&object.metadata) } else { object.metadata.name };
    let (entry, mut findings) = ProfileEntry::read(&name, scope, &spec);
    let namespace = (scope == Scope::Namespace).then_some(request.namespace.as_ref());
    let sample = match &entry {
        ProfileEntry::Ready(profile) => Some(sample_template(profile)),
        ProfileEntry::Invalid(_) => None,
    };
    let snapshot = state.snapshot.load();
    findings.extend(relations(&snapshot.profiles, namespace, &name, entry));
    if request.operation == "CREATE" {
        findings.extend(named::shadowing(&snapshot.profiles, namespace, &name));
    }
    Ok((findings, sample))
}

/// Returns the conflicts of the profile with existing profiles. They are not errors here, because the next object that is
/// applied may resolve them.
fn relations(known: &ProfileSet, namespace: Option<&str>, name: &str, entry: ProfileEntry) -> Vec<Finding> {
    let mut profiles = known.clone();
    profiles.insert(namespace, name, entry);
    let findings = Relations::new(&profiles, namespace).in_a_cluster().of(name);
    findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }).collect()
}

/// Returns an example name for `generateName`: the API server adds five characters after admission.
fn generated(metadata: &ProfileMetadata) -> String {
    format!("{}xxxxx", metadata.generate_name)
}
