use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::exposition::{self, Format};
use super::load::Load;
use super::process::Process;
use super::traces;
use super::verdict::Verdict;
use crate::api::Scope;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWebhook {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProfile {
    profile: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeftOut {
    profile: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLookup {
    outcome: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDrift {
    configuration: String,
    kind: &'static str,
    problem: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHolder {
    holder: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCertificate {
    certificate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// State of the cluster that a replica has read.
#[derive(Default)]
struct ClusterMetrics {
    namespaces: Gauge,
    lease_holder: Family<OfHolder, Gauge>,
    rollbacks: Family<OfResource, Counter>,
}

impl ClusterMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("namespaces", "Number of known namespaces", self.namespaces.clone());
        registry.register(
            "lease_holder",
            "Identity of the holder of the Lease, as this replica last read it",
            self.lease_holder.clone(),
        );
        registry.register(
            "resource_version_rollbacks",
            "Total number of times that the resource version went backwards, as after a restore of etcd",
            self.rollbacks.clone(),
        );
    }
}

type Durations = Family<OfWebhook, Histogram, fn() -> Histogram>;
type CertificateExpiry = Family<OfCertificate, Gauge<f64, AtomicU64>>;

/// The server's metrics, with the prefix `outrigger_`, and those of the process.
pub struct Metrics {
    registry: RwLock<Registry>,
    requests: Family<Verdict, Counter>,
    durations: Durations,
    injections: Family<OfProfile, Counter>,
    left_out: Family<LeftOut, Counter>,
    profile_names: Mutex<BTreeSet<String>>,
    hides_profile_names: AtomicBool,
    events: Family<OfOutcome, Counter>,
    lookups: Family<OfLookup, Counter>,
    drift: Family<OfDrift, Gauge>,
    certificate_expiry: CertificateExpiry,
    profiles: Family<OfState, Gauge>,
    writer: Gauge,
    cluster: ClusterMetrics,
    certificate_trusted: Gauge,
    /// Current load of the webhook.
    pub load: Load,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let registry = root.sub_registry_with_prefix("outrigger");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the running build", build);
        Self {
            durations: durations(registry),
            certificate_expiry: certificate_expiry(registry),
            requests: add(
                registry,
                "admission_requests",
                "Total number of admission requests, by outcome and reason",
            ),
            injections: add(
                registry,
                "profile_injections",
                "Total number of pods that got the profile, without dry runs",
            ),
            left_out: add(
                registry,
                "profile_left_out",
                "Total number of pods admitted without a profile that was left out, without dry runs",
            ),
            events: add(
                registry,
                "events",
                "Total number of Kubernetes Events about profiles that were left out, by outcome",
            ),
            lookups: add(
                registry,
                "lookups",
                "Total number of live lookups of objects that the watches have not brought yet, by outcome",
            ),
            drift: add(
                registry,
                "webhook_configuration_drift",
                "Whether a webhook configuration differs from what the release installed (1) or not (0), by problem",
            ),
            profiles: add(registry, "profiles", "Number of profiles, by whether they can be injected"),
            writer: add(registry, "writer", "Whether this replica is the leader (1) or not (0)"),
            cluster: registered(registry, ClusterMetrics::register),
            certificate_trusted: certificate_trusted(registry),
            load: registered(registry, Load::register),
            profile_names: Mutex::default(),
            hides_profile_names: AtomicBool::default(),
            registry: RwLock::new(root),
        }
    }
}

fn durations(registry: &mut Registry) -> Durations {
    let durations = Family::new_with_constructor(latencies as fn() -> Histogram);
    registry.register_with_unit(
        "admission_duration",
        "Duration of admission requests in seconds, from the receipt of the body to the response",
        Unit::Seconds,
        durations.clone(),
    );
    durations
}

fn certificate_expiry(registry: &mut Registry) -> CertificateExpiry {
    let expiry = CertificateExpiry::default();
    registry.register_with_unit(
        "certificate_expiry_timestamp",
        "Expiry of the certificate in seconds since the Unix epoch",
        Unit::Seconds,
        expiry.clone(),
    );
    expiry
}

fn certificate_trusted(registry: &mut Registry) -> Gauge {
    add(
        registry,
        "certificate_trusted",
        "Whether the caBundle of every webhook that calls the server trusts the serving certificate (1) or not (0)",
    )
}

/// Makes a group of metrics and registers them.
fn registered<M: Default>(registry: &mut Registry, register: impl Fn(&M, &mut Registry)) -> M {
    let group = M::default();
    register(&group, registry);
    group
}

/// Registers a metric.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Maximum number of profile names that become values of a label.
const MOST_PROFILES: usize = 1000;
/// Label value for all namespaced profiles. No profile can have this name.
const NAMESPACED: &str = "_namespaced";
/// Label value for all cluster profiles if names are hidden.
const CLUSTER: &str = "_cluster";
/// Label value for profiles beyond the maximum, and for those that do not exist.
const OTHER: &str = "_other";

/// Buckets from 100 µs to the webhook's timeout, in seconds.
fn latencies() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0])
}

impl Metrics {
    /// Counts a request, and records its result in its trace.
    pub fn observe(&self, verdict: &Verdict, took: Duration) {
        self.durations.get_or_create(&OfWebhook { webhook: verdict.webhook }).observe(took.as_secs_f64());
        self.requests.get_or_create(verdict).inc();
        traces::trace_verdict(verdict);
    }

    /// Counts an injected profile.
    pub fn count_injection(&self, scope: Scope, profile: &str) {
        let profile = self.profile_label(Some(scope), profile);
        self.injections.get_or_create(&OfProfile { profile }).inc();
    }

    /// Counts a profile that was left out of a pod, with the reason code. A profile without a scope does not exist.
    pub fn count_left_out(&self, scope: Option<Scope>, profile: &str, reason: &'static str) {
        let profile = self.profile_label(scope, profile);
        self.left_out.get_or_create(&LeftOut { profile, reason }).inc();
    }

    /// Counts a Kubernetes Event: `published`, `repeated`, `dropped` or `failed`.
    pub fn count_event(&self, outcome: &'static str) {
        self.events.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// Counts a live lookup: `found`, `absent`, `failed` or `limited`.
    pub fn count_lookup(&self, resource: &'static str, outcome: &'static str) {
        self.lookups.get_or_create(&OfLookup { outcome, resource }).inc();
    }

    /// Sets whether a webhook configuration has a problem: `Missing`, `Changed` or `Disarmed`.
    pub fn set_drift(&self, kind: &'static str, configuration: &str, problem: &'static str, is: bool) {
        let labels = OfDrift { configuration: configuration.to_owned(), kind, problem };
        self.drift.get_or_create(&labels).set(i64::from(is));
    }

    /// Omits profile names from labels from now on.
    pub fn hide_profile_names(&self) {
        self.hides_profile_names.store(true, Ordering::Relaxed);
    }

    /// Returns the label value for a profile. Cluster profiles are few, and the platform team names them. Any user can create
    /// namespaced profiles, so all of them share one value.
    fn profile_label(&self, scope: Option<Scope>, name: &str) -> String {
        match scope {
            Some(Scope::Namespace) => NAMESPACED.to_owned(),
            Some(Scope::Cluster) if self.hides_profile_names.load(Ordering::Relaxed) => CLUSTER.to_owned(),
            Some(Scope::Cluster) => {
                let mut names = self.profile_names.lock().unwrap_or_else(PoisonError::into_inner);
                if names.contains(name) || (names.len() < MOST_PROFILES && names.insert(name.to_owned())) {
                    name.to_owned()
                } else {
                    OTHER.to_owned()
                }
            }
            None => OTHER.to_owned(),
        }
    }

    /// Adds a collector whose values are read at every scrape.
    pub fn collect(&self, collector: impl Collector) {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .sub_registry_with_prefix("outrigger")
            .register_collector(Box::new(collector));
    }

    /// Sets the end of a certificate, in seconds since 1970.
    pub fn certificate_ends(&self, certificate: &'static str, timestamp: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a timestamp has far fewer than 52 bits")]
        self.certificate_expiry.get_or_create(&OfCertificate { certificate }).set(timestamp as f64);
    }

    /// Sets the content of the snapshot.
    pub fn known(&self, ready: usize, invalid: usize, namespaces: usize) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.profiles.get_or_create(&OfState { state: "ready" }).set(count(ready));
        self.profiles.get_or_create(&OfState { state: "invalid" }).set(count(invalid));
        self.cluster.namespaces.set(count(namespaces));
    }

    /// Sets whether this replica is the leader.
    pub fn writes(&self, does: bool) {
        self.writer.set(i64::from(does));
    }

    /// Sets the holder of the Lease; an empty name means none. Users with write access to the Lease choose the name, so it is
    /// reduced to the characters of an object's name, at most 128.
    pub fn lease_held_by(&self, holder: &str) {
        self.cluster.lease_holder.clear();
        if holder.is_empty() {
            return;
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:/@".contains(letter);
        let holder = holder.chars().take(128).map(|letter| if is_plain(letter) { letter } else { '_' });
        self.cluster.lease_holder.get_or_create(&OfHolder { holder: holder.collect() }).set(1);
    }

    /// Counts a resource version that went backwards.
    pub fn count_rollback(&self, resource: &'static str) {
        self.cluster.rollbacks.get_or_create(&OfResource { resource }).inc();
    }

    /// Sets whether callers trust the serving certificate.
    pub fn certificate_trusted(&self, is: bool) {
        self.certificate_trusted.set(i64::from(is));
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self, format: Format) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Plain => exposition::plain(&text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_profile_names_in_labels_is_limited() {
        let metrics = Metrics::default();
        for number in 0..3 * MOST_PROFILES {
            metrics.count_injection(Scope::Cluster, &format!("cluster-{number}"));
            metrics.count_injection(Scope::Namespace, &format!("own-{number}"));
            metrics.count_left_out(None, &format!("misspelled-{number}"), "ProfileNotFound");
        }
        metrics.count_injection(Scope::Cluster, "cluster-0");
        let text = metrics.encode(Format::OpenMetrics).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("outrigger_profile_")).count();
        assert_eq!(lines, MOST_PROFILES + 3, "cluster profiles, `_other`, `_namespaced`, and unknown names");
        for line in [
            "outrigger_profile_injections_total{profile=\"cluster-0\"} 2",
            "outrigger_profile_injections_total{profile=\"_other\"} 2000",
            "outrigger_profile_injections_total{profile=\"_namespaced\"} 3000",
            "outrigger_profile_left_out_total{profile=\"_other\",reason=\"ProfileNotFound\"} 3000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis missing");
        }
    }

    #[test]
    fn profile_names_can_be_hidden() {
        let metrics = Metrics::default();
        metrics.hide_profile_names();
        metrics.count_injection(Scope::Cluster, "log-shipper");
        metrics.count_left_out(Some(Scope::Cluster), "log-shipper", "ParameterMissing");
        let text = metrics.encode(Format::Plain).unwrap();
        assert!(text.contains("{profile=\"_cluster\"} 1") && !text.contains("log-shipper"), "{text}");
    }
}
