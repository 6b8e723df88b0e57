//! The demo: installs Outrigger with its chart in a real cluster, and prints what it does there.
//!
//! `setup` prepares everything. Each of the other modules shows one feature, and fails if it does not work.

mod choices;
mod containers;
mod jobs;
mod lines;
mod live;
mod setup;

use anyhow::Result;

use crate::report::{note, print, step};
use crate::target::{Ready, Target};

/// Namespace with injection enabled.
const NAMESPACE: &str = "shop";

/// Runs the whole demo.
pub(crate) fn run(target: &Target) -> Result<()> {
    target.check()?;
    let cluster = target.prepare()?;
    let shown = setup::run(&cluster).and_then(|()| show(&cluster));
    if shown.is_err() {
        print_diagnostics(&cluster);
    }
    shown?;
    print_next_steps(&cluster);
    Ok(())
}

fn show(cluster: &Ready) -> Result<()> {
    step("workloads ready", |activity| live::workloads_ready(cluster, activity))?;
    containers::show(cluster)?;
    jobs::show(cluster)?;
    lines::show(cluster)?;
    choices::show(cluster)
}

/// Prints the state of the cluster after a failure.
fn print_diagnostics(cluster: &Ready) {
    for words in [
        &["get", "pods", "--all-namespaces", "--output", "wide"][..],
        &["get", "events", "--namespace", NAMESPACE, "--sort-by=.lastTimestamp"],
        &[
            "logs",
            "--namespace",
            setup::SYSTEM,
            "--selector",
            "app.kubernetes.io/name=outrigger",
            "--tail=20",
        ],
    ] {
        note(format_args!("\nkubectl {}", words.join(" ")));
        match crate::sh::attempt(&mut cluster.kubectl(words.iter().copied())) {
            Ok((_, output)) => note(crate::report::tail(&output, 25).trim_end()),
            Err(error) => note(format_args!("{error:#}")),
        }
    }
}

fn print_next_steps(cluster: &Ready) {
    print("\nAll of this was read from the cluster, which keeps running. To explore it:\n");
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
        print(format_args!("  {kubectl} {words}"));
    }
    print("\nTo remove it:\n");
    if cluster.is_embedded() {
        print("  cargo xtask cluster down");
    } else {
        let config = cluster.kubeconfig.display();
        print(format_args!("  {kubectl} delete namespace shop logs"));
        print(format_args!("  {kubectl} delete clustersidecarprofile log-shipper prometheus-exporter"));
        print(format_args!("  helm --kubeconfig {config} uninstall outrigger --namespace outrigger-system"));
        print(format_args!("  {kubectl} delete namespace outrigger-system"));
    }
}
