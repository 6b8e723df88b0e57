use serde_json::{Value, json};

/// Returns an image's name in the cluster; see `--registry` in `cargo xtask --help`.
pub fn image(name: &str) -> String {
    match std::env::var("OUTRIGGER_REGISTRY") {
        Ok(registry) => {
            format!("{}/{}", registry.trim_end_matches('/'), name.rsplit('/').next().unwrap_or(name))
        }
        Err(_) => name.to_owned(),
    }
}

/// Returns a manifest whose images of this repository have their names in the cluster.
pub(crate) fn rename_images(manifest: &str) -> String {
    if std::env::var_os("OUTRIGGER_REGISTRY").is_none() {
        return manifest.to_owned();
    }
    // In a profile, the image is a parameter's default; in a pod, a container's image.
    let renamed =
        manifest.lines().map(|line| match line.split_once("image: ").or(line.split_once("default: ")) {
            Some((_, name)) if name.contains('/') && name.contains(':') && !name.contains(' ') => {
                format!("{}{}", &line[..line.len() - name.len()], image(name))
            }
            _ => line.to_owned(),
        });
    renamed.collect::<Vec<_>>().join("\n")
}

/// Returns a profile with a real server next to the app: a second Redis on its own port, as a native sidecar.
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

/// Returns the same profile as a Mandatory one, for namespaces whose label `e2e-guard` is its name.
pub fn mandatory(name: &str) -> Value {
    let mut profile = companion(name);
    profile["spec"]["enforcement"] = json!("Mandatory");
    profile["spec"]["match"] = json!({ "namespaceSelector": { "matchLabels": { "e2e-guard": name } } });
    profile
}

/// Returns a pod with one app container: a Redis that runs until it gets SIGTERM.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": pod_spec(),
    })
}

/// Returns a Deployment of such pods.
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

/// Returns the security context that the `restricted` Pod Security level requires.
fn restricted() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 999,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}
