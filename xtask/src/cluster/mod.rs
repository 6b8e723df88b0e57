//! The embedded cluster: a real single-node Kubernetes in separate Linux namespaces.
//!
//! etcd, the API server, the controller manager, the scheduler, the kubelet, kube-proxy, `CoreDNS` and containerd run
//! under one PID 1 in their own network, mount, PID, UTS, IPC and cgroup namespaces. The host's network, `/etc`,
//! netfilter tables and sysctls are not changed, and the end of PID 1 ends the whole cluster. Its removal needs no
//! records: processes and control groups are found by the path of the state directory.

mod cgroups;
mod down;
mod faults;
mod files;
pub(crate) mod node;
mod pki;
mod processes;
pub(crate) mod proof;
mod up;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::hash::hex;
use crate::images::Image;
use crate::report::{print, progress, step};
use crate::sh;
use crate::tools::{KubernetesVersion, Tools};
use crate::workspace;

/// First argument of the process that enters the control groups and then becomes `unshare`.
pub(crate) const ENTER: &str = "__cluster-enter";
/// First argument of the cluster's PID 1.
pub(crate) const INIT: &str = "__cluster-init";
/// First argument of the process that sets up the node and restarts its programs.
pub(crate) const NODE: &str = "__cluster-node";

/// A cluster, up or down, identified by its state directory.
#[derive(Clone)]
pub(crate) struct Cluster {
    state: PathBuf,
}

impl Cluster {
    /// Returns the default cluster of this checkout.
    pub(crate) fn of_workspace() -> Self {
        Self::named("cluster")
    }

    /// Returns another cluster of this checkout.
    pub(crate) fn named(name: &str) -> Self {
        Self { state: workspace::target().join(name) }
    }

    /// Returns the cluster with this state directory.
    pub(crate) fn at(state: &Path) -> Self {
        Self { state: state.to_path_buf() }
    }

    /// Returns the cluster of this checkout to which a kubeconfig belongs, if any. A test that runs this program passes
    /// one.
    pub(crate) fn of_kubeconfig(kubeconfig: &Path) -> Option<Self> {
        let kubeconfig = kubeconfig.canonicalize().ok()?;
        let state = kubeconfig.parent()?;
        let is_ours = state.parent()? == workspace::target().canonicalize().ok()?;
        let cluster = Self::named(state.file_name()?.to_str()?);
        (is_ours && cluster.kubernetes_file().exists()).then_some(cluster)
    }

    /// Returns the path of the kubeconfig for kubectl and helm on the host.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Returns the version of Kubernetes with which the cluster was started.
    pub(crate) fn kubernetes(&self) -> Result<KubernetesVersion> {
        let file = self.kubernetes_file();
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        KubernetesVersion::parse(&text).with_context(|| format!("{} has no version", file.display()))
    }

    /// Fails if the cluster is up with another version of Kubernetes.
    pub(crate) fn expect_version(&self, wanted: &KubernetesVersion) -> Result<()> {
        if !self.is_up()? {
            return Ok(());
        }
        let running = self.kubernetes()?;
        if running == *wanted {
            return Ok(());
        }
        bail!(
            "the cluster in {} runs Kubernetes {running}, not {wanted}; remove it first: `cargo xtask cluster down --name {}`",
            self.state.display(),
            self.state.file_name().unwrap_or_default().display()
        )
    }

    /// Returns the path of the API server's audit log.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.log("audit")
    }

    /// Starts the cluster unless it is up. Removes what an interrupted start left.
    pub(crate) fn up(&self, tools: &Tools, pause_image: &Path) -> Result<()> {
        up::up(self, tools, pause_image)
    }

    /// Ends the cluster and removes everything of it, whatever state it is in. Returns whether there was anything to
    /// remove.
    pub(crate) fn down(&self) -> Result<bool> {
        let lock = self.lock()?;
        let was_there = down::down(self)?;
        drop(lock);
        drop(std::fs::remove_file(self.lock_file()));
        Ok(was_there)
    }

    /// Returns whether the cluster was started and its processes still run.
    pub(crate) fn is_up(&self) -> Result<bool> {
        Ok(self.up_marker().exists() && self.init()?.is_some())
    }

    /// Prints the state of the cluster.
    pub(crate) fn status(&self) -> Result<()> {
        let Some(init) = self.init()? else {
            print(if self.state.exists() {
                "down, but files are left; remove them with `cargo xtask cluster down`"
            } else {
                "down; start it with `cargo xtask cluster up`"
            });
            return Ok(());
        };
        if !self.up_marker().exists() {
            print("starting, or its start was interrupted");
            return Ok(());
        }
        print(format_args!("up, process {init}"));
        print(format_args!("kubeconfig  {}", self.kubeconfig().display()));
        print(format_args!("logs        {}", self.log_folder().display()));
        let (_, nodes) =
            sh::attempt(self.kubectl().args(["get", "nodes", "-o", "wide", "--request-timeout=10s"]))?;
        print(nodes.trim_end());
        Ok(())
    }

    /// Imports the images of a tar file into the cluster's containerd.
    pub(crate) fn load(&self, tar: &Path) -> Result<()> {
        let Some(init) = self.init()? else {
            bail!("the cluster is down; start it with `cargo xtask cluster up`")
        };
        let tar = tar.canonicalize().with_context(|| format!("cannot read {}", tar.display()))?;
        sh::run(
            Command::new("nsenter")
                .args(["--target", &init.to_string(), "--mount", "--"])
                .arg(self.program("ctr"))
                .args(["--namespace", "k8s.io", "images", "import"])
                .arg(tar),
        )
    }

    /// Imports those images that were not imported before.
    pub(crate) fn load_new(&self, images: &[Image]) -> Result<()> {
        let folder = self.state.join("loaded");
        std::fs::create_dir_all(&folder)?;
        for image in images {
            let mark = folder.join(image.archive.file_name().unwrap_or_default());
            if !mark.exists() {
                step(&format!("load {}", image.name), |_| self.load(&image.archive))?;
                File::create(mark)?;
            }
        }
        Ok(())
    }

    /// Returns a kubectl command for this cluster.
    pub(crate) fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        kubectl
    }

    fn init(&self) -> Result<Option<i32>> {
        Ok(processes::of(self)?.into_iter().find(|found| found.is_init).map(|found| found.pid))
    }

    fn program(&self, name: &str) -> PathBuf {
        self.state.join("bin").join(name)
    }

    /// Returns the kubelet's directory for the logs of containers.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.log_folder().join("pods")
    }

    fn log_folder(&self) -> PathBuf {
        self.state.join("log")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.log_folder().join(format!("{name}.log"))
    }

    fn pki(&self, name: &str) -> PathBuf {
        self.state.join("pki").join(name)
    }

    /// Returns the path of a file that exists after a successful start. Without it, the node ends when the lock is
    /// released.
    fn up_marker(&self) -> PathBuf {
        self.state.join("up")
    }

    /// Returns the path of the file with the version of Kubernetes.
    fn kubernetes_file(&self) -> PathBuf {
        self.state.join("kubernetes")
    }

    /// Returns the path of a file that exists when the node is ready.
    fn ready_marker(&self) -> PathBuf {
        self.state.join("ready")
    }

    /// Returns the path of the lock file, which is next to the state directory because it outlives that directory.
    fn lock_file(&self) -> PathBuf {
        // Appended, because the name of a cluster can contain a dot.
        let mut path = self.state.clone().into_os_string();
        path.push(".lock");
        PathBuf::from(path)
    }

    /// Waits until no other process starts or removes this cluster.
    fn lock(&self) -> Result<File> {
        let path = self.lock_file();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let started = Instant::now();
        loop {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            if file.try_lock().is_err() {
                progress("waiting for another process that starts or removes this cluster");
                file.lock()?;
            }
            // The previous holder may have removed the file, and a lock on a removed file has no effect.
            if is_same_file(&file, &path) {
                return Ok(file);
            }
            if started.elapsed() > Duration::from_mins(10) {
                bail!("cannot lock {}", path.display());
            }
        }
    }

    /// Returns the name of the control groups, which is short and different for each checkout.
    fn group(&self) -> String {
        let digest = Sha256::digest(self.state.as_os_str().as_encoded_bytes());
        let hash = hex(digest.iter().take(5));
        format!("outrigger-{hash}")
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}
