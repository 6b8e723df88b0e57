//! Other lists of a pod, its labels and its annotations.

use super::choices;
use super::names::{self, is_ip, is_label_value, is_qualified_name, is_search_domain, is_subdomain};
use super::node::{FieldNode, Report, quoted};
use crate::api::is_dns_label;
use crate::fields::DnsList;
use crate::json::Json;

/// Annotation that determines which pod of a `ReplicaSet` is removed first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Reports the value of a label.
pub(super) fn label(value: FieldNode<'_, '_>, report: &mut Report) {
    if let Some(text) = value.value.as_str().filter(|text| !is_label_value(text)) {
        report.invalid(value, format_args!("{} {}", quoted(text), names::LABEL_VALUE));
    }
}

/// Reports the value of an annotation that the API server reads.
pub(super) fn annotation(key: &str, value: FieldNode<'_, '_>, report: &mut Report) {
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

/// Checks for a 32-bit integer without a plus sign and without leading zeros.
fn is_deletion_cost(text: &str) -> bool {
    let is_start = text == "0" || text.starts_with(|first| matches!(first, '-' | '1'..='9'));
    is_start && text.parse::<i32>().is_ok()
}

/// Checks by `ValidateHostAliases`.
pub(super) fn host_alias(alias: FieldNode<'_, '_>, report: &mut Report) {
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

/// Checks by `ValidateTolerations`.
pub(super) fn toleration(toleration: FieldNode<'_, '_>, report: &mut Report) {
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
    report.choice(toleration, "operator", &choices::TOLERATION_OPERATORS);
    report.choice(toleration, "effect", &choices::TOLERATION_EFFECTS);
}

pub(super) fn readiness_gate(gate: FieldNode<'_, '_>, report: &mut Report) {
    let condition = gate.text("conditionType");
    if !is_qualified_name(condition) {
        report.field(gate, "conditionType", format_args!("{} {}", quoted(condition), names::QUALIFIED));
    }
}

/// Checks by `validatePodResourceClaim`.
pub(super) fn resource_claim(claim: FieldNode<'_, '_>, report: &mut Report) {
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

pub(super) fn nameserver(server: FieldNode<'_, '_>, report: &mut Report) {
    if let Some(text) = server.value.as_str().filter(|text| !is_ip(text)) {
        report.invalid(server, format_args!("{} {}", quoted(text), names::IP));
    }
}

pub(super) fn search(search: FieldNode<'_, '_>, report: &mut Report) {
    if let Some(text) = search.value.as_str().filter(|text| !is_search_domain(text)) {
        report.invalid(
            search,
            format_args!("{} is not a search domain; write one such as shop.example.com", quoted(text)),
        );
    }
}

/// Returns a problem of a list of a DNS configuration as a whole.
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

pub(super) fn dns_option(option: FieldNode<'_, '_>, report: &mut Report) {
    report.require(option, &["name"]);
}
