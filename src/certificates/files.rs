use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Serving;
use super::x509::end_of;
use crate::polling::follow_files;
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// A certificate and its key in two files, for example of a mounted Secret.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    /// Certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The part of [`Health`] that becomes ready with the first certificate.
const PART: &str = "certificate";

/// Serves the files' certificate and reloads it when they change; until `stop`.
///
/// # Errors
/// None: invalid files are logged, and the previous certificate remains in use.
pub(crate) fn serve_files(
    files: CertificateFiles,
    serving: Arc<Serving>,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(PART, format!("a certificate in {}", files.certificate.display()));
    let mut served = None;
    let reload = move || {
        read_again(&files, &serving, &metrics, &mut served)?;
        health.ready(PART);
        Ok(())
    };
    follow_files("cannot serve the certificate of the files", reload, stop)
}

fn read_again(
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
    // During a change, certificate and key may not match. They are read again later.
    serving.set(&found.0, &found.1)?;
    let end = end_of(&found.0)?;
    metrics.certificate_ends("serving", end);
    info!(ends = end, "loaded the serving certificate");
    *served = Some(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use time::OffsetDateTime;

    use super::*;
    use crate::certificates::{Lifetimes, Material};
    use crate::polling::LOOK;

    /// Writes another version of a Secret into a volume like the kubelet: a new directory, and a symlink that is replaced
    /// atomically.
    fn bring(volume: &Path, version: &str, material: &Material) {
        let folder = volume.join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), &material.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &material.key).unwrap();
        symlink(version, volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_kubelets_exchange_of_a_link_is_followed() {
        let volume = std::env::temp_dir().join(format!("outrigger-files-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&volume));
        let made = || {
            let names = ["outrigger.system.svc".to_owned()];
            Material::new(&names, Lifetimes::DEFAULT, OffsetDateTime::now_utc()).unwrap()
        };
        let (first, second) = (made(), made());
        bring(&volume, "..2026_01", &first);
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), volume.join(file)).unwrap();
        }
        let files = CertificateFiles { certificate: volume.join("tls.crt"), key: volume.join("tls.key") };
        let (serving, health, stop) =
            (Arc::new(Serving::default()), Health::default(), CancellationToken::new());
        let task = serve_files(files, Arc::clone(&serving), Arc::default(), health.clone(), stop.clone());
        let task = tokio::spawn(task);
        let served = || serving.current().unwrap().cert.clone();
        let chain = |material: &Material| crate::certificates::trust::chain_of(&material.certificate);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(served(), chain(&first));
        assert_eq!(health.waiting_for(), None);

        bring(&volume, "..2026_02", &second);
        std::fs::remove_dir_all(volume.join("..2026_01")).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(served(), chain(&second));

        // Invalid files leave the previous certificate in use.
        let halves = Material { key: first.key.clone(), ..second.clone() };
        bring(&volume, "..2026_03", &halves);
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(served(), chain(&second));
        stop.cancel();
        task.await.unwrap().unwrap();
        std::fs::remove_dir_all(&volume).unwrap();
    }
}
