mod certificates;
mod election;
mod limits;
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
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::certificates::{
    CertificateFiles, ClientAuthority, Serving, acceptor, acceptor_that_asks, follow_clients, serve_files,
};
use crate::cluster::{self, Announcer, LiveLookup, Observations, Snapshot};
use crate::controller::{self, Mandatory};
use crate::engine::Settings;
use crate::supervise::{Health, Tasks};
use crate::telemetry::{LogFormat, Metrics, start_logs};
use crate::webhook::{self, Gate, Limits, Listener, Lookup, State};

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
    /// Service account that the server runs as; it alone may change what Mandatory profiles put into live pods.
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    service_account: String,
    #[command(flatten)]
    certificates: certificates::CertificateArgs,
    /// Namespace that is never injected, besides kube-system, kube-node-lease and the server's own; may be repeated.
    #[arg(long, value_name = "NAMESPACE")]
    exclude_namespace: Vec<String>,
    /// What profiles read as `cluster` in expressions: an object, in JSON or YAML.
    #[arg(long, value_name = "OBJECT", default_value = "{}", value_parser = super::cluster_values)]
    cluster_values: serde_json::Value,
    /// Seconds to go on serving after SIGTERM, while the API server learns that this replica is going away.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_delay: u64,
    #[command(flatten)]
    election: election::ElectionArgs,
    /// Form of the log lines.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, in the form of `RUST_LOG`.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log_filter: String,
    #[command(flatten)]
    serving: limits::Serving,
    #[command(flatten)]
    traces: TraceArgs,
}

/// Threads that answer, at the most: a decision takes microseconds, and each thread keeps memory of its own.
const MOST_THREADS: usize = 4;
/// Connections to the metrics: those of the kubelet and of a few scrapers.
const METRICS_CONNECTIONS: usize = 64;

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        start_logs(self.log_format, &self.log_filter)?;
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .map_err(|_| anyhow::anyhow!("another cryptography provider is already installed"))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
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
        let https = self.https(&serving, &metrics, &health, &mut tasks).await?;
        let for_metrics = Limits { connections: METRICS_CONNECTIONS, ..Limits::default() };
        let http = Listener::bind(self.metrics_listen, None, for_metrics).await?;
        let (listen, metrics_listen) = (https.address()?, http.address()?);

        let files = self.certificate_files();
        let has_files = files.is_some();
        if let Some(files) = files {
            let served =
                serve_files(files, Arc::clone(&serving), Arc::clone(&metrics), health.clone(), tasks.stop());
            tasks.spawn("certificates", served);
        }
        let (lookup, announcer): (Arc<dyn Lookup>, _) = if self.profiles.is_empty() {
            let context = (serving, &metrics, &health);
            let (lookup, announcer) = self.follow_cluster(&snapshot, context, has_files, &mut tasks).await?;
            (Arc::new(lookup), announcer)
        } else {
            let files = standalone::Files::read(self.profiles.clone(), &snapshot, &metrics)?;
            tasks.spawn("files", files.follow(Arc::clone(&snapshot), Arc::clone(&metrics), tasks.stop()));
            (Arc::new(standalone::NoCluster), Announcer::default())
        };

        let state = State {
            snapshot,
            lookup,
            settings: Arc::new(self.settings()),
            metrics,
            health: health.clone(),
            own_user: self.own_user().into(),
            announcer,
            traces: traces.clone(),
        };
        let routes = webhook::router_behind(self.gate(&state.metrics), state.clone());
        tasks.spawn("webhook", https.serve(routes, health.clone(), tasks.stop()));
        tasks.spawn("metrics", http.serve(webhook::metrics_router(state), health.clone(), tasks.stop()));
        tasks.spawn("signals", drain(health, Duration::from_secs(self.drain_delay), tasks.stop()));
        info!(version = env!("CARGO_PKG_VERSION"), %listen, metrics = %metrics_listen, "serving");
        let ended = tasks.join().await;
        traces.stop().await;
        ended
    }

    /// Follows the cluster, and writes there what is this server's to write.
    async fn follow_cluster(
        &self,
        snapshot: &Arc<ArcSwap<Snapshot>>,
        (serving, metrics, health): (Arc<Serving>, &Arc<Metrics>, &Health),
        has_files: bool,
        tasks: &mut Tasks,
    ) -> anyhow::Result<(LiveLookup, Announcer)> {
        let client = Client::try_default().await.context(
            "cannot find a cluster to serve; without one, serve files by --profiles PATH --tls-cert FILE --tls-key FILE",
        )?;
        let leadership = self.election.spawn(&client, self.own_namespace(), &self.service, metrics, tasks);
        let context = certificates::Context {
            client: client.clone(),
            namespace: self.own_namespace().to_owned(),
            service: self.service.clone(),
            serving,
            metrics: Arc::clone(metrics),
            health: health.clone(),
        };
        let live = self.certificates.spawn(context, (!has_files).then(|| leadership.clone()), tasks)?;
        let observations = Observations::default();
        let watched = cluster::watch(
            client.clone(),
            Arc::clone(snapshot),
            observations.clone(),
            Arc::clone(metrics),
            health.clone(),
            tasks.stop(),
        );
        tasks.spawn("watches", watched);
        tasks.spawn("profile status", controller::write_status(client.clone(), observations, tasks.stop()));
        let mandatory = Mandatory {
            client: client.clone(),
            configuration: self.certificates.mutating_webhook.clone(),
            excluded: self.settings().excluded_namespaces,
            live,
            snapshot: Arc::clone(snapshot),
            leadership,
        };
        tasks.spawn("mandatory profiles", mandatory.run(tasks.stop()));
        let (announcer, left_out) = Announcer::new();
        let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "outrigger".to_owned());
        let told =
            cluster::publish_events(client.clone(), left_out, instance, Arc::clone(metrics), tasks.stop());
        tasks.spawn("events", told);
        Ok((LiveLookup::new(client), announcer))
    }

    /// The webhook's listener.
    async fn https(
        &self,
        serving: &Arc<Serving>,
        metrics: &Metrics,
        health: &Health,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Listener> {
        let (serving, limits) = (Arc::clone(serving), self.serving.limits());
        let tls = match &self.serving.client_ca {
            None => acceptor(serving),
            Some(file) => {
                let clients = Arc::new(ClientAuthority::default());
                let followed =
                    follow_clients(file.clone(), Arc::clone(&clients), health.clone(), tasks.stop());
                tasks.spawn("client authority", followed);
                acceptor_that_asks(serving, clients)
            }
        };
        let listener = Listener::bind(self.listen, Some(tls), limits).await?.counted(metrics.load.clone());
        Ok(match self.serving.clients() {
            None => listener,
            Some(clients) => listener.with_clients(clients),
        })
    }

    fn gate(&self, metrics: &Metrics) -> Gate {
        let gate = Gate::new(self.serving.limits(), metrics.load.clone());
        if self.serving.client_ca.is_some() { gate.for_clients_only() } else { gate }
    }

    /// Where the server runs; nowhere without a cluster.
    fn own_namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// As the API server names the service account.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens>
    fn own_user(&self) -> String {
        let user = |namespace| format!("system:serviceaccount:{namespace}:{}", self.service_account);
        self.namespace.as_deref().map(user).unwrap_or_default()
    }

    fn certificate_files(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(CertificateFiles { certificate, key })
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
