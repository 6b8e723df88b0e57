//! A smaller test suite on the oldest and the newest supported version of Kubernetes: `cargo xtask test compat`.

use anyhow::Result;

use super::run::{Filter, Run};
use super::{chart, e2e};
use crate::args::Args;
use crate::cluster::Cluster;
use crate::images;
use crate::target::Target;
use crate::tools::{self, KubernetesVersion, preflight};

/// The end-to-end tests of this suite, for the features that depend most on the version of API server and kubelet.
const SUITE: [&str; 4] = ["injection", "mandatory", "reapply", "settings"];

/// Runs the suite on each version, or only on that of `--kubernetes`. Returns whether all steps passed.
pub(super) fn run(mut args: Args) -> Result<bool> {
    let only = KubernetesVersion::from_args(&mut args)?;
    args.end(&["--kubernetes"])?;
    preflight::embedded()?;
    tools::install_packages()?;
    let versions = match only {
        Some(version) => vec![version],
        None => vec![KubernetesVersion::oldest()?, KubernetesVersion::newest()?],
    };
    let run = Run::new(Filter::default());
    for version in &versions {
        run_suite(&run, version);
    }
    Ok(run.finish(&[]))
}

/// Starts a separate cluster, runs the suite in it, and removes it whatever the result.
fn run_suite(run: &Run, version: &KubernetesVersion) {
    let step = |name: &str| format!("{} {name}", version.short());
    let cluster = Cluster::named(&format!("compat-{}", version.short()));
    let target = Target::Embedded { cluster: cluster.clone(), kubernetes: version.clone() };
    match run.always(&step("cluster"), || target.prepare_cluster(images::compat)) {
        Some(ready) => {
            run.always(&step("chart"), || chart::accepted(&ready));
            run.always(&step("e2e"), || e2e::suites(ready, &SUITE));
        }
        None => run.skip(&[&step("chart"), &step("e2e")], "there is no cluster"),
    }
    run.always(&step("down"), || cluster.down().map(drop));
}
