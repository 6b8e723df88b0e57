mod certificates;
mod cluster;
mod drain;
mod election;
mod limits;
mod shared;
mod standalone;
mod telemetry;
mod threads;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tracing::{error, info};

use self::certificates::CertificateArgs;
use self::drain::drain;
use self::election::ElectionArgs;
use self::limits::LimitArgs;
use self::shared::Shared;
use self::telemetry::TraceArgs;
use self::threads::threads;
use super::cluster_values::parse_cluster_values;
use crate::certificates::{CertificateFiles, serve_files};
use crate::engine::Settings;
use crate::supervise::Tasks;
use crate::telemetry::{DEFAULT_FILTER, LogFormat, flush_logs, start_logs};
use crate::webhook::{self, Limits, Listener, State};

/// Arguments of `outrigger serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address of the webhook (TLS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Address of /metrics, /healthz and /readyz (no TLS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_listen: SocketAddr,
    /// Profiles and Namespaces to serve without a cluster: files or folders, reloaded when they change
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "tls_cert")]
    profiles: Vec<PathBuf>,
    /// Serving certificate, PEM with its chain, reloaded when it changes (default: managed by the server)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Namespace of the server
    #[arg(long, env = "POD_NAMESPACE", required_unless_present = "profiles")]
    namespace: Option<String>,
    /// Service of the server; the certificate is issued for its names
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    service: String,
    /// Service account of the server; only it may change Mandatory profiles' elements of live pods
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    service_account: String,
    #[command(flatten)]
    certificates: CertificateArgs,
    /// Namespace that is never injected; may be repeated (always: kube-system, kube-node-lease and the server's)
    #[arg(long, value_name = "NAMESPACE")]
    exclude_namespace: Vec<String>,
    /// Value of `cluster` in expressions, an object in JSON or YAML
    #[arg(long, value_name = "OBJECT", default_value = "{}", value_parser = parse_cluster_values)]
    cluster_values: serde_json::Value,
    /// Seconds to keep serving after SIGTERM, until the API server uses other replicas
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_delay: u64,
    #[command(flatten)]
    election: ElectionArgs,
    /// ConfigMap with the webhooks that the chart installed; drift of the live configurations is reported
    #[arg(long, value_name = "NAME")]
    installed_webhooks: Option<String>,
    /// Do not write Events about profiles that were left out of pods
    #[arg(long)]
    no_events: bool,
    /// Omit profile names from the metrics
    #[arg(long)]
    hide_profile_names: bool,
    /// Log format
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// Log filter, in the syntax of `RUST_LOG`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = DEFAULT_FILTER)]
    log_filter: String,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    traces: TraceArgs,
}

/// Maximum number of connections to the metrics port, for the kubelet and a few scrapers.
const METRICS_CONNECTIONS: usize = 64;

impl Serve {
    /// Serves until the process is told to stop. Errors after the start of the log are logged.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let is_filter_read = start_logs(self.log_format, &self.log_filter)?;
        let ended = is_filter_read.and_then(|()| self.run_logged());
        if let Err(cause) = &ended {
            error!(error = format!("{cause:#}"), "server failed");
        }
        flush_logs();
        Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn run_logged(self) -> anyhow::Result<()> {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .map_err(|_| anyhow::anyhow!("another cryptography provider is already installed"))?;
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads())
            .enable_all()
            .build()
            .context("cannot start the runtime")?
            .block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let traces = self.traces.start()?;
        let (shared, mut tasks) = (Shared::default(), Tasks::default());
        if self.hide_profile_names {
            shared.metrics.hide_profile_names();
        }
        // Bind before any write, so that a replica that cannot serve changes nothing in the cluster.
        let https = self.limits.listen(self.listen, &shared, &mut tasks).await?;
        let for_metrics = Limits { connections: METRICS_CONNECTIONS, ..Limits::default() };
        let http = Listener::bind(self.metrics_listen, None, for_metrics).await?;
        let (listen, metrics_listen) = (https.address()?, http.address()?);

        if let Some(files) = self.certificate_files() {
            let Shared { serving, metrics, health, .. } = shared.clone();
            tasks.spawn("certificates", serve_files(files, serving, metrics, health, tasks.stop()));
        }
        let (lookup, announcer) = if self.profiles.is_empty() {
            self.follow_cluster(&shared, &mut tasks).await?
        } else {
            standalone::follow(self.profiles.clone(), &shared, &mut tasks)?
        };

        let Shared { snapshot, metrics, health, .. } = shared;
        let load_shed = self.limits.load_shed(&metrics);
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
        let routes = webhook::router_behind(load_shed, state.clone());
        tasks.spawn("webhook", https.serve(routes, health.clone(), tasks.stop()));
        tasks.spawn("metrics", http.serve(webhook::metrics_router(state), health.clone(), tasks.stop()));
        tasks.spawn("signals", drain(health, Duration::from_secs(self.drain_delay), tasks.stop()));
        info!(version = env!("CARGO_PKG_VERSION"), %listen, metrics = %metrics_listen, "serving");
        let ended = tasks.join().await;
        traces.stop().await;
        ended
    }

    /// Returns the server's own namespace; empty without a cluster.
    fn own_namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Returns the service account's user name in the API server:
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens>.
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
