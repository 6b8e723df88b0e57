//! The explanation as JSON. Its fields are stable; codes, steps and levels are those of the engine.

use serde_json::{Value, json};

use super::{running, server};
use crate::cli::manifests::Manifest;
use crate::cli::offline::Decided;
use crate::engine::{Cost, Line, Reason, SetBy};
use crate::workload::containers;

pub(super) fn of(object: &Manifest, decided: &Decided) -> Value {
    let decision = &decided.decision;
    let lines = decision.trace.lines();
    let warnings = decided.warnings().map(|(code, message)| json!({ "code": code, "message": message }));
    let containers = containers(&decision.profiles, &decided.after).into_iter().map(|container| {
        json!({ "name": container.name, "role": container.role.as_str(), "profile": container.profile })
    });
    json!({
        "namespace": decided.namespace,
        "kind": object.kind(),
        "name": object.name(),
        "outcome": decision.outcome.as_str(),
        "reason": { "code": decision.reason.code(), "message": decision.reason.to_string() },
        "profiles": decision.profiles,
        "parameters": lines.iter().filter_map(parameter).collect::<Vec<_>>(),
        "containers": containers.collect::<Vec<_>>(),
        "cost": lines.iter().find_map(cost),
        "warnings": warnings.collect::<Vec<_>>(),
        "trace": lines.iter().map(line).collect::<Vec<_>>(),
        "patch": decision.patch,
        "webhook": decided.in_force.as_ref().map(|found| &found.state),
        "running": running::of(object, decided).map(|running| running.headline),
        "server": decided.asked.as_ref().map(|_| server::of(decided)),
        "submitted": decided.submitted.pod,
        "placeholders": decided.submitted.placeholders,
        "unknown": decided.submitted.missing.iter().map(|missing| json!({ "kind": missing.kind, "name": missing.name })).collect::<Vec<_>>(),
    })
}

fn line(line: &Line) -> Value {
    json!({
        "step": format!("{:?}", line.step),
        "code": line.reason.code(),
        "level": format!("{:?}", line.reason.level()),
        "message": line.reason.to_string(),
    })
}

fn parameter(line: &Line) -> Option<Value> {
    let Reason::ParameterSet { profile, parameter, value, place } = &line.reason else { return None };
    let set_by = match place {
        SetBy::Pod => "Pod",
        SetBy::Namespace(_) => "Namespace",
        SetBy::Default => "Default",
    };
    Some(json!({ "profile": profile, "name": parameter, "value": value, "setBy": set_by }))
}

fn cost(line: &Line) -> Option<Value> {
    let Reason::Costs { cost: Cost { requests, qos_before, qos_after } } = &line.reason else { return None };
    let requests: serde_json::Map<String, Value> =
        requests.iter().map(|(name, more)| (name.clone(), more.to_string().into())).collect();
    Some(json!({
        "requests": requests,
        "qosBefore": qos_before.to_string(),
        "qosAfter": qos_after.to_string(),
    }))
}
