//! Fault injection: stop, start and signal programs of the cluster.
//!
//! A file in the state directory prevents the node from restarting a program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, processes};
use crate::args::{Usage, unknown};
use crate::sh;

/// Supported signals, by name.
const SIGNALS: [(&str, Signal); 4] =
    [("KILL", Signal::KILL), ("TERM", Signal::TERM), ("STOP", Signal::STOP), ("CONT", Signal::CONT)];

impl Cluster {
    /// Returns the path of the file that prevents the node from starting a program.
    pub(crate) fn stop_marker(&self, program: &str) -> PathBuf {
        self.state.join("stopped").join(program)
    }

    /// Stops a program of the node, and prevents its restart.
    pub(crate) fn stop(&self, program: &str) -> Result<()> {
        // Fails first for a program that does not exist.
        self.find(program)?;
        let mark = self.stop_marker(program);
        std::fs::create_dir_all(mark.parent().unwrap_or(&mark))?;
        std::fs::write(&mark, "")?;
        self.signal("KILL", program, false).map(drop)
    }

    /// Lets the node start a stopped program again.
    pub(crate) fn start(&self, program: &str) -> Result<()> {
        let mark = self.stop_marker(program);
        std::fs::remove_file(&mark).with_context(|| format!("{program} is not stopped"))
    }

    /// Sends a signal to the processes with this name, or only to the oldest, and returns their number. After KILL,
    /// waits until they have ended.
    pub(crate) fn signal(&self, signal: &str, program: &str, first_only: bool) -> Result<usize> {
        let known = SIGNALS.map(|(name, _)| name);
        let Some(&(_, number)) = SIGNALS.iter().find(|(name, _)| *name == signal) else {
            let Usage(message) = unknown(signal, &known);
            bail!(message);
        };
        let mut found = self.find(program)?;
        if first_only {
            found.truncate(1);
        }
        for process in &found {
            let pid = Pid::from_raw(process.pid).context("a process has a number")?;
            kill_process(pid, number)
                .with_context(|| format!("cannot signal {program} ({})", process.pid))?;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while number == Signal::KILL && found.iter().any(processes::ClusterProcess::is_running) {
            if Instant::now() > deadline {
                bail!("{program} did not end within 10 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(found.len())
    }

    /// Copies etcd's data as a backup. etcd is stopped meanwhile.
    pub(crate) fn save_etcd(&self) -> Result<()> {
        let (data, backup) = (self.state.join("etcd"), self.state.join("etcd-backup"));
        self.stop("etcd")?;
        let copied = replace(&backup, &data);
        self.start("etcd")?;
        copied
    }

    /// Replaces etcd's data with the last backup, as `etcdutl snapshot restore` without `--bump-revision` does:
    /// resource versions go backwards. Restarts everything that watches the API server, except the containers.
    pub(crate) fn restore_etcd(&self) -> Result<()> {
        let (data, backup) = (self.state.join("etcd"), self.state.join("etcd-backup"));
        if !backup.exists() {
            bail!("there is no backup; create one with `cargo xtask cluster etcd save`");
        }
        self.stop("kube-apiserver")?;
        self.stop("etcd")?;
        let copied = replace(&data, &backup);
        self.start("etcd")?;
        self.start("kube-apiserver")?;
        for program in ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"] {
            self.signal("KILL", program, false)?;
        }
        copied
    }

    fn find(&self, program: &str) -> Result<Vec<processes::ClusterProcess>> {
        let found = processes::inside(self, program)?;
        if found.is_empty() {
            bail!("the cluster has no process {program}");
        }
        Ok(found)
    }
}

/// Replaces a directory with a copy of another one.
fn replace(target: &Path, source: &Path) -> Result<()> {
    if target.exists() {
        std::fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    sh::run(Command::new("cp").arg("--archive").arg(source).arg(target))
}
