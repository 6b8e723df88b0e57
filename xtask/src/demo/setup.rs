//! Installs Outrigger and applies everything that the demo shows. Replaces the remains of an earlier run.

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

/// Namespace of Outrigger itself.
pub(super) const SYSTEM: &str = "outrigger-system";
/// Namespace of the log archive.
pub(super) const LOGS: &str = "logs";
const RELEASE: &str = "outrigger";
const PROFILES: [&str; 2] = ["log-shipper", "prometheus-exporter"];
const WORKLOADS: [&str; 4] = ["deployment", "statefulset", "job", "cronjob"];

/// Prepares the demo.
pub(super) fn run(cluster: &Ready) -> Result<()> {
    step("remove an earlier demo", |activity| remove_earlier(cluster, activity))?;
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

/// Deletes the namespaces of an earlier demo. A Job cannot be changed, existing pods are not injected again, and the
/// archive has the lines of pods with the same names.
fn remove_earlier(cluster: &Ready, activity: &Activity) -> Result<()> {
    let mut old = Vec::new();
    for namespace in [NAMESPACE, LOGS] {
        let (found, output) =
            sh::attempt(&mut cluster.kubectl(["get", "namespace", namespace, "--output", "json"]))?;
        if !found && output.contains("NotFound") {
            continue;
        }
        let object: Value = serde_json::from_str(&output)
            .with_context(|| format!("cannot read namespace {namespace}: {output}"))?;
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
    // Workloads are deleted first, because a namespace checks for remaining pods only at long intervals.
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
    // An interrupted release stays pending, and Helm then rejects every further operation.
    let (found, output) =
        sh::attempt(&mut cluster.helm(["status", RELEASE, "--namespace", SYSTEM, "--output", "json"]))?;
    if found {
        let status: Value = serde_json::from_str(&output).unwrap_or_default();
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
        // The tag stays the same when the image changes, so this annotation causes new pods.
        format!("podAnnotations.build=b{}", cluster.product_build()),
    ];
    let mut helm = cluster.helm(["upgrade", "--install", RELEASE, "charts/outrigger", "--namespace", SYSTEM]);
    helm.args(["--create-namespace", "--wait", "--timeout", "5m"]);
    for value in &values {
        helm.args(["--set-string", value]);
    }
    sh::run(&mut helm)
}

/// Applies the CustomResourceDefinitions, because Helm installs them once and never changes them.
fn upgrade_definitions(cluster: &Ready) -> Result<()> {
    let folder = "charts/outrigger/crds";
    if workspace::root().join(folder).exists() {
        sh::run(&mut cluster.kubectl(["apply", "--server-side", "--force-conflicts", "--filename", folder]))?;
    }
    Ok(())
}

/// Applies a file of the repository. Only the registry of its images is changed.
pub(super) fn apply(cluster: &Ready, file: &str, namespace: Option<&str>) -> Result<()> {
    // The rules for a Service reach a node shortly after its pods are ready.
    let has_answered = |output: &str| !output.contains("failed calling webhook");
    let mut last = String::new();
    let answer = wait("the webhook to respond", || {
        let (applied, output) = try_apply(cluster, file, namespace)?;
        let is_answer = applied || has_answered(&output);
        last = output;
        Ok(is_answer.then_some(applied))
    });
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => bail!("cannot apply {file}:\n{last}"),
        Err(error) => Err(error.context(format!("cannot apply {file}:\n{last}"))),
    }
}

/// Applies a file, and returns whether it was accepted, with kubectl's output.
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
    let mut output = String::from_utf8_lossy(&done.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&done.stderr));
    Ok((done.status.success(), output))
}
