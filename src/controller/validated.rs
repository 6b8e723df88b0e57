//! The condition `Validated`: the API server's validation of the pod template that a profile renders.
//!
//! The first replica to get a turn requests it once per generation of a profile. The other replicas keep the condition as it
//! is, so that all replicas write the same status.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::timestamp::now;
use crate::cluster::{Lookup, Observed, ProfileKey, judge};
use crate::profiles::{Finding, ProfileEntry, Severity, sample_template};

pub(super) const VALIDATED: &str = "Validated";

/// Longest wait for one validation.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two validations: for a thousand profiles installed at once they take some minutes, at a load that API servers
/// do not notice.
const PAUSE: Duration = Duration::from_millis(200);
/// Wait after a validation without an answer.
const RETRY: Duration = Duration::from_secs(30);

/// Accepted profiles whose current generation has not been validated.
pub(super) struct Unvalidated {
    lookup: Arc<dyn Lookup>,
    profiles: BTreeMap<ProfileKey, Observed>,
    next: Instant,
    /// Last profile whose validation failed. The next attempt is for the one after it, so that one profile does not block the
    /// others.
    failed: Option<ProfileKey>,
}

impl Unvalidated {
    pub(super) fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, profiles: BTreeMap::new(), next: Instant::now(), failed: None }
    }

    /// Adds a profile in its latest version.
    pub(super) fn see(&mut self, key: ProfileKey, seen: Observed) {
        if matches!(seen.entry, ProfileEntry::Ready(_))
            && !seen.status.conditions.iter().any(|it| applies_to(it, &seen))
        {
            self.profiles.insert(key, seen);
        } else {
            self.profiles.remove(&key);
        }
    }

    /// Removes a profile. It is added again after its status is written.
    pub(super) fn forget(&mut self, key: &ProfileKey) {
        self.profiles.remove(key);
    }

    /// Waits for a turn and has one profile validated. Returns it with the condition; `None` if the API server did not answer.
    ///
    /// Waits without end while there is no profile. The future may be dropped at any time: the profile is then validated later.
    pub(super) async fn judge_one(&mut self) -> Option<(ProfileKey, Observed, Condition)> {
        let after = self.failed.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.profiles.range((after, Bound::Unbounded)).next().or(self.profiles.first_key_value());
        let Some((key, seen)) = next else { return std::future::pending().await };
        sleep_until(self.next).await;
        let ProfileEntry::Ready(profile) = &seen.entry else { return None };
        let template = sample_template(profile);
        match judge(self.lookup.as_ref(), &template, Instant::now() + PATIENCE).await {
            Ok(findings) => {
                let condition = condition(seen, &findings);
                self.next = Instant::now() + PAUSE;
                let key = key.clone();
                let seen = self.profiles.remove(&key)?;
                Some((key, seen, condition))
            }
            Err(error) => {
                warn!(profile = key.name, %error, "failed to have a profile validated by the API server; retrying later");
                self.next = Instant::now() + RETRY;
                self.failed = Some(key.clone());
                None
            }
        }
    }
}

/// Returns whether a condition is the result for the profile's current generation.
pub(super) fn applies_to(condition: &Condition, seen: &Observed) -> bool {
    condition.type_ == VALIDATED
        && condition.observed_generation == seen.generation
        && matches!(seen.entry, ProfileEntry::Ready(_))
}

fn condition(seen: &Observed, findings: &[Finding]) -> Condition {
    let is_rejected = findings.iter().any(|finding| finding.severity == Severity::Error);
    let (status, reason) = match findings {
        [] => ("True", "Validated"),
        _ if is_rejected => ("False", "Rejected"),
        _ => ("True", "FieldsDropped"),
    };
    let message = match findings {
        [] => "the API server accepts what the profile gives its pods".to_owned(),
        _ => findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let before = seen.status.conditions.iter().find(|condition| condition.type_ == VALIDATED);
    let last_transition_time = before
        .filter(|condition| condition.status == status)
        .map_or_else(|| Time(now()), |condition| condition.last_transition_time.clone());
    Condition {
        type_: VALIDATED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: seen.generation,
        last_transition_time,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::api::{ProfileStatus, Scope};
    use crate::cluster::LiveLookup;
    use crate::testing::{ApiServer, Fault};

    fn unvalidated(server: &Arc<ApiServer>) -> Unvalidated {
        Unvalidated::new(Arc::new(LiveLookup::new(server.client("test"), "system")))
    }

    fn key() -> ProfileKey {
        ProfileKey { scope: Scope::Cluster, namespace: String::new(), name: "a".to_owned() }
    }

    fn seen(generation: i64, conditions: Vec<Condition>) -> Observed {
        let spec = json!({ "match": {}, "template": { "spec": { "initContainers": [
            { "name": "a", "image": "a:1", "restartPolicy": "Always" },
        ] } } });
        let (entry, findings) = ProfileEntry::read("a", Scope::Cluster, &spec);
        let status = ProfileStatus { conditions, ..ProfileStatus::default() };
        let (resource_version, generation) = (None, Some(generation));
        Observed { resource_version, generation, status, entry, findings, is_parked: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_profile_whose_validation_fails_does_not_block_the_others() {
        let server = ApiServer::start();
        let mut unvalidated = unvalidated(&server);
        let named = |name: &str| ProfileKey { name: name.to_owned(), ..key() };
        unvalidated.see(named("a"), seen(1, Vec::new()));
        unvalidated.see(named("b"), seen(1, Vec::new()));
        server.set_faults(|_| Some(Fault::Status(413, "RequestEntityTooLarge")));
        assert!(unvalidated.judge_one().await.is_none());
        server.clear_faults();
        let (validated, ..) = unvalidated.judge_one().await.unwrap();
        assert_eq!(validated.name, "b");
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_is_judged_once_as_soon_as_the_api_server_answers() {
        let server = ApiServer::start();
        let mut unvalidated = unvalidated(&server);
        unvalidated.see(key(), seen(1, Vec::new()));
        let started = Instant::now();
        server.set_faults(|_| Some(Fault::Refused));
        assert!(unvalidated.judge_one().await.is_none());
        server.set_faults(|_| Some(Fault::Invalid("template.spec.x", "Invalid value")));
        let (_, _, condition) = unvalidated.judge_one().await.unwrap();
        assert_eq!(started.elapsed().as_secs(), RETRY.as_secs());
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "Rejected"));
        assert!(
            condition.message.contains("spec.template.spec.x: the API server rejects it"),
            "{condition:?}"
        );
        unvalidated.see(key(), seen(1, vec![condition.clone()]));
        assert!(unvalidated.profiles.is_empty(), "this generation is judged");
        server.clear_faults();
        unvalidated.see(key(), seen(2, vec![condition]));
        let (_, _, condition) = unvalidated.judge_one().await.unwrap();
        assert_eq!((condition.status.as_str(), condition.observed_generation), ("True", Some(2)));
        assert!(unvalidated.judge_one().now_or_never().is_none(), "it waits for the next profile");
        assert_eq!(server.take_requests().len(), 3);
    }
}
