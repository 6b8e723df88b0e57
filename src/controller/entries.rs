//! The webhook entries of Mandatory profiles, as values.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, RuleWithOperations, ServiceReference, ValidatingWebhook,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::keys;

/// A Mandatory profile's name, and the selector of its namespaces.
pub(super) type Target = (String, LabelSelector);

/// The settings that the entries share with those of the release's own configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    service: ServiceReference,
    bundle: ByteString,
    timeout: Option<i32>,
    reinvocation: Option<String>,
    /// Namespaces for which no webhook is called.
    pub(super) excluded: Vec<String>,
    /// True if an administrator disarmed the injecting entries.
    pub(super) injects_disarmed: bool,
    /// True if an administrator disarmed the verifying entries. This is also the case while `disarm` and `rearm` are running.
    pub(super) verifies_disarmed: bool,
}

impl Model {
    /// Reads the entries of the release's own configuration; `None` if none of them can be called yet.
    pub(super) fn of(entries: &[MutatingWebhook]) -> Option<Self> {
        let entry = entries.iter().find(|entry| entry.client_config.service.is_some())?;
        let service = ServiceReference { path: None, ..entry.client_config.service.clone()? };
        let disarmed = entries.iter().any(|entry| is_disarmed(entry.match_conditions.as_ref()));
        Some(Self {
            service,
            bundle: entry.client_config.ca_bundle.clone().filter(|bundle| !bundle.0.is_empty())?,
            timeout: entry.timeout_seconds,
            reinvocation: entry.reinvocation_policy.clone(),
            excluded: Vec::new(),
            injects_disarmed: disarmed,
            verifies_disarmed: disarmed,
        })
    }

    /// Returns the entries that inject a profile. The first is called once and sees the submitted pod, before admission
    /// plugins change the injected containers. With `reinvocationPolicy: IfNeeded`, a second entry is reinvoked, and the first
    /// matches only pods that carry a status annotation.
    pub(super) fn mutating(&self, target: &Target) -> Vec<MutatingWebhook> {
        let (name, _) = target;
        let path = format!("/mutate/submitted/{name}");
        if self.reinvocation.as_deref() != Some("IfNeeded") {
            return vec![self.injecting(target, path, &[])];
        }
        let with_status = MatchCondition {
            name: "with-a-status".to_owned(),
            expression: format!(
                "has(object.metadata.annotations) && '{}' in object.metadata.annotations",
                keys::STATUS
            ),
        };
        let mut submitted = self.injecting(target, path, &[with_status]);
        submitted.name = entry_name(&format!("submitted.{name}"));
        submitted.reinvocation_policy = Some("Never".to_owned());
        vec![submitted, self.injecting(target, format!("/mutate/mandatory/{name}"), &[])]
    }

    fn injecting(&self, (name, selector): &Target, path: String, more: &[MatchCondition]) -> MutatingWebhook {
        // The kubelet deletes a mirror pod that differs from its static pod, and does not run a forged one.
        let condition = MatchCondition {
            name: "not-a-mirror-pod".to_owned(),
            expression: format!(
                "!has(object.metadata.annotations) || !('{}' in object.metadata.annotations)",
                keys::MIRROR_POD
            ),
        };
        // All fields are set explicitly, so that the API server returns the same value.
        MutatingWebhook {
            name: entry_name(name),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client(path),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: conditions(
                [condition].into_iter().chain(more.iter().cloned()),
                self.injects_disarmed,
            ),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.selector(selector)),
            object_selector: Some(LabelSelector::default()),
            reinvocation_policy: self.reinvocation.clone(),
            rules: Some(vec![rule(&["pods"], &["CREATE"])]),
            side_effects: "None".to_owned(),
            timeout_seconds: self.timeout,
        }
    }

    /// Returns the entries that verify a profile in finished and live pods.
    pub(super) fn validating(&self, (name, selector): &Target) -> [ValidatingWebhook; 4] {
        let entry = |entry: String, rules, condition: Option<MatchCondition>| ValidatingWebhook {
            name: entry,
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client(format!("/verify/{name}")),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: conditions(condition, self.verifies_disarmed),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.selector(selector)),
            object_selector: Some(LabelSelector::default()),
            rules: Some(rules),
            side_effects: "None".to_owned(),
            timeout_seconds: self.timeout,
        };
        let pods = vec![
            rule(&["pods"], &["CREATE", "UPDATE"]),
            rule(&["pods/ephemeralcontainers", "pods/resize"], &["UPDATE"]),
        ];
        let others = MatchCondition {
            name: "who-may-not-change-the-profile".to_owned(),
            expression: format!(
                "!authorizer.group('{}').resource('clustersidecarprofiles').name('{name}').check('update').allowed()",
                keys::GROUP
            ),
        };
        // A kubelet often writes the status of every pod, and does not change these fields.
        let changes = |field: &str| {
            let of =
                |object: &str| format!("(has({object}.metadata.{field}) ? {object}.metadata.{field} : {{}})");
            format!("{} != {}", of("object"), of("oldObject"))
        };
        let metadata = MatchCondition {
            name: "labels-or-annotations-change".to_owned(),
            expression: format!("{} || {}", changes("labels"), changes("annotations")),
        };
        let status = vec![rule(&["pods/status"], &["UPDATE"])];
        // The API server copies a binding's annotations to the pod; a scheduler's binding has none.
        let annotations = MatchCondition {
            name: "with-annotations".to_owned(),
            expression: "has(object.metadata.annotations)".to_owned(),
        };
        let bind = vec![rule(&["pods/binding", "bindings"], &["CREATE"])];
        let enter = vec![rule(&["pods/exec", "pods/attach"], &["CONNECT"])];
        [
            entry(entry_name(name), pods, None),
            entry(entry_name(&format!("status.{name}")), status, Some(metadata)),
            entry(entry_name(&format!("bind.{name}")), bind, Some(annotations)),
            entry(entry_name(&format!("enter.{name}")), enter, Some(others)),
        ]
    }

    fn client(&self, path: String) -> WebhookClientConfig {
        WebhookClientConfig {
            ca_bundle: Some(self.bundle.clone()),
            service: Some(ServiceReference { path: Some(path), ..self.service.clone() }),
            url: None,
        }
    }

    /// Returns the profile's selector, without the namespaces for which no webhook is called.
    fn selector(&self, selector: &LabelSelector) -> LabelSelector {
        let mut selector = selector.clone();
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(self.excluded.clone()),
        });
        selector
    }
}

fn conditions(own: impl IntoIterator<Item = MatchCondition>, disarmed: bool) -> Option<Vec<MatchCondition>> {
    let off = MatchCondition { name: keys::DISARMED.to_owned(), expression: "false".to_owned() };
    let conditions: Vec<_> = own.into_iter().chain(disarmed.then_some(off)).collect();
    (!conditions.is_empty()).then_some(conditions)
}

fn entry_name(of: &str) -> String {
    format!("{of}.mandatory.{}", keys::GROUP)
}

fn rule(resources: &[&str], operations: &[&str]) -> RuleWithOperations {
    let owned = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    RuleWithOperations {
        api_groups: owned(&[""]),
        api_versions: owned(&["v1"]),
        operations: owned(operations),
        resources: owned(resources),
        scope: Some("Namespaced".to_owned()),
    }
}

/// Returns whether an entry with these conditions is disarmed.
pub(super) fn is_disarmed(conditions: Option<&Vec<MatchCondition>>) -> bool {
    conditions.into_iter().flatten().any(|condition| condition.name == keys::DISARMED)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn own(conditions: &Value, bundle: &str) -> Vec<MutatingWebhook> {
        let entry = json!({
            "name": "pods.outrigger.dev", "timeoutSeconds": 7, "reinvocationPolicy": "IfNeeded", "matchConditions": conditions,
            "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "caBundle": bundle, "service": { "name": "o", "namespace": "s", "port": 443, "path": "/mutate" } },
        });
        vec![serde_json::from_value(entry).unwrap()]
    }

    fn guard() -> Target {
        let labels = [("guarded".to_owned(), "yes".to_owned())].into();
        ("guard".to_owned(), LabelSelector { match_labels: Some(labels), match_expressions: None })
    }

    #[test]
    fn a_profile_gets_its_own_selector_without_the_excluded_namespaces() {
        let mut model = Model::of(&own(&json!([]), "QUJD")).unwrap();
        model.excluded = vec!["kube-system".to_owned()];
        let entries: Vec<Value> = model.mutating(&guard()).iter().map(|entry| json!(entry)).collect();
        let [submitted, entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(submitted["name"], "submitted.guard.mandatory.outrigger.dev");
        assert_eq!(submitted["clientConfig"]["service"]["path"], "/mutate/submitted/guard");
        assert_eq!(submitted["reinvocationPolicy"], "Never");
        assert_eq!(submitted["matchConditions"][1]["name"], "with-a-status");
        assert_eq!(submitted["namespaceSelector"], entry["namespaceSelector"]);
        model.reinvocation = Some("Never".to_owned());
        let once: Vec<Value> = model.mutating(&guard()).iter().map(|entry| json!(entry)).collect();
        assert_eq!(once.len(), 1, "{once:?}");
        assert_eq!(once[0]["name"], entry["name"]);
        assert_eq!(once[0]["clientConfig"], submitted["clientConfig"]);
        assert_eq!(once[0]["matchConditions"], json!([submitted["matchConditions"][0]]));
        assert_eq!(
            entry["namespaceSelector"],
            json!({ "matchLabels": { "guarded": "yes" }, "matchExpressions": [
                { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"] },
            ] })
        );
        assert_eq!(entry["name"], "guard.mandatory.outrigger.dev");
        let service =
            json!({ "name": "o", "namespace": "s", "port": 443, "path": "/mutate/mandatory/guard" });
        assert_eq!(entry["clientConfig"]["service"], service);
        assert_eq!((&entry["failurePolicy"], &entry["timeoutSeconds"]), (&json!("Fail"), &json!(7)));
        let names = model.validating(&guard()).map(|entry| entry.name);
        assert_eq!(
            names,
            [
                "guard.mandatory.outrigger.dev",
                "status.guard.mandatory.outrigger.dev",
                "bind.guard.mandatory.outrigger.dev",
                "enter.guard.mandatory.outrigger.dev",
            ]
        );
    }

    #[test]
    fn what_an_admin_disarmed_stays_so() {
        let off = json!([{ "name": "outrigger.dev/disarmed", "expression": "false" }]);
        let model = Model::of(&own(&off, "QUJD")).unwrap();
        assert!(model.mutating(&guard()).iter().all(|entry| is_disarmed(entry.match_conditions.as_ref())));
        assert!(model.validating(&guard()).iter().all(|entry| is_disarmed(entry.match_conditions.as_ref())));
    }

    #[test]
    fn what_injects_may_be_armed_while_what_verifies_is_not() {
        let mut model = Model::of(&own(&json!([]), "QUJD")).unwrap();
        model.verifies_disarmed = true;
        assert!(model.mutating(&guard()).iter().all(|entry| !is_disarmed(entry.match_conditions.as_ref())));
        assert!(model.validating(&guard()).iter().all(|entry| is_disarmed(entry.match_conditions.as_ref())));
    }

    #[test]
    fn without_an_authority_nobody_can_be_called() {
        assert_eq!(Model::of(&own(&json!([]), "")), None);
        assert_eq!(Model::of(&[]), None);
    }
}
