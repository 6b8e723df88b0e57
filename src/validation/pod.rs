//! A pod's other lists, its labels and annotations, and containers beside the rest of the pod.

use super::names::{self, is_ip, is_label_value, is_qualified_name, is_search_domain, is_subdomain};
use super::node::{Node, Path, Problem, Report, quoted};
use crate::api::is_dns_label;
use crate::fields::DnsList;
use crate::json::{Json, field, items, text};

/// The annotation that tells which pod of a ReplicaSet is removed first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Reports the value of a label.
pub(super) fn label(value: Node<'_, '_>, report: &mut Report) {
    if let Some(text) = value.value.as_str().filter(|text| !is_label_value(text)) {
        report.invalid(value, format_args!("{} {}", quoted(text), names::LABEL_VALUE));
    }
}

/// Reports the value of an annotation that the API server reads.
pub(super) fn annotation(key: &str, value: Node<'_, '_>, report: &mut Report) {
    let Some(text) = value.value.as_str() else { return };
    if key == DELETION_COST && !is_deletion_cost(text) {
        report.invalid(value, format_args!("{} is not a 32-bit integer; write one", quoted(text)));
    }
    let local = text.strip_prefix("localhost/");
    if key.starts_with(APP_ARMOR) && !matches!(text, "" | "runtime/default" | "unconfined") && local.is_none()
    {
        let message = format_args!(
            "{} is not an AppArmor profile; write runtime/default, unconfined or localhost/<profile>",
            quoted(text)
        );
        report.invalid(value, message);
    }
    if (key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER))
        && !matches!(text, "runtime/default" | "docker/default" | "unconfined")
        && !local.is_some_and(names::is_descending)
    {
        let message = format_args!(
            "{} is not a seccomp profile; write runtime/default, unconfined or localhost/<file>",
            quoted(text)
        );
        report.invalid(value, message);
    }
}

/// A 32-bit integer without a plus sign and without leading zeros.
fn is_deletion_cost(text: &str) -> bool {
    let is_start = text == "0" || text.starts_with(|first| matches!(first, '-' | '1'..='9'));
    is_start && text.parse::<i32>().is_ok()
}

/// `ValidateHostAliases`.
pub(super) fn host_alias(alias: Node<'_, '_>, report: &mut Report) {
    let ip = alias.text("ip");
    if !is_ip(ip) {
        report.field(alias, "ip", format_args!("{} {}", quoted(ip), names::IP));
    }
    alias.each("hostnames", |name| {
        if let Some(text) = name.value.as_str().filter(|text| !is_subdomain(text)) {
            report.invalid(name, format_args!("{} {}", quoted(text), names::SUBDOMAIN));
        }
    });
}

/// `ValidateTolerations`.
pub(super) fn toleration(toleration: Node<'_, '_>, report: &mut Report) {
    let (key, value) = (toleration.text("key"), toleration.text("value"));
    let operator = toleration.text("operator");
    if !key.is_empty() && !is_qualified_name(key) {
        report.field(toleration, "key", format_args!("{} {}", quoted(key), names::QUALIFIED));
    }
    if key.is_empty() && operator != "Exists" {
        report.relation(toleration, "operator", "must be Exists where key is absent; write Exists, or a key");
    }
    if toleration.has("tolerationSeconds") && toleration.text("effect") != "NoExecute" {
        report.relation(toleration, "effect", "must be NoExecute beside tolerationSeconds; write NoExecute");
    }
    match operator {
        "" | "Equal" if !is_label_value(value) => {
            report.relation(toleration, "value", format_args!("{} {}", quoted(value), names::LABEL_VALUE));
        }
        "Exists" if !value.is_empty() => {
            report.relation(
                toleration,
                "value",
                "cannot stand beside operator: Exists; remove one of the two",
            );
        }
        "Lt" | "Gt" if !value.parse::<i64>().is_ok_and(|number| number.to_string() == value) => {
            let message = format_args!("{} is not a decimal integer, which {operator} needs", quoted(value));
            report.relation(toleration, "value", message);
        }
        _ => {}
    }
    report.choice(toleration, "operator", &["Equal", "Exists", "Lt", "Gt"]);
    report.choice(toleration, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

pub(super) fn readiness_gate(gate: Node<'_, '_>, report: &mut Report) {
    let condition = gate.text("conditionType");
    if !is_qualified_name(condition) {
        report.field(gate, "conditionType", format_args!("{} {}", quoted(condition), names::QUALIFIED));
    }
}

/// `validatePodResourceClaim`.
pub(super) fn resource_claim(claim: Node<'_, '_>, report: &mut Report) {
    let name = claim.text("name");
    if !is_dns_label(name) {
        report.field(claim, "name", format_args!("{} {}", quoted(name), names::DNS_LABEL));
    }
    match claim.sources(&["name"]).as_slice() {
        [] => report.invalid(claim, "set resourceClaimName or resourceClaimTemplateName"),
        [_] => {}
        several => {
            report.invalid(claim, format_args!("has several sources, {}; keep one", several.join(" and ")));
        }
    }
    for field in ["resourceClaimName", "resourceClaimTemplateName"] {
        if let Some(text) = claim.get(field).and_then(Json::as_str)
            && !is_subdomain(text)
        {
            report.field(claim, field, format_args!("{} {}", quoted(text), names::SUBDOMAIN));
        }
    }
}

pub(super) fn nameserver(server: Node<'_, '_>, report: &mut Report) {
    if let Some(text) = server.value.as_str().filter(|text| !is_ip(text)) {
        report.invalid(server, format_args!("{} {}", quoted(text), names::IP));
    }
}

pub(super) fn search(search: Node<'_, '_>, report: &mut Report) {
    if let Some(text) = search.value.as_str().filter(|text| !is_search_domain(text)) {
        report.invalid(
            search,
            format_args!("{} is not a search domain; write one such as shop.example.com", quoted(text)),
        );
    }
}

/// Returns what is wrong with one of the lists of a DNS configuration as a whole.
/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-dns-config>
pub(crate) fn dns_problem<'t>(list: DnsList, texts: impl Iterator<Item = &'t str>) -> Option<String> {
    const MOST_NAMESERVERS: usize = 3;
    const MOST_SEARCHES: usize = 32;
    const LONGEST_SEARCHES: usize = 2048;
    let most = match list {
        DnsList::Nameservers => MOST_NAMESERVERS,
        DnsList::Searches => MOST_SEARCHES,
        DnsList::Options => return None,
    };
    let (count, length) = texts.fold((0, 0), |(count, length), text| (count + 1, length + text.len() + 1));
    if count > most {
        return Some(format!("has {count} entries, and may have {most}"));
    }
    (list == DnsList::Searches && length > LONGEST_SEARCHES + 1)
        .then(|| format!("has {} characters, and may have {LONGEST_SEARCHES}", length - 1))
}

pub(super) fn dns_option(option: Node<'_, '_>, report: &mut Report) {
    report.require(option, &["name"]);
}

/// A volume that a container names.
pub(crate) enum VolumeOf<'v> {
    /// The pod does not have it.
    Absent,
    /// Its source is not known yet.
    Unknown,
    /// The volume.
    Known(&'v Json<'v>),
}

/// What a pod has beside a container; `None` where it is not known.
pub(crate) trait Facts {
    /// Returns the volume of a name.
    fn volume(&self, name: &str) -> VolumeOf<'_>;
    /// Whether the pod has the resource claim.
    fn has_claim(&self, name: &str) -> bool;
    /// Returns the pod's grace period in seconds.
    fn grace_period(&self) -> Option<i64>;
    /// Returns the pod's `spec.os.name`; empty where it has none.
    fn os(&self) -> Option<&str>;
    /// Whether the pod has user namespaces of its own (`hostUsers: false`).
    fn has_own_users(&self) -> Option<bool>;
    /// Whether the kubelet restarts no container of the pod.
    fn is_never_restarted(&self) -> Option<bool>;
    /// Whether the pod is on the node's network.
    fn host_network(&self) -> Option<bool>;
}

/// Returns the problems of a container beside the rest of its pod.
pub(crate) fn check_container_in_pod(container: &Json<'_>, is_init: bool, pod: &dyn Facts) -> Vec<Problem> {
    let mut report = Report::default();
    let node = Node::root(container, &Path::Root);
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

fn file_of_variable(variable: Node<'_, '_>, pod: &dyn Facts, report: &mut Report) {
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

/// Whether a volume is an `emptyDir`, which it also is without any source.
fn is_empty_dir(volume: &Json<'_>) -> bool {
    let fields = volume.as_object().into_iter().flat_map(|fields| fields.iter());
    fields.filter(|(_, value)| !value.is_null()).all(|(name, _)| matches!(name, "name" | "emptyDir"))
}

/// The sources of volumes that can be block devices.
const BLOCK_SOURCES: [&str; 2] = ["persistentVolumeClaim", "ephemeral"];

fn device_of_pod(device: Node<'_, '_>, pod: &dyn Facts, report: &mut Report) {
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

fn sleep_in_pod(sleep: Node<'_, '_>, pod: &dyn Facts, report: &mut Report) {
    if let (Some(seconds), Some(most)) = (sleep.number("seconds"), pod.grace_period())
        && seconds > most
    {
        let message = format_args!(
            "{seconds} is more than the pod's terminationGracePeriodSeconds, {most}; sleep less, or raise it in the profile"
        );
        report.field(sleep, "seconds", message);
    }
}

fn security_in_pod(security: Node<'_, '_>, pod: &dyn Facts, report: &mut Report) {
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

fn linux_fields<'v>(security: &Node<'_, 'v>) -> Vec<&'v str> {
    security.sources(&["windowsOptions", "runAsNonRoot"])
}

/// The sysctls of the IPC namespace, besides those that begin with `fs.mqueue.`.
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
