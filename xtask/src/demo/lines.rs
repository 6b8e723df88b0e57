//! Compares the lines that the applications wrote with the lines that the log archive received.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use super::live::{heading, name, pods, table, text, wait};
use super::setup::LOGS;
use crate::report::print;
use crate::sh;
use crate::target::Ready;

/// Compared files: a workload's `app` label, and the file that it writes.
const FILES: [(&str, &str); 4] = [
    ("storefront", "/var/log/app/access.log"),
    ("sessions", "/var/log/app/redis.log"),
    ("price-import", "/var/log/app/import.log"),
    ("sales-report", "/var/log/app/report.log"),
];

/// Prints the comparison for every pod, and some of the lines.
pub(super) fn show(cluster: &Ready) -> Result<()> {
    heading("Log lines that the applications wrote, and that the sidecars shipped to the log archive");
    let mut rows = Vec::new();
    let mut sample = Vec::new();
    for (app, file) in FILES {
        let mut of_app = 0;
        for pod in pods(cluster, app)? {
            if text(&pod, "/status/phase") == "Pending" {
                continue;
            }
            let written = written(cluster, &pod, file)?;
            let arrived = wait(&format!("{} lines of {} in the archive", written.len(), name(&pod)), || {
                let arrived = arrived(cluster, name(&pod), file)?;
                Ok((arrived.len() >= written.len()).then_some(arrived))
            })?;
            same(name(&pod), &written, &arrived)?;
            of_app += written.len();
            if sample.is_empty() && app == "price-import" {
                sample = written.iter().take(3).cloned().collect();
            }
            let same = format!("{} identical, in order", written.len());
            rows.push(vec![name(&pod).to_owned(), file.to_owned(), written.len().to_string(), same]);
        }
        if of_app == 0 {
            bail!("no pod of {app} wrote a line to {file}");
        }
    }
    table(&["pod", "file", "written", "arrived"], &rows);
    print(format_args!("\n  The first lines of price-import in the archive:\n    {}", sample.join("\n    ")));
    Ok(())
}

/// Returns the lines that the application wrote: those of its file or, after its end, of its own output.
fn written(cluster: &Ready, pod: &Value, file: &str) -> Result<Vec<String>> {
    let container = text(pod, "/spec/containers/0/name");
    let text = if text(pod, "/spec/restartPolicy") == "Always" {
        cluster.kubectl([
            "exec",
            name(pod),
            "--namespace",
            NAMESPACE,
            "--container",
            container,
            "--",
            "cat",
            file,
        ])
    } else {
        cluster.kubectl(["logs", name(pod), "--namespace", NAMESPACE, "--container", container])
    };
    let mut text = text;
    let text = sh::output(&mut text).context("cannot read what the application wrote")?;
    // The last line can be incomplete.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    Ok(complete.lines().map(str::to_owned).collect())
}

/// Returns the lines of a pod's file from the log of the archive.
fn arrived(cluster: &Ready, pod: &str, file: &str) -> Result<Vec<String>> {
    let archive = sh::output(&mut cluster.kubectl(["logs", "deployment/log-archive", "--namespace", LOGS]))?;
    let prefix = format!("{NAMESPACE}/{pod} {file} ");
    Ok(archive.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect())
}

/// Compares the lines. The archive can have more lines, which were written after the application's file was read.
fn same(pod: &str, written: &[String], arrived: &[String]) -> Result<()> {
    for (number, (wrote, got)) in written.iter().zip(arrived).enumerate() {
        if wrote != got {
            bail!("{pod}: line {} was written as\n  {wrote}\nand arrived as\n  {got}", number + 1);
        }
    }
    Ok(())
}
