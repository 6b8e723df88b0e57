use serde_json::{Value, json};

/// An image's name as the cluster finds it; see `cargo xtask --help` on `--registry`.
pub fn image(name: &str) -> String {
    match std::env::var("OUTRIGGER_REGISTRY") {
        Ok(registry) => {
            format!("{}/{}", registry.trim_end_matches('/'), name.rsplit('/').next().unwrap_or(name))
        }
        Err(_) => name.to_owned(),
    }
}

/// A manifest whose images of this repository are named as the cluster finds them.
pub(crate) fn rename_images(manifest: &str) -> String {
    if std::env::var_os("OUTRIGGER_REGISTRY").is_none() {
        return manifest.to_owned();
    }
    // Where a profile has its image as a parameter's default, or a pod as its container's image.
    let renamed =
        manifest.lines().map(|line| match line.split_once("image: ").or(line.split_once("default: ")) {
            Some((_, name)) if name.contains('/') && name.contains(':') && !name.contains(' ') => {
                format!("{}{}", &line[..line.len() - name.len()], image(name))
            }
            _ => line.to_owned(),
        });
    renamed.collect::<Vec<_>>().join("\n")
}

/// A profile with a real server beside the app: a second Redis, on a port of its own, as a native sidecar.
pub fn companion(name: &str) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "ClusterSidecarProfile",
        "metadata": { "name": name },
        "spec": {
            "description": "A Redis beside the app.",
            "template": {
                "metadata": { "labels": { "companion": name } },
                "spec": {
                    "initContainers": [{
                        "name": name,
                        "image": image("redis:7.0"),
                        "restartPolicy": "Always",
                        "args": ["redis-server", "--port", "6400", "--dir", "/scratch"],
                        "startupProbe": { "exec": { "command": ["redis-cli", "-p", "6400", "ping"] }, "periodSeconds": 1 },
                        "resources": { "requests": { "cpu": "0.01", "memory": "16Mi" }, "limits": { "memory": "65536Ki" } },
                        "volumeMounts": [{ "name": "scratch", "mountPath": "/scratch" }],
                        "securityContext": restricted(),
                    }],
                    "volumes": [{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } }],
                },
            },
            "appContainers": [{
                "containers": ["*"],
                "env": [{ "name": "COMPANION", "value": "127.0.0.1:6400" }],
                "volumeMounts": [{ "name": "scratch", "mountPath": "/companion", "readOnly": true }],
            }],
        },
    })
}

/// The same as a Mandatory profile, for the namespaces whose label `e2e-guard` has its name.
pub fn mandatory(name: &str) -> Value {
    let mut profile = companion(name);
    profile["spec"]["enforcement"] = json!("Mandatory");
    profile["spec"]["match"] = json!({ "namespaceSelector": { "matchLabels": { "e2e-guard": name } } });
    profile
}

/// A pod with one app container: a Redis that runs until it is told to stop.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": pod_spec(),
    })
}

/// A Deployment of such pods.
pub fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod_spec() },
        },
    })
}

fn pod_spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 2,
        "containers": [{
            "name": "app",
            "image": image("redis:7.0"),
            "args": ["redis-server", "--dir", "/tmp"],
            "securityContext": restricted(),
        }],
    })
}

/// What the `restricted` Pod Security level asks for.
fn restricted() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 999,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}
