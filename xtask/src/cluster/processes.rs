//! Search for the cluster's processes on the host, without records that could be stale.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, ENTER, INIT};

/// A process of the cluster, identified by its command line on the host.
#[derive(Clone, Debug)]
pub(super) struct ClusterProcess {
    pub(super) pid: i32,
    /// Whether it is PID 1 of the namespace. The kernel ends all other processes with it.
    pub(super) is_init: bool,
    started: String,
}

impl ClusterProcess {
    pub(super) fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !"ZX".contains(stat.state))
    }
}

/// Returns PID 1 of the cluster, and the processes on the host's side that started it.
pub(super) fn of(cluster: &Cluster) -> Result<Vec<ClusterProcess>> {
    let state = cluster.state.as_os_str().as_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        // The exact pair of words, so that no process that only mentions the directory is ever killed.
        let is_ours = words.windows(2).any(|pair| match pair {
            [mode, path] => (*mode == INIT.as_bytes() || *mode == ENTER.as_bytes()) && *path == state,
            _ => false,
        });
        if is_ours && let Some(stat) = stat(pid) {
            found.push(ClusterProcess { pid, is_init: is_first_of_namespace(pid), started: stat.started });
        }
    }
    Ok(found)
}

/// Returns the processes with this name in the cluster's namespaces and in its containers, oldest first.
pub(super) fn inside(cluster: &Cluster, program: &str) -> Result<Vec<ClusterProcess>> {
    let init = of(cluster)?.into_iter().find(|found| found.is_init);
    let init = init.context("the cluster is down; start it with `cargo xtask cluster up`")?.pid;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let word = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = word.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if name == program.as_bytes()
            && is_below(pid, init)
            && let Some(stat) = stat(pid)
        {
            found.push(ClusterProcess { pid, is_init: false, started: stat.started });
        }
    }
    found.sort_by_key(|found| found.started.parse::<u64>().unwrap_or_default());
    Ok(found)
}

/// Returns whether a process is a descendant of another.
fn is_below(mut pid: i32, ancestor: i32) -> bool {
    while pid > 1 {
        if pid == ancestor {
            return true;
        }
        let Some(stat) = stat(pid) else { return false };
        pid = stat.parent;
    }
    false
}

/// Kills the cluster's processes and waits until all of them have ended. Returns whether there were any.
pub(super) fn kill(cluster: &Cluster) -> Result<bool> {
    let found = of(cluster)?;
    // `unshare` ends after its child. If it were killed first, it would leave a zombie on a host that may not reap it.
    for process in found.iter().filter(|process| process.is_init) {
        signal(process.pid);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut kill_all_at = Instant::now() + Duration::from_secs(3);
    loop {
        let left: Vec<ClusterProcess> =
            found.iter().filter(|process| process.is_running()).cloned().collect();
        if left.is_empty() {
            return Ok(!found.is_empty());
        }
        if Instant::now() > deadline {
            bail!("processes did not end: {:?}", left.iter().map(|process| process.pid).collect::<Vec<_>>());
        }
        if Instant::now() > kill_all_at || !found.iter().any(|process| process.is_init) {
            for process in &left {
                signal(process.pid);
            }
            kill_all_at = deadline;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Returns the PID 1 that a starting process has created, if it exists already.
pub(super) fn init_below(parent: i32) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent) && is_first_of_namespace(pid))
}

fn signal(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, Signal::KILL);
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: String,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses can contain spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.to_owned();
    Some(Stat { state, parent, started })
}

/// Returns whether the process is PID 1 in a namespace below the namespace of this /proc.
fn is_first_of_namespace(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    status.lines().find_map(|line| line.strip_prefix("NSpid:")).is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    })
}
