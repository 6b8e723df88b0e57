//! Finding the cluster's processes on the host, without trusting any file that could be stale.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, ENTER, INIT};

/// A process of the cluster that the host can see by its command line.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) pid: i32,
    /// PID 1 of the namespace; the kernel ends all others with it.
    pub(super) is_init: bool,
    started: String,
}

impl Found {
    pub(super) fn still_runs(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !"ZX".contains(stat.state))
    }
}

/// PID 1 of the cluster and the processes on the host's side that started it.
pub(super) fn of(cluster: &Cluster) -> Result<Vec<Found>> {
    let state = cluster.state.as_os_str().as_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        // The exact pair of words: nothing that merely mentions the folder is ever killed.
        let is_ours = words.windows(2).any(|pair| match pair {
            [mode, path] => (*mode == INIT.as_bytes() || *mode == ENTER.as_bytes()) && *path == state,
            _ => false,
        });
        if is_ours && let Some(stat) = stat(pid) {
            found.push(Found { pid, is_init: is_first_of_namespace(pid), started: stat.started });
        }
    }
    Ok(found)
}

/// The processes with this name in the cluster's namespaces and in its containers, oldest first.
pub(super) fn inside(cluster: &Cluster, program: &str) -> Result<Vec<Found>> {
    let init = of(cluster)?.into_iter().find(|found| found.is_init);
    let init = init.context("the cluster is down: `cargo xtask cluster up` starts it")?.pid;
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
            found.push(Found { pid, is_init: false, started: stat.started });
        }
    }
    found.sort_by_key(|found| found.started.parse::<u64>().unwrap_or_default());
    Ok(found)
}

/// Whether a process is a descendant of another.
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

/// Kills the cluster's processes and waits until the last one is gone.
pub(super) fn kill(cluster: &Cluster) -> Result<bool> {
    let found = of(cluster)?;
    // `unshare` ends by itself after its child; killed first it would leave a zombie to a host that may not reap.
    for process in found.iter().filter(|process| process.is_init) {
        signal(process.pid);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut patience = Instant::now() + Duration::from_secs(3);
    loop {
        let left: Vec<Found> = found.iter().filter(|process| process.still_runs()).cloned().collect();
        if left.is_empty() {
            return Ok(!found.is_empty());
        }
        if Instant::now() > deadline {
            bail!(
                "processes that do not end: {:?}",
                left.iter().map(|process| process.pid).collect::<Vec<_>>()
            );
        }
        if Instant::now() > patience || !found.iter().any(|process| process.is_init) {
            for process in &left {
                signal(process.pid);
            }
            patience = deadline;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The PID 1 that a starting process has made by now.
pub(super) fn init_below(parent: i32) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent) && is_first_of_namespace(pid))
}

fn signal(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended in the meantime, which is what is wanted.
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
    // The name in parentheses may itself hold blanks and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.to_owned();
    Some(Stat { state, parent, started })
}

/// Whether the process is number 1 in a PID namespace below the one whose /proc this is.
fn is_first_of_namespace(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    status.lines().find_map(|line| line.strip_prefix("NSpid:")).is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    })
}
