//! All checks and tests, as continuous integration runs them: `cargo xtask test`.
//!
//! The Go builds and the start of the cluster run in a separate thread, in parallel with the checks that need only
//! Cargo.

mod chart;
mod checks;
mod commits;
mod compat;
pub(crate) mod e2e;
mod faults;
mod monitoring;
mod run;
mod server_logs;

use anyhow::{Result, bail};

use crate::args::Args;
use crate::cluster::proof;
use crate::images;
use crate::report::step;
use crate::target::{Ready, Target};
use crate::tools;
use run::{Filter, Run};

/// All steps, in the order of the final table.
const STEPS: [&str; 13] = [
    "commits",
    "format",
    "clippy",
    "engine",
    "unit",
    "deny",
    "tools",
    "generated",
    "chart",
    "proof",
    "cluster",
    "e2e",
    "down",
];
/// Command of the suite on the oldest and the newest version of Kubernetes, which is not a step of a full run.
const COMPAT: &str = "compat";
/// Steps that need the cluster's programs.
const NEED_TOOLS: [&str; 6] = ["tools", "generated", "chart", "proof", "cluster", "e2e"];

/// Runs the steps that the command line selects. Returns whether all of them passed.
pub(crate) fn run(mut args: Args) -> Result<bool> {
    if args.clone().next().as_deref() == Some(COMPAT) {
        args.switch(COMPAT);
        return compat::run(args);
    }
    let target = Target::from_args(&mut args)?;
    let keep = args.switch("--keep");
    let filter = Filter::from_args(args, &STEPS)?;
    if NEED_TOOLS.iter().any(|step| filter.wants(step)) {
        target.check()?;
        tools::install_packages()?;
    }
    let run = Run::new(filter);
    let ready = std::thread::scope(|scope| {
        let cluster_side = scope.spawn(|| cluster_side(&run, &target));
        checks::all(&run);
        cluster_side.join()
    });
    let Ok(ready) = ready else { bail!("preparing the cluster panicked") };
    if let Some(ready) = ready {
        run.step("chart", || chart::check(&ready));
        run.step("e2e", || e2e::run(&run, ready));
    } else {
        run.skip(&["chart", "e2e"], "there is no cluster");
    }
    if let Target::Embedded { cluster, .. } = &target
        && !keep
        && run.started_cluster()
    {
        run.step("down", || cluster.down().map(drop));
    }
    Ok(run.finish(&STEPS))
}

/// Runs the steps in parallel with Cargo's checks: the builds of the tools, the proof, and the cluster with its images.
fn cluster_side(run: &Run, target: &Target) -> Option<Ready> {
    if !NEED_TOOLS.iter().any(|step| run.wants(step)) {
        return None;
    }
    let tools = run.always("tools", || target.tools())?;
    run.step("generated", crate::generate::check);
    if let Target::Embedded { .. } = target {
        run.step("proof", || {
            let pause = images::pause(&tools)?;
            step("proof", |activity| proof::run(&tools, &pause.archive, activity))
        });
    }
    if !run.wants("cluster") && !run.wants("e2e") && !run.wants("chart") {
        return None;
    }
    if let Target::Embedded { cluster, .. } = target {
        run.found_cluster(cluster.is_up().unwrap_or_default());
    }
    let programs =
        if e2e::selects_catalogue(run.test_names()) { images::programs } else { images::without_catalogue };
    run.always("cluster", || target.prepare_cluster(programs))
}
