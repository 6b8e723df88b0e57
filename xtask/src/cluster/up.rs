//! Start of the cluster, on the host's side.

use std::fmt::Write;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cgroups::{self, Hierarchy};
use super::{Cluster, ENTER, down, pki, processes};
use crate::report::{Activity, progress, step, tail};
use crate::sh;
use crate::tools::Tools;

/// Timeout of the node's start. It takes ten seconds on two idle cores, and much longer on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(4);

/// Starts the cluster unless it is up and its API responds.
pub(super) fn up(cluster: &Cluster, tools: &Tools, pause_image: &Path) -> Result<()> {
    let lock = cluster.lock()?;
    if cluster.is_up()? {
        cluster.expect_version(&tools.kubernetes)?;
        if answers(cluster)? {
            progress(format_args!("the cluster is already up: {}", cluster.kubeconfig().display()));
            return Ok(());
        }
        progress("the cluster's processes run, but its API does not respond; restarting it");
    }
    step("cluster up", |activity| {
        if down::down(cluster)? {
            progress("removed the remains of an earlier cluster");
        }
        start(cluster, tools, pause_image, activity).inspect_err(|_| keep_only_logs(cluster))
    })?;
    drop(lock);
    Ok(())
}

fn answers(cluster: &Cluster) -> Result<bool> {
    let (ok, _) = sh::attempt(cluster.kubectl().args(["get", "--raw", "/readyz", "--request-timeout=20s"]))?;
    Ok(ok)
}

fn start(cluster: &Cluster, tools: &Tools, pause_image: &Path, activity: &Activity) -> Result<()> {
    activity.set("certificates");
    let state = &cluster.state;
    for folder in ["pki", "kc", "log", "cni/net.d", "etcd", "containerd", "kubelet", "bin", "images"] {
        std::fs::create_dir_all(state.join(folder))?;
    }
    // The cluster runs a copy, because a build can replace the file of the running program.
    std::fs::copy(std::env::current_exe()?, state.join("xtask"))?;
    std::fs::write(cluster.kubernetes_file(), tools.kubernetes.to_string())?;
    for (name, file) in tools.programs() {
        symlink(file, cluster.program(name))?;
    }
    symlink(pause_image, state.join("images/pause.tar"))?;
    // Bound on the host and inherited: a socket stays in the network namespace in which it was created.
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on the loopback interface")?;
    pki::create(cluster, listener.local_addr()?.port())?;
    load_modules();
    let groups = cgroups::create(cluster)?;
    let mut outer = spawn(cluster, listener)?;
    let pid = i32::try_from(outer.id())?;
    wait_for_init(cluster, &mut outer, pid, &groups)?;
    wait_for_ready(cluster, &mut outer, activity)?;
    File::create(cluster.up_marker())?;
    Ok(())
}

/// Loads the kernel modules that the namespaces need. A kernel can have all of them built in.
fn load_modules() {
    let before = Path::new("/proc/sys/net/bridge").exists();
    for module in
        ["overlay", "bridge", "veth", "nf_tables", "nf_conntrack", "nft_nat", "nft_masq", "br_netfilter"]
    {
        drop(sh::attempt(&mut sh::cmd("modprobe", ["--quiet", module])));
    }
    if !before {
        // Otherwise, br_netfilter would send the host's own bridged traffic through its netfilter tables.
        for file in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
            drop(std::fs::write(Path::new("/proc/sys/net/bridge").join(file), "0"));
        }
    }
}

fn spawn(cluster: &Cluster, listener: TcpListener) -> Result<Child> {
    let log = File::create(cluster.log("node"))?;
    Command::new(cluster.state.join("xtask"))
        .arg(ENTER)
        .arg(&cluster.state)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("cannot start the cluster's first process")
}

fn wait_for_init(cluster: &Cluster, outer: &mut Child, pid: i32, groups: &[Hierarchy]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while processes::init_below(pid).is_none() {
        check_running(cluster, outer)?;
        if Instant::now() > deadline {
            bail!("the cluster's PID 1 did not start");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if cgroups::is_unified() {
        // A group whose controllers are enabled for its children must have no processes. `unshare` stays outside of the
        // namespaces, so only the host can move it.
        for group in groups {
            let init = group.group.join("init");
            std::fs::create_dir_all(&init)?;
            cgroups::enter(&init, pid)?;
        }
    }
    Ok(())
}

fn wait_for_ready(cluster: &Cluster, outer: &mut Child, activity: &Activity) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !cluster.ready_marker().exists() {
        check_running(cluster, outer)?;
        let text = std::fs::read_to_string(cluster.log("node")).unwrap_or_default();
        activity.set(text.lines().last().unwrap_or("starting"));
        if Instant::now() > deadline {
            bail!("the node is not ready after {} s:\n{}", READY_WITHIN.as_secs(), log_tails(cluster));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn check_running(cluster: &Cluster, outer: &mut Child) -> Result<()> {
    if let Some(status) = outer.try_wait()? {
        bail!("the cluster ended while it was starting ({status}):\n{}", log_tails(cluster));
    }
    Ok(())
}

/// Returns the last lines of the logs that help most if a node does not start.
fn log_tails(cluster: &Cluster) -> String {
    let mut tails = String::new();
    for name in ["node", "kubelet", "kube-apiserver", "containerd"] {
        let file = cluster.log(name);
        if let Ok(text) = std::fs::read_to_string(&file) {
            let _ = write!(tails, "  {} ends:\n{}", file.display(), tail(&text, 8));
        }
    }
    tails
}

/// Ends the processes and removes the control groups of a failed start. The logs stay, because the error names them.
fn keep_only_logs(cluster: &Cluster) {
    let ended = processes::kill(cluster).and_then(|_| cgroups::remove(cluster));
    if let Err(error) = ended {
        progress(format_args!("after the failed start: {error:#}"));
    }
}
