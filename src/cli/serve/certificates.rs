use std::sync::Arc;

use clap::Args;
use kube::Client;
use tokio::sync::watch;

use super::shared::Shared;
use crate::certificates::{
    CertificateManager, Configurations, Endpoints, Lifetimes, LiveConfigurations, SecretName, Wanted,
    keep_bundle, keep_trust, system_clock, watch_configurations,
};
use crate::cluster::Leadership;
use crate::controller::mandatory_name;
use crate::duration::Duration;
use crate::supervise::Tasks;

/// The settings of managed certificates, and the webhook configurations that must trust the serving certificate.
#[derive(Debug, Args)]
pub(super) struct CertificateArgs {
    /// Secret with the certificates, shared by all replicas
    #[arg(long, value_name = "NAME", default_value = "outrigger-certificates")]
    certificate_secret: String,
    /// Lifetime of the managed CA; CA and certificate are renewed when a third of it is left
    #[arg(long, value_name = "DURATION", default_value = "87600h")]
    ca_lifetime: Duration,
    /// Lifetime of the managed serving certificate; at most half of the CA's
    #[arg(long, value_name = "DURATION", default_value = "2160h")]
    certificate_lifetime: Duration,
    /// MutatingWebhookConfiguration that must trust the certificate and gets the CA
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    pub(super) mutating_webhook: String,
    /// ValidatingWebhookConfiguration that must trust the certificate and gets the CA
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    pub(super) validating_webhook: String,
}

/// The client, Service and shared state that the certificates depend on.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) shared: Shared,
}

impl CertificateArgs {
    /// Makes readiness depend on the trust of the webhook configurations. With a Lease, it also issues certificates and writes
    /// their CAs there; without one, both come from elsewhere. Returns a receiver of the live configurations.
    ///
    /// # Errors
    /// The lifetimes are invalid.
    pub(super) fn spawn(
        &self,
        context: &Context,
        leadership: Option<Leadership>,
        tasks: &mut Tasks,
    ) -> anyhow::Result<watch::Receiver<LiveConfigurations>> {
        let configurations = Configurations {
            mutating: vec![self.mutating_webhook.clone(), mandatory_name(&self.mutating_webhook)],
            validating: vec![self.validating_webhook.clone(), mandatory_name(&self.mutating_webhook)],
            service: context.service.clone(),
            namespace: context.namespace.clone(),
        };
        let (sender, live) = watch::channel(LiveConfigurations::default());
        let watched =
            watch_configurations(context.client.clone(), configurations.clone(), sender, tasks.stop());
        tasks.spawn("webhook configurations", watched);
        let Shared { serving, metrics, health, .. } = context.shared.clone();
        let (name, clock) = (context.dns_name(), system_clock());
        let trust = keep_trust(live.clone(), serving, name, clock, metrics, health, tasks.stop());
        tasks.spawn("trust", trust);
        if let Some(leadership) = leadership {
            let lifetimes = Lifetimes::new(self.ca_lifetime, self.certificate_lifetime)?;
            self.keep(context, configurations, lifetimes, live.clone(), leadership, tasks);
        }
        Ok(live)
    }

    fn keep(
        &self,
        context: &Context,
        configurations: Configurations,
        lifetimes: Lifetimes,
        live: watch::Receiver<LiveConfigurations>,
        leadership: Leadership,
        tasks: &mut Tasks,
    ) {
        let (bundle, bundles) = watch::channel(String::new());
        let client = context.client.clone();
        let writer = keep_bundle(
            client.clone(),
            configurations,
            bundles,
            live.clone(),
            leadership.clone(),
            tasks.stop(),
        );
        tasks.spawn("caBundle", writer);
        let replicas = Endpoints {
            client: client.clone(),
            namespace: context.namespace.clone(),
            service: context.service.clone(),
            dns_name: context.dns_name(),
        };
        let Shared { serving, metrics, health, .. } = context.shared.clone();
        let keeper = CertificateManager {
            client,
            secret: SecretName {
                namespace: context.namespace.clone(),
                name: self.certificate_secret.clone(),
            },
            wanted: Wanted { names: context.dns_names(), lifetimes, clock: system_clock() },
            serving,
            bundle,
            live,
            leadership,
            replicas: Arc::new(replicas),
            metrics,
            health,
        };
        tasks.spawn("certificates", keeper.run(tasks.stop()));
    }
}

impl Context {
    /// Returns the DNS names of the Service. The API server uses the first one.
    fn dns_names(&self) -> Vec<String> {
        let short = format!("{}.{}", self.service, self.namespace);
        vec![self.dns_name(), format!("{short}.svc.cluster.local"), short]
    }

    fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}
