//! Binaries built from the Go modules in `e2e/kubernetes` and `e2e/programs`, cached by a hash of their sources.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::KubernetesVersion;
use crate::report::{self, Activity, progress};
use crate::{sh, workspace};

/// A program of the embedded cluster: a binary of a Go module in `e2e/kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// Kubernetes' servers, node agents and kubectl in one binary.
    Kube(KubernetesVersion),
    /// Database of the API server.
    Etcd,
    /// Container runtime.
    Containerd,
    /// Process between containerd and runc, one per pod.
    Shim,
    /// Client of containerd.
    Ctr,
    /// DNS server of the cluster.
    Coredns,
    /// Helm client.
    Helm,
    /// Pause program of a pod's sandbox.
    Pause,
}

impl Module {
    /// Returns the path of the binary, from the cache or built now.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        self.binary().build()
    }

    fn binary(&self) -> Binary {
        // The numbers are of packages that are compiled if Go's cache is empty.
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

/// Returns the binary of Kubernetes, which needs its own version to start.
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

/// Returns the programs of a Go module in `e2e/programs`, by name. The module's file `binaries` lists them.
pub(crate) fn programs(module: &str) -> Result<Vec<(String, PathBuf)>> {
    let folder = workspace::root().join("e2e/programs").join(module);
    let list = folder.join("binaries");
    let text = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(name), Some(package)) = (words.next(), words.next()) else {
                bail!("{}: invalid line {line:?}: must be NAME PACKAGE [FLAG…]", list.display());
            };
            let flags = ["-ldflags".to_owned(), "-s -w".to_owned()].into_iter().chain(words).collect();
            let binary = Binary { name, folder: folder.clone(), package, flags, packages: None };
            Ok((binary.name.clone(), binary.build()?))
        })
        .collect()
}

/// Returns the directory of a module that a module in `e2e/programs` requires, from Go's cache or downloaded now.
pub(crate) fn required_module(module: &str, path: &str) -> Result<PathBuf> {
    let (folder, _) = download(&workspace::root().join("e2e/programs").join(module), path)?;
    Ok(folder)
}

/// A published Go module of which only files are used.
pub(crate) struct GoModule {
    pub(crate) path: &'static str,
    pub(crate) version: &'static str,
    /// Hash of the module, as in a `go.sum`.
    pub(crate) sum: &'static str,
}

impl GoModule {
    /// Returns the directory of its files, from Go's cache or downloaded now.
    pub(crate) fn download(&self) -> Result<PathBuf> {
        let module = format!("{}@{}", self.path, self.version);
        // A directory without a module, so that no go.mod is changed.
        let (folder, sum) = download(&std::env::temp_dir(), &module)?;
        if sum != self.sum {
            bail!("{module} has the hash {sum:?} instead of {:?}", self.sum);
        }
        Ok(folder)
    }
}

/// Returns the directory and the hash of a module. Downloads it if Go does not have it.
fn download(from: &Path, module: &str) -> Result<(PathBuf, String)> {
    let output = sh::output(go(from).args(["mod", "download", "-json", module]))?;
    let output: Value = serde_json::from_str(&output).context("go mod download does not print JSON")?;
    let field = |name: &str| {
        let found = output.get(name).and_then(Value::as_str);
        found.with_context(|| format!("go mod download printed no {name} of {module}"))
    };
    Ok((PathBuf::from(field("Dir")?), field("Sum")?.to_owned()))
}

/// A binary of a Go module in this repository.
struct Binary {
    name: String,
    folder: PathBuf,
    package: String,
    flags: Vec<String>,
    /// Number of packages to compile, if known.
    packages: Option<u32>,
}

impl Binary {
    /// Returns the path of the binary, from the cache or built now.
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
            progress(format_args!("waiting for another process that builds {}", self.name));
            lock.lock()?;
        }
        if !binary.exists() {
            report::step(&format!("build {}", self.name), |activity| self.build_into(&binary, activity))?;
        }
        Ok(binary)
    }

    fn build_into(&self, binary: &Path, activity: &Activity) -> Result<()> {
        // Renamed when complete, so that an interrupted build leaves no file with the binary's name.
        let unfinished = binary.with_extension("unfinished");
        let log = workspace::cache().join("log").join(format!("build-{}.log", self.name));
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.compile(&unfinished, &log, activity) else { break };
            if tries == 3 || !is_network_error(&log) {
                return Err(error);
            }
            progress(format_args!("build {}: a download failed; retrying", self.name));
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
        std::fs::rename(&unfinished, binary)?;
        Ok(())
    }

    fn compile(&self, output: &Path, log: &Path, activity: &Activity) -> Result<()> {
        let mut compiled = 0;
        // With -v, Go prints each package that it compiles.
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

    /// Returns a hash of everything from which the binary is built.
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
        // Cargo sets a search path for libraries that other programs must not use.
        .env_remove("LD_LIBRARY_PATH");
    go
}

fn is_network_error(log: &Path) -> bool {
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
