//! Bringing the cluster up, from the host's side.

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

/// A node is ready in ten seconds on two idle cores; a busy machine gets much more.
const READY_WITHIN: Duration = Duration::from_mins(4);

/// Starts the cluster unless it is up and answers.
pub(super) fn up(cluster: &Cluster, tools: &Tools, pause_image: &Path) -> Result<()> {
    let lock = cluster.lock()?;
    if cluster.is_up()? {
        cluster.expect_version(&tools.kubernetes)?;
        if answers(cluster)? {
            progress(format_args!("the cluster is up already: {}", cluster.kubeconfig().display()));
            return Ok(());
        }
        progress("the cluster's processes are there, but its API does not answer: starting it anew");
    }
    step("cluster up", |activity| {
        if down::down(cluster)? {
            progress("removed what an earlier cluster had left");
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
    // The build may replace the running program's file, so the cluster runs a copy.
    std::fs::copy(std::env::current_exe()?, state.join("xtask"))?;
    std::fs::write(cluster.kubernetes_file(), tools.kubernetes.to_string())?;
    for (name, file) in tools.programs() {
        symlink(file, cluster.program(name))?;
    }
    symlink(pause_image, state.join("images/pause.tar"))?;
    // Bound on the host and handed in: a socket stays in the network namespace in which it was made.
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

/// What the namespaces need from the host's kernel; a kernel with all of it built in has no modules.
fn load_modules() {
    let before = Path::new("/proc/sys/net/bridge").exists();
    for module in
        ["overlay", "bridge", "veth", "nf_tables", "nf_conntrack", "nft_nat", "nft_masq", "br_netfilter"]
    {
        drop(sh::attempt(&mut sh::cmd("modprobe", ["--quiet", module])));
    }
    if !before {
        // Loading br_netfilter would send the host's own bridged traffic through its tables from now on.
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
        still_alive(cluster, outer)?;
        if Instant::now() > deadline {
            bail!("the cluster's first process does not appear");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if cgroups::is_unified() {
        // No process may stay in a group that hands its controllers down; `unshare` itself stays outside, so it
        // cannot be moved from within.
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
        still_alive(cluster, outer)?;
        let said = std::fs::read_to_string(cluster.log("node")).unwrap_or_default();
        activity.set(said.lines().last().unwrap_or("starting"));
        if Instant::now() > deadline {
            bail!("the node is not ready after {} s:\n{}", READY_WITHIN.as_secs(), last_words(cluster));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn still_alive(cluster: &Cluster, outer: &mut Child) -> Result<()> {
    if let Some(status) = outer.try_wait()? {
        bail!("the cluster ended while it was starting ({status}):\n{}", last_words(cluster));
    }
    Ok(())
}

/// The ends of the logs that say most about a node that does not come up.
fn last_words(cluster: &Cluster) -> String {
    let mut words = String::new();
    for name in ["node", "kubelet", "kube-apiserver", "containerd"] {
        let file = cluster.log(name);
        if let Ok(text) = std::fs::read_to_string(&file) {
            let _ = write!(words, "  {} ends:\n{}", file.display(), tail(&text, 8));
        }
    }
    words
}

/// A failed start leaves no process and no control group, but its logs, which the error names.
fn keep_only_logs(cluster: &Cluster) {
    let ended = processes::kill(cluster).and_then(|_| cgroups::remove(cluster));
    if let Err(error) = ended {
        progress(format_args!("after the failed start: {error:#}"));
    }
}
