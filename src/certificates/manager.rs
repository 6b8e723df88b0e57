use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::replicas::Replicas;
use super::rotation::{self, Seen, Wanted};
use super::trust::trusted;
use super::webhook_configurations::LiveConfigurations;
use super::x509::{CERTIFICATE, end_of, in_time_only, seconds_until_due};
use super::{Material, MaterialError, Serving};
use crate::cluster::Leadership;
use crate::cluster::follow::follow_one;
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// The Secret with the certificates.
#[derive(Clone, Debug)]
pub(crate) struct SecretName {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
}

/// The part of [`Health`] that becomes ready with the first certificate.
const PART: &str = "certificate";
/// Interval of checks without an event: a clock may be set, or a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);
/// Interval of checks whether the next step is possible, and wait before a retry after a failure.
const STEP: Duration = Duration::from_secs(1);

/// The manager of one server's certificates.
pub(crate) struct CertificateManager {
    /// Client for the Secret.
    pub client: Client,
    /// The Secret with the certificates.
    pub secret: SecretName,
    /// DNS names and lifetimes of the certificates.
    pub wanted: Wanted,
    /// Certificate of new connections.
    pub serving: Arc<Serving>,
    /// CAs that callers must trust, as PEM.
    pub bundle: watch::Sender<String>,
    /// Live webhook configurations, with the CAs that callers trust.
    pub live: watch::Receiver<LiveConfigurations>,
    /// Leadership: only the leader writes the Secret.
    pub leadership: Leadership,
    /// Check of the certificates that all replicas serve.
    pub replicas: Arc<dyn Replicas>,
    /// Metrics with the expiry of certificates.
    pub metrics: Arc<Metrics>,
    /// Readiness, which requires a certificate.
    pub health: Health,
}

/// The last observed state of the Secret.
#[derive(Default)]
struct KnownCertificates {
    /// True if the Secret has been looked up.
    listed: bool,
    secret: Option<Secret>,
    /// Last valid certificates, even if the Secret has changed or is deleted.
    last: Option<Material>,
    served: Option<Material>,
    /// Problems of the Secret that were logged last.
    problems: Vec<String>,
}

impl CertificateManager {
    /// Serves the Secret's certificate, and on the leader also creates and renews it; until `stop`.
    ///
    /// # Errors
    /// None: failures are logged and retried, and the previous certificate remains in use.
    pub(crate) fn run(self, stop: CancellationToken) -> impl Future<Output = anyhow::Result<()>> {
        self.health.wait_for(
            PART,
            format!("a certificate in the Secret {}/{}", self.secret.namespace, self.secret.name),
        );
        self.keep(stop)
    }

    async fn keep(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.secret.namespace);
        let mut secrets = Box::pin(secrets(api.clone(), &self.secret.name));
        let mut known = KnownCertificates::default();
        loop {
            let wait = match self.reconcile(&api, &mut known).await {
                Ok(wait) => wait,
                Err(error) => {
                    warn!(error = format!("{error:#}"), "failed to manage the certificates");
                    STEP
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
                () = self.leadership.changed() => {}
                changed = self.live.changed() => if changed.is_err() {
                    return Ok(());
                },
                Some(secret) = secrets.next() => {
                    known.listed = true;
                    known.secret = secret;
                }
            }
        }
    }

    /// Serves the current certificate and writes what is due. Returns the time until the next check.
    async fn reconcile(
        &mut self,
        api: &Api<Secret>,
        known: &mut KnownCertificates,
    ) -> anyhow::Result<Duration> {
        if !known.listed {
            return Ok(LOOK);
        }
        let data = known.secret.as_ref().and_then(|secret| secret.data.as_ref());
        let (material, problems) = Material::read(data.unwrap_or(&BTreeMap::new()));
        if known.secret.is_some() {
            self.report(problems.iter().map(ToString::to_string).collect(), known);
        }
        let (mut wait, mut failed) = (LOOK, None);
        if let Some(material) = &material {
            self.publish(material);
            known.last = Some(material.clone());
            wait = wait.min(self.until_due(material));
            match self.serve(material, &mut known.served) {
                Ok(true) if material.previous.is_empty() => {}
                Ok(_) => wait = wait.min(STEP),
                // The leader may replace the unusable certificate soon.
                Err(error) => failed = Some(error),
            }
        }
        if self.leadership.is_held() {
            let seen = self.seen(material.as_ref()).await;
            // Unreadable values that were not replaced are removed.
            let clean = material.clone().filter(|_| !problems.is_empty());
            let missing = problems.into_iter().next().unwrap_or(MaterialError::Missing(CERTIFICATE));
            let next = rotation::next(material.ok_or(missing), known.last.as_ref(), &self.wanted, seen)?;
            if let Some(next) = next.or(clean) {
                write(api, &self.secret.name, known.secret.clone(), &next).await?;
                // The watch delivers the new certificate.
                wait = wait.min(STEP);
            }
        }
        failed.map_or(Ok(wait), Err)
    }

    /// Logs the unreadable keys of the Secret, once for each change.
    fn report(&self, problems: Vec<String>, known: &mut KnownCertificates) {
        if problems != known.problems {
            for problem in &problems {
                let secret = format!("{}/{}", self.secret.namespace, self.secret.name);
                warn!(secret, problem, "certificate Secret has unusable content; the leader replaces it");
            }
            known.problems = problems;
        }
    }

    /// Publishes the valid CAs for the webhook configurations; does nothing if there are none.
    fn publish(&self, material: &Material) {
        let bundle = in_time_only(&material.bundle(), (self.wanted.clock)());
        self.bundle.send_if_modified(|wanted| {
            let differs = !bundle.is_empty() && *wanted != bundle;
            if differs {
                *wanted = bundle;
            }
            differs
        });
    }

    /// Serves these certificates if callers trust them. Until then, the trusted ones remain in use.
    fn serve(&self, material: &Material, served: &mut Option<Material>) -> anyhow::Result<bool> {
        let same = served.as_ref().is_some_and(|served| served.certificate == material.certificate);
        if same || material.certificate.is_empty() {
            return Ok(true);
        }
        let now = (self.wanted.clock)();
        let name = self.wanted.names.first().map(String::as_str).unwrap_or_default();
        let live = self.live.borrow();
        let must_wait = served.is_some()
            && !live.has_settled(&material.authority.certificate)
            && trusted(&live, &self.serving, name, now).is_ok();
        drop(live);
        if must_wait {
            return Ok(false);
        }
        self.serving.set(&material.certificate, &material.key)?;
        let end = end_of(&material.certificate)?;
        self.metrics.certificate_ends("serving", end);
        info!(ends = end, "loaded the serving certificate");
        *served = Some(material.clone());
        self.health.ready(PART);
        Ok(true)
    }

    /// Returns the state of callers and replicas, which the leader needs for its decision.
    async fn seen(&self, material: Option<&Material>) -> Seen {
        let Some(material) = material else { return Seen::default() };
        let bundle = in_time_only(&material.bundle(), (self.wanted.clock)());
        let settled = self.live.borrow().has_settled(&bundle);
        if material.previous.is_empty() {
            return Seen { settled, everywhere: false };
        }
        match self.replicas.all_serve(&material.authority.certificate).await {
            Ok(()) => Seen { settled, everywhere: true },
            Err(reason) => {
                debug!(reason = format!("{reason:#}"), "an earlier CA is still in use");
                Seen { settled, everywhere: false }
            }
        }
    }

    fn until_due(&self, material: &Material) -> Duration {
        let now = (self.wanted.clock)();
        if material.next.is_some() {
            return STEP;
        }
        let lives = [
            (&material.authority.certificate, self.wanted.lifetimes.authority()),
            (&material.certificate, self.wanted.lifetimes.certificate()),
        ];
        let due = lives.iter().filter_map(|(pem, life)| seconds_until_due(pem, now, *life)).min();
        Duration::from_secs(due.unwrap_or_default().max(1))
    }
}

/// Yields the Secret when it is found or changes, and `None` when it is deleted.
fn secrets(api: Api<Secret>, name: &str) -> impl Stream<Item = Option<Secret>> + Send + use<> {
    follow_one(
        api,
        name,
        |lost| warn!(error = %lost, "watch of the certificate Secret interrupted; reading it again"),
    )
}

async fn write(
    api: &Api<Secret>,
    name: &str,
    existing: Option<Secret>,
    material: &Material,
) -> anyhow::Result<()> {
    let create = existing.is_none();
    let mut secret = existing.unwrap_or_default();
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some(material.to_secret());
    let written = if create {
        api.create(&PostParams::default(), &secret).await
    } else {
        // The Secret has the resource version that was read, so a concurrent write is not overwritten.
        api.replace(name, &PostParams::default(), &secret).await
    };
    match written {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 409 => {
            debug!("certificate Secret changed during the update; retrying");
            Ok(())
        }
        Err(error) => Err(error).context("failed to write the certificate Secret"),
    }
}

#[cfg(test)]
mod tests;
