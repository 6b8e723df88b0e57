//! Checks whether the API server trusts the serving certificate.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::webhook_configurations::{ConfiguredWebhook, LiveConfigurations};
use super::x509::{certificates_of, end_of_der};
use super::{Clock, Serving};
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// The part of [`Health`] that becomes ready with a trusted certificate.
const PART: &str = "trust";
/// Interval at which the certificate's end is checked.
const LOOK: Duration = Duration::from_secs(1);

/// Reports until `stop` whether the configured `caBundle` verifies the serving certificate: the metric covers every webhook
/// entry that calls this server, readiness only the entries that can refuse pods.
///
/// While the API server is disconnected, the last observed configurations count.
///
/// # Errors
/// None.
pub fn keep_trust(
    mut live: watch::Receiver<LiveConfigurations>,
    serving: Arc<Serving>,
    name: String,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(PART, "the webhook configurations (may the server read them?)");
    async move {
        let mut said = Some(String::new());
        loop {
            let now = clock();
            let found = trusted_by_all(&live.borrow(), &serving, &name, now);
            metrics.certificate_trusted(found.is_ok());
            // If an entry that cannot reject pods made all servers unready, the entries that can would reject every pod.
            let needed = trusted(&live.borrow(), &serving, &name, now);
            if let Some(end) = live.borrow_and_update().authorities_end(now) {
                metrics.certificate_ends("ca", end);
            }
            match needed {
                Ok(()) => health.ready(PART),
                Err(problem) => health.wait_for(PART, problem),
            }
            let problem = found.err();
            if problem != said {
                if let Some(problem) = &problem {
                    warn!(problem, "serving certificate is not trusted by the configured caBundle");
                } else {
                    info!("serving certificate is trusted by the configured caBundle");
                }
                said = problem;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
                changed = live.changed() => if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// # Errors
/// An entry that readiness depends on does not trust the certificate, with the cause.
pub(super) fn trusted(
    live: &LiveConfigurations,
    serving: &Serving,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), String> {
    trusted_by(live.deciding(), live, serving, (name, now))
}

/// # Errors
/// An entry does not trust the certificate, with the cause.
fn trusted_by_all(
    live: &LiveConfigurations,
    serving: &Serving,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), String> {
    trusted_by(live.entries().iter(), live, serving, (name, now))
}

fn trusted_by<'e>(
    mut entries: impl Iterator<Item = &'e ConfiguredWebhook>,
    live: &LiveConfigurations,
    serving: &Serving,
    (name, now): (&str, OffsetDateTime),
) -> Result<(), String> {
    if !live.is_known() {
        return Err(
            "the webhook configurations have not been read yet (may the server read them?)".to_owned()
        );
    }
    let Some(served) = serving.current() else { return Err("there is no certificate to serve".to_owned()) };
    entries.try_for_each(|entry| {
        verify(&served.cert, &entry.bundle, name, now).map_err(|problem| {
            format!(
                "webhook {:?} in {} {:?} does not believe the serving certificate: {problem}",
                entry.webhook,
                entry.kind.name(),
                entry.configuration
            )
        })
    })
}

/// Verifies a chain like an API server with this `caBundle`.
///
/// # Errors
/// The chain is not trusted, with the cause.
pub(super) fn verify(
    chain: &[CertificateDer<'static>],
    bundle: &[u8],
    name: &str,
    now: OffsetDateTime,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    // Unlike the API server's, this verifier does not check whether a root has ended.
    for root in certificates_of(bundle).filter(|root| end_of_der(root).is_some_and(|end| end > now)) {
        roots.add(root).map_err(|error| format!("its caBundle cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("its caBundle holds no certificate that is valid".to_owned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let (leaf, others) = chain.split_first().ok_or("the chain is empty")?;
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let answer = verifier.verify_server_cert(leaf, others, &name, &[], time);
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) fn chain_of(pem: &str) -> Vec<CertificateDer<'static>> {
    certificates_of(pem.as_bytes()).collect()
}

#[cfg(test)]
mod tests;
