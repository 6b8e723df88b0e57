//! What the chart gives to Prometheus: its rules, checked and tried by Prometheus' own tool, and the definitions of the
//! operator's kinds, without which no API server could check its objects.

use anyhow::{Context, Result};

use crate::report::progress;
use crate::target::Ready;
use crate::tools::{self, GoModule};
use crate::{sh, workspace};

/// Where the operator's definitions come from.
const OPERATOR: GoModule = GoModule {
    path: "github.com/prometheus-operator/prometheus-operator",
    version: "v0.85.0",
    sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
};
/// The kinds that the chart makes objects of.
const KINDS: [&str; 2] = ["prometheusrules", "servicemonitors"];

/// Checks the alerts, and that each fires when it should and not otherwise.
pub(super) fn rules() -> Result<()> {
    tools::install_named(&[(&["promtool"], "prometheus")])?;
    let promtool = |words: [&str; 3]| sh::run(sh::cmd("promtool", words).current_dir(workspace::root()));
    promtool(["check", "rules", "charts/outrigger/monitoring/rules.yaml"])?;
    promtool(["test", "rules", "e2e/monitoring/rules_test.yaml"])?;
    progress("the chart's alerts: checked and tried by promtool");
    Ok(())
}

/// Does something while the operator's kinds are known to the cluster; those that it did not know go afterwards.
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
        let file = file.to_str().context("a path that is not text")?;
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
