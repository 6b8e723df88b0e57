mod telemetry;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use clap::Args;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::certificates::{self, CertificateFiles, Configurations, Keeper, SecretName, Serving};
use crate::cluster::{self, Announcer, LiveLookup, Snapshot};
use crate::controller;
use crate::engine::Settings;
use crate::supervise::{Health, Tasks};
use crate::telemetry::{LogFormat, Metrics, start_logs};
use crate::webhook::{self, Limits, Listener, Lookup, State};

use self::telemetry::TraceArgs;
use super::standalone;

/// Arguments of `outrigger serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address of the webhook, over TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Address of /metrics, /healthz and /readyz, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_listen: SocketAddr,
    /// Profiles and Namespaces, files or folders: serves them without a cluster, and follows their changes.
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "tls_cert")]
    profiles: Vec<PathBuf>,
    /// Certificate to serve, PEM with its chain, in place of one of the server's own making; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Namespace that the server runs in.
    #[arg(long, env = "POD_NAMESPACE", required_unless_present = "profiles")]
    namespace: Option<String>,
    /// Service in front of the server; the certificate is for its names.
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    service: String,
    /// Secret that keeps the certificates, shared by all replicas.
    #[arg(long, value_name = "NAME", default_value = "outrigger-certificates")]
    certificate_secret: String,
    /// MutatingWebhookConfiguration that gets the certificate authority.
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    mutating_webhook: String,
    /// ValidatingWebhookConfiguration that gets the certificate authority.
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    validating_webhook: String,
    /// Namespace that is never injected, besides kube-system, kube-node-lease and the server's own; may be repeated.
    #[arg(long, value_name = "NAMESPACE")]
    exclude_namespace: Vec<String>,
    /// What profiles read as `cluster` in expressions: an object, in JSON or YAML.
    #[arg(long, value_name = "OBJECT", default_value = "{}", value_parser = super::cluster_values)]
    cluster_values: serde_json::Value,
    /// Seconds to go on serving after SIGTERM, while the API server learns that this replica is going away.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_delay: u64,
    /// Form of the log lines.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, in the form of `RUST_LOG`.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log_filter: String,
    #[command(flatten)]
    traces: TraceArgs,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        start_logs(self.log_format, &self.log_filter)?;
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .map_err(|_| anyhow::anyhow!("another cryptography provider is already installed"))?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?
            .block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let (health, metrics) = (Health::default(), Arc::new(Metrics::default()));
        let traces = self.traces.start()?;
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let serving = Arc::new(Serving::default());
        let mut tasks = Tasks::default();
        let tls = certificates::acceptor(Arc::clone(&serving));
        let https = Listener::bind(self.listen, Some(tls), Limits::default()).await?;
        let http = Listener::bind(self.metrics_listen, None, Limits::default()).await?;
        let (listen, metrics_listen) = (https.address()?, http.address()?);

        let files = self.certificate_files();
        let has_files = files.is_some();
        if let Some(files) = files {
            let served = certificates::serve_files(
                files,
                Arc::clone(&serving),
                Arc::clone(&metrics),
                health.clone(),
                tasks.stop(),
            );
            tasks.spawn("certificates", served);
        }
        let mut announcer = Announcer::default();
        let lookup: Arc<dyn Lookup> = if self.profiles.is_empty() {
            let client = Client::try_default().await.context(
                "cannot find a cluster to serve; without one, serve files by --profiles PATH --tls-cert FILE --tls-key FILE",
            )?;
            if !has_files {
                self.spawn_certificates(&client, serving, &metrics, &health, &mut tasks);
            }
            let (seen, observed) = mpsc::unbounded_channel();
            let watched = cluster::watch(
                client.clone(),
                Arc::clone(&snapshot),
                seen,
                Arc::clone(&metrics),
                health.clone(),
                tasks.stop(),
            );
            tasks.spawn("watches", watched);
            tasks.spawn("profile status", controller::write_status(client.clone(), observed, tasks.stop()));
            let (teller, left_out) = Announcer::new();
            announcer = teller;
            let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "outrigger".to_owned());
            let told = cluster::publish_events(
                client.clone(),
                left_out,
                instance,
                Arc::clone(&metrics),
                tasks.stop(),
            );
            tasks.spawn("events", told);
            Arc::new(LiveLookup::new(client))
        } else {
            let files = standalone::Files::read(self.profiles.clone(), &snapshot, &metrics)?;
            tasks.spawn("files", files.follow(Arc::clone(&snapshot), Arc::clone(&metrics), tasks.stop()));
            Arc::new(standalone::NoCluster)
        };

        let state = State {
            snapshot,
            lookup,
            settings: Arc::new(self.settings()),
            metrics,
            health: health.clone(),
            announcer,
            traces: traces.clone(),
        };
        tasks.spawn("webhook", https.serve(webhook::router(state.clone()), tasks.stop()));
        tasks.spawn("metrics", http.serve(webhook::metrics_router(state), tasks.stop()));
        tasks.spawn("signals", drain(health, Duration::from_secs(self.drain_delay), tasks.stop()));
        info!(version = env!("CARGO_PKG_VERSION"), %listen, metrics = %metrics_listen, "serving");
        let ended = tasks.join().await;
        traces.stop().await;
        ended
    }

    /// Where the server runs; nowhere without a cluster.
    fn own_namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    fn certificate_files(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(CertificateFiles { certificate, key })
    }

    fn spawn_certificates(
        &self,
        client: &Client,
        serving: Arc<Serving>,
        metrics: &Arc<Metrics>,
        health: &Health,
        tasks: &mut Tasks,
    ) {
        let secret =
            SecretName { namespace: self.own_namespace().to_owned(), name: self.certificate_secret.clone() };
        let configurations = Configurations {
            mutating: self.mutating_webhook.clone(),
            validating: self.validating_webhook.clone(),
            service: self.service.clone(),
            namespace: self.own_namespace().to_owned(),
        };
        let (authority, authorities) = watch::channel(String::new());
        let keeper = Keeper {
            client: client.clone(),
            secret,
            names: self.dns_names(),
            serving,
            authority,
            metrics: Arc::clone(metrics),
            health: health.clone(),
        };
        tasks.spawn("certificates", keeper.run(tasks.stop()));
        let bundled = certificates::keep_bundle(
            client.clone(),
            configurations,
            authorities,
            health.clone(),
            tasks.stop(),
        );
        tasks.spawn("caBundle", bundled);
    }

    /// The names by which the API server may call the Service.
    fn dns_names(&self) -> Vec<String> {
        let short = format!("{}.{}", self.service, self.own_namespace());
        vec![format!("{short}.svc"), format!("{short}.svc.cluster.local"), short]
    }

    fn settings(&self) -> Settings {
        let own = self.namespace.iter();
        let excluded: BTreeSet<String> = self.exclude_namespace.iter().chain(own).cloned().collect();
        Settings { excluded_namespaces: excluded, cluster: self.cluster_values.clone() }
    }
}

/// Waits for a signal to end. The first one lets the API server turn to other replicas before the sockets
/// close; a second one closes them at once.
async fn drain(health: Health, delay: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stop.cancelled() => return Ok(()),
    }
    health.drain();
    info!(seconds = delay.as_secs(), "going away; still serving for a while");
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}
