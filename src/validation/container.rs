//! Containers: `validateContainerCommon`, `validateContainers` and `validateInitContainers`.

use std::collections::BTreeSet;

use super::handlers;
use super::node::{FieldNode, Report, quoted};
use super::{choices, container_security, environment, mounts, ports, resources};
use crate::json::Json;

/// Fields of an init container that Kubernetes allows only with `restartPolicy: Always`.
const SIDECAR_ONLY: [&str; 4] = ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

/// Maximum number of `restartPolicyRules`, and of exit codes of one rule.
const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;

pub(super) fn check(container: FieldNode<'_, '_>, is_init: bool, report: &mut Report) {
    image(container, report);
    restart_policy(container, is_init, report);
    report.choice(container, "terminationMessagePolicy", &choices::TERMINATION_MESSAGES);
    report.choice(container, "imagePullPolicy", &choices::PULL_POLICIES);
    ports::check(container, report);
    container.each("env", |variable| environment::variable(variable, report));
    container.each("envFrom", |source| environment::source(source, report));
    mounts::check(container, report);
    resources::check(container, report);
    resize_policy(container, report);
    container.with("securityContext", |security| container_security::check(security, report));
    let takes_probes = !is_init || container.text("restartPolicy") == "Always";
    if takes_probes {
        handlers::check(container, report);
    } else {
        for field in SIDECAR_ONLY.iter().filter(|field| container.has(field)) {
            report.relation(
                container,
                field,
                "an init container has this only as a native sidecar: add restartPolicy: Always",
            );
        }
    }
}

fn image(container: FieldNode<'_, '_>, report: &mut Report) {
    let image = container.text("image");
    if image.is_empty() {
        report.field(container, "image", "a container needs an image");
    } else if image != image.trim() {
        let message = format_args!("{} has spaces around it; remove them", quoted(image));
        report.field(container, "image", message);
    }
}

/// Checks by `validateContainerRestartPolicy`, for Kubernetes 1.35 and later.
fn restart_policy(container: FieldNode<'_, '_>, is_init: bool, report: &mut Report) {
    match container.get("restartPolicy").and_then(Json::as_str).unwrap_or("Always") {
        "Always" | "Never" | "OnFailure" => {}
        other if is_init => report.field(
            container,
            "restartPolicy",
            format_args!("{} is not supported for an init container; leave it out, or write Always for a native sidecar", quoted(other)),
        ),
        other => report.field(
            container,
            "restartPolicy",
            format_args!("{} is not supported; write Always, OnFailure or Never, or leave it out", quoted(other)),
        ),
    }
    let rules = container.list("restartPolicyRules").len();
    if rules > 0 && !container.has("restartPolicy") {
        report.relation(container, "restartPolicy", "is required beside restartPolicyRules; set it");
    }
    if rules > 0 && is_init && container.text("restartPolicy") == "Always" {
        let message = "a native sidecar cannot have restart rules; remove them";
        report.relation(container, "restartPolicyRules", message);
        return;
    }
    if rules > MOST_RULES {
        let message = format_args!("has {rules} rules, and may have {MOST_RULES}; remove some");
        report.field(container, "restartPolicyRules", message);
    }
    container.each("restartPolicyRules", |rule| restart_rule(rule, report));
}

fn restart_rule(rule: FieldNode<'_, '_>, report: &mut Report) {
    if rule.text("action").is_empty() {
        report.field(rule, "action", "is required; write Restart");
    }
    report.choice(rule, "action", &choices::RULE_ACTIONS);
    if !rule.has("exitCodes") {
        report.field(rule, "exitCodes", "is required; set operator and values");
    }
    rule.with("exitCodes", |codes| {
        if codes.text("operator").is_empty() {
            report.field(codes, "operator", "is required; write In or NotIn");
        }
        report.choice(codes, "operator", &choices::EXIT_CODE_OPERATORS);
        let count = codes.list("values").len();
        if count > MOST_EXIT_CODES {
            let message = format_args!("has {count} exit codes, and may have {MOST_EXIT_CODES}; remove some");
            report.field(codes, "values", message);
        }
    });
}

fn resize_policy(container: FieldNode<'_, '_>, report: &mut Report) {
    let mut known = BTreeSet::new();
    container.each("resizePolicy", |policy| {
        let fields =
            [("resourceName", choices::RESIZED_RESOURCES), ("restartPolicy", choices::RESIZE_RESTARTS)];
        for (field, allowed) in fields {
            report.require(policy, &[field]);
            report.choice(policy, field, &allowed);
        }
        let resource = policy.text("resourceName");
        if !known.insert(resource) {
            let message = format_args!("{} has two resize policies; keep one", quoted(resource));
            report.field(policy, "resourceName", message);
        }
    });
}
