//! Shows that a Job completes although its sidecar does not exit by itself.

use anyhow::{Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use super::live::{heading, items, name, object, pods, table, text, wait};
use crate::sh;
use crate::target::Ready;

/// Prints the Job, a Job of the `CronJob`, and the end of their containers.
pub(super) fn show(cluster: &Ready) -> Result<()> {
    heading("Jobs complete although their sidecars do not exit by themselves");
    let mut rows = vec![row(cluster, "price-import", "price-import")?];
    let scheduled = wait("a Job of the CronJob", || first_scheduled(cluster))?;
    rows.push(row(cluster, &scheduled, "sales-report")?);
    table(&["job", "state", "pod", "the pod's own containers", "its sidecar"], &rows);
    Ok(())
}

fn first_scheduled(cluster: &Ready) -> Result<Option<String>> {
    let list =
        sh::output(&mut cluster.kubectl(["get", "jobs", "--namespace", NAMESPACE, "--output", "json"]))?;
    let list: Value = serde_json::from_str(&list)?;
    let names = items(&list, "/items").map(name).filter(|name| name.starts_with("sales-report-"));
    Ok(names.map(str::to_owned).next())
}

fn row(cluster: &Ready, job: &str, app: &str) -> Result<Vec<String>> {
    wait(&format!("Job {job} to complete"), || {
        let object = object(cluster, "job", job)?;
        let is = |kind: &str| {
            items(&object, "/status/conditions")
                .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
        };
        if is("Failed") {
            bail!("Job {job} failed");
        }
        Ok(is("Complete").then_some(()))
    })?;
    let pod = pods(cluster, app)?
        .into_iter()
        .find(|pod| {
            text(pod, "/metadata/labels/job-name") == job && text(pod, "/status/phase") == "Succeeded"
        })
        .unwrap_or_default();
    let ends = |pointer: &str| {
        let ended = items(&pod, pointer).map(|status| {
            let ended = status.pointer("/state/terminated");
            let code = ended
                .and_then(|ended| ended.pointer("/exitCode"))
                .map_or("runs".to_owned(), Value::to_string);
            let time = ended.map(|ended| text(ended, "/finishedAt")).unwrap_or_default();
            format!("{}: exit {code} at {}", text(status, "/name"), time.get(11..19).unwrap_or(time))
        });
        ended.collect::<Vec<_>>().join(", ")
    };
    let (own, sidecar) = (ends("/status/containerStatuses"), ends("/status/initContainerStatuses"));
    if !sidecar.contains("log-shipper") {
        bail!("the pod of Job {job} has no log-shipper");
    }
    Ok(vec![job.to_owned(), "Complete".to_owned(), name(&pod).to_owned(), own, sidecar])
}
