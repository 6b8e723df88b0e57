//! The live webhook configurations: the entries that call the server, and the CAs that they trust.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::x509::{certificates_of, end_of_der};
use crate::cluster::follow::{Lost, follow_one};

/// Time that every API server gets to observe a change of a configuration that we have observed.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// The webhook configurations that may call this server. One that does not exist calls no webhook.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    /// Names of `MutatingWebhookConfiguration`s.
    pub mutating: Vec<String>,
    /// Names of `ValidatingWebhookConfiguration`s.
    pub validating: Vec<String>,
    /// Service of the server; entries for other Services are not changed.
    pub service: String,
    /// Namespace of the Service.
    pub namespace: String,
}

/// The two kinds of webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConfigurationKind {
    Mutating,
    Validating,
}

impl ConfigurationKind {
    /// Returns the kind's name in Kubernetes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    pub(super) fn api(self, client: &Client) -> Api<DynamicObject> {
        let resource = match self {
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        };
        Api::all_with(client.clone(), &resource)
    }
}

impl Configurations {
    /// Returns all configurations, with their kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = (ConfigurationKind, &String)> {
        let mutating = self.mutating.iter().map(|name| (ConfigurationKind::Mutating, name));
        mutating.chain(self.validating.iter().map(|name| (ConfigurationKind::Validating, name)))
    }

    /// Returns whether an entry of a configuration calls this server.
    pub(super) fn calls_us(&self, entry: &Value) -> bool {
        let service = entry.get("clientConfig").and_then(|client| client.get("service"));
        let is = |field, wanted: &str| service.and_then(|of| of.get(field)?.as_str()) == Some(wanted);
        is("name", &self.service) && is("namespace", &self.namespace)
    }
}

/// The effect on pods while an entry does not trust the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// Pods are rejected: `failurePolicy: Fail`.
    Refused,
    /// Objects are admitted without the webhook's effect.
    Admitted,
    /// The entry concerns profiles or workloads, not pods.
    NotConcerned,
}

impl OnFailure {
    fn of(entry: &Value) -> Self {
        let rules = entry.get("rules").and_then(Value::as_array).into_iter().flatten();
        let resources = rules.filter_map(|rule| rule.get("resources")?.as_array()).flatten();
        let mut resources = resources.filter_map(Value::as_str);
        if !resources.any(|resource| matches!(resource.split('/').next(), Some("pods" | "*"))) {
            return Self::NotConcerned;
        }
        // The API's default is Fail.
        let ignores = entry.get("failurePolicy").and_then(Value::as_str) == Some("Ignore");
        if ignores { Self::Admitted } else { Self::Refused }
    }
}

/// An entry that calls this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfiguredWebhook {
    pub(super) kind: ConfigurationKind,
    pub(super) configuration: String,
    pub(super) webhook: String,
    /// Effect on a pod if the call fails.
    pub(super) on_failure: OnFailure,
    /// Value of `caBundle`, decoded.
    pub(super) bundle: Vec<u8>,
}

/// A configuration in its last observed version.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SeenConfiguration {
    /// Value of `metadata.uid`.
    pub(crate) uid: Option<String>,
    /// All webhooks, including those that call other Services.
    pub(crate) webhooks: Vec<Value>,
}

/// The entries that call this server, in their last observed version.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveConfigurations {
    known: bool,
    /// Every configuration that was looked up; `None` if it does not exist.
    configurations: BTreeMap<(ConfigurationKind, String), Option<SeenConfiguration>>,
    entries: Vec<ConfiguredWebhook>,
    /// Certificates that all entries have, each with the time since which they do.
    held: HashMap<Vec<u8>, Instant>,
}

impl LiveConfigurations {
    /// Returns whether every configuration has been looked up.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// Returns every configuration that was looked up, by kind and name; `None` if it does not exist.
    pub(crate) fn configurations(
        &self,
    ) -> impl Iterator<Item = (&'static str, &str, Option<&SeenConfiguration>)> {
        self.configurations.iter().map(|((kind, name), seen)| (kind.name(), name.as_str(), seen.as_ref()))
    }

    pub(super) fn entries(&self) -> &[ConfiguredWebhook] {
        &self.entries
    }

    /// Returns the entries that readiness depends on: those that reject pods while they do not trust the server. Without such
    /// entries, it returns those that admit pods without sidecars.
    pub(super) fn deciding(&self) -> impl Iterator<Item = &ConfiguredWebhook> {
        let refuses = |entry: &ConfiguredWebhook| entry.on_failure == OnFailure::Refused;
        let wanted = if self.entries.iter().any(refuses) { OnFailure::Refused } else { OnFailure::Admitted };
        self.entries.iter().filter(move |entry| entry.on_failure == wanted)
    }

    /// Returns whether all callers have had these CAs for long enough; true if there are no callers.
    pub(super) fn has_settled(&self, authorities: &str) -> bool {
        let is_old = |since: &Instant| since.elapsed() >= SETTLE;
        self.known
            && (self.entries.is_empty()
                || certificates_of(authorities.as_bytes())
                    .all(|authority| self.held.get(authority.as_ref()).is_some_and(is_old)))
    }

    /// Returns the time at which the first entry has no valid CA any more, in seconds since 1970.
    pub(super) fn authorities_end(&self, now: OffsetDateTime) -> Option<i64> {
        let end = |entry: &ConfiguredWebhook| {
            let ends = certificates_of(&entry.bundle).filter_map(|authority| end_of_der(&authority));
            ends.max().unwrap_or(now).unix_timestamp()
        };
        self.entries.iter().map(end).min()
    }

    fn update(&mut self, entries: Vec<ConfiguredWebhook>) {
        let mut all = entries.iter().map(|entry| certificates_of(&entry.bundle).map(|one| one.to_vec()));
        let mut common: Vec<Vec<u8>> = all.next().into_iter().flatten().collect();
        for others in all {
            let others: Vec<Vec<u8>> = others.collect();
            common.retain(|one| others.contains(one));
        }
        let now = Instant::now();
        let since = |one: &Vec<u8>| self.held.get(one).copied().unwrap_or(now);
        self.held = common.iter().map(|one| (one.clone(), since(one))).collect();
        self.entries = entries;
    }

    #[cfg(test)]
    pub(super) fn of(entries: Vec<ConfiguredWebhook>) -> Self {
        let mut live = Self { known: true, ..Self::default() };
        live.update(entries);
        live
    }
}

/// Follows the configurations until `stop`.
///
/// # Errors
/// None: a broken watch is restarted, and the last observed configurations count meanwhile.
pub(crate) async fn watch_configurations(
    client: Client,
    configurations: Configurations,
    live: watch::Sender<LiveConfigurations>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let streams =
        configurations.all().map(|(kind, name)| seen(kind, name.clone(), kind.api(&client)).boxed());
    let mut events = futures::stream::select_all(streams.collect::<Vec<_>>());
    let mut known: BTreeMap<(ConfigurationKind, String), Vec<ConfiguredWebhook>> = BTreeMap::new();
    loop {
        let (kind, name, object) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(event) = events.next() => event,
        };
        let entries = object.as_ref().map(|object| entries(kind, &name, &object.data, &configurations));
        known.insert((kind, name.clone()), entries.unwrap_or_default());
        let seen = object.map(|mut object| SeenConfiguration {
            webhooks: match object.data.get_mut("webhooks").map(Value::take) {
                Some(Value::Array(webhooks)) => webhooks,
                _ => Vec::new(),
            },
            uid: object.metadata.uid,
        });
        live.send_modify(|live| {
            live.configurations.insert((kind, name), seen);
            live.known = known.len() == configurations.all().count();
            live.update(known.values().flatten().cloned().collect());
        });
    }
}

/// Yields a configuration when it is found or changes, and `None` when it is deleted.
fn seen(
    kind: ConfigurationKind,
    name: String,
    api: Api<DynamicObject>,
) -> impl Stream<Item = (ConfigurationKind, String, Option<DynamicObject>)> + Send {
    let configuration = name.clone();
    let report = move |lost: &Lost| {
        let kind = kind.name();
        warn!(kind, configuration, error = %lost, "watch of a webhook configuration interrupted; reading it again");
    };
    follow_one(api, &name, report).map(move |found| (kind, name.clone(), found))
}

fn entries(
    kind: ConfigurationKind,
    name: &str,
    configuration: &Value,
    ours: &Configurations,
) -> Vec<ConfiguredWebhook> {
    let entries = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let ours = entries.filter(|entry| ours.calls_us(entry));
    ours.map(|entry| {
        let bundle = entry.get("clientConfig").and_then(|client| client.get("caBundle")?.as_str());
        let decoded = bundle.map(|text| base64::engine::general_purpose::STANDARD.decode(text));
        ConfiguredWebhook {
            kind,
            configuration: name.to_owned(),
            webhook: entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            on_failure: OnFailure::of(entry),
            bundle: decoded.and_then(Result::ok).unwrap_or_default(),
        }
    })
    .collect()
}
