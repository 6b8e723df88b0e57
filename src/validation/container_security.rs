//! A container's security context: `ValidateSecurityContext`, and the fields that it shares with a pod's.

use super::choices;
use super::names;
use super::names::is_subdomain;
use super::node::{FieldNode, Report, quoted};
use crate::json::{Json, field, items};

/// Maximum user and group ID.
const GREATEST_ID: i64 = i32::MAX as i64;
const LONGEST_LOCAL_PROFILE: usize = 4095;

pub(super) fn check(security: FieldNode<'_, '_>, report: &mut Report) {
    for name in ["runAsUser", "runAsGroup"] {
        report.range(security, name, 0, GREATEST_ID);
    }
    report.choice_not_empty(security, "procMount", &choices::PROC_MOUNTS);
    security.with("seccompProfile", |profile| seccomp(profile, report));
    security.with("appArmorProfile", |profile| app_armor(profile, report));
    security.with("windowsOptions", |windows| windows_options(windows, report));
    if security.is_false("allowPrivilegeEscalation") {
        let name = "allowPrivilegeEscalation";
        if security.is_true("privileged") {
            report.relation(security, name, "false contradicts privileged: true; change one of the two");
        }
        let capabilities = security.get("capabilities");
        let added = items(capabilities.and_then(|capabilities| field(capabilities, "add")));
        if added.iter().any(|capability| capability.as_str() == Some("CAP_SYS_ADMIN")) {
            report.relation(
                security,
                name,
                "false contradicts the capability CAP_SYS_ADMIN; change one of the two",
            );
        }
    }
}

pub(super) fn id(node: FieldNode<'_, '_>, report: &mut Report) {
    if let Some(number) = node.value.as_i64().filter(|number| !(0..=GREATEST_ID).contains(number)) {
        report
            .invalid(node, format_args!("{number} is not between 0 and {GREATEST_ID}; write such a number"));
    }
}

pub(super) fn seccomp(profile: FieldNode<'_, '_>, report: &mut Report) {
    let kind = profile_type(profile, report);
    match profile.get("localhostProfile").and_then(Json::as_str) {
        None if kind == "Localhost" => {
            report.relation(
                profile,
                "localhostProfile",
                "is required for type Localhost; name the profile's file",
            );
        }
        Some(path) if kind == "Localhost" && !names::is_descending(path) => {
            let message = format_args!("{} must be a relative path without '..'", quoted(path));
            report.field(profile, "localhostProfile", message);
        }
        Some(_) if kind != "Localhost" => {
            report.relation(profile, "localhostProfile", "is only for type Localhost; remove it");
        }
        _ => {}
    }
}

pub(super) fn app_armor(profile: FieldNode<'_, '_>, report: &mut Report) {
    let kind = profile_type(profile, report);
    let name = "localhostProfile";
    match profile.get(name).and_then(Json::as_str) {
        None | Some("") if kind == "Localhost" => {
            report.relation(profile, name, "is required for type Localhost; name the profile");
        }
        Some(text) if kind == "Localhost" && text != text.trim() => {
            report.field(profile, name, format_args!("{} has spaces around it; remove them", quoted(text)));
        }
        Some(text) if kind == "Localhost" && text.len() > LONGEST_LOCAL_PROFILE => {
            let message = format_args!("{} has more than {LONGEST_LOCAL_PROFILE} bytes", quoted(text));
            report.field(profile, name, message);
        }
        Some(_) if matches!(kind, "RuntimeDefault" | "Unconfined") => {
            report.relation(profile, name, "is only for type Localhost; remove it");
        }
        _ => {}
    }
}

fn profile_type<'v>(profile: FieldNode<'_, 'v>, report: &mut Report) -> &'v str {
    if profile.text("type").is_empty() {
        report.field(profile, "type", "is required; write Localhost, RuntimeDefault or Unconfined");
    }
    report.choice(profile, "type", &choices::PROFILE_TYPES);
    profile.text("type")
}

/// Checks by `validateWindowsSecurityContextOptions`.
pub(super) fn windows_options(windows: FieldNode<'_, '_>, report: &mut Report) {
    const LARGEST_SPEC: usize = 64 << 10;
    if let Some(name) = windows.get("gmsaCredentialSpecName").and_then(Json::as_str)
        && !is_subdomain(name)
    {
        let message = format_args!("{} {}", quoted(name), names::SUBDOMAIN);
        report.field(windows, "gmsaCredentialSpecName", message);
    }
    if let Some(spec) = windows.get("gmsaCredentialSpec").and_then(Json::as_str)
        && !(1..=LARGEST_SPEC).contains(&spec.len())
    {
        let message = format_args!("has {} bytes, and must have 1 to {LARGEST_SPEC}", spec.len());
        report.field(windows, "gmsaCredentialSpec", message);
    }
    if let Some(name) = windows.get("runAsUserName").and_then(Json::as_str)
        && !is_windows_user(name)
    {
        let message = format_args!("{} is not a Windows user; write USER or DOMAIN\\USER", quoted(name));
        report.field(windows, "runAsUserName", message);
    }
}

/// Checks a Windows user name.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-runasusername/#windows-username-limitations>
fn is_windows_user(name: &str) -> bool {
    let (domain, user) = match name.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let is_net_bios = |domain: &str| {
        (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
    };
    let is_dns = |domain: &str| {
        domain.split('.').all(|part| part.len() <= 63 && is_subdomain(&part.to_ascii_lowercase()))
    };
    let is_domain = |domain: &str| domain.len() < 256 && (is_net_bios(domain) || is_dns(domain));
    !name.chars().any(|c| c.is_ascii_control())
        && domain.is_none_or(is_domain)
        && (1..=104).contains(&user.len())
        && !user.chars().all(|c| matches!(c, '.' | ' '))
        && !user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'])
}
