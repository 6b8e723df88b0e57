use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::entries::{Model, Target, is_disarmed};
use super::status::ENFORCED;
use super::timestamp::now;
use crate::api::{ClusterSidecarProfile, keys};
use crate::certificates::LiveConfigurations;
use crate::cluster::{Leadership, Snapshot};
use crate::polling::RepeatedFailure;

/// Returns the name of the webhook configurations of Mandatory profiles, for the name of the release's own.
pub(crate) fn mandatory_name(configuration: &str) -> String {
    format!("{configuration}-mandatory")
}

/// Time that API servers get to load one configuration before the next one is changed.
pub(crate) const TAKEN_UP: Duration = Duration::from_secs(1);
/// Interval at which the profiles are compared with the entries.
const LOOK: Duration = Duration::from_millis(500);
/// Wait before a retry after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// The controller of the webhook entries of Mandatory profiles.
///
/// The release creates the two configurations without entries, and the leader writes the entries. With that, the server needs
/// no permission to create webhook configurations.
pub(crate) struct Mandatory {
    /// Client for the configurations.
    pub client: Client,
    /// Name of the release's own `MutatingWebhookConfiguration`, the model for the entries.
    pub configuration: String,
    /// Namespaces for which no webhook is called, besides [`keys::ALWAYS_EXCLUDED_NAMESPACES`].
    pub excluded: BTreeSet<String>,
    /// Live configurations, from the single watch that all users share.
    pub live: watch::Receiver<LiveConfigurations>,
    /// Latest view of the cluster.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Leadership: only the leader writes.
    pub leadership: Leadership,
}

/// The state of enforcement of a profile: a condition's status, reason and message.
type Enforced = (&'static str, &'static str, &'static str);

const IN_FORCE: Enforced = (
    "True",
    "WebhooksInForce",
    "its webhook entries are written; API servers take them up within a second or two",
);
const DISARMED: Enforced =
    ("False", "Disarmed", "an admin took the webhooks out of the way; `outrigger rearm` puts them back");
const MISSING: Enforced = (
    "False",
    "ConfigurationMissing",
    "the webhook configurations for Mandatory profiles do not exist; install or upgrade the release",
);
const NOT_CALLABLE: Enforced =
    ("False", "NotCallable", "the release's own webhook configuration is missing or has no caBundle yet");

impl Mandatory {
    /// Reconciles the entries until `stop`.
    ///
    /// # Errors
    /// None: failures are logged and retried.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let name = mandatory_name(&self.configuration);
        let mut seen = Arc::clone(&self.snapshot.load().profiles);
        let (mut pending, mut failure) = (true, RepeatedFailure::default());
        let mut next = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.leadership.changed() => pending = true,
                changed = self.live.changed() => match changed {
                    Ok(()) => pending = true,
                    Err(_) => return Ok(()),
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            let snapshot = self.snapshot.load_full();
            if !Arc::ptr_eq(&seen, &snapshot.profiles) {
                seen = Arc::clone(&snapshot.profiles);
                pending = true;
            }
            // Every cluster has namespaces, so a snapshot without one is not filled yet. While profiles cannot be listed, none
            // of them may be treated as deleted.
            let is_due = pending && self.leadership.is_held() && tokio::time::Instant::now() >= next;
            if !is_due || snapshot.namespaces.is_empty() || !snapshot.unsynced.is_empty() {
                continue;
            }
            let done = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = self.reconcile(&snapshot) => done,
            };
            match done {
                Ok(()) => {
                    pending = false;
                    failure.reset();
                }
                Err(error) => {
                    if let Some(error) = failure.changed_message(&error) {
                        warn!(
                            configuration = name,
                            error, "failed to write the webhooks of Mandatory profiles"
                        );
                    }
                    next = tokio::time::Instant::now() + RETRY;
                }
            }
        }
    }

    fn apis(&self) -> (Api<MutatingWebhookConfiguration>, Api<ValidatingWebhookConfiguration>) {
        (Api::all(self.client.clone()), Api::all(self.client.clone()))
    }

    async fn reconcile(&self, snapshot: &Snapshot) -> kube::Result<()> {
        let profiles = profiles(snapshot);
        let enforced = self.write(&profiles).await?;
        for (name, _) in &profiles {
            self.write_condition(name, enforced).await?;
        }
        Ok(())
    }

    /// Writes the entries and returns the condition for their profiles.
    async fn write(&self, profiles: &[Target]) -> kube::Result<Enforced> {
        let name = mandatory_name(&self.configuration);
        let (mutating, validating) = self.apis();
        // These are read before the release's own configuration, which decides whether webhooks are disarmed. In the other
        // order, an old state could overwrite what `rearm` has enabled since. A change after the read has another version, so
        // it is not overwritten.
        let (Some(injecting), Some(verifying)) =
            (mutating.get_opt(&name).await?, validating.get_opt(&name).await?)
        else {
            return Ok(MISSING);
        };
        let own = mutating.get_opt(&self.configuration).await?.and_then(|own| own.webhooks);
        let Some(mut model) = Model::of(&own.unwrap_or_default()) else { return Ok(NOT_CALLABLE) };
        let (injects, verifies) =
            (injecting.webhooks.unwrap_or_default(), verifying.webhooks.unwrap_or_default());
        // `disarm` disables these first and `rearm` enables them last, so they are disarmed while the release's own are still
        // or already armed.
        model.verifies_disarmed |= verifies.iter().any(|entry| is_disarmed(entry.match_conditions.as_ref()));
        let always = keys::ALWAYS_EXCLUDED_NAMESPACES.iter().map(|name| (*name).to_owned());
        model.excluded = always.chain(self.excluded.iter().cloned()).collect();
        let wanted: Vec<_> = profiles.iter().flat_map(|profile| model.mutating(profile)).collect();
        let inject = (wanted != injects)
            .then(|| put(&mutating, &name, injecting.metadata.resource_version, json!(wanted)));
        let wanted: Vec<_> = profiles.iter().flat_map(|profile| model.validating(profile)).collect();
        let verify = (wanted != verifies)
            .then(|| put(&validating, &name, verifying.metadata.resource_version, json!(wanted)));
        // The verifying entries must not reject a pod because the injecting ones are disarmed.
        if model.injects_disarmed {
            one_by_one(verify, inject).await?;
        } else {
            one_by_one(inject, verify).await?;
        }
        Ok(if model.verifies_disarmed { DISARMED } else { IN_FORCE })
    }

    /// Writes the profile's condition, if it differs.
    async fn write_condition(&self, name: &str, (status, reason, message): Enforced) -> kube::Result<()> {
        let api: Api<ClusterSidecarProfile> = Api::all(self.client.clone());
        let Some(profile) = api.get_opt(name).await? else { return Ok(()) };
        let mut conditions = profile.status.map(|status| status.conditions).unwrap_or_default();
        let before = conditions.iter().position(|condition| condition.type_ == ENFORCED);
        let mut condition = Condition {
            type_: ENFORCED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: profile.metadata.generation,
            last_transition_time: Time(now()),
        };
        match before.and_then(|index| conditions.get_mut(index)) {
            Some(known) => {
                if known.status == condition.status {
                    condition.last_transition_time = known.last_transition_time.clone();
                }
                if *known == condition {
                    return Ok(());
                }
                *known = condition;
            }
            None => conditions.push(condition),
        }
        let patch = json!({
            "metadata": { "resourceVersion": profile.metadata.resource_version },
            "status": { "conditions": conditions },
        });
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                info!(profile = name, status, reason, "wrote the condition Enforced of a profile");
                Ok(())
            }
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Returns the Mandatory profiles with their selectors, sorted by name. An invalid profile counts, because its pods must not
/// run without it.
fn profiles(snapshot: &Snapshot) -> Vec<Target> {
    let all = snapshot.profiles.all().filter(|(owner, _, entry)| owner.is_none() && entry.is_mandatory());
    all.filter_map(|(_, name, entry)| Some((name.to_owned(), entry.matching()?.namespace_selector())))
        .collect()
}

/// Writes the second configuration after API servers have loaded the first.
async fn one_by_one(
    first: Option<impl Future<Output = kube::Result<()>>>,
    second: Option<impl Future<Output = kube::Result<()>>>,
) -> kube::Result<()> {
    let wait = first.is_some() && second.is_some();
    if let Some(first) = first {
        first.await?;
    }
    if wait {
        tokio::time::sleep(TAKEN_UP).await;
    }
    if let Some(second) = second {
        second.await?;
    }
    Ok(())
}

async fn put<K>(api: &Api<K>, name: &str, version: Option<String>, entries: Value) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let count = entries.as_array().map_or(0, Vec::len);
    // With the version, a concurrent change of another client is not overwritten.
    let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": entries });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    info!(configuration = name, entries = count, "wrote the webhooks of Mandatory profiles");
    Ok(())
}
