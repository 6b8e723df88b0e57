//! Ports of containers: `validateContainerPorts`.

use std::collections::BTreeSet;

use super::choices;
use super::names::{self, is_port_name};
use super::node::{FieldNode, Report, quoted};
use crate::json::Json;

pub(super) fn check(container: FieldNode<'_, '_>, report: &mut Report) {
    let mut known = BTreeSet::new();
    container.each("ports", |port| {
        let name = port.text("name");
        if !name.is_empty() && !is_port_name(name) {
            report.field(port, "name", format_args!("{} {}", quoted(name), names::PORT_NAME));
        } else if !name.is_empty() && !known.insert(name) {
            let message =
                format_args!("{} is the name of another port, too; give each its own", quoted(name));
            report.field(port, "name", message);
        }
        match port.get("containerPort").map(Json::as_i64) {
            None | Some(Some(0)) => {
                report.field(port, "containerPort", "is required; write a port between 1 and 65535");
            }
            Some(_) => number(port, "containerPort", report),
        }
        if port.number("hostPort") != Some(0) {
            number(port, "hostPort", report);
        }
        report.choice(port, "protocol", &choices::PROTOCOLS);
    });
}

pub(super) fn number(node: FieldNode<'_, '_>, name: &str, report: &mut Report) {
    if let Some(port) = node.number(name).filter(|port| !(1..=65535).contains(port)) {
        report.field(node, name, format_args!("{port} is not a port between 1 and 65535"));
    }
}
