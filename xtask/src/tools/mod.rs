//! The programs that the tasks need: Debian packages, and binaries built from pinned Go modules.

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

/// The names under which the one Kubernetes binary acts.
const KUBE_NAMES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Paths of the built programs.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The version of the cluster's programs and of kubectl.
    pub(crate) kubernetes: KubernetesVersion,
    kube: PathBuf,
    etcd: PathBuf,
    containerd: PathBuf,
    shim: PathBuf,
    ctr: PathBuf,
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

    /// The cluster's programs by the names under which they are started.
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
