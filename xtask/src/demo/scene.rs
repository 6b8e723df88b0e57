//! Installs Outrigger and applies everything that the demo shows, over whatever an earlier run left.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::NAMESPACE;
use super::live::wait;
use crate::report::{Activity, step};
use crate::target::Ready;
use crate::{sh, workspace};

/// The namespace of Outrigger itself.
pub(super) const SYSTEM: &str = "outrigger-system";
/// The namespace that logs are shipped to.
pub(super) const LOGS: &str = "logs";
const RELEASE: &str = "outrigger";
const PROFILES: [&str; 2] = ["log-shipper", "prometheus-exporter"];
const WORKLOADS: [&str; 4] = ["deployment", "statefulset", "job", "cronjob"];

/// Sets the scene.
pub(super) fn set(cluster: &Ready) -> Result<()> {
    step("clear an earlier demo", |activity| clear(cluster, activity))?;
    step("install Outrigger", |_| install(cluster))?;
    step("log archive", |_| {
        apply(cluster, "e2e/demo/log-archive.yaml", None)?;
        sh::run(&mut cluster.kubectl([
            "rollout",
            "status",
            "deployment/log-archive",
            "--namespace",
            LOGS,
            "--timeout=180s",
        ]))
    })?;
    step("namespace, profiles and workloads", |_| {
        for profile in PROFILES {
            apply(cluster, &format!("profiles/{profile}/profile.yaml"), None)?;
        }
        apply(cluster, "e2e/demo/namespace.yaml", None)?;
        for workload in WORKLOADS {
            apply(cluster, &format!("e2e/workloads/{workload}.yaml"), Some(NAMESPACE))?;
        }
        Ok(())
    })
}

/// A Job cannot be changed, pods keep what they were made with, and the archive remembers pods of the same names: so
/// the namespaces are made anew.
fn clear(cluster: &Ready, activity: &Activity) -> Result<()> {
    let mut old = Vec::new();
    for namespace in [NAMESPACE, LOGS] {
        let (found, said) =
            sh::attempt(&mut cluster.kubectl(["get", "namespace", namespace, "--output", "json"]))?;
        if !found && said.contains("NotFound") {
            continue;
        }
        let object: Value = serde_json::from_str(&said)
            .with_context(|| format!("cannot read namespace {namespace}: {said}"))?;
        let part_of = object.pointer("/metadata/labels/app.kubernetes.io~1part-of").and_then(Value::as_str);
        if part_of != Some("outrigger-demo") {
            bail!("the cluster has a namespace {namespace} that is not the demo's; the demo would delete it");
        }
        old.push(namespace);
    }
    if old.is_empty() {
        return Ok(());
    }
    activity.set(format!("deleting the namespaces {}", old.join(" and ")));
    // A namespace waits for its pods in large steps, so these go first.
    for namespace in &old {
        sh::run(&mut cluster.kubectl([
            "delete",
            "cronjobs,jobs,deployments,statefulsets,pods",
            "--all",
            "--namespace",
            namespace,
            "--wait",
            "--timeout=180s",
        ]))?;
    }
    sh::run(cluster.kubectl(["delete", "namespace", "--wait", "--timeout=180s"]).args(old))
}

fn install(cluster: &Ready) -> Result<()> {
    // Broken off, a release stays pending for ever, and Helm then refuses to touch it.
    let (found, said) =
        sh::attempt(&mut cluster.helm(["status", RELEASE, "--namespace", SYSTEM, "--output", "json"]))?;
    if found {
        let status: Value = serde_json::from_str(&said).unwrap_or_default();
        let state = status.pointer("/info/status").and_then(Value::as_str).unwrap_or_default();
        if state != "deployed" {
            sh::run(&mut cluster.helm([
                "uninstall",
                RELEASE,
                "--namespace",
                SYSTEM,
                "--wait",
                "--no-hooks",
            ]))?;
        }
        upgrade_definitions(cluster)?;
    }
    let (repository, tag) = cluster.product();
    let values = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        // The tag stays the same when the image changes, so this makes new pods.
        format!("podAnnotations.build=b{}", cluster.product_build()),
    ];
    let mut helm = cluster.helm(["upgrade", "--install", RELEASE, "charts/outrigger", "--namespace", SYSTEM]);
    helm.args(["--create-namespace", "--wait", "--timeout", "5m"]);
    for value in &values {
        helm.args(["--set-string", value]);
    }
    sh::run(&mut helm)
}

/// Helm installs custom resource definitions once and never changes them.
fn upgrade_definitions(cluster: &Ready) -> Result<()> {
    let folder = "charts/outrigger/crds";
    if workspace::root().join(folder).exists() {
        sh::run(&mut cluster.kubectl(["apply", "--server-side", "--force-conflicts", "--filename", folder]))?;
    }
    Ok(())
}

/// Applies a file of the repository as it is, but for the images' registry.
pub(super) fn apply(cluster: &Ready, file: &str, namespace: Option<&str>) -> Result<()> {
    // The rules that lead to a Service reach a node a moment after its pods are ready.
    let answered = |said: &str| !said.contains("failed calling webhook");
    let mut last = String::new();
    let answer = wait("the webhook to answer", || {
        let (applied, said) = try_apply(cluster, file, namespace)?;
        let is_answer = applied || answered(&said);
        last = said;
        Ok(is_answer.then_some(applied))
    });
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => bail!("cannot apply {file}:\n{last}"),
        Err(error) => Err(error.context(format!("cannot apply {file}:\n{last}"))),
    }
}

/// The same; gives back whether it was accepted, with what kubectl said.
pub(super) fn try_apply(cluster: &Ready, file: &str, namespace: Option<&str>) -> Result<(bool, String)> {
    let path = workspace::root().join(file);
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut kubectl = cluster.kubectl(["apply", "--filename", "-"]);
    if let Some(namespace) = namespace {
        kubectl.args(["--namespace", namespace]);
    }
    feed(&mut kubectl, &cluster.rename_images(&manifest), Path::new(file))
}

fn feed(command: &mut Command, input: &str, file: &Path) -> Result<(bool, String)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("cannot pass {}", file.display()))?;
    }
    let done = child.wait_with_output()?;
    let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&done.stderr));
    Ok((done.status.success(), said))
}
