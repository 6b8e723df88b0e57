//! Mounts and devices of a container: `ValidateVolumeMounts` and `ValidateVolumeDevices`.

use std::collections::BTreeSet;

use super::choices;
use super::names::{self, has_backstep, is_descending};
use super::node::{FieldNode, Report, quoted};
use crate::json::{Json, field, text};

pub(super) fn check(container: FieldNode<'_, '_>, report: &mut Report) {
    let is_privileged = is_privileged(container.value);
    container.each("volumeMounts", |mount_node| {
        mount(mount_node, report);
        if mount_node.text("mountPropagation") == "Bidirectional" && !is_privileged {
            report.relation_in(
                container,
                mount_node,
                "mountPropagation: Bidirectional is only for privileged containers; write HostToContainer, or set securityContext.privileged",
            );
        }
    });
    devices(container, report);
}

/// Checks whether a container is privileged, as required by a mount with `mountPropagation: Bidirectional`.
pub(crate) fn is_privileged(container: &Json<'_>) -> bool {
    let security = field(container, "securityContext");
    security.and_then(|security| field(security, "privileged")).and_then(Json::as_bool) == Some(true)
}

/// Checks a mount, except for rules that depend on its container.
pub(super) fn mount(mount: FieldNode<'_, '_>, report: &mut Report) {
    report.require(mount, &["name", "mountPath"]);
    for field in ["subPath", "subPathExpr"] {
        let path = mount.text(field);
        if !is_descending(path) {
            report.field(mount, field, format_args!("{} {}", quoted(path), names::RELATIVE_PATH));
        }
    }
    if !mount.text("subPath").is_empty() && !mount.text("subPathExpr").is_empty() {
        report.relation(mount, "subPathExpr", "cannot stand beside subPath; keep one of the two");
    }
    report.choice_not_empty(mount, "mountPropagation", &choices::PROPAGATIONS);
    report.choice_not_empty(mount, "recursiveReadOnly", &choices::RECURSIVE_READ_ONLY);
    if matches!(mount.text("recursiveReadOnly"), "Enabled" | "IfPossible") {
        if !mount.is_true("readOnly") {
            report.relation(mount, "recursiveReadOnly", "is only for readOnly: true; set that, too");
        }
        if mount.has("mountPropagation") && mount.text("mountPropagation") != "None" {
            let message = "is only for mountPropagation: None; remove mountPropagation";
            report.relation(mount, "recursiveReadOnly", message);
        }
    }
}

fn devices(container: FieldNode<'_, '_>, report: &mut Report) {
    let mounts = container.list("volumeMounts");
    let is_mounted =
        |field: &str, wanted: &str| mounts.iter().any(|mount| text(mount, field) == Some(wanted));
    let (mut known_names, mut known_paths) = (BTreeSet::new(), BTreeSet::new());
    container.each("volumeDevices", |device| {
        report.require(device, &["name", "devicePath"]);
        let (name, path) = (device.text("name"), device.text("devicePath"));
        if !known_names.insert(name) {
            report.field(device, "name", format_args!("{} is listed twice; keep one", quoted(name)));
        }
        if !known_paths.insert(path) {
            report.field(device, "devicePath", format_args!("{} is listed twice; keep one", quoted(path)));
        }
        if has_backstep(path) {
            report.field(device, "devicePath", format_args!("{} holds '..'; remove it", quoted(path)));
        }
        if is_mounted("name", name) {
            let message = format_args!("{} is mounted, too; use it as a mount or as a device", quoted(name));
            report.relation_in(container, device, message);
        }
        if is_mounted("mountPath", path) {
            let message = format_args!("{} is the path of a mount, too; choose another", quoted(path));
            report.relation_in(container, device, message);
        }
    });
}
