//! Tolerations that controllers and admission plugins add.

use serde_json::{Value, json};

use super::json::{Fields, list_in, text_at};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const EVERYWHERE: [(&str, &str); 6] = [
    (NOT_READY, "NoExecute"),
    (UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Adds the tolerations of a `DaemonSet`'s pod (`AddOrUpdateDaemonPodTolerations`).
pub(super) fn add_for_daemons(spec: &mut Fields) {
    let is_on_host = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    let of_host = is_on_host.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let Some(list) = list_in(spec, "tolerations") else { return };
    for (key, effect) in EVERYWHERE.into_iter().chain(of_host) {
        let wanted = json!({ "key": key, "operator": "Exists", "effect": effect });
        let is_same = |toleration: &Value| {
            ["key", "operator", "effect", "value"].iter().all(|field| {
                text_at(toleration, &format!("/{field}")) == text_at(&wanted, &format!("/{field}"))
            })
        };
        let mut is_updated = false;
        for toleration in list.iter_mut().filter(|toleration| is_same(toleration)) {
            *toleration = wanted.clone();
            is_updated = true;
        }
        if !is_updated {
            list.push(wanted);
        }
    }
}

/// Adds the tolerations of the plugin `DefaultTolerationSeconds`.
pub(super) fn add_default_seconds(spec: &mut Fields) {
    let Some(list) = list_in(spec, "tolerations") else { return };
    for key in [NOT_READY, UNREACHABLE] {
        let covers = |toleration: &Value| {
            text_at(toleration, "/key").is_none_or(|of| of == key)
                && text_at(toleration, "/effect").is_none_or(|of| of == "NoExecute")
        };
        if !list.iter().any(covers) {
            list.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }),
            );
        }
    }
}

/// Adds the tolerations of a `RuntimeClass` (`MergeTolerations`): if one covers the other, the wider one is kept.
pub(super) fn merge(spec: &mut Fields, more: &[Value]) {
    let Some(list) = list_in(spec, "tolerations") else { return };
    let all: Vec<Value> = list.drain(..).chain(more.iter().cloned()).collect();
    for (index, toleration) in all.iter().enumerate() {
        let is_covered = list.iter().any(|kept| covers(kept, toleration))
            || all.iter().skip(index + 1).any(|later| later != toleration && covers(later, toleration));
        if !is_covered {
            list.push(toleration.clone());
        }
    }
}

/// Checks whether `wide` tolerates everything that `narrow` does (`isSuperset`).
fn covers(wide: &Value, narrow: &Value) -> bool {
    let of = |toleration: &Value, field: &str| text_at(toleration, field).unwrap_or_default().to_owned();
    let (key, operator, effect) = (of(wide, "/key"), of(wide, "/operator"), of(wide, "/effect"));
    let seconds = |toleration: &Value| toleration.get("tolerationSeconds").and_then(Value::as_i64);
    if wide == narrow {
        return true;
    }
    let is_of_key = of(narrow, "/key") == key || (key.is_empty() && operator == "Exists");
    let is_of_effect = of(narrow, "/effect") == effect || effect.is_empty();
    let is_long_enough = effect != "NoExecute"
        || seconds(wide).is_none_or(|most| seconds(narrow).is_some_and(|seconds| seconds <= most));
    let is_of_value = match operator.as_str() {
        "Exists" => true,
        "Equal" | "" => of(narrow, "/operator") == "Equal" && of(narrow, "/value") == of(wide, "/value"),
        _ => false,
    };
    is_of_key && is_of_effect && is_long_enough && is_of_value
}
