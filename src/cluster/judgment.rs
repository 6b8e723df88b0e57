//! The API server's own validation of a profile, in addition to Outrigger's checks.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Judgment, Lookup, LookupError};
use crate::profiles::{Finding, Severity, field_of_profile};

/// Longest wait for the API server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time that is reserved for the answer afterwards.
const ANSWER: Duration = Duration::from_millis(200);

/// Parts of messages about fields that profiles cannot set, but pods can.
const OF_THE_POD: [&str; 3] = ["hostUsers", "hostNetwork", "hostProcess"];

/// Validates a profile's pod template with the API server.
///
/// If the API server does not answer, only Outrigger's own checks apply, and a warning is added.
pub(crate) async fn ask_cluster(lookup: &dyn Lookup, template: &Value, deadline: Instant) -> Vec<Finding> {
    let end = (Instant::now() + PATIENCE).min(deadline.checked_sub(ANSWER).unwrap_or(deadline));
    match judge(lookup, template, end).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding {
            severity: Severity::Warning,
            path: "spec.template".to_owned(),
            message: format!(
                "the API server has not validated the profile, only Outrigger has: {error}; apply it again to have it validated"
            ),
        }],
    }
}

/// Returns the API server's result for a profile's pod template.
///
/// # Errors
/// The API server does not answer before the deadline.
pub(crate) async fn judge(
    lookup: &dyn Lookup,
    template: &Value,
    deadline: Instant,
) -> Result<Vec<Finding>, LookupError> {
    let late = |_| LookupError("it did not answer in time".to_owned());
    let judgment = timeout_at(deadline, lookup.judge(template)).await.map_err(late)??;
    Ok(judgment.map(findings).unwrap_or_default())
}

fn findings(judgment: Judgment) -> Vec<Finding> {
    let is_of_profile = |message: &str| !OF_THE_POD.iter().any(|field| message.contains(field));
    let rejected = judgment.rejected.into_iter().filter(|(_, message)| is_of_profile(message));
    let dropped = judgment.dropped.map(|message| Finding {
        severity: Severity::Warning,
        path: "spec.template".to_owned(),
        message: format!("this cluster does not know a field, and drops it: {message}"),
    });
    let errors = rejected.map(|(field, message)| Finding {
        severity: Severity::Error,
        path: field_of_profile(&field),
        message: format!("the API server rejects it in every pod: {message}"),
    });
    errors.chain(dropped).collect()
}
