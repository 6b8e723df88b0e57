//! Mutating admission plugins that run before `MutatingAdmissionWebhook` and are enabled by default.
//!
//! Source: Kubernetes v1.35.4, `pkg/kubeapiserver/options/plugins.go` (order, defaults) and `plugin/pkg/admission`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::controllers::Generated;
use super::facts::{Facts, Missing};
use super::json::{Fields, list_in, object_in, objects_in, set_if_absent, text, text_at};
use super::resources::canonical_map;
use super::{limits, tolerations};

const TOKEN_VOLUME: &str = "kube-api-access-";
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Annotation of a mirror pod, which the service account plugin ignores.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Objects that the plugins read, with records of missing objects and of generated values.
pub(super) struct Admission<'a> {
    pub(super) namespace: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) generated: &'a Generated,
    pub(super) missing: BTreeSet<Missing>,
    pub(super) placeholders: Vec<String>,
}

/// Applies the plugins' changes to a pod.
pub(super) fn admit(pod: &mut Fields, admission: &mut Admission<'_>) {
    let Admission { namespace, facts, .. } = *admission;
    if !facts.has_all("LimitRange", namespace) {
        admission.missing.insert(Missing { kind: "LimitRange", name: None });
    }
    for range in facts.of("LimitRange", namespace) {
        limits::apply(pod, range);
    }
    let is_mirror = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .is_some_and(|annotations| annotations.get(MIRROR).is_some());
    let Some(spec) = object_in(pod, "spec") else { return };
    if !is_mirror {
        service_account(spec, admission);
    }
    priority(spec, facts, &mut admission.missing);
    tolerations::add_default_seconds(spec);
    runtime_class(spec, facts, &mut admission.missing);
}

/// Applies `ServiceAccount`: the account, its image pull secrets, and its token.
fn service_account(spec: &mut Fields, admission: &mut Admission<'_>) {
    set_if_absent(spec, "serviceAccountName", "default");
    let name = text(spec, "serviceAccountName").unwrap_or_default().to_owned();
    spec.insert("serviceAccount".to_owned(), name.clone().into());
    let facts = admission.facts;
    let account = facts.find("ServiceAccount", admission.namespace, &name).unwrap_or_else(|unknown| {
        admission.missing.insert(unknown);
        None
    });
    let mounts = |fields: Option<&Value>| {
        fields.and_then(|value| value.get("automountServiceAccountToken")?.as_bool())
    };
    let of_pod = spec.get("automountServiceAccountToken").and_then(Value::as_bool);
    if of_pod.or(mounts(account)).unwrap_or(true) {
        mount_token(spec, admission.generated.suffix, &mut admission.placeholders);
    }
    let secrets = account.and_then(|account| account.get("imagePullSecrets")).and_then(Value::as_array);
    if spec.get("imagePullSecrets").is_none()
        && let Some(secrets) = secrets.filter(|secrets| !secrets.is_empty())
    {
        let names = secrets.iter().map(|secret| json!({ "name": secret.get("name") }));
        spec.insert("imagePullSecrets".to_owned(), names.collect());
    }
}

/// Mounts the token into each container without a mount at that path.
fn mount_token(spec: &mut Fields, suffix: &str, placeholders: &mut Vec<String>) {
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let existing = volumes.into_iter().flatten().filter_map(|volume| text_at(volume, "/name"));
    let existing = existing.filter(|name| name.starts_with(TOKEN_VOLUME)).map(str::to_owned).next();
    let name = existing.clone().unwrap_or_else(|| TOKEN_VOLUME.to_owned() + suffix);
    let mut is_mounted = false;
    for list in ["initContainers", "containers"] {
        for (index, container) in objects_in(spec, list).enumerate() {
            let Some(mounts) = list_in(container, "volumeMounts") else { continue };
            if mounts.iter().any(|mount| text_at(mount, "/mountPath") == Some(TOKEN_PATH)) {
                continue;
            }
            if existing.is_none() {
                placeholders.push(format!("/spec/{list}/{index}/volumeMounts/{}/name", mounts.len()));
            }
            mounts.push(json!({ "name": name, "mountPath": TOKEN_PATH, "readOnly": true }));
            is_mounted = true;
        }
    }
    if is_mounted
        && existing.is_none()
        && let Some(volumes) = list_in(spec, "volumes")
    {
        placeholders.push(format!("/spec/volumes/{}/name", volumes.len()));
        volumes.push(token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    let namespace =
        json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    json!({ "name": name, "projected": { "defaultMode": 0o644, "sources": [
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [namespace] } },
    ] } })
}

/// Applies `Priority`: the number and the preemption policy of the pod's class, or of the default class.
fn priority(spec: &mut Fields, facts: &Facts, missing: &mut BTreeSet<Missing>) {
    let name = text(spec, "priorityClassName").map(str::to_owned);
    let found = match name {
        Some(name) => named_class(&name, facts),
        None => Ok(default_class(spec, facts, missing)),
    };
    let class = match found {
        Ok(class) => class,
        Err(unknown) => {
            // The number of an unknown class has no sensible default.
            missing.insert(unknown);
            return;
        }
    };
    let value = class.as_ref().and_then(|class| class.get("value")).and_then(Value::as_i64).unwrap_or(0);
    let policy = class.as_ref().and_then(|class| text_at(class, "/preemptionPolicy"));
    spec.insert("priority".to_owned(), value.into());
    spec.insert("preemptionPolicy".to_owned(), policy.unwrap_or("PreemptLowerPriority").into());
}

fn named_class(name: &str, facts: &Facts) -> Result<Option<Value>, Missing> {
    match system_priority(name) {
        Some(value) => Ok(Some(json!({ "value": value }))),
        None => facts.find("PriorityClass", "", name).map(Option::<&Value>::cloned),
    }
}

/// Returns the default class, with the lowest number if there are several, and sets its name in the pod.
fn default_class(spec: &mut Fields, facts: &Facts, missing: &mut BTreeSet<Missing>) -> Option<Value> {
    let is_default = |class: &&Value| class.get("globalDefault").and_then(Value::as_bool) == Some(true);
    let value = |class: &&Value| class.get("value").and_then(Value::as_i64);
    let class = facts.of("PriorityClass", "").filter(is_default).min_by_key(value);
    if class.is_none() && !facts.has_all("PriorityClass", "") {
        missing.insert(Missing { kind: "PriorityClass", name: None });
    }
    if let Some(name) = class.and_then(|class| text_at(class, "/metadata/name")) {
        spec.insert("priorityClassName".to_owned(), name.into());
    }
    class.cloned()
}

/// Returns the number of a class that every cluster has (`pkg/apis/scheduling/v1/helpers.go`).
fn system_priority(name: &str) -> Option<i64> {
    match name {
        "system-cluster-critical" => Some(2_000_000_000),
        "system-node-critical" => Some(2_000_001_000),
        _ => None,
    }
}

/// Applies `RuntimeClass`: its overhead, node selector and tolerations.
fn runtime_class(spec: &mut Fields, facts: &Facts, missing: &mut BTreeSet<Missing>) {
    let Some(name) = text(spec, "runtimeClassName") else { return };
    let class = match facts.find("RuntimeClass", "", name) {
        Ok(class) => class,
        Err(unknown) => {
            missing.insert(unknown);
            None
        }
    };
    let Some(class) = class else { return };
    let overhead = class.pointer("/overhead/podFixed").and_then(Value::as_object);
    if let Some(overhead) = overhead.filter(|overhead| !overhead.is_empty()) {
        let mut overhead = overhead.clone();
        canonical_map(&mut overhead);
        spec.insert("overhead".to_owned(), Value::Object(overhead));
    }
    let Some(scheduling) = class.get("scheduling") else { return };
    let selector = scheduling.get("nodeSelector").and_then(Value::as_object);
    if let Some(selector) = selector.filter(|selector| !selector.is_empty())
        && let Some(own) = object_in(spec, "nodeSelector")
    {
        own.extend(selector.clone());
    }
    let more = scheduling.get("tolerations").and_then(Value::as_array);
    tolerations::merge(spec, more.map(Vec::as_slice).unwrap_or_default());
}
