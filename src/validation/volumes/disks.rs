//! Volumes of storage systems and clouds; most of the types are older than CSI.

use super::super::choices;
use super::super::names::{self, has_backstep, is_descending};
use super::super::node::{FieldNode, Report, quoted};
use crate::api::is_dns_label;
use crate::json::Json;

/// Required texts of each source.
const REQUIRED: [(&str, &[&str]); 17] = [
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("nfs", &["server", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &["volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];

/// Maximum partition of a disk, and maximum logical unit of a target.
const GREATEST_NUMBER: i64 = 255;
const LONGEST_PORTAL: usize = 64;

pub(super) fn check(volume: FieldNode<'_, '_>, report: &mut Report) {
    for (source, required) in REQUIRED {
        volume.with(source, |source| report.require(source, required));
    }
    for source in ["awsElasticBlockStore", "gcePersistentDisk"] {
        volume.with(source, |source| report.range(source, "partition", 0, GREATEST_NUMBER));
    }
    for source in ["rbd", "cephfs"] {
        volume.with(source, |source| {
            if source.list("monitors").is_empty() {
                report.field(source, "monitors", "is required and must not be empty; name the monitors");
            }
        });
    }
    for source in ["cinder", "storageos"] {
        volume.with(source, |source| {
            source.with("secretRef", |secret| report.require(secret, &["name"]));
        });
    }
    volume.with("azureDisk", |disk| azure_disk(disk, report));
    volume.with("fc", |fc| fibre_channel(fc, report));
    volume.with("flexVolume", |flex| flex_options(flex, report));
    volume.with("flocker", |flocker| data_set(flocker, report));
    volume.with("gitRepo", |git| relative(git, "directory", report));
    volume.with("iscsi", |iscsi| target(volume, iscsi, report));
    volume.with("nfs", |nfs| {
        let path = nfs.text("path");
        if !path.is_empty() && !path.starts_with('/') {
            report.field(nfs, "path", format_args!("{} is not absolute; begin it with '/'", quoted(path)));
        }
    });
    volume.with("quobyte", |quobyte| registry(quobyte, report));
    volume.with("storageos", |storage| {
        for name in ["volumeName", "volumeNamespace"] {
            let text = storage.text(name);
            if !text.is_empty() && !is_dns_label(text) {
                report.field(storage, name, format_args!("{} {}", quoted(text), names::DNS_LABEL));
            }
        }
    });
}

fn relative(node: FieldNode<'_, '_>, name: &str, report: &mut Report) {
    let path = node.text(name);
    if !is_descending(path) || has_backstep(path) {
        report.field(node, name, format_args!("{} {}", quoted(path), names::RELATIVE_PATH));
    }
}

fn azure_disk(disk: FieldNode<'_, '_>, report: &mut Report) {
    report.choice_not_empty(disk, "cachingMode", &choices::CACHING_MODES);
    report.choice_not_empty(disk, "kind", &choices::DISK_KINDS);
    let start = if disk.text("kind") == "Managed" { "/subscriptions/" } else { "https://" };
    let uri = disk.text("diskURI");
    if !uri.is_empty() && !uri.starts_with(start) {
        let message = format_args!("{} does not begin with {start}, which its kind needs", quoted(uri));
        report.relation(disk, "diskURI", message);
    }
}

fn fibre_channel(fc: FieldNode<'_, '_>, report: &mut Report) {
    let (has_names, has_ids) = (!fc.list("targetWWNs").is_empty(), !fc.list("wwids").is_empty());
    if has_names == has_ids {
        report.relation(fc, "targetWWNs", "set either targetWWNs or wwids");
    }
    if has_names && !fc.has("lun") {
        report.relation(fc, "lun", "is required beside targetWWNs; set it");
    }
    if has_names {
        report.range(fc, "lun", 0, GREATEST_NUMBER);
    }
}

fn flex_options(flex: FieldNode<'_, '_>, report: &mut Report) {
    flex.entries("options", |key, value| {
        let domain = key.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let is_reserved = ["kubernetes.io", "k8s.io"].iter().any(|reserved| {
            domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if is_reserved {
            report.invalid(value, format_args!("{} is reserved for Kubernetes; remove it", quoted(key)));
        }
    });
}

fn data_set(flocker: FieldNode<'_, '_>, report: &mut Report) {
    let name = flocker.text("datasetName");
    if name.is_empty() == flocker.text("datasetUUID").is_empty() {
        report.relation(flocker, "datasetName", "set either datasetName or datasetUUID");
    }
    if name.contains('/') {
        report.field(flocker, "datasetName", format_args!("{} holds '/'; remove it", quoted(name)));
    }
}

fn target(volume: FieldNode<'_, '_>, iscsi: FieldNode<'_, '_>, report: &mut Report) {
    for name in ["iqn", "initiatorName"] {
        if let Some(text) = iscsi.get(name).and_then(Json::as_str)
            && (name == "initiatorName" || !text.is_empty())
            && !is_iscsi_name(text)
        {
            let message = format_args!("{} is not a name that begins with iqn, eui or naa", quoted(text));
            report.field(iscsi, name, message);
        }
    }
    report.range(iscsi, "lun", 0, GREATEST_NUMBER);
    if (iscsi.is_true("chapAuthDiscovery") || iscsi.is_true("chapAuthSession")) && !iscsi.has("secretRef") {
        report.relation(iscsi, "secretRef", "is required for CHAP authentication; name a Secret");
    }
    let length = volume.text("name").len() + 1 + iscsi.text("targetPortal").len();
    if iscsi.has("initiatorName") && length > LONGEST_PORTAL {
        let message =
            format_args!("with the volume's name it has {length} characters, and may have {LONGEST_PORTAL}");
        report.relation_in(volume, iscsi, message);
    }
}

/// Checks for the name of an iSCSI node (RFC 7143, section 4.2.7).
fn is_iscsi_name(name: &str) -> bool {
    let is_word =
        |text: &str, length| text.len() == length && text.chars().all(|c| c.is_ascii_alphanumeric());
    let is_date = |date: &str| {
        date.split_once('-').is_some_and(|(year, month)| {
            (year.len(), month.len()) == (4, 2) && date.chars().all(|c| c.is_ascii_digit() || c == '-')
        })
    };
    if let Some(rest) = name.strip_prefix("iqn.") {
        let (date, rest) = rest.split_once('.').unwrap_or_default();
        let (authority, suffix) = rest.split_once(':').unwrap_or_default();
        return is_date(date)
            && !authority.is_empty()
            && authority.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
            && !suffix.is_empty()
            && !suffix.chars().any(|c| c.is_whitespace() || matches!(c, ',' | ';' | '*' | '&' | '$' | '|'));
    }
    name.strip_prefix("eui.").is_some_and(|rest| is_word(rest, 16))
        || name.strip_prefix("naa.").is_some_and(|rest| is_word(rest, 32))
}

fn registry(quobyte: FieldNode<'_, '_>, report: &mut Report) {
    let registry = quobyte.text("registry");
    let is_pair = |pair: &str| {
        pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.starts_with('['))
    };
    if !registry.is_empty() && !registry.split(',').all(is_pair) {
        let message = format_args!("{} is not a list of host:port, separated by commas", quoted(registry));
        report.field(quobyte, "registry", message);
    }
    if quobyte.text("tenant").len() > 64 {
        report.field(quobyte, "tenant", "has more than 64 characters; write a UUID");
    }
}
