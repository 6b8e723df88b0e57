use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Serving;
use super::material::end_of;
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// A certificate in two files, as of a mounted Secret.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// The part of [`Health`] that the first certificate makes ready.
const PART: &str = "certificate";
/// How often the files are read: they are small, and a look at their contents finds every way of changing them, the
/// kubelet's link among them.
const LOOK: Duration = Duration::from_secs(2);

/// Serves the files' certificate, and the next one once they have changed; until `stop`.
///
/// # Errors
/// None: files that cannot be used are logged, and the last certificate stays in service.
pub fn serve_files(
    files: CertificateFiles,
    serving: Arc<Serving>,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(PART, format!("a certificate in {}", files.certificate.display()));
    async move {
        let mut served = None;
        let mut complaint = String::new();
        loop {
            match look(&files, &serving, &metrics, &mut served) {
                Ok(()) => {
                    health.ready(PART);
                    complaint.clear();
                }
                Err(error) => {
                    let said = format!("{error:#}");
                    if said != complaint {
                        warn!(error = said, "cannot serve the certificate of the files");
                        complaint = said;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

fn look(
    files: &CertificateFiles,
    serving: &Serving,
    metrics: &Metrics,
    served: &mut Option<(String, String)>,
) -> anyhow::Result<()> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let found = (read(&files.certificate)?, read(&files.key)?);
    if served.as_ref() == Some(&found) {
        return Ok(());
    }
    // Half of a change does not match its other half, and is looked at again.
    serving.set(&found.0, &found.1)?;
    let end = end_of(&found.0)?;
    metrics.certificate_ends("serving", end);
    info!(ends = end, "serves a certificate");
    *served = Some(found);
    Ok(())
}
