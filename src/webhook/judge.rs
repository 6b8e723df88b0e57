//! The cluster's own judgment of a profile, beside Outrigger's checks.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::decide::{Judgment, Lookup, LookupError};
use crate::profiles::{Finding, Severity, field_of_profile};

/// Longest wait for the API server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time that is left for the answer after it.
const ANSWER: Duration = Duration::from_millis(200);

/// Parts of messages about fields that a profile cannot set, and that its pods may have.
const OF_THE_POD: [&str; 3] = ["hostUsers", "hostNetwork", "hostProcess"];

/// Asks the API server to validate what a profile gives.
///
/// Without its answer, Outrigger's own checks stand alone, with a warning.
pub(crate) async fn ask_cluster(lookup: &dyn Lookup, template: &Value, deadline: Instant) -> Vec<Finding> {
    let end = (Instant::now() + PATIENCE).min(deadline.checked_sub(ANSWER).unwrap_or(deadline));
    let late = |_| LookupError("it did not answer in time".to_owned());
    match timeout_at(end, lookup.judge(template)).await.map_err(late).and_then(|judgment| judgment) {
        Ok(None) => Vec::new(),
        Ok(Some(judgment)) => findings(judgment),
        Err(error) => vec![Finding {
            severity: Severity::Warning,
            path: "spec.template".to_owned(),
            message: format!(
                "the API server has not validated the profile, only Outrigger has: {error}; apply it again to have it validated"
            ),
        }],
    }
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
