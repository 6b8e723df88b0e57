//! Fields of a pod's security context: `validatePodSpecSecurityContext`.

use std::collections::BTreeSet;

use super::container_security::{app_armor, id, seccomp, windows_options};
use super::names::is_sysctl;
use super::node::{FieldNode, Report, quoted};
use crate::json::items;
use crate::json::text;

/// Checks the value of one field.
pub(super) fn field(name: &str, value: FieldNode<'_, '_>, report: &mut Report) {
    match name {
        "fsGroup" | "runAsUser" | "runAsGroup" => id(value, report),
        "supplementalGroups" => {
            for (index, number) in items(Some(value.value)).iter().enumerate() {
                if number.as_i64().is_some_and(|number| !(0..=i64::from(i32::MAX)).contains(&number)) {
                    report.invalid(
                        value,
                        format_args!("group {index}, {number}, is not between 0 and {}", i32::MAX),
                    );
                }
            }
        }
        "sysctls" => sysctls(value, report),
        "fsGroupChangePolicy" => choice(value, &["OnRootMismatch", "Always"], report),
        "supplementalGroupsPolicy" => choice(value, &["Merge", "Strict"], report),
        "seLinuxChangePolicy" => choice(value, &["Recursive", "MountOption"], report),
        "seccompProfile" => seccomp(value, report),
        "appArmorProfile" => app_armor(value, report),
        "windowsOptions" => windows_options(value, report),
        _ => {}
    }
}

fn choice(value: FieldNode<'_, '_>, allowed: &[&str; 2], report: &mut Report) {
    if let Some(text) = value.value.as_str().filter(|text| !allowed.contains(text)) {
        report.invalid(
            value,
            format_args!("{} is not supported; write {}", quoted(text), allowed.join(" or ")),
        );
    }
}

fn sysctls(list: FieldNode<'_, '_>, report: &mut Report) {
    let mut known = BTreeSet::new();
    for sysctl in items(Some(list.value)) {
        let name = text(sysctl, "name").unwrap_or_default();
        if !is_sysctl(name) {
            let message = format_args!(
                "{} is not a sysctl; use lowercase letters, digits, '-' and '_' in parts joined by '.' or '/'",
                quoted(name)
            );
            report.invalid(list, message);
        } else if !known.insert(name) {
            report.invalid(list, format_args!("{} is set twice; keep one", quoted(name)));
        }
    }
}
