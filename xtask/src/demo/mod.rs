//! The demo: Outrigger installed by its chart in a real cluster, and everything it does read back from there.
//!
//! `scene` sets everything up; each of the other modules shows one thing and fails if it is not so.

mod choices;
mod containers;
mod jobs;
mod lines;
mod live;
mod scene;

use anyhow::Result;

use crate::report::{note, say, step};
use crate::target::{Ready, Target};

/// The namespace that is enabled.
const NAMESPACE: &str = "shop";

/// Runs the whole demo.
pub(crate) fn run(target: &Target) -> Result<()> {
    target.check()?;
    let cluster = target.prepare()?;
    let shown = scene::set(&cluster).and_then(|()| show(&cluster));
    if shown.is_err() {
        aftermath(&cluster);
    }
    shown?;
    goodbye(&cluster);
    Ok(())
}

fn show(cluster: &Ready) -> Result<()> {
    step("workloads ready", |activity| live::workloads_ready(cluster, activity))?;
    containers::show(cluster)?;
    jobs::show(cluster)?;
    lines::show(cluster)?;
    choices::show(cluster)
}

/// What helps to see why the demo failed.
fn aftermath(cluster: &Ready) {
    for words in [
        &["get", "pods", "--all-namespaces", "--output", "wide"][..],
        &["get", "events", "--namespace", NAMESPACE, "--sort-by=.lastTimestamp"],
        &[
            "logs",
            "--namespace",
            scene::SYSTEM,
            "--selector",
            "app.kubernetes.io/name=outrigger",
            "--tail=20",
        ],
    ] {
        note(format_args!("\nkubectl {}", words.join(" ")));
        match crate::sh::attempt(&mut cluster.kubectl(words.iter().copied())) {
            Ok((_, said)) => note(crate::report::tail(&said, 25).trim_end()),
            Err(error) => note(format_args!("{error:#}")),
        }
    }
}

fn goodbye(cluster: &Ready) {
    say("\nAll of this was read from the cluster, which goes on running. To look around:\n");
    let kubectl = if cluster.is_embedded() {
        "cargo xtask cluster kubectl".to_owned()
    } else {
        format!("kubectl --kubeconfig {}", cluster.kubeconfig.display())
    };
    for words in [
        "get pods --namespace shop",
        "get clustersidecarprofiles",
        "explain clustersidecarprofile.spec",
        "logs --namespace logs deployment/log-archive",
        "logs --namespace outrigger-system deployment/outrigger",
    ] {
        say(format_args!("  {kubectl} {words}"));
    }
    say("\nand to take it down:\n");
    if cluster.is_embedded() {
        say("  cargo xtask cluster down");
    } else {
        let config = cluster.kubeconfig.display();
        say(format_args!("  {kubectl} delete namespace shop logs"));
        say(format_args!("  {kubectl} delete clustersidecarprofile log-shipper prometheus-exporter"));
        say(format_args!("  helm --kubeconfig {config} uninstall outrigger --namespace outrigger-system"));
        say(format_args!("  {kubectl} delete namespace outrigger-system"));
    }
}
