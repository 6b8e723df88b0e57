//! Shows the choices of pods: another profile, no injection, and an unknown profile.

use anyhow::{Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use super::live::{containers, heading, object, table, text, wait};
use super::setup::{apply, try_apply};
use crate::report::print;
use crate::sh;
use crate::target::Ready;

/// Applies the three pods and prints their containers or the rejection.
pub(super) fn show(cluster: &Ready) -> Result<()> {
    heading("Pods choose their profiles");
    apply(cluster, "e2e/demo/pods/chosen.yaml", Some(NAMESPACE))?;
    apply(cluster, "e2e/demo/pods/opted-out.yaml", Some(NAMESPACE))?;
    let chosen = ready(cluster, "cache")?;
    let plain = ready(cluster, "plain")?;
    let rows = [
        row(
            "cache",
            "annotation outrigger.dev/profiles: prometheus-exporter",
            &chosen,
            &["prometheus-exporter-redis*", "redis"],
        )?,
        row("plain", "label outrigger.dev/inject: disabled", &plain, &["redis"])?,
    ];
    table(&["pod", "choice", "containers"], &rows);
    if plain.pointer("/metadata/annotations/outrigger.dev~1status").is_some() {
        bail!("the pod that opted out was changed");
    }
    let metric = wait("the exporter to see its Redis", || {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/cache:9121/proxy/metrics");
        let (_, metrics) = sh::attempt(&mut cluster.kubectl(["get", "--raw", &path]))?;
        Ok(metrics.lines().find(|line| line.starts_with("redis_up 1")).map(str::to_owned))
    })?;
    print(format_args!("\n  Metric of the injected exporter in pod cache: {metric}"));
    denial(cluster)
}

fn ready(cluster: &Ready, pod: &str) -> Result<Value> {
    wait(&format!("pod {pod} to be ready"), || {
        let pod = object(cluster, "pod", pod)?;
        let is_ready = super::live::items(&pod, "/status/conditions")
            .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True");
        Ok(is_ready.then_some(pod))
    })
}

fn row(pod: &str, choice: &str, object: &Value, expected: &[&str]) -> Result<Vec<String>> {
    let runs = containers(&object.pointer("/spec").cloned().unwrap_or_default());
    if runs != expected {
        bail!("pod {pod}: expected the containers {expected:?}, but it has {runs:?}");
    }
    Ok(vec![pod.to_owned(), choice.to_owned(), runs.join(" → ")])
}

fn denial(cluster: &Ready) -> Result<()> {
    heading("A pod chooses a profile that does not exist");
    let (accepted, message) = try_apply(cluster, "e2e/demo/pods/misspelt.yaml", Some(NAMESPACE))?;
    if accepted {
        bail!("a pod with the unknown profile log-shiper was accepted");
    }
    if !message.contains("did you mean \"log-shipper\"") {
        bail!("the rejection has no suggestion:\n{message}");
    }
    print(format_args!("  {}", message.trim().replace('\n', "\n  ")));
    Ok(())
}
