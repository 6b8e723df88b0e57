//! The settings of an installed release that affect pods, besides profiles and namespaces.
//!
//! They are read from the `MutatingWebhookConfiguration`: its entries have the excluded namespaces and the failure policy, and
//! an annotation has the cluster values.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::keys;

/// The settings of the webhooks in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) excluded_namespaces: BTreeSet<String>,
    /// Cluster values; `None` if the release has none.
    pub(super) cluster_values: Option<Value>,
    /// State of the webhooks, in one sentence.
    pub(super) state: String,
    /// Code of the warning that no pod is injected now; `state` has the reason.
    pub(super) warning: Option<&'static str>,
}

impl InForce {
    /// Returns the settings of the configuration with this name; `None` means that it does not exist.
    pub(super) fn read(name: &str, configuration: Option<&Value>) -> Self {
        let Some(configuration) = configuration else {
            return Self {
                state: format!(
                    "MutatingWebhookConfiguration {name:?} does not exist, so no pod is injected now; install the chart, or name the configuration with --configuration"
                ),
                warning: Some("WebhookMissing"),
                ..Self::default()
            };
        };
        let webhooks: Vec<&Value> =
            configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten().collect();
        let is_disabled = webhooks.iter().all(|webhook| is_disabled(webhook));
        let policy = webhooks.iter().find_map(|webhook| webhook.get("failurePolicy")?.as_str());
        let (state, warning) = match policy {
            _ if is_disabled => (
                "the webhooks are disabled, so pods are created without injection now; run `outrigger rearm`",
                Some("WebhookDisabled"),
            ),
            Some("Ignore") => (
                "in force; failurePolicy Ignore: pods are created without injection while no server answers",
                None,
            ),
            _ => ("in force; failurePolicy Fail: pods are refused while no server answers", None),
        };
        let values =
            configuration.pointer("/metadata/annotations").and_then(|all| all.get(keys::CLUSTER_VALUES));
        let values = values.and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        Self {
            excluded_namespaces: webhooks.first().map(|webhook| excluded(webhook)).unwrap_or_default(),
            cluster_values: values.filter(Value::is_object),
            state: state.to_owned(),
            warning,
        }
    }

    /// Returns the default settings for a configuration that could not be read.
    pub(super) fn unknown(cause: &str) -> Self {
        let state = format!(
            "not known: {cause}; taken as in force, without excluded namespaces, and with the cluster values of --cluster-values"
        );
        Self { state, ..Self::default() }
    }
}

/// Returns whether a webhook is disabled by `outrigger disarm`.
pub(super) fn is_disabled(webhook: &Value) -> bool {
    let conditions = webhook.get("matchConditions").and_then(Value::as_array);
    let names = conditions.into_iter().flatten().filter_map(|condition| condition.get("name")?.as_str());
    names.into_iter().any(|name| name == keys::DISARMED)
}

/// Returns the namespaces that a webhook's selector excludes by name.
fn excluded(webhook: &Value) -> BTreeSet<String> {
    let expressions = webhook.pointer("/namespaceSelector/matchExpressions").and_then(Value::as_array);
    let of = |expression: &Value, name: &str| expression.get(name).and_then(Value::as_str).map(str::to_owned);
    let by_name = expressions.into_iter().flatten().filter(|expression| {
        of(expression, "key").as_deref() == Some("kubernetes.io/metadata.name")
            && of(expression, "operator").as_deref() == Some("NotIn")
    });
    let values = by_name.filter_map(|expression| expression.get("values")?.as_array()).flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_read_from_the_webhook_configuration() {
        let webhook = json!({
            "failurePolicy": "Fail",
            "namespaceSelector": { "matchExpressions": [
                { "key": "outrigger.dev/inject", "operator": "Exists" },
                { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "monitoring"] },
            ] },
        });
        let metadata = json!({ "annotations": { "outrigger.dev/cluster-values": "{\"region\": \"a\"}" } });
        let mut configuration = json!({ "metadata": metadata, "webhooks": [webhook] });
        let found = InForce::read("outrigger", Some(&configuration));
        assert_eq!(
            found.excluded_namespaces,
            BTreeSet::from(["kube-system".to_owned(), "monitoring".to_owned()])
        );
        assert_eq!(found.cluster_values, Some(json!({ "region": "a" })));
        assert!(found.state.contains("failurePolicy Fail") && found.warning.is_none());
        configuration["webhooks"][0]["matchConditions"] =
            json!([{ "name": "outrigger.dev/disarmed", "expression": "false" }]);
        assert_eq!(InForce::read("outrigger", Some(&configuration)).warning, Some("WebhookDisabled"));
        assert_eq!(InForce::read("outrigger", None).warning, Some("WebhookMissing"));
    }
}
