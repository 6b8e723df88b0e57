//! Logs and metrics. Neither ever holds a review's body or a pod's environment.

mod lines;
mod load;

use std::io::IsTerminal as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

pub use lines::flush_logs;
pub use load::{Load, Shed};

use crate::engine::Decision;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to stderr; [`flush_logs`] belongs to the end.
///
/// # Errors
/// The filter cannot be read.
pub fn start_logs(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("--log-filter {filter:?} cannot be read"))?;
    let lines = lines::start().context("cannot start the thread that writes the log")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines.clone());
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// How a request ended, for its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verdict {
    /// `mutate` or `validate`.
    pub webhook: &'static str,
    /// `injected`, `skipped`, `denied`, `allowed` or `errored`.
    pub outcome: &'static str,
    /// The reason's code.
    pub reason: &'static str,
}

impl Verdict {
    /// A verdict in words.
    pub fn new(webhook: &'static str, outcome: &'static str, reason: &'static str) -> Self {
        Self { webhook, outcome, reason }
    }

    /// The request could not be understood.
    pub fn errored(webhook: &'static str, reason: &'static str) -> Self {
        Self::new(webhook, "errored", reason)
    }

    /// The engine decided.
    pub fn of(webhook: &'static str, decision: &Decision) -> Self {
        Self::new(webhook, decision.outcome.as_str(), decision.reason.code())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWebhook {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProfile {
    profile: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCertificate {
    certificate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// What is counted, under the prefix `outrigger_`.
pub struct Metrics {
    registry: Registry,
    requests: Family<Verdict, Counter>,
    durations: Family<OfWebhook, Histogram, fn() -> Histogram>,
    injections: Family<OfProfile, Counter>,
    certificate_expiry: Family<OfCertificate, Gauge<f64, AtomicU64>>,
    profiles: Family<OfState, Gauge>,
    namespaces: Gauge,
    /// What the webhook has to carry.
    pub load: Load,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("outrigger");
        let requests = Family::default();
        let durations = Family::new_with_constructor(latencies as fn() -> Histogram);
        let injections = Family::default();
        let certificate_expiry = Family::default();
        let profiles = Family::default();
        let namespaces = Gauge::default();
        registry.register(
            "build",
            "The build that runs.",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "admission_requests",
            "Admission requests by how they ended and why.",
            requests.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "Time from a request's body to its answer.",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "profile_injections",
            "Pods that got a profile, dry runs left out.",
            injections.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate ends, in seconds since 1970.",
            certificate_expiry.clone(),
        );
        registry.register("profiles", "Profiles known, by whether they can be injected.", profiles.clone());
        registry.register("namespaces", "Namespaces known.", namespaces.clone());
        let load = Load::default();
        load.register(&mut registry);
        Self { registry, requests, durations, injections, certificate_expiry, profiles, namespaces, load }
    }
}

/// Buckets from 100 µs to the webhook's timeout, in seconds.
fn latencies() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0])
}

impl Metrics {
    /// Counts a request.
    pub fn observe(&self, verdict: &Verdict, took: Duration) {
        self.durations.get_or_create(&OfWebhook { webhook: verdict.webhook }).observe(took.as_secs_f64());
        self.requests.get_or_create(verdict).inc();
    }

    /// Counts the profiles that a pod got.
    pub fn count_profiles<'a>(&self, profiles: impl Iterator<Item = &'a str>) {
        for profile in profiles {
            self.injections.get_or_create(&OfProfile { profile: profile.to_owned() }).inc();
        }
    }

    /// Says when a certificate ends, in seconds since 1970.
    pub fn certificate_ends(&self, certificate: &'static str, timestamp: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a timestamp has far fewer than 52 bits")]
        self.certificate_expiry.get_or_create(&OfCertificate { certificate }).set(timestamp as f64);
    }

    /// Says what the snapshot holds.
    pub fn known(&self, ready: usize, invalid: usize, namespaces: usize) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.profiles.get_or_create(&OfState { state: "ready" }).set(count(ready));
        self.profiles.get_or_create(&OfState { state: "invalid" }).set(count(invalid));
        self.namespaces.set(count(namespaces));
    }

    /// All of it as OpenMetrics text.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
