//! Detection of webhook configurations that differ from those that the release installed. Nothing is written back, because Helm
//! or another tool owns them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::keys;
use crate::certificates::{LiveConfigurations, SeenConfiguration};
use crate::cluster::{Leadership, Notice, publish};
use crate::polling::RepeatedFailure;
use crate::telemetry::Metrics;

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

/// Interval of comparisons while no change is observed.
const TICK: Duration = Duration::from_secs(5);
/// Time for which a problem must last before it is reported: an upgrade or uninstall changes one object after the other.
const DELAY: Duration = Duration::from_secs(15);
/// Interval of reports of a problem that lasts.
const REPEAT: Duration = Duration::from_mins(10);
/// Interval at which the ConfigMap is read again while there is no problem.
const READ_AGAIN: Duration = Duration::from_mins(5);
/// Longest value of a field that a report repeats, in characters.
const LONGEST_VALUE: usize = 80;

/// Compares the live webhook configurations with those that the chart rendered.
pub(crate) struct Drift {
    /// Client for the cluster.
    pub client: Client,
    /// Namespace of the server and of the ConfigMap.
    pub namespace: String,
    /// ConfigMap with the webhooks that the chart rendered, in the keys `mutating.json` and `validating.json`.
    pub config_map: String,
    /// Name of the release's own `MutatingWebhookConfiguration`.
    pub mutating: String,
    /// Name of the release's own `ValidatingWebhookConfiguration`.
    pub validating: String,
    /// The live configurations.
    pub live: watch::Receiver<LiveConfigurations>,
    /// Leadership: only the leader writes the log lines and Events. Every replica has the metric.
    pub leadership: Leadership,
    /// Metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Name of this replica in Events.
    pub instance: String,
}

/// Webhooks that the chart rendered.
#[derive(Debug, Default, PartialEq)]
struct Installed {
    mutating: Vec<Value>,
    validating: Vec<Value>,
}

/// Kind and name of a configuration, and the problem in one word.
type ConfigurationKey = (&'static str, String, &'static str);

/// A difference between a live configuration and the installed one.
#[derive(Clone, Debug, PartialEq)]
struct DriftProblem {
    key: ConfigurationKey,
    uid: Option<String>,
    detail: String,
}

/// A problem that lasts.
struct Lasting {
    since: Instant,
    /// Last reported detail, with the time and the number of reports.
    reported: Option<(String, Instant, i32)>,
}

impl Drift {
    /// Compares until `stop`.
    ///
    /// # Errors
    /// None: failures are logged and retried.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let (mut installed, mut read, mut failure) = (None, None::<Instant>, RepeatedFailure::default());
        let mut lasting: BTreeMap<ConfigurationKey, Lasting> = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.live.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = self.leadership.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
            if !self.live.borrow_and_update().is_known() {
                continue;
            }
            let interval = if lasting.is_empty() { READ_AGAIN } else { TICK };
            let problems = self.problems(installed.as_ref());
            let has_news = problems.iter().any(|problem| !lasting.contains_key(&problem.key));
            if has_news || read.is_none_or(|read| read.elapsed() >= interval) {
                let found = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    found = self.read() => found,
                };
                match found {
                    Ok(found) => {
                        installed = found;
                        failure.reset();
                    }
                    Err(error) => {
                        if let Some(error) = failure.changed_message(&error) {
                            warn!(
                                config_map = self.config_map,
                                error, "failed to read the installed webhooks"
                            );
                        }
                    }
                }
                read = Some(Instant::now());
            }
            if read.is_some() {
                let problems = self.problems(installed.as_ref());
                self.measure(&problems);
                self.report(problems, &mut lasting).await;
            }
        }
    }

    /// Reads the rendered webhooks; `None` if the ConfigMap does not exist.
    async fn read(&self) -> anyhow::Result<Option<Installed>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(found) = api.get_opt(&self.config_map).await? else { return Ok(None) };
        let data = found.data.unwrap_or_default();
        let webhooks = |key: &str| -> anyhow::Result<Vec<Value>> {
            let text = data.get(key).ok_or_else(|| anyhow::anyhow!("it has no key {key:?}"))?;
            Ok(serde_json::from_str(text)?)
        };
        Ok(Some(Installed { mutating: webhooks("mutating.json")?, validating: webhooks("validating.json")? }))
    }

    fn problems(&self, installed: Option<&Installed>) -> Vec<DriftProblem> {
        let live = self.live.borrow();
        let mut problems = Vec::new();
        if installed.is_none() {
            problems.push(DriftProblem {
                key: ("ConfigMap", self.config_map.clone(), "Missing"),
                uid: None,
                detail: "it does not exist or cannot be read, so the webhook configurations cannot be compared; run `helm upgrade` with the chart and values in use".to_owned(),
            });
        }
        for (kind, name, seen) in live.configurations() {
            let installed = installed.and_then(|installed| match kind {
                MUTATING if name == self.mutating => Some(&installed.mutating),
                VALIDATING if name == self.validating => Some(&installed.validating),
                // The servers write the entries of Mandatory profiles.
                _ => None,
            });
            let found = compare(installed.map(Vec::as_slice), seen);
            problems.extend(found.into_iter().map(|(problem, detail)| DriftProblem {
                key: (kind, name.to_owned(), problem),
                uid: seen.and_then(|seen| seen.uid.clone()),
                detail,
            }));
        }
        problems
    }

    fn measure(&self, problems: &[DriftProblem]) {
        let found: BTreeSet<&ConfigurationKey> = problems.iter().map(|problem| &problem.key).collect();
        let live = self.live.borrow();
        let configurations = live.configurations().map(|(kind, name, _)| (kind, name));
        for (kind, name) in configurations.chain([("ConfigMap", self.config_map.as_str())]) {
            let problems: &[_] =
                if kind == "ConfigMap" { &["Missing"] } else { &["Missing", "Changed", "Disarmed"] };
            for problem in problems {
                self.metrics.set_drift(
                    kind,
                    name,
                    problem,
                    found.contains(&(kind, name.to_owned(), *problem)),
                );
            }
        }
    }

    /// Logs lasting problems, and writes an Event about each.
    async fn report(&self, problems: Vec<DriftProblem>, lasting: &mut BTreeMap<ConfigurationKey, Lasting>) {
        let now = Instant::now();
        lasting.retain(|key, known| {
            let lasts = problems.iter().any(|problem| problem.key == *key);
            if !lasts && known.reported.is_some() {
                let (kind, configuration, problem) = key;
                info!(
                    kind,
                    configuration, problem, "webhook configuration is as the release installed it again"
                );
            }
            lasts
        });
        for problem in problems {
            let known =
                lasting.entry(problem.key.clone()).or_insert_with(|| Lasting { since: now, reported: None });
            let is_due = known.reported.as_ref().is_none_or(|(detail, last, _)| {
                *detail != problem.detail || now.duration_since(*last) >= REPEAT
            });
            if !is_due || !self.leadership.is_held() || now.duration_since(known.since) < DELAY {
                continue;
            }
            let count = known.reported.as_ref().map_or(1, |(_, _, count)| count.saturating_add(1));
            known.reported = Some((problem.detail.clone(), now, count));
            let (kind, configuration, word) = &problem.key;
            if *word == "Missing" {
                error!(kind, configuration, problem = word, detail = problem.detail, "{REPORT}");
            } else {
                warn!(kind, configuration, problem = word, detail = problem.detail, "{REPORT}");
            }
            let outcome = publish(&self.client, &self.notice(problem), &self.instance, count).await;
            self.metrics.count_event(outcome);
        }
    }

    fn notice(&self, problem: DriftProblem) -> Notice {
        let (kind, name, word) = problem.key;
        let is_config_map = kind == "ConfigMap";
        let version = if is_config_map { "v1" } else { "admissionregistration.k8s.io/v1" };
        Notice {
            regarding: ObjectReference {
                api_version: Some(version.to_owned()),
                kind: Some(kind.to_owned()),
                name: Some(name),
                namespace: is_config_map.then(|| self.namespace.clone()),
                uid: problem.uid,
                ..ObjectReference::default()
            },
            action: "Compare",
            reason: match word {
                "Missing" => "WebhookConfigurationMissing",
                "Disarmed" => "WebhookConfigurationDisarmed",
                _ => "WebhookConfigurationChanged",
            },
            // The note of an Event is immutable, so a changed detail needs a new Event.
            cause: format!("{kind} {word} {}", problem.detail),
            note: problem.detail,
        }
    }
}

const REPORT: &str = "webhook configuration is not as the release installed it";

/// Compares one configuration. Without installed webhooks, it only checks whether the configuration exists and is enabled.
fn compare(installed: Option<&[Value]>, seen: Option<&SeenConfiguration>) -> Vec<(&'static str, String)> {
    let Some(seen) = seen else {
        let detail = "it does not exist, so the API server calls none of its webhooks; run `helm upgrade` with the chart and values in use";
        return vec![("Missing", detail.to_owned())];
    };
    let mut problems = Vec::new();
    if seen.webhooks.iter().any(is_disarmed) {
        let detail = "it is disabled by `outrigger disarm`, so the API server does not call its webhooks; run `outrigger rearm`";
        problems.push(("Disarmed", detail.to_owned()));
    }
    let differences = installed.map(|installed| differences(installed, &seen.webhooks)).unwrap_or_default();
    if !differences.is_empty() {
        let detail = format!(
            "{}; run `helm upgrade` with the chart and values in use, or change the values",
            differences.join("; ")
        );
        problems.push(("Changed", detail));
    }
    problems
}

fn is_disarmed(webhook: &Value) -> bool {
    let conditions = webhook.get("matchConditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(is_disarming)
}

fn is_disarming(condition: &Value) -> bool {
    condition.get("name").and_then(Value::as_str) == Some(keys::DISARMED)
}

fn name_of(webhook: &Value) -> &str {
    webhook.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn differences(installed: &[Value], live: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    for wanted in installed {
        let name = name_of(wanted);
        let Some(found) = live.iter().find(|webhook| name_of(webhook) == name) else {
            differences.push(format!("webhook {name:?} is missing"));
            continue;
        };
        let (wanted, found) = (with_defaults(wanted), with_defaults(found));
        let fields: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
        for field in fields {
            let (wanted, found) = (wanted.get(field), found.get(field));
            if wanted != found {
                differences.push(format!(
                    "webhook {name:?} has {field} {}, installed was {}",
                    shown(found),
                    shown(wanted)
                ));
            }
        }
    }
    let is_other = |webhook: &&Value| !installed.iter().any(|wanted| name_of(wanted) == name_of(webhook));
    let others = live.iter().filter(is_other);
    differences.extend(others.map(|webhook| format!("webhook {:?} is not the release's", name_of(webhook))));
    differences
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "none".to_owned(), Value::to_string);
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    text.chars().take(LONGEST_VALUE).chain("…".chars()).collect()
}

/// Returns a webhook with the API server's defaults, without its `caBundle` and the match condition of `disarm`.
/// <https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/mutating-webhook-configuration-v1/>
fn with_defaults(webhook: &Value) -> Map<String, Value> {
    let mut webhook = webhook.as_object().cloned().unwrap_or_default();
    for (field, default) in [
        ("failurePolicy", json!("Fail")),
        ("matchConditions", json!([])),
        ("matchPolicy", json!("Equivalent")),
        ("namespaceSelector", json!({})),
        ("objectSelector", json!({})),
        ("reinvocationPolicy", json!("Never")),
        ("timeoutSeconds", json!(10)),
    ] {
        webhook.entry(field).or_insert(default);
    }
    if let Some(conditions) = webhook.get_mut("matchConditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| !is_disarming(condition));
    }
    if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
        client.remove("caBundle");
        if let Some(service) = client.get_mut("service").and_then(Value::as_object_mut) {
            service.entry("port").or_insert(json!(443));
        }
    }
    let rules = webhook.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    for rule in rules.filter_map(Value::as_object_mut) {
        rule.entry("scope").or_insert(json!("*"));
    }
    webhook
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed() -> Value {
        json!({
            "name": "pods.outrigger.dev", "failurePolicy": "Fail", "timeoutSeconds": 5,
            "clientConfig": { "service": { "name": "outrigger", "namespace": "system", "path": "/mutate/namespace" } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
            "namespaceSelector": { "matchExpressions": [{ "key": "outrigger.dev/inject", "operator": "Exists" }] },
        })
    }

    /// Returns the installed webhook as the API server returns it.
    fn live() -> Value {
        let mut live = Value::Object(with_defaults(&installed()));
        live["clientConfig"]["caBundle"] = json!("QUJD");
        live
    }

    fn of(webhooks: &[Value]) -> Vec<(&'static str, String)> {
        let seen = SeenConfiguration { uid: None, webhooks: webhooks.to_vec() };
        compare(Some(&[installed()]), Some(&seen))
    }

    #[test]
    fn what_the_api_server_and_the_servers_add_is_no_difference() {
        assert_eq!(of(&[live()]), []);
        assert_eq!(of(&[installed()]), []);
        assert_eq!(compare(None, Some(&SeenConfiguration::default())), []);
    }

    #[test]
    fn every_way_of_not_being_called_is_a_difference() {
        assert_eq!(compare(Some(&[installed()]), None)[0].0, "Missing");
        for (pointer, value, part) in [
            ("/failurePolicy", json!("Ignore"), "failurePolicy \"Ignore\", installed was \"Fail\""),
            ("/clientConfig/service/path", json!("/elsewhere"), "clientConfig"),
            ("/clientConfig/service/name", json!("other"), "clientConfig"),
            ("/clientConfig", json!({ "url": "https://example.com" }), "clientConfig"),
            ("/rules/0/operations/0", json!("UPDATE"), "rules"),
            ("/rules/0/scope", json!("Cluster"), "rules"),
            ("/namespaceSelector", json!({ "matchLabels": { "a": "b" } }), "namespaceSelector"),
            ("/objectSelector", json!({ "matchLabels": { "a": "b" } }), "objectSelector"),
            ("/matchConditions", json!([{ "name": "never", "expression": "false" }]), "matchConditions"),
            ("/matchPolicy", json!("Exact"), "matchPolicy"),
            ("/timeoutSeconds", json!(1), "timeoutSeconds"),
            (
                "/name",
                json!("renamed"),
                "webhook \"pods.outrigger.dev\" is missing; webhook \"renamed\" is not",
            ),
        ] {
            let mut webhook = live();
            *webhook.pointer_mut(pointer).unwrap() = value;
            let found = of(&[webhook]);
            assert_eq!(found.len(), 1, "{pointer}: {found:?}");
            assert!(found[0].0 == "Changed" && found[0].1.contains(part), "{pointer}: {found:?}");
        }
        assert_eq!(of(&[])[0].0, "Changed");
        assert_eq!(of(&[live(), json!({ "name": "more" })])[0].0, "Changed");
    }

    #[test]
    fn what_is_disarmed_is_said_and_nothing_else_of_it() {
        let mut webhook = live();
        webhook["matchConditions"] = json!([{ "name": keys::DISARMED, "expression": "false" }]);
        let found = of(&[webhook]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == "Disarmed" && found[0].1.contains("outrigger rearm"));
    }
}
