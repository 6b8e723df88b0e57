//! The profiles: one of the catalogue, and artificial ones.

use outrigger::api::{ProfileSpec, Scope};
use outrigger::profiles::{ProfileEntry, ProfileSet};
use serde_json::{Value, json};

/// A log shipper without expressions: a label, a native sidecar, two volumes, and a mount in every container of the
/// app.
pub(crate) fn plain() -> ProfileSet {
    let mut pod = sidecar("log-shipper");
    pod["volumes"] = json!(
        ["app-logs", "log-outbox"].map(|name| json!({ "name": name, "emptyDir": { "sizeLimit": "256Mi" } }))
    );
    let container = &mut pod["initContainers"][0];
    container["env"] = json!([
        { "name": "LOG_TARGET", "value": "log-archive.logs.svc" },
        { "name": "LOG_PORT", "value": "514" },
        { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        { "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
    ]);
    container["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    container["volumeMounts"] = json!([
        { "name": "app-logs", "mountPath": "/var/log/app", "readOnly": true },
        { "name": "log-outbox", "mountPath": "/var/spool/rsyslog" },
    ]);
    let spec = json!({
        "template": { "metadata": { "labels": { "logging": "shipped" } }, "spec": pod },
        "appContainers": [{
            "containers": ["*"], "volumeMounts": [{ "name": "app-logs", "mountPath": "/var/log/app" }],
        }],
    });
    set([("log-shipper".to_owned(), spec)])
}

/// The log shipper of the catalogue, with parameters and expressions.
pub(crate) fn catalogue() -> ProfileSet {
    let yaml = include_str!("../../profiles/log-shipper/profile.yaml");
    let profile: Value = serde_saphyr::from_str(yaml).expect("the catalogue's profile is YAML");
    set([("log-shipper".to_owned(), profile["spec"].clone())])
}

/// A profile that adds a native sidecar and does not change the app's containers.
pub(crate) fn beside() -> ProfileSet {
    set([("log-shipper".to_owned(), json!({ "template": { "spec": sidecar("beside") } }))])
}

/// A profile that adds to the environment and the mounts of the app's containers.
pub(crate) fn into_containers() -> ProfileSet {
    let mut spec = json!({ "template": { "spec": sidecar("into") } });
    spec["template"]["spec"]["volumes"] = json!([{ "name": "into", "emptyDir": {} }]);
    spec["appContainers"] = json!([{
        "containers": ["*"],
        "env": [{ "name": "OUTRIGGER_INTO", "value": "/into" }, { "name": "LOG_LEVEL", "value": "debug" }],
        "volumeMounts": [{ "name": "into", "mountPath": "/into" }],
    }]);
    set([("log-shipper".to_owned(), spec)])
}

/// Five profiles with four expressions each.
pub(crate) fn five() -> ProfileSet {
    set(["log-shipper", "mirror", "proxy", "secrets", "statsd"]
        .map(|name| (name.to_owned(), expressive(name))))
}

/// A thousand profiles that match the namespaces of many teams. Three of them match those of the team "shop".
pub(crate) fn thousand() -> ProfileSet {
    set((0..1000).map(|index| {
        of_team(index, &if index % 400 == 7 { "shop".to_owned() } else { format!("team-{index}") })
    }))
}

/// Only the three matching profiles.
pub(crate) fn three() -> ProfileSet {
    set([7, 407, 807].map(|index| of_team(index, "shop")))
}

fn of_team(index: usize, team: &str) -> (String, Value) {
    let name = format!("profile-{index}");
    let spec = json!({
        "match": { "namespaceSelector": { "matchLabels": { "logging": "shipped", "team": team } } },
        "template": { "spec": sidecar(&name) },
    });
    (name, spec)
}

fn expressive(name: &str) -> Value {
    let mut spec = sidecar(name);
    let container = &mut spec["initContainers"][0];
    container["args"] = json!(["--for=$[[ pod.metadata.labels.app ]]", "--to=$[[ params.endpoint ]]"]);
    container["resources"]["limits"]["memory"] = json!("$[[ params.memory ]]");
    json!({
        "match": { "conditions": [
            { "name": "has-ports", "expression": "pod.spec.containers.exists(c, has(c.ports) && c.ports.size() > 0)" },
        ] },
        "parameters": [
            { "name": "endpoint", "type": "string", "default": "archive.logs.svc:514" },
            { "name": "memory", "type": "quantity", "default": "64Mi", "maximum": "512Mi" },
        ],
        "template": { "spec": spec },
    })
}

fn sidecar(name: &str) -> Value {
    json!({ "initContainers": [{
        "name": name,
        "image": format!("registry.example.com/sidecars/{name}:1.4.2"),
        "restartPolicy": "Always",
        "startupProbe": { "httpGet": { "path": "/ready", "port": 2020 } },
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
    }] })
}

fn set(specs: impl IntoIterator<Item = (String, Value)>) -> ProfileSet {
    let mut set = ProfileSet::default();
    for (name, spec) in specs {
        let spec: ProfileSpec = serde_json::from_value(spec).expect("it is shaped like a profile");
        let (entry, findings) = ProfileEntry::new(&name, Scope::Cluster, &spec);
        assert!(matches!(entry, ProfileEntry::Ready(_)), "{name}: {findings:?}");
        set.insert(None, &name, entry);
    }
    set
}
