use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Material, Serving};
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// Where the certificates are kept.
#[derive(Clone, Debug)]
pub struct SecretName {
    /// The Secret's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The part of [`Health`] that the first certificate makes ready.
const PART: &str = "certificate";
/// How often the certificates' ends are looked at; far less than a third of the shortest life.
const LOOK: Duration = Duration::from_hours(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How often a lost race against another replica is run again.
const TRIES: u32 = 5;

/// Keeps the certificates of one server.
pub struct Keeper {
    /// How to reach the Secret.
    pub client: Client,
    /// Where the certificates are kept.
    pub secret: SecretName,
    /// The DNS names that the certificate is for.
    pub names: Vec<String>,
    /// What new connections get.
    pub serving: Arc<Serving>,
    /// Who wants to hear of every authority, as PEM.
    pub authority: watch::Sender<String>,
    /// Where the certificates' ends are shown.
    pub metrics: Arc<Metrics>,
    /// Not ready before there is a certificate.
    pub health: Health,
}

impl Keeper {
    /// Serves the Secret's certificate, makes it where it is missing, renews it in time; until `stop`.
    ///
    /// # Errors
    /// None: what fails is logged and tried again, and the last certificate stays in service.
    pub fn run(self, stop: CancellationToken) -> impl Future<Output = anyhow::Result<()>> {
        self.health.wait_for(
            PART,
            format!("a certificate in the Secret {}/{}", self.secret.namespace, self.secret.name),
        );
        self.keep(stop)
    }

    async fn keep(self, stop: CancellationToken) -> anyhow::Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.secret.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.secret.name));
        let mut changes = Box::pin(watcher::watcher(api.clone(), config).default_backoff());
        let mut served: Option<Material> = None;
        loop {
            let wait = match self.look(&api, &mut served).await {
                Ok(()) => {
                    self.health.ready(PART);
                    LOOK
                }
                Err(error) => {
                    warn!(error = format!("{error:#}"), "cannot keep the certificates");
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
                change = changes.next() => if let Some(Err(error)) = change {
                    warn!(%error, "the watch of the certificates broke and is taken up again");
                }
            }
        }
    }

    async fn look(&self, api: &Api<Secret>, served: &mut Option<Material>) -> anyhow::Result<()> {
        let material = ensure(api, &self.secret.name, &self.names).await?;
        if served.as_ref() == Some(&material) {
            return Ok(());
        }
        self.serving.set(&material.certificate, &material.key)?;
        let (authority_end, leaf_end) = material.ends()?;
        self.metrics.certificate_ends("ca", authority_end);
        self.metrics.certificate_ends("serving", leaf_end);
        info!(ends = leaf_end, "serves a certificate");
        self.authority.send_replace(material.authority.clone());
        *served = Some(material);
        Ok(())
    }
}

/// The Secret's certificates; what is missing or ends soon is made and written first.
async fn ensure(api: &Api<Secret>, name: &str, names: &[String]) -> anyhow::Result<Material> {
    for _ in 0..TRIES {
        let existing = api.get_opt(name).await.context("cannot read the Secret")?;
        let now = OffsetDateTime::now_utc();
        let (material, secret) = match existing {
            None => (Material::new(names, now)?, None),
            Some(secret) => match good_or_new(&secret, names, now)? {
                Current::Good(material) => return Ok(material),
                Current::New(material) => (material, Some(secret)),
            },
        };
        match write(api, name, secret, &material).await {
            Ok(()) => return Ok(material),
            // Another replica was first; its certificates are as good.
            Err(kube::Error::Api(answer)) if answer.code == 409 => {}
            Err(error) => return Err(error).context("cannot write the Secret"),
        }
    }
    anyhow::bail!("others changed the Secret {TRIES} times while it was being written")
}

enum Current {
    Good(Material),
    New(Material),
}

fn good_or_new(secret: &Secret, names: &[String], now: OffsetDateTime) -> anyhow::Result<Current> {
    let read = Material::from_secret(secret.data.as_ref().unwrap_or(&std::collections::BTreeMap::new()));
    let usable = read.and_then(|material| material.check_authority(now).map(|()| material));
    let material = match usable {
        Err(problem) => {
            info!(%problem, "makes a new authority");
            return Ok(Current::New(Material::new(names, now)?));
        }
        Ok(material) => material,
    };
    match material.check_certificate(names, now) {
        Ok(()) => Ok(Current::Good(material)),
        Err(problem) => {
            info!(%problem, "makes a new serving certificate");
            Ok(Current::New(material.renewed(names, now)?))
        }
    }
}

async fn write(
    api: &Api<Secret>,
    name: &str,
    existing: Option<Secret>,
    material: &Material,
) -> kube::Result<()> {
    let create = existing.is_none();
    let mut secret = existing.unwrap_or_default();
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some(material.to_secret());
    if create {
        api.create(&PostParams::default(), &secret).await?;
    } else {
        // It carries the resource version that was read, so a race is lost and not overwritten.
        api.replace(name, &PostParams::default(), &secret).await?;
    }
    Ok(())
}
