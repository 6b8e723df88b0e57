//! The embedded cluster: a real single-node Kubernetes in namespaces of its own.
//!
//! etcd, the API server, the controller manager, the scheduler, the kubelet, kube-proxy, `CoreDNS` and containerd run
//! under one PID 1 in their own network, mount, PID, UTS, IPC and cgroup namespaces. The host's network, `/etc`,
//! netfilter tables and sysctls stay as they were, and ending PID 1 ends all of it. Nothing of it needs a record to be
//! taken down: processes and control groups are found by the path of the state folder.

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

pub(crate) use files::PAUSE_IMAGE;

use crate::hash::hex;
use crate::images::Image;
use crate::report::{progress, say, step};
use crate::sh;
use crate::tools::{KubernetesVersion, Tools};
use crate::workspace;

/// The first argument of the process that enters the control groups and then becomes `unshare`.
pub(crate) const ENTER: &str = "__cluster-enter";
/// The first argument of the cluster's PID 1.
pub(crate) const INIT: &str = "__cluster-init";
/// The first argument of the process that sets up the node and keeps its programs running.
pub(crate) const NODE: &str = "__cluster-node";

/// A cluster, up or down, known by the folder of its state.
#[derive(Clone)]
pub(crate) struct Cluster {
    state: PathBuf,
}

impl Cluster {
    /// The cluster of this checkout.
    pub(crate) fn of_workspace() -> Self {
        Self::named("cluster")
    }

    /// Another cluster of this checkout.
    pub(crate) fn named(name: &str) -> Self {
        Self { state: workspace::target().join(name) }
    }

    /// The cluster with this state folder.
    pub(crate) fn at(state: &Path) -> Self {
        Self { state: state.to_path_buf() }
    }

    /// The cluster of this checkout that a kubeconfig belongs to, if any: a test that runs this program passes it on.
    pub(crate) fn of_kubeconfig(kubeconfig: &Path) -> Option<Self> {
        let kubeconfig = kubeconfig.canonicalize().ok()?;
        let state = kubeconfig.parent()?;
        let is_ours = state.parent()? == workspace::target().canonicalize().ok()?;
        let cluster = Self::named(state.file_name()?.to_str()?);
        (is_ours && cluster.kubernetes_file().exists()).then_some(cluster)
    }

    /// The file that lets kubectl and helm reach the cluster from the host.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The version of Kubernetes that the cluster was started with.
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

    /// Where the API server writes down who asked for what.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.log("audit")
    }

    /// Starts the cluster unless it is up; removes what a broken-off start left.
    pub(crate) fn up(&self, tools: &Tools, pause_image: &Path) -> Result<()> {
        up::up(self, tools, pause_image)
    }

    /// Ends the cluster and removes everything that it left, in whatever state it is.
    pub(crate) fn down(&self) -> Result<bool> {
        let lock = self.lock()?;
        let was_there = down::down(self)?;
        drop(lock);
        drop(std::fs::remove_file(self.lock_file()));
        Ok(was_there)
    }

    /// Whether it came up and its processes still live.
    pub(crate) fn is_up(&self) -> Result<bool> {
        Ok(self.up_marker().exists() && self.init()?.is_some())
    }

    /// Prints what is there.
    pub(crate) fn status(&self) -> Result<()> {
        let Some(init) = self.init()? else {
            say(if self.state.exists() {
                "down, with the remains of a cluster: `cargo xtask cluster down` removes them"
            } else {
                "down: `cargo xtask cluster up` starts it"
            });
            return Ok(());
        };
        if !self.up_marker().exists() {
            say("coming up, or broken off while it was");
            return Ok(());
        }
        say(format_args!("up, process {init}"));
        say(format_args!("kubeconfig  {}", self.kubeconfig().display()));
        say(format_args!("logs        {}", self.log_folder().display()));
        let (_, nodes) =
            sh::attempt(self.kubectl().args(["get", "nodes", "-o", "wide", "--request-timeout=10s"]))?;
        say(nodes.trim_end());
        Ok(())
    }

    /// Puts the images of a tar file into the cluster's containerd.
    pub(crate) fn load(&self, tar: &Path) -> Result<()> {
        let Some(init) = self.init()? else {
            bail!("the cluster is down: `cargo xtask cluster up` starts it")
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

    /// Puts those images into the cluster that were not put there before.
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

    /// kubectl for this cluster.
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

    /// The kubelet's folder for the logs of containers.
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

    /// There once the cluster came up; without it the node ends as soon as nobody holds the lock.
    fn up_marker(&self) -> PathBuf {
        self.state.join("up")
    }

    /// Holds the version of Kubernetes.
    fn kubernetes_file(&self) -> PathBuf {
        self.state.join("kubernetes")
    }

    /// There once the node is ready.
    fn ready_marker(&self) -> PathBuf {
        self.state.join("ready")
    }

    /// Beside the state folder, since it outlives it.
    fn lock_file(&self) -> PathBuf {
        // Appended, since the name of a cluster may itself hold a dot.
        let mut path = self.state.clone().into_os_string();
        path.push(".lock");
        PathBuf::from(path)
    }

    /// Waits until no other process starts or ends this cluster.
    fn lock(&self) -> Result<File> {
        let path = self.lock_file();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let started = Instant::now();
        loop {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            if file.try_lock().is_err() {
                progress("another process is starting or ending this cluster: waiting for it");
                file.lock()?;
            }
            // Its last holder may have removed the file; a lock on a removed file excludes nobody.
            if is_same_file(&file, &path) {
                return Ok(file);
            }
            if started.elapsed() > Duration::from_mins(10) {
                bail!("cannot lock {}", path.display());
            }
        }
    }

    /// The control groups' name: short, and another one for another checkout.
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
