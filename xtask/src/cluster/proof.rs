//! Test that a cluster leaves no traces on the host: after an orderly removal, an interrupted start, and a crash.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, processes};
use crate::report::{Activity, progress};
use crate::sh;
use crate::tools::{KubernetesVersion, Tools};

/// Name of a separate cluster.
const NAME: &str = "cluster-proof";
const SYSCTLS: [&str; 9] = [
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
    "net/ipv4/conf/all/route_localnet",
];
/// Directories in which the cluster's programs would create theirs without isolation.
const FOLDERS: [&str; 9] =
    ["/etc", "/opt", "/run", "/usr/libexec", "/var/lib", "/var/log", "/var/run", "/etc/cni", "/opt/cni"];

/// Starts and removes a cluster in three ways, and compares the host before and after.
pub(crate) fn run(tools: &Tools, pause_image: &Path, activity: &Activity) -> Result<()> {
    let cluster = Cluster::named(NAME);
    cluster.down()?;
    let before = Host::inspect(&cluster)?;

    activity.set("up and down in order");
    cluster.up(tools, pause_image)?;
    sh::run(cluster.kubectl().args(["get", "nodes"]))?;
    cluster.down()?;
    before.compare(&cluster, "after `down`")?;

    activity.set("interrupted start");
    interrupt_start(&cluster, &tools.kubernetes)?;
    cluster.up(tools, pause_image).context("`up` after an interrupted one")?;

    activity.set("crashed");
    let init = cluster.init()?.and_then(Pid::from_raw).context("the cluster has no PID 1")?;
    kill_process(init, Signal::KILL)?;
    if !cluster.down()? {
        bail!("`down` found nothing after a crash");
    }
    if cluster.down()? {
        bail!("a second `down` found something");
    }
    before.compare(&cluster, "after a crash and `down`")
}

/// Kills `cluster up` before it finishes, and waits until the processes that it started have ended.
fn interrupt_start(cluster: &Cluster, kubernetes: &KubernetesVersion) -> Result<()> {
    let mut up = Command::new(std::env::current_exe()?)
        .args(["cluster", "up", "--name", NAME, "--kubernetes", &kubernetes.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_mins(1);
    while cluster.init()?.is_none() {
        if let Some(status) = up.try_wait()? {
            bail!("`cluster up` ended before it was interrupted ({status})");
        }
        if Instant::now() > deadline {
            bail!("`cluster up` started no process");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    up.kill()?;
    up.wait()?;
    while !processes::of(cluster)?.is_empty() {
        if Instant::now() > deadline {
            bail!("the processes of an interrupted `up` did not end");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Facts about the host that a cluster could change, one per line.
struct Host {
    facts: BTreeSet<String>,
}

impl Host {
    fn inspect(cluster: &Cluster) -> Result<Self> {
        let mut facts = BTreeSet::new();
        let mut add = |kind: &str, lines: &str| {
            facts.extend(lines.lines().map(|line| format!("{kind}: {}", line.trim())));
        };
        add("mount", &mounts()?);
        add("link", &sh::output(&mut sh::line("ip -brief link"))?);
        add("route", &sh::output(&mut sh::line("ip route show table all"))?);
        add("rule", &sh::output(&mut sh::line("ip rule"))?);
        add("netfilter", &sh::output(&mut sh::line("nft --stateless list ruleset"))?);
        for name in SYSCTLS {
            let value = std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
            add("sysctl", &format!("{name} {}", value.trim()));
        }
        add("host name", &std::fs::read_to_string("/proc/sys/kernel/hostname")?);
        for folder in FOLDERS {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                add("file", &entry.path().to_string_lossy());
            }
        }
        let state = cluster.state.to_string_lossy().into_owned();
        let groups = sh::attempt(&mut sh::line("find /sys/fs/cgroup -type d"))?.1;
        // Ignores other clusters of this program, whose pods can start and stop meanwhile.
        let ours = |line: &&str| {
            line.contains(&cluster.group()) || (line.contains("kubepods") && !line.contains("/outrigger-"))
        };
        groups.lines().filter(ours).for_each(|line| add("control group", line));
        for process in std::fs::read_dir("/proc")?.flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&state) {
                add("process", &line);
            }
        }
        for table in ["tcp", "tcp6"] {
            add("listener", &listeners(table)?);
        }
        if cluster.state.exists() {
            add("state", &state);
        }
        Ok(Self { facts })
    }

    /// Fails if a difference persists. Other programs cause temporary differences.
    fn compare(&self, cluster: &Cluster, when: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut persistent: Option<BTreeSet<String>> = None;
        loop {
            let now = Self::inspect(cluster)?;
            let new = now.facts.difference(&self.facts).map(|fact| format!("+ {fact}"));
            let gone = self.facts.difference(&now.facts).map(|fact| format!("- {fact}"));
            let found: BTreeSet<String> = new.chain(gone).collect();
            let left =
                persistent.map_or(found.clone(), |known| known.intersection(&found).cloned().collect());
            if left.is_empty() {
                progress(format_args!("the host is unchanged {when}: {} facts compared", self.facts.len()));
                return Ok(());
            }
            if Instant::now() > deadline {
                let list: Vec<String> = left.into_iter().collect();
                bail!("the host is changed {when}:\n  {}", list.join("\n  "));
            }
            persistent = Some(left);
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Returns the mounts without the IDs that the kernel assigns.
fn mounts() -> Result<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let lines = text.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" "));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn listeners(table: &str) -> Result<String> {
    const LISTENING: &str = "0A";
    let text = std::fs::read_to_string(Path::new("/proc/net").join(table))?;
    let sockets = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&LISTENING)).then(|| fields.get(1).copied().unwrap_or_default().to_owned())
    });
    Ok(sockets.collect::<Vec<_>>().join("\n"))
}
