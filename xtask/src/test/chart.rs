//! The chart: linted, and all rendered objects accepted by a real API server.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::report::progress;
use crate::target::Ready;
use crate::{sh, workspace};

const NAMESPACE: &str = "outrigger-system";

/// Lints and dry-runs the chart with its defaults and with every values file in its directory `ci`.
pub(super) fn check(cluster: &Ready) -> Result<()> {
    super::monitoring::rules()?;
    optional_objects(cluster)?;
    accepted(cluster)
}

/// Checks that the API server accepts the rendered objects.
pub(super) fn accepted(cluster: &Ready) -> Result<()> {
    let mut sets: Vec<Option<PathBuf>> = vec![None];
    let folder = workspace::root().join("charts/outrigger/ci");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    sets.extend(files.into_iter().map(Some));
    definitions(cluster)?;
    super::monitoring::with_kinds(cluster, || check_all(cluster, sets))?;
    kustomization(cluster)
}

fn check_all(cluster: &Ready, sets: Vec<Option<PathBuf>>) -> Result<()> {
    for values in sets {
        let name = values
            .as_ref()
            .and_then(|file| file.file_stem())
            .map_or("defaults".into(), |stem| stem.to_string_lossy());
        check_one(cluster, values.as_ref()).with_context(|| format!("the chart with {name}"))?;
        progress(format_args!("the chart with {name}: linted, rendered, accepted by the API server"));
    }
    Ok(())
}

fn check_one(cluster: &Ready, values: Option<&PathBuf>) -> Result<()> {
    let with_values = |command: &mut std::process::Command| {
        if let Some(file) = values {
            command.arg("--values").arg(file);
        }
    };
    let mut lint = cluster.helm(["lint", "--strict", "charts/outrigger"]);
    with_values(&mut lint);
    sh::run(&mut lint)?;
    let mut template = cluster.helm(["template", "outrigger", "charts/outrigger", "--namespace", NAMESPACE]);
    template.args(["--kube-version", &cluster.tools.kubernetes.to_string()]);
    with_values(&mut template);
    let rendered = sh::output(&mut template)?;
    dry_run(cluster, &rendered)
}

/// Values that enable an object, each with a text of the rendered object.
const OPTIONAL: [(&str, &str); 6] = [
    ("autoscaling.enabled", "kind: HorizontalPodAutoscaler"),
    ("networkPolicy.enabled", "kind: NetworkPolicy"),
    ("monitoring.service.enabled", "name: outrigger-metrics"),
    ("monitoring.serviceMonitor.enabled", "kind: ServiceMonitor"),
    ("monitoring.prometheusRule.enabled", "kind: PrometheusRule"),
    ("monitoring.dashboard.enabled", "name: outrigger-dashboard"),
];

fn optional_objects(cluster: &Ready) -> Result<()> {
    let version = cluster.tools.kubernetes.to_string();
    let rendered = |value: &str| {
        let words = ["template", "outrigger", "charts/outrigger", "--kube-version", &version, "--set", value];
        sh::attempt(&mut cluster.helm(words))
    };
    let (_, defaults) = rendered("replicas=2")?;
    for (value, object) in OPTIONAL {
        let (_, with) = rendered(&format!("{value}=true"))?;
        if defaults.contains(object) || !with.contains(object) {
            bail!("`{object}` must be rendered with {value}=true, and not without it");
        }
    }
    let (_, scaled) = rendered("autoscaling.enabled=true,replicas=1")?;
    if scaled.contains("\n  replicas:") || !scaled.contains("kind: PodDisruptionBudget") {
        bail!("with autoscaling.enabled, the value `replicas` must be ignored");
    }
    for (wrong, expected) in [
        (
            "monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.disabled={OutriggerSlo}",
            "there is no alert",
        ),
        ("autoscaling.enabled=true,autoscaling.minReplicas=9", "minReplicas is above"),
    ] {
        let (accepted, answer) = rendered(wrong)?;
        if accepted || !answer.contains(expected) {
            bail!("{wrong} must be rejected with {expected:?}: {answer}");
        }
    }
    Ok(())
}

/// Applies the CustomResourceDefinitions that rendered objects need.
fn definitions(cluster: &Ready) -> Result<()> {
    let folders = [workspace::root().join("charts/outrigger/crds"), super::e2e::cert_manager_definitions()?];
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let apply = ["apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename"];
        sh::run(cluster.kubectl(apply).arg(folder))?;
    }
    Ok(())
}

fn dry_run(cluster: &Ready, manifests: &str) -> Result<()> {
    let made = namespaces(cluster, manifests)?;
    let result = apply(cluster, manifests);
    for namespace in made {
        sh::run(&mut cluster.kubectl(["delete", "namespace", &namespace, "--wait"]))?;
    }
    result
}

/// Creates the namespaces of the objects, because a dry run creates none. Returns those that did not exist.
fn namespaces(cluster: &Ready, manifests: &str) -> Result<Vec<String>> {
    let named = manifests.lines().filter_map(|line| line.trim().strip_prefix("namespace: "));
    let named: BTreeSet<&str> = named.map(|name| name.trim_matches('"')).chain([NAMESPACE]).collect();
    let mut made = Vec::new();
    for name in named {
        let (_, output) = sh::attempt(&mut cluster.kubectl(["create", "namespace", name]))?;
        if output.contains("created") {
            made.push(name.to_owned());
        } else if !output.contains("AlreadyExists") {
            bail!("cannot create namespace {name}: {output}");
        }
    }
    Ok(made)
}

fn apply(cluster: &Ready, manifests: &str) -> Result<()> {
    let mut kubectl = cluster.kubectl([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
    ]);
    let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(manifests.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("the API server rejected the objects:\n{}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

fn kustomization(cluster: &Ready) -> Result<()> {
    if workspace::root().join("manifests/outrigger.yaml").exists() {
        let rendered = sh::output(&mut cluster.kubectl(["kustomize", "manifests"]))?;
        dry_run(cluster, &rendered).context("manifests/")?;
        progress("manifests/: accepted by the API server");
    }
    Ok(())
}
