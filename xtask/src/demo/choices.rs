//! Shows what pods can say for themselves: another choice, none at all, and a wrong one.

use anyhow::{Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use super::live::{containers, heading, object, table, text, wait};
use super::scene::{apply, try_apply};
use crate::report::say;
use crate::sh;
use crate::target::Ready;

/// Applies the three pods and prints what became of them.
pub(super) fn show(cluster: &Ready) -> Result<()> {
    heading("Pods choose for themselves");
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
    table(&["pod", "says", "runs"], &rows);
    if plain.pointer("/metadata/annotations/outrigger.dev~1status").is_some() {
        bail!("the pod that opted out was changed");
    }
    let metric = wait("the exporter to see its Redis", || {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/cache:9121/proxy/metrics");
        let (_, metrics) = sh::attempt(&mut cluster.kubectl(["get", "--raw", &path]))?;
        Ok(metrics.lines().find(|line| line.starts_with("redis_up 1")).map(str::to_owned))
    })?;
    say(format_args!("\n  The injected exporter of pod cache says: {metric}"));
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

fn row(pod: &str, says: &str, object: &Value, expected: &[&str]) -> Result<Vec<String>> {
    let runs = containers(&object.pointer("/spec").cloned().unwrap_or_default());
    if runs != expected {
        bail!("pod {pod}: expected the containers {expected:?}, but it has {runs:?}");
    }
    Ok(vec![pod.to_owned(), says.to_owned(), runs.join(" → ")])
}

fn denial(cluster: &Ready) -> Result<()> {
    heading("A profile that does not exist");
    let (accepted, said) = try_apply(cluster, "e2e/demo/pods/misspelt.yaml", Some(NAMESPACE))?;
    if accepted {
        bail!("a pod that asks for the profile log-shiper was accepted");
    }
    if !said.contains("did you mean \"log-shipper\"") {
        bail!("the denial does not say what was probably meant:\n{said}");
    }
    say(format_args!("  {}", said.trim().replace('\n', "\n  ")));
    Ok(())
}
