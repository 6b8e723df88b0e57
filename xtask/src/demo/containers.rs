//! Compares the containers of workloads' templates with those of their pods.

use anyhow::{Result, bail};
use serde_json::Value;

use super::live::{containers, heading, items, name, object, pods, table, text, wait};
use crate::report::print;
use crate::target::Ready;

const SIDECAR: &str = "log-shipper*";

/// Prints the containers of every workload's template and of one of its pods.
pub(super) fn show(cluster: &Ready) -> Result<()> {
    heading("Containers of the templates and of the running pods (* is a native sidecar)");
    let mut rows = Vec::new();
    for (kind, workload, template) in [
        ("deployment", "storefront", "/spec/template"),
        ("statefulset", "sessions", "/spec/template"),
        ("job", "price-import", "/spec/template"),
        ("cronjob", "sales-report", "/spec/jobTemplate/spec/template"),
    ] {
        let object = object(cluster, kind, workload)?;
        let template = object.pointer(template).cloned().unwrap_or_default();
        // The CronJob creates its first pod at the next full minute.
        let pod =
            wait(&format!("a pod of {kind} {workload}"), || Ok(pods(cluster, workload)?.into_iter().next()))?;
        rows.push(row(&format!("{kind}/{workload}"), &template, &pod)?);
    }
    table(&["workload", "template", "pod", "containers of the pod"], &rows);
    print("\n  No template mentions Outrigger. Each pod has a record of its injection:");
    let pod = pods(cluster, "storefront")?.into_iter().next().unwrap_or_default();
    print(format_args!(
        "  outrigger.dev/status: {}",
        text(&pod, "/metadata/annotations/outrigger.dev~1status")
    ));
    Ok(())
}

fn row(workload: &str, template: &Value, pod: &Value) -> Result<Vec<String>> {
    let spec = |value: &Value| value.pointer("/spec").cloned().unwrap_or_default();
    let (before, after) = (containers(&spec(template)), containers(&spec(pod)));
    if template.to_string().contains("outrigger") {
        bail!("the template of {workload} mentions Outrigger: it was changed");
    }
    let expected: Vec<String> = [SIDECAR.to_owned()].into_iter().chain(before.iter().cloned()).collect();
    if after != expected {
        bail!("{workload}: expected the containers {expected:?}, but the pod has {after:?}");
    }
    if text(pod, "/metadata/labels/outrigger.dev~1injected") != "true" {
        bail!("pod {} lacks the label outrigger.dev/injected", name(pod));
    }
    let shared = items(pod, "/spec/containers")
        .flat_map(|container| items(container, "/volumeMounts"))
        .any(|mount| text(mount, "/mountPath") == "/var/log/app");
    if !shared {
        bail!("pod {}: its app container does not mount /var/log/app", name(pod));
    }
    Ok(vec![workload.to_owned(), before.join(", "), name(pod).to_owned(), after.join(" → ")])
}
