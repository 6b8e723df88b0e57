use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::gate::Gate;
use super::mutate::Reply;
use super::review::{self, Answer, Request};
use super::router::State;
use super::status::refusal;
use crate::api::{Scope, keys};
use crate::engine::Namespace;
use crate::expression::OverBudget;
use crate::profiles::{Entry, Finding, ProfileSet, Relations, Severity, is_oversized};
use crate::telemetry::{Verdict, trace_request};

type Review<'a> = Request<'a, &'a RawValue>;

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    generate_name: String,
    deletion_timestamp: Option<String>,
}

/// Answers `POST /validate` on a thread of its own: compiling a profile takes longer than deciding about a hundred pods, and no
/// pod waits for it.
pub(super) async fn validate_apart(state: &State, gate: &Gate, body: Bytes) -> Response {
    let started = std::time::Instant::now();
    let Some(turn) = gate.validation().await else {
        let message = "too many profiles are being checked; retry after 1s";
        warn!(error = message, "refused a profile's review");
        state.metrics.observe(&Verdict::errored("validate", "Shed"), started.elapsed());
        return refusal(StatusCode::TOO_MANY_REQUESTS, message);
    };
    let (state, span) = (state.clone(), tracing::Span::current());
    let checked = tokio::task::spawn_blocking(move || {
        // The caller may have timed out; the next request still waits for this one.
        let _turn = turn;
        span.in_scope(|| validate(&state, &body))
    });
    match checked.await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; retry after 1s"),
    }
}

fn validate(state: &State, body: &Bytes) -> Response {
    let started = std::time::Instant::now();
    let request: Review<'_> = match review::read(body) {
        Ok(request) => request,
        Err(bad) => {
            warn!(error = %bad, "refused a body");
            state.metrics.observe(&Verdict::errored("validate", "BadReview"), started.elapsed());
            return refusal(StatusCode::BAD_REQUEST, &bad.to_string());
        }
    };
    trace_request(&request.uid, &request.namespace, request.dry_run.unwrap_or_default());
    let (answer, verdict) = match check(state, &request) {
        Ok(findings) => judge(&request, &findings),
        Err(message) => (
            Answer::denied(&request.uid, StatusCode::BAD_REQUEST, message),
            Verdict::errored("validate", "BadReview"),
        ),
    };
    info!(uid = %request.uid, namespace = %request.namespace, profile = %request.name, outcome = verdict.outcome, "validated");
    state.metrics.observe(&verdict, started.elapsed());
    Reply::json(&answer).into_response()
}

fn judge<'r>(request: &'r Review<'_>, findings: &[Finding]) -> (Answer<'r>, Verdict) {
    let of = |severity| {
        findings.iter().filter(move |finding| finding.severity == severity).map(ToString::to_string)
    };
    let errors: Vec<String> = of(Severity::Error).collect();
    let answer = match errors.as_slice() {
        [] => {
            return (
                Answer::allowed(&request.uid).with_warnings(of(Severity::Warning)),
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
        Answer::denied(&request.uid, StatusCode::UNPROCESSABLE_ENTITY, answer)
            .with_warnings(of(Severity::Warning)),
        Verdict::new("validate", "denied", "Invalid"),
    )
}

fn check(state: &State, request: &Review<'_>) -> Result<Vec<Finding>, String> {
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
        return Ok(still_named(state, request, scope));
    }
    let Some(object) = request.object else { return Ok(Vec::new()) };
    let unreadable = |error: serde_json::Error| format!("the profile in the review cannot be read: {error}");
    let object: Object<'_> = serde_json::from_str(object.get()).map_err(unreadable)?;
    // Finalizers must come off an object that is going away, whatever its spec.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Vec::new());
    }
    let spec = object.spec.map_or("null", RawValue::get);
    if is_oversized(spec) {
        let (path, message) = ("spec".to_owned(), OverBudget::Memory.to_string());
        return Ok(vec![Finding { severity: Severity::Error, path, message }]);
    }
    let spec: serde_json::Value = serde_json::from_str(spec).map_err(unreadable)?;
    let name =
        if object.metadata.name.is_empty() { generated(&object.metadata) } else { object.metadata.name };
    let (entry, mut findings) = Entry::read(&name, scope, &spec);
    let namespace = (scope == Scope::Namespace).then_some(request.namespace.as_ref());
    let snapshot = state.snapshot.load();
    findings.extend(relations(&snapshot.profiles, namespace, &name, entry));
    if let Some(namespace) = namespace.filter(|_| request.operation == "CREATE")
        && snapshot.profiles.find_in(Scope::Cluster, namespace, &name).is_some()
    {
        findings.push(Finding {
            severity: Severity::Warning,
            path: "metadata.name".to_owned(),
            message: format!(
                "it takes the place of ClusterSidecarProfile {name:?} for new pods in namespace {namespace:?}, unless that one is Mandatory"
            ),
        });
    }
    Ok(findings)
}

/// Warns of a deleted profile that namespaces or other profiles still name. What pods name is not known to the server.
fn still_named(state: &State, request: &Review<'_>, scope: Scope) -> Vec<Finding> {
    let snapshot = state.snapshot.load();
    let name: &str = &request.name;
    let in_reach = |namespace: &str| scope == Scope::Cluster || namespace == request.namespace;
    // Where the other kind has a profile of the name, that one is taken.
    let is_lost = |namespace: &str| match scope {
        Scope::Cluster => snapshot.profiles.find_in(Scope::Namespace, namespace, name).is_none(),
        Scope::Namespace => snapshot.profiles.find_in(Scope::Cluster, namespace, name).is_none(),
    };
    let names_it = |namespace: &Namespace| {
        let choice = namespace.annotations.get(keys::PROFILES).unwrap_or_default();
        choice.split(',').any(|part| part.trim().trim_start_matches(['+', '-']) == name)
    };
    let all =
        snapshot.namespaces.values().filter(|namespace| in_reach(&namespace.name) && names_it(namespace));
    let mut namespaces: Vec<&str> =
        all.map(|namespace| namespace.name.as_str()).filter(|namespace| is_lost(namespace)).collect();
    namespaces.sort_unstable();
    let requiring = snapshot.profiles.all().filter_map(|(owner, other, entry)| match entry {
        Entry::Ready(profile)
            if owner.is_none_or(in_reach) && profile.requires.iter().any(|required| required == name) =>
        {
            Some(other)
        }
        _ => None,
    });
    let requiring: Vec<&str> = requiring.collect();
    let mut findings = Vec::new();
    let mut warn = |message: String| {
        findings.push(Finding { severity: Severity::Warning, path: "metadata.name".to_owned(), message });
    };
    if !namespaces.is_empty() {
        warn(format!(
            "{} still name profile {name:?} in the annotation {}, and their new pods will be denied [ProfileNotFound]: {}",
            counted(namespaces.len(), "namespace"),
            keys::PROFILES,
            listed(&namespaces)
        ));
    }
    if !requiring.is_empty() {
        warn(format!(
            "{} still require profile {name:?}: {}",
            counted(requiring.len(), "profile"),
            listed(&requiring)
        ));
    }
    findings
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The first names, and how many more there are.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 5;
    let first = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// What is wrong between the profile and those that are there. The next object that is applied may put it
/// right, so it is no error here.
fn relations(known: &ProfileSet, namespace: Option<&str>, name: &str, entry: Entry) -> Vec<Finding> {
    let mut profiles = known.clone();
    profiles.insert(namespace, name, entry);
    let findings = Relations::new(&profiles, namespace).in_a_cluster().of(name);
    findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }).collect()
}

/// With `generateName` the name comes after admission; the API server adds five characters.
fn generated(metadata: &Metadata) -> String {
    format!("{}xxxxx", metadata.generate_name)
}
