//! Leader election among the replicas. Every replica serves; the Lease only decides which one writes shared objects.
//!
//! ARCHITECTURE.md names the crates that were weighed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::polling::RepeatedFailure;
use crate::telemetry::Metrics;

/// Duration of a Lease after its last renewal, by the clock of the replica that waits for it to expire.
const DURATION: Duration = Duration::from_secs(10);
/// Time after its last renewal for which a leader still writes. It is shorter than the Lease, so the leader has stopped before
/// another one starts.
const BELIEF: Duration = Duration::from_secs(7);
/// Longest time for which another holder's Lease counts without renewal, even if its duration is longer. Without this limit, a
/// huge duration would stop all repairs.
const LONGEST_FOREIGN: Duration = Duration::from_secs(30);
/// Interval at which the leader renews the Lease and the others read it.
const LOOK: Duration = Duration::from_secs(2);

/// The state of this replica as leader or not. Clones follow the same Lease.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Returns permanent leadership without a Lease.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self(watch::channel(true).1)
    }

    /// Returns leadership that follows this channel.
    #[cfg(test)]
    pub(crate) fn following(held: watch::Receiver<bool>) -> Self {
        Self(held)
    }

    /// Returns whether this replica is the leader now.
    pub(crate) fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until leadership has been gained or lost since the last call; without end if it can no longer change.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One replica's participation in the election.
pub(crate) struct Election {
    /// Client for the Lease.
    pub client: Client,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique name of this replica.
    pub identity: String,
    /// Metrics that show the leader.
    pub metrics: Arc<Metrics>,
}

/// The last state of the Lease under another holder, and the time since which it is unchanged.
struct Foreign {
    holder: String,
    version: Option<String>,
    since: Instant,
}

impl Election {
    /// Acquires the Lease when it is free, renews it, and releases it at `stop`.
    ///
    /// # Errors
    /// The future returns none: failures are logged and retried.
    pub(crate) fn run(
        self,
        stop: CancellationToken,
    ) -> (Leadership, impl Future<Output = anyhow::Result<()>> + Send) {
        let (held, follows) = watch::channel(false);
        (Leadership(follows), self.compete(held, stop))
    }

    async fn compete(self, held: watch::Sender<bool>, stop: CancellationToken) -> anyhow::Result<()> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let (mut foreign, mut belief) = (None, Instant::now());
        let mut failure = RepeatedFailure::default();
        loop {
            let asked = Instant::now();
            let until = if *held.borrow() { belief } else { asked + BELIEF };
            let answer = tokio::select! {
                () = stop.cancelled() => break,
                answer = tokio::time::timeout_at(until, self.attempt(&api, &mut foreign)) => answer,
            };
            match answer {
                Ok(Ok(holds)) => {
                    belief = asked + BELIEF;
                    failure.reset();
                    self.publish(&held, holds);
                }
                Ok(Err(error)) => {
                    if let Some(error) = failure.changed_message(&error) {
                        warn!(lease = self.name, error, "failed to acquire or renew the lease");
                    }
                }
                Err(_) => {
                    warn!(lease = self.name, "failed to read the lease: the API server does not answer");
                }
            }
            let next = asked + LOOK;
            let next = if *held.borrow() { next.min(belief) } else { next };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= belief {
                self.publish(&held, false);
            }
        }
        if held.send_replace(false) {
            self.metrics.writes(false);
            // After a release, a successor need not wait for the Lease to expire.
            match tokio::time::timeout(LOOK, self.release(&api)).await {
                Ok(Ok(())) => info!(lease = self.name, "released the lease"),
                Ok(Err(error)) => {
                    warn!(lease = self.name, error = format!("{error:#}"), "failed to release the lease");
                }
                Err(_) => {
                    warn!(lease = self.name, "failed to release the lease: the API server does not answer");
                }
            }
        }
        Ok(())
    }

    fn publish(&self, held: &watch::Sender<bool>, holds: bool) {
        self.metrics.writes(holds);
        if holds {
            self.metrics.lease_held_by(&self.identity);
        }
        let changed = held.send_if_modified(|held| std::mem::replace(held, holds) != holds);
        if changed && holds {
            info!(
                lease = self.name,
                identity = self.identity,
                "acquired the lease; this replica is the leader"
            );
        } else if changed {
            info!(
                lease = self.name,
                identity = self.identity,
                "lost the lease; another replica is the leader"
            );
        }
    }

    /// Returns whether this replica holds the Lease after this attempt. Writes carry the version that was read, so only one of
    /// two replicas that write at once succeeds.
    async fn attempt(&self, api: &Api<Lease>, foreign: &mut Option<Foreign>) -> anyhow::Result<bool> {
        let Some(lease) = api.get_opt(&self.name).await.context("cannot read it")? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = self.taken(Lease { metadata, spec: None });
            return won(api.create(&PostParams::default(), &lease).await).context("cannot create it");
        };
        if !self.may_take(&lease, foreign) {
            return Ok(false);
        }
        let written = api.replace(&self.name, &PostParams::default(), &self.taken(lease)).await;
        won(written).context("cannot update it")
    }

    /// Returns whether the Lease is free. Another holder's time is measured by our own clock, from the first observation of the
    /// holder's state, because the clocks of nodes differ.
    fn may_take(&self, lease: &Lease, foreign: &mut Option<Foreign>) -> bool {
        let spec = lease.spec.as_ref();
        let holder =
            spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
        let Some(holder) = holder.filter(|holder| *holder != self.identity) else {
            *foreign = None;
            return true;
        };
        self.metrics.lease_held_by(holder);
        let wanted = spec.and_then(|spec| spec.lease_duration_seconds);
        let wanted = wanted.and_then(|seconds| u64::try_from(seconds).ok());
        // With a shorter duration than ours, two replicas could write at once.
        let lasts = wanted.map_or(DURATION, Duration::from_secs).clamp(DURATION, LONGEST_FOREIGN);
        let version = &lease.metadata.resource_version;
        let since = match foreign {
            Some(seen) if seen.version == *version => seen.since,
            _ => Instant::now(),
        };
        if foreign.as_ref().is_none_or(|seen| seen.holder != holder) {
            self.report_holder(holder, wanted.unwrap_or_default());
        }
        *foreign = Some(Foreign { holder: holder.to_owned(), version: version.clone(), since });
        let is_free = since.elapsed() > lasts;
        if is_free {
            let (lease, seconds) = (&self.name, since.elapsed().as_secs());
            warn!(lease, ?holder, seconds, "lease was not renewed; taking it over from its holder");
        }
        is_free
    }

    /// Logs a foreign holder. Every user with write access to the Lease can set the name, so it is escaped.
    fn report_holder(&self, holder: &str, seconds: u64) {
        let (lease, most) = (&self.name, LONGEST_FOREIGN.as_secs());
        if seconds > most {
            warn!(
                lease,
                ?holder,
                seconds,
                most,
                "lease has another holder with a longer duration than any replica writes"
            );
        } else {
            info!(lease, ?holder, "lease has another holder");
        }
    }

    /// Returns the Lease with this replica as holder.
    fn taken(&self, lease: Lease) -> Lease {
        let before = lease.spec.unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let renewed = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            acquire_time: if renewed { before.acquire_time } else { Some(now.clone()) },
            lease_transitions: Some(if renewed { transitions } else { transitions.saturating_add(1) }),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(now),
            ..before
        };
        Lease { spec: Some(spec), ..lease }
    }

    async fn release(&self, api: &Api<Lease>) -> anyhow::Result<()> {
        let Some(mut lease) = api.get_opt(&self.name).await? else { return Ok(()) };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        won(api.replace(&self.name, &PostParams::default(), &lease).await)?;
        Ok(())
    }
}

/// Returns whether the write succeeded. A conflict means that another replica was first.
fn won(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
