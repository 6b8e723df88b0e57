//! The cluster's processes inside of its namespaces.
//!
//! `enter` joins the control groups and becomes `unshare`; `init` is PID 1 and only reaps; `run` sets up the node and
//! restarts its programs.

mod components;
mod forward;
mod mounts;
mod network;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions, getpid, setsid, wait};

use super::{Cluster, INIT, NODE, cgroups, files};
use crate::report::progress;
use crate::sh;

/// Joins the cluster's control groups and becomes the `unshare` that creates its namespaces.
pub(crate) fn enter(state: &Path) -> Result<ExitCode> {
    let cluster = Cluster::at(state);
    // Ctrl-C ends only the waiting command; the node detects that and ends as well.
    setsid().context("cannot start a session")?;
    for hierarchy in cgroups::read(&cluster)? {
        cgroups::enter(&hierarchy.group, getpid().as_raw_nonzero().get())?;
    }
    let error = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL"])
        .args(["--mount-proc", "--propagation", "private"])
        .arg(state.join("xtask"))
        .arg(INIT)
        .arg(state)
        .exec();
    Err(error).context("cannot start unshare")
}

/// Runs as PID 1: starts the node and reaps orphaned processes. Its end ends the cluster.
pub(crate) fn init(state: &Path) -> Result<ExitCode> {
    let node =
        Command::new(state.join("xtask")).arg(NODE).arg(state).spawn().context("cannot start the node")?;
    let node = Pid::from_child(&node);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == node => return Ok(ExitCode::FAILURE),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
    }
}

/// Sets up the node, starts its programs, and does not return.
pub(crate) fn run(state: &Path) -> Result<ExitCode> {
    let cluster = Cluster::at(state);
    end_after_interrupted_start(&cluster)?;
    mounts::prepare(&cluster)?;
    network::prepare()?;
    files::write(&cluster)?;
    forward::from_stdin(6443)?;

    components::start_first(&cluster);
    let importing = import_images(&cluster);
    until(Duration::from_mins(2), || kubectl(&cluster, ["get", "--raw", "/readyz"]).is_ok())
        .context("the API server is not ready")?;
    progress("API server ready");
    components::start_second(&cluster);
    kubectl(&cluster, ["apply", "-f"].map(PathBuf::from).into_iter().chain([state.join("dns.yaml")]))?;
    components::start_dns(&cluster);
    until(Duration::from_mins(2), || node_is_ready(&cluster)).context("the node is not ready")?;
    if importing.join().is_err() {
        bail!("importing the node's images failed");
    }
    progress("node ready");
    File::create(cluster.ready_marker())?;
    loop {
        std::thread::park();
    }
}

/// Ends the node if its start was interrupted, or if its state directory was removed.
fn end_after_interrupted_start(cluster: &Cluster) -> Result<()> {
    // Opened before the mounts, which can hide its path.
    let marker = cluster.up_marker();
    let lock_file = cluster.lock_file();
    let lock = File::open(&lock_file).with_context(|| format!("cannot open {}", lock_file.display()))?;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if marker.exists() || lock.try_lock().is_err() {
                continue;
            }
            // Checked again, because the starting process creates the marker before it releases the lock.
            if !marker.exists() {
                progress("the start was interrupted, or the state was removed; ending");
                let _ = rustix::process::kill_process(getpid(), rustix::process::Signal::KILL);
            }
            drop(lock.unlock());
        }
    });
    Ok(())
}

fn import_images(cluster: &Cluster) -> std::thread::JoinHandle<()> {
    let images = cluster.state.join("images");
    let log = cluster.log("import");
    let ctr = cluster.program("ctr");
    std::thread::spawn(move || {
        let up = until(Duration::from_mins(1), || sh::run(&mut sh::cmd(&ctr, ["version"])).is_ok());
        let entries = std::fs::read_dir(images).into_iter().flatten().flatten();
        for entry in entries {
            let mut import = sh::cmd(&ctr, ["--namespace", "k8s.io", "images", "import"]);
            if let Err(error) = sh::logged(import.arg(entry.path()), &log) {
                progress(format_args!("{error:#}"));
            }
        }
        if let Err(error) = up {
            progress(format_args!("containerd does not respond: {error:#}"));
        }
    })
}

fn node_is_ready(cluster: &Cluster) -> bool {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    kubectl(cluster, ["get", "node", "node1", "-o", path]).is_ok_and(|status| status == "True")
}

fn kubectl<S: AsRef<OsStr>>(cluster: &Cluster, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    sh::output(
        sh::cmd(cluster.program("kubectl"), arguments).env("KUBECONFIG", cluster.state.join("kc/admin")),
    )
}

fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            bail!("waited {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
