//! Probes and lifecycle hooks: `validateProbe`, `validateHandler` and `validateLifecycle`.

use super::names::{self, is_header_name, is_port_name};
use super::node::{FieldNode, Report, quoted};
use super::{choices, ports};
use crate::json::Json;

/// Fields of a probe that are not its action.
const PROBE_SETTINGS: [&str; 6] = [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
];

pub(super) fn check(container: FieldNode<'_, '_>, report: &mut Report) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        container.with(name, |node| probe(node, name == "readinessProbe", report));
    }
    container.with("lifecycle", |lifecycle| {
        for hook in ["postStart", "preStop"] {
            lifecycle.with(hook, |hook| {
                handler(hook, &[], "exec, httpGet, sleep or tcpSocket", report);
                hook.with("sleep", |sleep| {
                    if let Some(seconds) = sleep.number("seconds").filter(|seconds| *seconds < 0) {
                        report.field(
                            sleep,
                            "seconds",
                            format_args!("{seconds} is negative; write 0 or more"),
                        );
                    }
                });
            });
        }
    });
}

fn probe(probe: FieldNode<'_, '_>, is_readiness: bool, report: &mut Report) {
    handler(probe, &PROBE_SETTINGS, "exec, grpc, httpGet or tcpSocket", report);
    for setting in PROBE_SETTINGS.iter().filter(|name| **name != "terminationGracePeriodSeconds") {
        if let Some(number) = probe.number(setting).filter(|number| *number < 0) {
            report.field(probe, setting, format_args!("{number} is negative; write 0 or more"));
        }
    }
    if let Some(number) = probe.number("successThreshold").filter(|number| !is_readiness && *number > 1) {
        let message = format_args!("{number} is only for a readinessProbe; write 1 or leave it out");
        report.field(probe, "successThreshold", message);
    }
    let period = "terminationGracePeriodSeconds";
    if is_readiness && probe.has(period) {
        report.field(probe, period, "a readinessProbe cannot have this; remove it");
    } else if let Some(number) = probe.number(period).filter(|number| *number < 1) {
        report.field(probe, period, format_args!("{number} is not positive; write 1 or more"));
    }
}

/// Checks a probe or hook, which has exactly one action. An unknown field counts as one.
fn handler(handler: FieldNode<'_, '_>, settings: &[&str], ways: &str, report: &mut Report) {
    match handler.sources(settings).as_slice() {
        [] => report.invalid(handler, format_args!("has no action; set {ways}")),
        [_] => {}
        several => {
            report.invalid(handler, format_args!("has several actions, {}; keep one", several.join(" and ")));
        }
    }
    handler.with("exec", |exec| {
        if exec.list("command").is_empty() {
            report.field(exec, "command", "is required and must not be empty; set it");
        }
    });
    handler.with("httpGet", |http| {
        port(http, report);
        report.choice(http, "scheme", &choices::SCHEMES);
        http.each("httpHeaders", |header| {
            let name = header.text("name");
            if !is_header_name(name) {
                let message =
                    format_args!("{} is not a header's name; use letters, digits and '-'", quoted(name));
                report.relation(header, "name", message);
            }
        });
    });
    handler.with("tcpSocket", |tcp| port(tcp, report));
    handler.with("grpc", |grpc| {
        if !grpc.has("port") {
            report.field(grpc, "port", "is required; write a port between 1 and 65535");
        }
        ports::number(grpc, "port", report);
    });
}

/// Checks a port, given by its number or its name.
fn port(action: FieldNode<'_, '_>, report: &mut Report) {
    match action.get("port") {
        None => report.field(action, "port", "is required; write a port between 1 and 65535, or its name"),
        Some(Json::Str(name)) if !is_port_name(name) => {
            report.field(action, "port", format_args!("{} {}", quoted(name), names::PORT_NAME));
        }
        Some(_) => ports::number(action, "port", report),
    }
}
