//! The status of profiles.
//!
//! Every replica computes the same status for a profile and writes it only if it differs, so no leader is needed.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::timestamp::now;
use super::validated::{self, Unvalidated};
use crate::api::{ProfileStatus, Scope};
use crate::cluster::{Lookup, Observations, Observed, ProfileKey, profile_resources};
use crate::profiles::{ProfileEntry, Severity};

const ACCEPTED: &str = "Accepted";
/// The condition of a Mandatory profile that reports whether its webhook entries are active.
pub(super) const ENFORCED: &str = "Enforced";

/// Writes the status of every observed profile, until `stop`.
///
/// # Errors
/// None: a status that cannot be written is logged, and written when the profile is observed again.
pub(crate) async fn write_status(
    client: Client,
    observations: Observations,
    lookup: Arc<dyn Lookup>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut unvalidated = Unvalidated::new(lookup);
    let writing = async {
        loop {
            tokio::select! {
                biased;
                seen = observations.take() => {
                    for (key, seen) in seen {
                        let wanted = status_of(&seen);
                        if wanted == seen.status {
                            unvalidated.see(key, seen);
                        } else {
                            unvalidated.forget(&key);
                            write(&client, &key, seen.resource_version, &wanted).await;
                        }
                    }
                }
                judged = unvalidated.judge_one() => {
                    if let Some((key, seen, condition)) = judged {
                        let mut wanted = status_of(&seen);
                        wanted.conditions.push(condition);
                        write(&client, &key, seen.resource_version, &wanted).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = writing => Ok(()),
    }
}

async fn write(client: &Client, key: &ProfileKey, version: Option<String>, status: &ProfileStatus) {
    let Some((_, resource)) = profile_resources().into_iter().find(|(scope, _)| *scope == key.scope) else {
        return;
    };
    let (name, namespace) = (key.name.as_str(), key.namespace.as_str());
    let api: Api<DynamicObject> = match key.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    // In a merge patch, fields that are omitted would keep their values.
    let patch = json!({
        "metadata": { "resourceVersion": version },
        "status": {
            "observedGeneration": status.observed_generation,
            "revision": status.revision,
            "adds": status.adds,
            "conditions": status.conditions,
        }
    });
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => info!(profile = name, adds = status.adds, "wrote the status of a profile"),
        // The profile was deleted or changed, so the watch delivers it again if it exists.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {}
        Err(error) => warn!(profile = name, %error, "failed to write the status of a profile"),
    }
}

fn status_of(seen: &Observed) -> ProfileStatus {
    let (current, generation) = (&seen.status, seen.generation);
    let (status, reason, revision, adds) = match &seen.entry {
        ProfileEntry::Ready(profile) => {
            ("True", "Accepted", Some(profile.revision.clone()), Some(profile.adds()))
        }
        ProfileEntry::Invalid(_) if seen.is_parked => ("False", "OverQuota", None, None),
        ProfileEntry::Invalid(_) => ("False", "Invalid", None, None),
    };
    let findings: Vec<String> = seen
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error || matches!(seen.entry, ProfileEntry::Ready(_)))
        .map(ToString::to_string)
        .collect();
    let message =
        if findings.is_empty() { "the profile can be injected".to_owned() } else { findings.join("; ") };
    let before = current.conditions.iter().find(|condition| condition.type_ == ACCEPTED);
    let last_transition_time = before
        .filter(|condition| condition.status == status)
        .map_or_else(|| Time(now()), |condition| condition.last_transition_time.clone());
    let accepted = Condition {
        type_: ACCEPTED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time,
    };
    // The leader, which writes the webhook entries, reports whether a Mandatory profile is enforced.
    let others = current.conditions.iter().filter(|condition| {
        (condition.type_ == ENFORCED && seen.entry.is_mandatory()) || validated::applies_to(condition, seen)
    });
    let conditions = [accepted].into_iter().chain(others.cloned()).collect();
    ProfileStatus { observed_generation: generation, revision, adds, conditions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProfileStatus;

    #[test]
    fn a_profile_without_room_is_not_accepted_and_its_status_says_why() {
        let (entry, findings) = ProfileEntry::parked("a", Scope::Namespace, &json!({}), "no room".to_owned());
        let seen = |is_parked| Observed {
            resource_version: None,
            generation: Some(3),
            status: ProfileStatus::default(),
            entry: entry.clone(),
            findings: findings.clone(),
            is_parked,
        };
        for (is_parked, reason) in [(true, "OverQuota"), (false, "Invalid")] {
            let status = status_of(&seen(is_parked));
            let [accepted] = status.conditions.as_slice() else { panic!("there is one condition") };
            assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", reason));
            assert_eq!(accepted.message, "spec: no room");
        }
    }
}
