//! The chart's monitoring objects: tests of its rules with Prometheus' own tool, and the CustomResourceDefinitions of
//! the Prometheus operator, which the API server needs to validate the objects.

use anyhow::{Context, Result};

use crate::report::progress;
use crate::target::Ready;
use crate::tools::{self, GoModule};
use crate::{sh, workspace};

/// Source of the operator's CustomResourceDefinitions.
const OPERATOR: GoModule = GoModule {
    path: "github.com/prometheus-operator/prometheus-operator",
    version: "v0.85.0",
    sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
};
/// Kinds of the chart's objects.
const KINDS: [&str; 2] = ["prometheusrules", "servicemonitors"];

/// Checks the syntax of the alerts, and tests when they fire.
pub(super) fn rules() -> Result<()> {
    tools::install_named(&[(&["promtool"], "prometheus")])?;
    let promtool = |words: [&str; 3]| sh::run(sh::cmd("promtool", words).current_dir(workspace::root()));
    promtool(["check", "rules", "charts/outrigger/monitoring/rules.yaml"])?;
    promtool(["test", "rules", "e2e/monitoring/rules_test.yaml"])?;
    progress("the chart's alerts: checked and tested with promtool");
    Ok(())
}

/// Runs `work` while the operator's kinds exist in the cluster. Kinds that were missing are removed afterwards.
pub(super) fn with_kinds<T>(cluster: &Ready, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let folder = OPERATOR.download()?.join("example/prometheus-operator-crd");
    let mut made = Vec::new();
    for kind in KINDS {
        let name = format!("{kind}.monitoring.coreos.com");
        let (known, _) = sh::attempt(&mut cluster.kubectl(["get", "customresourcedefinition", &name]))?;
        if known {
            continue;
        }
        let file = folder.join(format!("monitoring.coreos.com_{kind}.yaml"));
        let file = file.to_str().context("the path is not UTF-8")?;
        sh::run(&mut cluster.kubectl(["create", "--filename", file]))?;
        let established = ["wait", "customresourcedefinition", &name, "--for=condition=Established"];
        sh::run(&mut cluster.kubectl(established))?;
        made.push(name);
    }
    let result = work();
    for name in made {
        sh::run(&mut cluster.kubectl(["delete", "customresourcedefinition", &name]))?;
    }
    result
}
