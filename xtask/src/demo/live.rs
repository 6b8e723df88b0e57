//! Access to the live cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use crate::report::Activity;
use crate::sh;
use crate::target::Ready;

/// Timeout of all waits, for busy machines.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Returns an object of the demo's namespace.
pub(super) fn object(cluster: &Ready, kind: &str, name: &str) -> Result<Value> {
    json(cluster, &["get", kind, name, "--namespace", NAMESPACE, "--output", "json"])
}

/// Returns the pods of the demo's namespace with this `app` label, without those that are being deleted.
pub(super) fn pods(cluster: &Ready, app: &str) -> Result<Vec<Value>> {
    let selector = format!("app={app}");
    let list = json(
        cluster,
        &["get", "pods", "--namespace", NAMESPACE, "--selector", &selector, "--output", "json"],
    )?;
    let pods = items(&list, "/items").filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
    Ok(pods.cloned().collect())
}

fn json(cluster: &Ready, words: &[&str]) -> Result<Value> {
    let text = sh::output(&mut cluster.kubectl(words.iter().copied()))?;
    serde_json::from_str(&text).context("kubectl did not print JSON")
}

/// Returns the elements of a list; none if the list is absent.
pub(super) fn items<'value>(value: &'value Value, pointer: &str) -> impl Iterator<Item = &'value Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Returns a text in an object; empty if it is absent.
pub(super) fn text<'value>(value: &'value Value, pointer: &str) -> &'value str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the name of an object.
pub(super) fn name(value: &Value) -> &str {
    text(value, "/metadata/name")
}

/// Returns the containers of a pod's spec in start order. `*` marks native sidecars.
pub(super) fn containers(spec: &Value) -> Vec<String> {
    let init = items(spec, "/initContainers").map(|container| match text(container, "/restartPolicy") {
        "Always" => format!("{}*", text(container, "/name")),
        _ => format!("{} (init)", text(container, "/name")),
    });
    init.chain(items(spec, "/containers").map(|container| text(container, "/name").to_owned())).collect()
}

/// Waits until `look` returns a value. It is called twice a second.
pub(super) fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("timeout after {} s: {what}", TIMEOUT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until all replicas of the Deployment and the `StatefulSet` are ready.
pub(super) fn workloads_ready(cluster: &Ready, activity: &Activity) -> Result<()> {
    for workload in ["deployment/storefront", "statefulset/sessions"] {
        activity.set(workload);
        let timeout = format!("--timeout={}s", TIMEOUT.as_secs());
        sh::run(&mut cluster.kubectl(["rollout", "status", workload, "--namespace", NAMESPACE, &timeout]))?;
    }
    Ok(())
}

/// Prints a table with a heading above each column.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or_default()
    };
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        crate::report::print(format_args!("  {}", padded.join("   ").trim_end()));
    };
    line(headings.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Prints a heading.
pub(super) fn heading(text: &str) {
    crate::report::print(format_args!("\n{text}\n"));
}
