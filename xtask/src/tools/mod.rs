//! Programs of the tasks: Debian packages, and binaries built from pinned Go modules.

mod apt;
mod cargo;
mod go;
mod kubernetes;
pub(crate) mod preflight;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use apt::Needed;
pub(crate) use cargo::installed;
pub(crate) use go::{GoModule, Module, programs, required_module};
pub(crate) use kubernetes::KubernetesVersion;

/// Names of the programs in the Kubernetes binary.
const KUBE_NAMES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Paths of the built programs.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// Version of the cluster's programs and of kubectl.
    pub(crate) kubernetes: KubernetesVersion,
    kube: PathBuf,
    etcd: PathBuf,
    containerd: PathBuf,
    shim: PathBuf,
    ctr: PathBuf,
    coredns: PathBuf,
    /// Helm client.
    pub(crate) helm: PathBuf,
    /// Program of the pause image.
    pub(crate) pause: PathBuf,
    /// Kubernetes client, under its own name.
    pub(crate) kubectl: PathBuf,
}

impl Tools {
    /// Builds the programs that are not in the cache, the slowest first.
    pub(crate) fn build(kubernetes: &KubernetesVersion) -> Result<Self> {
        let kube = Module::Kube(kubernetes.clone()).build()?;
        let kubectl = kube.with_file_name("kubectl");
        link(&kube, &kubectl)?;
        Ok(Self {
            kubernetes: kubernetes.clone(),
            containerd: Module::Containerd.build()?,
            shim: Module::Shim.build()?,
            ctr: Module::Ctr.build()?,
            helm: Module::Helm.build()?,
            coredns: Module::Coredns.build()?,
            etcd: Module::Etcd.build()?,
            pause: Module::Pause.build()?,
            kube,
            kubectl,
        })
    }

    /// Returns the cluster's programs, by the names under which they are started.
    pub(crate) fn programs(&self) -> Vec<(&'static str, &Path)> {
        KUBE_NAMES
            .into_iter()
            .map(|name| (name, self.kube.as_path()))
            .chain([
                ("etcd", self.etcd.as_path()),
                ("containerd", &self.containerd),
                ("containerd-shim-runc-v2", &self.shim),
                ("ctr", &self.ctr),
                ("coredns", &self.coredns),
            ])
            .collect()
    }
}

/// Installs missing Debian packages of all tasks.
pub(crate) fn install_packages() -> Result<()> {
    apt::install(&apt::NEEDED)
}

/// Installs missing Debian packages of one task.
pub(crate) fn install_named(needed: &[Needed]) -> Result<()> {
    apt::install(needed)
}

/// Creates a link to the binary, which selects its program by the name of the link.
fn link(file: &Path, name: &Path) -> Result<()> {
    if name.symlink_metadata().is_err() {
        match std::os::unix::fs::symlink(file, name) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Updates the lists of Debian packages.
pub(crate) fn refresh_package_lists() -> Result<()> {
    apt::update()
}
