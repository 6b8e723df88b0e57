//! Checks of containers against the rest of their pod.

use serde_json_borrow::ObjectAsVec;

use super::node::{FieldNode, Path, Problem, Report, quoted};
use crate::json::{Json, field, items, text};

/// Volume that a container names.
pub(crate) enum VolumeOf<'v> {
    /// The pod has no such volume.
    Absent,
    /// The volume's source is not known yet.
    Unknown,
    /// Volume of the pod.
    Known(&'v Json<'v>),
}

/// Facts about the pod of a container; `None` for an unknown fact.
pub(crate) trait PodFacts {
    /// Returns the volume with a name.
    fn volume(&self, name: &str) -> VolumeOf<'_>;
    /// Checks whether the pod has the resource claim.
    fn has_claim(&self, name: &str) -> bool;
    /// Returns the pod's grace period in seconds.
    fn grace_period(&self) -> Option<i64>;
    /// Returns the pod's `spec.os.name`; empty if it is not set.
    fn os(&self) -> Option<&str>;
    /// Checks whether the pod has its own user namespace (`hostUsers: false`).
    fn has_own_users(&self) -> Option<bool>;
    /// Checks whether the kubelet never restarts a container of the pod.
    fn is_never_restarted(&self) -> Option<bool>;
    /// Checks whether the pod is on the node's network.
    fn host_network(&self) -> Option<bool>;
}

/// Returns the problems of a container in combination with the rest of its pod.
pub(crate) fn check_container_in_pod(
    container: &Json<'_>,
    is_init: bool,
    pod: &dyn PodFacts,
) -> Vec<Problem> {
    let mut report = Report::default();
    let node = FieldNode::root(container, &Path::Root);
    node.each("env", |variable| file_of_variable(variable, pod, &mut report));
    node.each("volumeDevices", |device| device_of_pod(device, pod, &mut report));
    node.with("resources", |resources| {
        resources.each("claims", |claim| {
            let name = claim.text("name");
            if !pod.has_claim(name) {
                report.field(
                    claim,
                    "name",
                    format_args!("the pod has no resource claim {}; add it to resourceClaims", quoted(name)),
                );
            }
        });
    });
    node.with("lifecycle", |lifecycle| {
        for hook in ["postStart", "preStop"] {
            lifecycle.with(hook, |hook| hook.with("sleep", |sleep| sleep_in_pod(sleep, pod, &mut report)));
        }
    });
    node.with("securityContext", |security| security_in_pod(security, pod, &mut report));
    if pod.is_never_restarted() == Some(true) {
        node.each("resizePolicy", |policy| {
            if policy.text("restartPolicy") == "RestartContainer" {
                report.field(
                    policy,
                    "restartPolicy",
                    "must be NotRequired in a pod with restartPolicy: Never",
                );
            }
        });
    }
    if pod.host_network() == Some(true) && !is_init {
        node.each("ports", |port| {
            let (host, own) = (port.number("hostPort").unwrap_or_default(), port.number("containerPort"));
            if host != 0 && own.is_some_and(|own| own != host) {
                let message =
                    format_args!("{host} must be equal to containerPort on the node's network; remove it");
                report.field(port, "hostPort", message);
            }
        });
    }
    report.into_problems()
}

fn file_of_variable(variable: FieldNode<'_, '_>, pod: &dyn PodFacts, report: &mut Report) {
    variable.with("valueFrom", |from| {
        from.with("fileKeyRef", |file| {
            let name = file.text("volumeName");
            match pod.volume(name) {
                VolumeOf::Absent => {
                    report.field(file, "volumeName", format_args!("the pod has no volume {}", quoted(name)));
                }
                VolumeOf::Known(volume) if !is_empty_dir(volume) => {
                    let message = format_args!(
                        "the volume {} is not an emptyDir, which fileKeyRef needs",
                        quoted(name)
                    );
                    report.field(file, "volumeName", message);
                }
                _ => {}
            }
        });
    });
}

/// Checks whether a volume is an `emptyDir`; a volume without a source is one as well.
fn is_empty_dir(volume: &Json<'_>) -> bool {
    let fields = volume.as_object().into_iter().flat_map(ObjectAsVec::iter);
    fields.filter(|(_, value)| !value.is_null()).all(|(name, _)| matches!(name, "name" | "emptyDir"))
}

/// Sources of volumes that can be block devices.
const BLOCK_SOURCES: [&str; 2] = ["persistentVolumeClaim", "ephemeral"];

fn device_of_pod(device: FieldNode<'_, '_>, pod: &dyn PodFacts, report: &mut Report) {
    let name = device.text("name");
    match pod.volume(name) {
        VolumeOf::Absent => {
            report.field(device, "name", format_args!("the pod has no volume {}", quoted(name)));
        }
        VolumeOf::Known(volume) if BLOCK_SOURCES.iter().all(|source| field(volume, source).is_none()) => {
            let message = format_args!(
                "the volume {} is no block device; use a persistentVolumeClaim or an ephemeral volume",
                quoted(name)
            );
            report.field(device, "name", message);
        }
        _ => {}
    }
    if pod.has_own_users() == Some(true) {
        report.field(device, "name", "a pod with hostUsers: false cannot use block devices");
    }
}

fn sleep_in_pod(sleep: FieldNode<'_, '_>, pod: &dyn PodFacts, report: &mut Report) {
    if let (Some(seconds), Some(most)) = (sleep.number("seconds"), pod.grace_period())
        && seconds > most
    {
        let message = format_args!(
            "{seconds} is more than the pod's terminationGracePeriodSeconds, {most}; sleep less, or raise it in the profile"
        );
        report.field(sleep, "seconds", message);
    }
}

fn security_in_pod(security: FieldNode<'_, '_>, pod: &dyn PodFacts, report: &mut Report) {
    if security.text("procMount") == "Unmasked" && pod.has_own_users() == Some(false) {
        report.field(security, "procMount", "Unmasked is only for pods with hostUsers: false");
    }
    match pod.os() {
        Some("linux") if security.has("windowsOptions") => {
            report.field(security, "windowsOptions", "cannot be set in a pod with os.name: linux; remove it");
        }
        Some("windows") => {
            for name in linux_fields(&security) {
                report.field(security, name, "cannot be set in a pod with os.name: windows; remove it");
            }
        }
        _ => {}
    }
}

fn linux_fields<'v>(security: &FieldNode<'_, 'v>) -> Vec<&'v str> {
    security.sources(&["windowsOptions", "runAsNonRoot"])
}

/// Sysctls of the IPC namespace, in addition to those that begin with `fs.mqueue.`.
const IPC_SYSCTLS: [&str; 10] = [
    "kernel.sem",
    "kernel.shm",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.msg",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
];

/// Returns the first sysctl of a namespace that the pod shares with its node.
pub(crate) fn sysctl_of_host(sysctls: &Json<'_>, host_network: bool, host_ipc: bool) -> Option<String> {
    let names = items(Some(sysctls)).iter().filter_map(|sysctl| text(sysctl, "name"));
    let is_of_host = |name: &String| {
        let is_ipc = IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
        (host_network && name.starts_with("net.")) || (host_ipc && is_ipc)
    };
    names.map(|name| name.replace('/', ".")).find(is_of_host)
}
