//! Binaries built from the Go modules in `e2e/kubernetes` and `e2e/programs`, cached by what they are built from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::KubernetesVersion;
use crate::report::{self, Activity, progress};
use crate::{sh, workspace};

/// One of the embedded cluster's own programs: a binary of a Go module in `e2e/kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// Kubernetes' servers, node agents and kubectl in one binary.
    Kube(KubernetesVersion),
    /// The API server's store.
    Etcd,
    /// The container runtime.
    Containerd,
    /// The process between containerd and runc, one for each pod.
    Shim,
    /// containerd's client.
    Ctr,
    /// The cluster's DNS server.
    Coredns,
    /// The Helm client.
    Helm,
    /// What holds a pod's namespaces.
    Pause,
}

impl Module {
    /// The binary, from the cache or built now.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        self.binary().build()
    }

    fn binary(&self) -> Binary {
        // The numbers of packages are those that are compiled when none is in Go's cache.
        let (folder, name, package, packages) = match self {
            Self::Kube(version) => return kube(version),
            Self::Etcd => ("etcd", "etcd", ".", 565),
            Self::Containerd => {
                ("containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd", 999)
            }
            Self::Shim => (
                "containerd",
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                422,
            ),
            Self::Ctr => ("containerd", "ctr", "github.com/containerd/containerd/v2/cmd/ctr", 619),
            Self::Coredns => ("coredns", "coredns", ".", 783),
            Self::Helm => ("helm", "helm", "helm.sh/helm/v4/cmd/helm", 1183),
            Self::Pause => ("pause", "pause", ".", 50),
        };
        Binary {
            name: name.to_owned(),
            folder: workspace::root().join("e2e/kubernetes").join(folder),
            package: package.to_owned(),
            flags: vec!["-ldflags".to_owned(), "-s -w".to_owned()],
            packages: Some(packages),
        }
    }
}

/// Kubernetes in one binary. It refuses to start without knowing its own version.
fn kube(version: &KubernetesVersion) -> Binary {
    let package = "k8s.io/component-base/version";
    let minor = version.minor();
    let flags = format!(
        "-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}"
    );
    Binary {
        name: "kube".to_owned(),
        folder: version.module(),
        package: ".".to_owned(),
        flags: vec!["-ldflags".to_owned(), flags],
        packages: Some(2786),
    }
}

/// The programs of a Go module in `e2e/programs`, by their names; its file `binaries` says what they are.
pub(crate) fn programs(module: &str) -> Result<Vec<(String, PathBuf)>> {
    let folder = workspace::root().join("e2e/programs").join(module);
    let list = folder.join("binaries");
    let text = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(name), Some(package)) = (words.next(), words.next()) else {
                bail!("{}: {line:?} is no NAME PACKAGE [FLAG…]", list.display());
            };
            let flags = ["-ldflags".to_owned(), "-s -w".to_owned()].into_iter().chain(words).collect();
            let binary = Binary { name, folder: folder.clone(), package, flags, packages: None };
            Ok((binary.name.clone(), binary.build()?))
        })
        .collect()
}

/// The folder of a module that a module in `e2e/programs` requires, from Go's cache or downloaded now.
pub(crate) fn required_module(module: &str, path: &str) -> Result<PathBuf> {
    let (folder, _) = download(&workspace::root().join("e2e/programs").join(module), path)?;
    Ok(folder)
}

/// A published Go module of which only files are wanted.
pub(crate) struct GoModule {
    pub(crate) path: &'static str,
    pub(crate) version: &'static str,
    /// Its hash, as a `go.sum` has it.
    pub(crate) sum: &'static str,
}

impl GoModule {
    /// The folder of its files, from Go's cache or downloaded now.
    pub(crate) fn download(&self) -> Result<PathBuf> {
        let module = format!("{}@{}", self.path, self.version);
        // From where no module is, so that none is changed by it.
        let (folder, sum) = download(&std::env::temp_dir(), &module)?;
        if sum != self.sum {
            bail!("{module} has the hash {sum:?} in place of {:?}", self.sum);
        }
        Ok(folder)
    }
}

/// The folder of a module's files and the module's hash; downloaded unless Go has it.
fn download(from: &Path, module: &str) -> Result<(PathBuf, String)> {
    let said = sh::output(go(from).args(["mod", "download", "-json", module]))?;
    let said: Value = serde_json::from_str(&said).context("go mod download does not print JSON")?;
    let field = |name: &str| {
        let found = said.get(name).and_then(Value::as_str);
        found.with_context(|| format!("go mod download says no {name} of {module}"))
    };
    Ok((PathBuf::from(field("Dir")?), field("Sum")?.to_owned()))
}

/// A binary that a Go module of this repository makes.
struct Binary {
    name: String,
    folder: PathBuf,
    package: String,
    flags: Vec<String>,
    /// How many packages are compiled, where that is known.
    packages: Option<u32>,
}

impl Binary {
    /// The binary, from the cache or built now.
    fn build(&self) -> Result<PathBuf> {
        let store = workspace::cache().join("bin");
        let folder = store.join(self.key()?);
        let binary = folder.join(&self.name);
        if binary.exists() {
            return Ok(binary);
        }
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(store.join(format!("{}.lock", self.name)))?;
        if lock.try_lock().is_err() {
            progress(format_args!("another process is building {}: waiting for it", self.name));
            lock.lock()?;
        }
        if !binary.exists() {
            report::step(&format!("build {}", self.name), |activity| self.build_into(&binary, activity))?;
        }
        Ok(binary)
    }

    fn build_into(&self, binary: &Path, activity: &Activity) -> Result<()> {
        // Renamed when whole, so that a broken-off build leaves nothing that looks like a binary.
        let unfinished = binary.with_extension("unfinished");
        let log = workspace::cache().join("log").join(format!("build-{}.log", self.name));
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.compile(&unfinished, &log, activity) else { break };
            if tries == 3 || !looks_like_the_network(&log) {
                return Err(error);
            }
            progress(format_args!("build {}: a download failed, trying again", self.name));
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
        std::fs::rename(&unfinished, binary)?;
        Ok(())
    }

    fn compile(&self, output: &Path, log: &Path, activity: &Activity) -> Result<()> {
        let mut compiled = 0;
        // Each name that -v prints is a package that was just compiled: a sign of life.
        sh::watched(
            go(&self.folder)
                .args(["build", "-v", "-trimpath"])
                .args(&self.flags)
                .arg("-o")
                .arg(output)
                .arg(&self.package),
            log,
            |line| {
                if line.starts_with("go: ") {
                    activity.set(line);
                    return;
                }
                compiled += 1;
                match self.packages {
                    Some(all) => {
                        activity.set(format!("{compiled} packages of {all}, {line}"));
                        activity.done(f64::from(compiled) / f64::from(all));
                    }
                    None => activity.set(format!("{compiled} packages, {line}")),
                }
            },
        )
    }

    /// A hash of everything that the binary is made from.
    fn key(&self) -> Result<String> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .with_context(|| format!("cannot read {}", self.folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(std::fs::read(&file)?);
        }
        for flag in &self.flags {
            hash.update(flag);
        }
        hash.update(&self.package);
        hash.update(sh::output(go(&self.folder).arg("version"))?);
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
