//! Binaries built from the Go modules in `e2e/kubernetes`, cached by what they are built from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::report::{self, Activity, progress};
use crate::{sh, workspace};

/// A Go module of this repository and the one binary that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// Kubernetes' servers, node agents and kubectl in one binary.
    Kube,
    /// The API server's store.
    Etcd,
    /// The cluster's DNS server.
    Coredns,
    /// The Helm client.
    Helm,
    /// What holds a pod's namespaces.
    Pause,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Self::Kube => "kube",
            Self::Etcd => "etcd",
            Self::Coredns => "coredns",
            Self::Helm => "helm",
            Self::Pause => "pause",
        }
    }

    /// Kubernetes refuses to start without knowing its own version.
    fn linker_flags(self) -> &'static str {
        match self {
            Self::Kube => {
                "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
                 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35"
            }
            _ => "-s -w",
        }
    }

    /// How many packages are compiled when none is in Go's cache, for an estimate.
    fn packages(self) -> u32 {
        match self {
            Self::Kube => 2690,
            Self::Etcd => 565,
            Self::Coredns => 783,
            Self::Helm => 1183,
            Self::Pause => 50,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            _ => ".",
        }
    }

    fn folder(self) -> PathBuf {
        workspace::root().join("e2e/kubernetes").join(self.name())
    }

    /// The binary, from the cache or built now.
    pub(crate) fn build(self) -> Result<PathBuf> {
        let store = workspace::cache().join("bin");
        let folder = store.join(self.key()?);
        let binary = folder.join(self.name());
        if binary.exists() {
            return Ok(binary);
        }
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(store.join(format!("{}.lock", self.name())))?;
        if lock.try_lock().is_err() {
            progress(format_args!("another process is building {}: waiting for it", self.name()));
            lock.lock()?;
        }
        if !binary.exists() {
            report::step(&format!("build {}", self.name()), |activity| self.build_into(&binary, activity))?;
        }
        Ok(binary)
    }

    fn build_into(self, binary: &Path, activity: &Activity) -> Result<()> {
        // Renamed when whole, so that a broken-off build leaves nothing that looks like a binary.
        let unfinished = binary.with_extension("unfinished");
        let log = workspace::cache().join("log").join(format!("build-{}.log", self.name()));
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.compile(&unfinished, &log, activity) else { break };
            if tries == 3 || !looks_like_the_network(&log) {
                return Err(error);
            }
            progress(format_args!("build {}: a download failed, trying again", self.name()));
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
        std::fs::rename(&unfinished, binary)?;
        Ok(())
    }

    fn compile(self, output: &Path, log: &Path, activity: &Activity) -> Result<()> {
        let (mut compiled, all) = (0, self.packages());
        // Each name that -v prints is a package that was just compiled: a sign of life.
        sh::watched(
            go(&self.folder())
                .args(["build", "-v", "-trimpath", "-ldflags", self.linker_flags(), "-o"])
                .arg(output)
                .arg(self.package()),
            log,
            |line| {
                if line.starts_with("go: ") {
                    activity.set(line);
                    return;
                }
                compiled += 1;
                activity.set(format!("{compiled} packages of {all}, {line}"));
                activity.done(f64::from(compiled) / f64::from(all));
            },
        )
    }

    /// A hash of everything that the binary is made from.
    fn key(self) -> Result<String> {
        let folder = self.folder();
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(std::fs::read(&file)?);
        }
        hash.update(self.linker_flags());
        hash.update(self.package());
        hash.update(sh::output(go(&folder).arg("version"))?);
        Ok(crate::hash::short(hash))
    }
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOWORK", "off")
        // Cargo's runner sets a search path for libraries, which is nothing for other programs.
        .env_remove("LD_LIBRARY_PATH");
    go
}

fn looks_like_the_network(log: &Path) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    [
        "dial tcp",
        "timeout",
        "connection re",
        "unexpected EOF",
        "TLS handshake",
        "502 ",
        "503 ",
        "504 ",
        "stream error",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}
