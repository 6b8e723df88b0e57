//! The programs that the tasks need: Debian packages, and binaries built from pinned Go modules.

mod apt;
mod cargo;
mod go;
pub(crate) mod preflight;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use apt::Needed;
pub(crate) use cargo::installed;
pub(crate) use go::{GoModule, Module, programs, required_module};

/// The names under which the one Kubernetes binary acts.
const KUBE_NAMES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Paths of the built programs.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    kube: PathBuf,
    etcd: PathBuf,
    coredns: PathBuf,
    /// The Helm client.
    pub(crate) helm: PathBuf,
    /// The program of the image that holds a pod's namespaces.
    pub(crate) pause: PathBuf,
    /// The Kubernetes client, under its own name.
    pub(crate) kubectl: PathBuf,
}

impl Tools {
    /// Builds what is not in the cache yet, the longest first.
    pub(crate) fn build() -> Result<Self> {
        let kube = Module::Kube.build()?;
        let kubectl = kube.with_file_name("kubectl");
        link(&kube, &kubectl)?;
        Ok(Self {
            helm: Module::Helm.build()?,
            coredns: Module::Coredns.build()?,
            etcd: Module::Etcd.build()?,
            pause: Module::Pause.build()?,
            kube,
            kubectl,
        })
    }

    /// The cluster's programs by the names under which they are started.
    pub(crate) fn programs(&self) -> Vec<(&'static str, &Path)> {
        KUBE_NAMES
            .into_iter()
            .map(|name| (name, self.kube.as_path()))
            .chain([("etcd", self.etcd.as_path()), ("coredns", self.coredns.as_path())])
            .collect()
    }
}

/// Installs the missing Debian packages.
pub(crate) fn install_packages() -> Result<()> {
    apt::install(&apt::NEEDED)
}

/// Installs those packages whose programs are missing; each comes with the names of its programs.
pub(crate) fn install_named(needed: &[Needed]) -> Result<()> {
    apt::install(needed)
}

/// The binary decides by the name under which it is called what it is.
fn link(file: &Path, name: &Path) -> Result<()> {
    if name.symlink_metadata().is_err() {
        match std::os::unix::fs::symlink(file, name) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Brings the lists of Debian packages up to date.
pub(crate) fn refresh_package_lists() -> Result<()> {
    apt::update()
}
