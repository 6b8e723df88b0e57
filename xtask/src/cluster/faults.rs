//! Taking programs of the cluster away, and giving them back.
//!
//! What the node starts again by itself is held back by a file in the state folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, processes};
use crate::args::{Usage, unknown};
use crate::sh;

/// The signals that can be sent, by their names.
const SIGNALS: [(&str, Signal); 4] =
    [("KILL", Signal::KILL), ("TERM", Signal::TERM), ("STOP", Signal::STOP), ("CONT", Signal::CONT)];

impl Cluster {
    /// While this file is there, the node does not start the program.
    pub(crate) fn held_back(&self, program: &str) -> PathBuf {
        self.state.join("stopped").join(program)
    }

    /// Ends a program of the node, and keeps it from being started again.
    pub(crate) fn stop(&self, program: &str) -> Result<()> {
        // Asked for first: a program that is not there shall not be held back.
        self.find(program)?;
        let mark = self.held_back(program);
        std::fs::create_dir_all(mark.parent().unwrap_or(&mark))?;
        std::fs::write(&mark, "")?;
        self.signal("KILL", program, false).map(drop)
    }

    /// Lets the node start it again.
    pub(crate) fn start(&self, program: &str) -> Result<()> {
        let mark = self.held_back(program);
        std::fs::remove_file(&mark).with_context(|| format!("{program} was not stopped"))
    }

    /// Sends a signal to the processes with this name, or to the first of them; says to how many. After a signal that
    /// ends them, waits until they are gone.
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
        while number == Signal::KILL && found.iter().any(processes::Found::still_runs) {
            if Instant::now() > deadline {
                bail!("{program} does not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(found.len())
    }

    /// Copies etcd's data while etcd is stopped, as a backup.
    pub(crate) fn save_etcd(&self) -> Result<()> {
        let (data, backup) = (self.state.join("etcd"), self.state.join("etcd-backup"));
        self.stop("etcd")?;
        let copied = replace(&backup, &data);
        self.start("etcd")?;
        copied
    }

    /// Puts the last backup in place of etcd's data, as `etcdutl snapshot restore` without `--bump-revision` does: resource
    /// versions go backwards. Everything that watches the API server except for the containers is started again.
    pub(crate) fn restore_etcd(&self) -> Result<()> {
        let (data, backup) = (self.state.join("etcd"), self.state.join("etcd-backup"));
        if !backup.exists() {
            bail!("there is no backup: `cargo xtask cluster etcd save` makes one");
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

    fn find(&self, program: &str) -> Result<Vec<processes::Found>> {
        let found = processes::inside(self, program)?;
        if found.is_empty() {
            bail!("no process of the cluster is called {program}");
        }
        Ok(found)
    }
}

/// Makes a folder a copy of another one.
fn replace(target: &Path, source: &Path) -> Result<()> {
    if target.exists() {
        std::fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    sh::run(Command::new("cp").arg("--archive").arg(source).arg(target))
}
