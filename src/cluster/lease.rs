//! Who of several replicas writes. Serving never asks; a Lease only chooses one that keeps what all of them share.

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

/// How long a Lease counts after it was last renewed, by the clock of whoever waits for its end.
const DURATION: Duration = Duration::from_secs(10);
/// How long a holder believes in its last renewal: shorter, so that it has stopped writing before another one begins.
const BELIEF: Duration = Duration::from_secs(7);
/// Longest time for which another holder's Lease counts without being renewed, whatever duration is written in it.
/// Without a cap, a huge duration would stop all repairs.
const LONGEST_FOREIGN: Duration = Duration::from_secs(30);
/// How often a holder renews, and the others look.
const LOOK: Duration = Duration::from_secs(2);

/// Whether this replica is the one that writes. Clones follow the same Lease.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Leadership without a Lease: nobody else is there.
    pub fn always() -> Self {
        Self(watch::channel(true).1)
    }

    /// Leadership that follows this channel.
    pub fn following(held: watch::Receiver<bool>) -> Self {
        Self(held)
    }

    /// Whether it is held now.
    pub fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it has been won or lost since the last call; for ever where that can happen no more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One replica's part in the election.
pub struct Election {
    /// How to reach the Lease.
    pub client: Client,
    /// The Lease's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What this replica, and no other one, is called.
    pub identity: String,
    /// Where it is shown who writes.
    pub metrics: Arc<Metrics>,
}

/// What was last seen in the hands of another replica, and since when.
struct Foreign {
    holder: String,
    version: Option<String>,
    since: Instant,
}

impl Election {
    /// Takes the Lease whenever it is free, renews it, and gives it back at `stop`.
    ///
    /// # Errors
    /// None, as far as the future goes: what fails is logged and tried again.
    pub fn run(
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
                    failure.is_over();
                    self.say(&held, holds);
                }
                Ok(Err(error)) => {
                    if let Some(error) = failure.news(&error) {
                        warn!(lease = self.name, error, "failed to acquire or renew the lease");
                    }
                }
                Err(_) => {
                    warn!(lease = self.name, "failed to read the lease: the API server does not answer")
                }
            }
            let next = asked + LOOK;
            let next = if *held.borrow() { next.min(belief) } else { next };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= belief {
                self.say(&held, false);
            }
        }
        if held.send_replace(false) {
            self.metrics.writes(false);
            // A successor need not wait for the end then; where it fails, it waits.
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

    fn say(&self, held: &watch::Sender<bool>, holds: bool) {
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

    /// Whether the Lease is ours after this look at it. Writes carry the version that was read, so of two replicas
    /// that take it at once only one succeeds.
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

    /// Another holder's time is counted by our own clock, from when we first saw the state that it wrote: clocks of
    /// nodes differ.
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
        // A shorter duration than ours would let two replicas write at once.
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

    /// Logs a foreign holder. The name can be set by every user with write access to the Lease, so it is escaped.
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

    /// The Lease as this replica holds it from now on.
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

/// A conflict means that another replica was first.
fn won(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
