//! Pod Security Standards, for the containers and volumes of a pod's spec.
//!
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, as checked by Kubernetes v1.35.4
//! (`k8s.io/pod-security-admission/policy`). Fields of the pod itself that no profile can set are not checked.

use std::str::FromStr;

use serde_json::Value;

use super::json::text_at;

/// PodSecurityLevel of the standards that rejects pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PodSecurityLevel {
    Baseline,
    Restricted,
}

/// Field of a container or volume that a level does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// List of the spec, and index in it.
    pub(crate) list: &'static str,
    pub(crate) index: usize,
    /// Name of the container or volume.
    pub(crate) name: String,
    /// Path inside the element.
    pub(crate) field: &'static str,
    /// Rule, with the value to write.
    pub(crate) rule: &'static str,
}

const CONTAINERS: [&str; 2] = ["initContainers", "containers"];
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 4] = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
/// Types of volumes that restricted pods may not have.
const PRIVILEGED_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "azureDisk",
    "vsphereVolume",
    "quobyte",
    "portworxVolume",
    "photonPersistentDisk",
    "scaleIO",
    "storageos",
];
const HANDLERS: [&str; 5] =
    ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];

impl FromStr for PodSecurityLevel {
    type Err = String;

    /// Parses the name of a level.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("write baseline or restricted".to_owned()),
        }
    }
}

impl PodSecurityLevel {
    /// Returns the name of the level, as in the label of a namespace.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Returns the violations of a level by the containers and volumes of a spec.
pub(crate) fn violations(level: PodSecurityLevel, spec: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let is_windows = text_at(spec, "/os/name") == Some("windows");
    for list in CONTAINERS {
        let containers = spec.get(list).and_then(Value::as_array).into_iter().flatten();
        for (index, container) in containers.enumerate() {
            let mut report = |(field, rule)| {
                let name = text_at(container, "/name").unwrap_or_default().to_owned();
                found.push(Violation { list, index, name, field, rule });
            };
            baseline(container).into_iter().for_each(&mut report);
            if level == PodSecurityLevel::Restricted && !is_windows {
                restricted(container, spec).into_iter().for_each(&mut report);
            }
        }
    }
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    for (index, volume) in volumes.enumerate() {
        let has = |source: &&str| volume.get(*source).is_some();
        let is_allowed = match level {
            PodSecurityLevel::Baseline => !has(&"hostPath"),
            PodSecurityLevel::Restricted => !PRIVILEGED_VOLUMES.iter().any(has),
        };
        if !is_allowed {
            let name = text_at(volume, "/name").unwrap_or_default().to_owned();
            let rule = "the type of the volume is not allowed; use emptyDir, configMap, secret, projected, csi or a claim";
            found.push(Violation { list: "volumes", index, name, field: "", rule });
        }
    }
    found
}

fn baseline(container: &Value) -> Vec<(&'static str, &'static str)> {
    let is_true = |pointer: &str| container.pointer(pointer).and_then(Value::as_bool) == Some(true);
    let is_other = |pointer: &str, allowed: &[&str]| {
        text_at(container, pointer).is_some_and(|value| !allowed.contains(&value))
    };
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let has_host_port = ports.filter_map(|port| port.get("hostPort")?.as_i64()).any(|port| port != 0);
    let has_host = HANDLERS.iter().any(|handler| {
        ["httpGet", "tcpSocket"]
            .iter()
            .any(|action| text_at(container, &format!("{handler}/{action}/host")).is_some())
    });
    let added = added_capabilities(container);
    let checks = [
        (is_true("/securityContext/privileged"), "securityContext.privileged", "must not be true"),
        (
            added.iter().any(|name| !BASELINE_CAPABILITIES.contains(name)),
            "securityContext.capabilities.add",
            "must have capabilities of the default set only",
        ),
        (has_host_port, "ports.hostPort", "must not be set"),
        (has_host, "the host of a probe or lifecycle handler", "must not be set"),
        (
            is_other("/securityContext/appArmorProfile/type", &["RuntimeDefault", "Localhost"]),
            "securityContext.appArmorProfile.type",
            "must be RuntimeDefault or Localhost",
        ),
        (
            is_other("/securityContext/seLinuxOptions/type", &SELINUX_TYPES)
                || ["user", "role"].iter().any(|name| {
                    text_at(container, &format!("/securityContext/seLinuxOptions/{name}")).is_some()
                }),
            "securityContext.seLinuxOptions",
            "must have a type of containers, and neither user nor role",
        ),
        (
            is_other("/securityContext/procMount", &["Default"]),
            "securityContext.procMount",
            "must be Default",
        ),
        (
            text_at(container, "/securityContext/seccompProfile/type") == Some("Unconfined"),
            "securityContext.seccompProfile.type",
            "must not be Unconfined",
        ),
        (
            is_true("/securityContext/windowsOptions/hostProcess"),
            "securityContext.windowsOptions.hostProcess",
            "must not be true",
        ),
    ];
    checks.into_iter().filter(|(is_wrong, ..)| *is_wrong).map(|(_, field, rule)| (field, rule)).collect()
}

fn restricted(container: &Value, spec: &Value) -> Vec<(&'static str, &'static str)> {
    // A field of the container overrides the pod's.
    let of = |field: &str| {
        let pointer = format!("/securityContext/{field}");
        container.pointer(&pointer).or_else(|| spec.pointer(&pointer))
    };
    let dropped = container.pointer("/securityContext/capabilities/drop").and_then(Value::as_array);
    let drops_all = dropped.into_iter().flatten().any(|name| name.as_str() == Some("ALL"));
    let escalation = container.pointer("/securityContext/allowPrivilegeEscalation").and_then(Value::as_bool);
    let seccomp = of("seccompProfile/type").and_then(Value::as_str);
    let checks = [
        (escalation != Some(false), "securityContext.allowPrivilegeEscalation", "must be false"),
        (
            of("runAsNonRoot").and_then(Value::as_bool) != Some(true),
            "securityContext.runAsNonRoot",
            "must be true",
        ),
        (of("runAsUser").and_then(Value::as_i64) == Some(0), "securityContext.runAsUser", "must not be 0"),
        (
            !matches!(seccomp, Some("RuntimeDefault" | "Localhost")),
            "securityContext.seccompProfile.type",
            "must be RuntimeDefault or Localhost",
        ),
        (!drops_all, "securityContext.capabilities.drop", "must have ALL"),
        (
            added_capabilities(container).iter().any(|name| *name != "NET_BIND_SERVICE"),
            "securityContext.capabilities.add",
            "must have NET_BIND_SERVICE only",
        ),
    ];
    checks.into_iter().filter(|(is_wrong, ..)| *is_wrong).map(|(_, field, rule)| (field, rule)).collect()
}

fn added_capabilities(container: &Value) -> Vec<&str> {
    let added = container.pointer("/securityContext/capabilities/add").and_then(Value::as_array);
    added.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(level: PodSecurityLevel, spec: &Value) -> Vec<&'static str> {
        violations(level, spec).into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn the_restricted_level_requires_all_fields() {
        let good = json!({ "name": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] },
            "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" },
        } });
        let spec = json!({ "initContainers": [good], "volumes": [{ "name": "v", "emptyDir": {} }] });
        assert!(violations(PodSecurityLevel::Restricted, &spec).is_empty());
        let bare = json!({ "containers": [{ "name": "a" }] });
        assert!(violations(PodSecurityLevel::Baseline, &bare).is_empty());
        assert_eq!(
            fields(PodSecurityLevel::Restricted, &bare),
            [
                "securityContext.allowPrivilegeEscalation",
                "securityContext.runAsNonRoot",
                "securityContext.seccompProfile.type",
                "securityContext.capabilities.drop",
            ]
        );
        let by_pod = json!({ "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{ "name": "a" }] });
        assert_eq!(fields(PodSecurityLevel::Restricted, &by_pod).len(), 2);
    }

    #[test]
    fn the_baseline_level_rejects_access_to_the_host() {
        let spec = json!({
            "containers": [{
                "name": "a", "ports": [{ "containerPort": 1, "hostPort": 1 }],
                "livenessProbe": { "tcpSocket": { "port": 1, "host": "10.0.0.1" } },
                "securityContext": { "privileged": true, "capabilities": { "add": ["SYS_ADMIN"] }, "procMount": "Unmasked",
                    "seccompProfile": { "type": "Unconfined" }, "appArmorProfile": { "type": "Unconfined" },
                    "seLinuxOptions": { "user": "u" }, "windowsOptions": { "hostProcess": true } },
            }],
            "volumes": [{ "name": "host", "hostPath": { "path": "/" } }, { "name": "nfs", "nfs": {} }],
        });
        assert_eq!(violations(PodSecurityLevel::Baseline, &spec).len(), 10);
        let restricted = violations(PodSecurityLevel::Restricted, &spec);
        assert_eq!(restricted.iter().filter(|found| found.list == "volumes").count(), 2);
    }
}
