use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use outrigger::certificates::{Lifetimes, Material};
use serde_json::{Value, json};

/// The DNS name in the certificate.
pub(crate) const NAME: &str = "outrigger.bench.svc";

/// The files to write.
#[derive(Args)]
pub(crate) struct Files {
    /// An existing folder.
    folder: PathBuf,
    /// Number of profiles in addition to the injected one.
    #[arg(long, default_value_t = 0)]
    profiles: usize,
    /// Number of namespaces in addition to the used one.
    #[arg(long, default_value_t = 0)]
    namespaces: usize,
}

impl Files {
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let put = |file: &str, text: &str| {
            let path = self.folder.join(file);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let material =
            Material::new(&[NAME.to_owned()], Lifetimes::DEFAULT, time::OffsetDateTime::now_utc())?;
        put("ca.crt", &material.authority.certificate)?;
        put("tls.crt", &material.certificate)?;
        put("tls.key", &material.key)?;
        std::fs::create_dir_all(self.folder.join("profiles"))?;
        let one = [
            namespace("shop", &json!({ "outrigger.dev/profiles": "log-shipper" })),
            profile("log-shipper", None),
        ];
        for (index, text) in documents(one).iter().enumerate() {
            put(&format!("profiles/own-{index}.yaml"), text)?;
        }
        let others = (0..self.profiles)
            .map(|index| profile(&format!("profile-{index}"), Some(&format!("team-{index}"))));
        for (index, text) in documents(others).iter().enumerate() {
            put(&format!("profiles/profiles-{index}.yaml"), text)?;
        }
        let owner =
            "A description that says what the namespace is for, who runs it and where its runbook is.";
        let others = (0..self.namespaces).map(|index| {
            let annotations = json!({
                "outrigger.dev/profiles": format!("profile-{}", index % self.profiles.max(1)),
                "example.com/owner": format!("team-{index}@example.com"), "example.com/description": owner,
            });
            namespace(&format!("namespace-{index}"), &annotations)
        });
        for (index, text) in documents(others).iter().enumerate() {
            put(&format!("profiles/namespaces-{index}.yaml"), text)?;
        }
        Ok(())
    }
}

/// Number of objects per file.
const PER_FILE: usize = 500;

/// Returns the texts of the files.
fn documents(objects: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut texts = Vec::new();
    for (index, object) in objects.into_iter().enumerate() {
        if index % PER_FILE == 0 {
            texts.push(String::new());
        }
        if let Some(text) = texts.last_mut() {
            // JSON is YAML. Each object is a separate document.
            let _ = writeln!(text, "---\n{object}");
        }
    }
    texts
}

fn namespace(name: &str, annotations: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "annotations": annotations,
        "labels": {
            "kubernetes.io/metadata.name": name, "outrigger.dev/inject": "enabled", "team": name,
            "pod-security.kubernetes.io/enforce": "restricted",
        },
    } })
}

/// Returns a log shipper as in the engine's benchmark, without expressions: a sidecar, two volumes, and a mount in each
/// of the app's containers. With a team, it matches that team's namespaces.
fn profile(name: &str, team: Option<&str>) -> Value {
    let volume = |name: &str| json!({ "name": name, "emptyDir": { "sizeLimit": "256Mi" } });
    let variable = |name: &str, value: &str| json!({ "name": name, "value": value });
    let of_pod =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let container = json!({
        "name": name, "image": format!("registry.example.com/sidecars/{name}:1.4.2"), "restartPolicy": "Always",
        "env": [
            variable("LOG_TARGET", "log-archive.logs.svc"), variable("LOG_PORT", "514"),
            of_pod("POD_NAME", "metadata.name"), of_pod("POD_NAMESPACE", "metadata.namespace"),
        ],
        "startupProbe": { "httpGet": { "path": "/ready", "port": 2020 } },
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": [
            { "name": "app-logs", "mountPath": "/var/log/app", "readOnly": true },
            { "name": "log-outbox", "mountPath": "/var/spool/rsyslog" },
        ],
    });
    let mut spec = json!({
        "template": {
            "metadata": { "labels": { "logging": "shipped" } },
            "spec": { "initContainers": [container], "volumes": [volume("app-logs"), volume("log-outbox")] },
        },
        "appContainers": [{
            "containers": ["*"], "volumeMounts": [{ "name": "app-logs", "mountPath": "/var/log/app" }],
        }],
    });
    if let (Some(team), Some(spec)) = (team, spec.as_object_mut()) {
        let selector = json!({ "namespaceSelector": { "matchLabels": { "team": team } } });
        spec.insert("match".to_owned(), selector);
    }
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSidecarProfile",
        "metadata": { "name": name }, "spec": spec,
    })
}
