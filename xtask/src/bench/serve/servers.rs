use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{sh, workspace};

/// Timeout of a server's start.
const START: Duration = Duration::from_mins(1);

/// Paths of the built programs.
pub(super) struct Programs {
    pub(super) bench: PathBuf,
    outrigger: PathBuf,
}

/// A running server, which is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Programs {
    /// Builds the programs for this machine, or for a target triple such as that of the image.
    pub(super) fn build(target: Option<&str>) -> Result<Self> {
        let mut build = sh::line("cargo build --release --locked --package outrigger --package bench");
        build.args(target.map(|target| format!("--target={target}")));
        sh::logged(build.current_dir(workspace::root()), &workspace::target().join("bench/build.log"))?;
        let folder = workspace::cargo_target().join(target.unwrap_or_default()).join("release");
        Ok(Self { bench: folder.join("bench"), outrigger: folder.join("outrigger") })
    }

    pub(super) fn bare(&self, folder: &Path) -> Result<Server> {
        Server::start(Command::new(&self.bench).arg("bare").arg(folder), &folder.join("bare.log"))
    }

    /// Starts Outrigger with the chart's environment, without a cluster.
    pub(super) fn outrigger(&self, folder: &Path, log: &str) -> Result<Server> {
        let mut command = Command::new(&self.outrigger);
        command.args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--drain-delay=0"]);
        command.env("MIMALLOC_PURGE_DELAY", "10");
        command.arg("--profiles").arg(folder.join("profiles")).arg(format!("--log-filter={log}"));
        command.arg("--tls-cert").arg(folder.join("tls.crt")).arg("--tls-key").arg(folder.join("tls.key"));
        Server::start(&mut command, &folder.join("outrigger.log"))
    }
}

impl Server {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            // An incomplete line may lack the end of the port.
            let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some(address) = complete.split_whitespace().find_map(|word| word.strip_prefix("listen=")) {
                let address = address.parse().with_context(|| format!("{address} in {}", log.display()))?;
                return Ok(Self { child, address });
            }
            if started.elapsed() > START || child.try_wait()?.is_some() {
                drop(child.kill());
                bail!("a server did not start; its log is {}:\n{text}", log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a value of the process's status, in KiB.
    pub(super) fn memory(&self, line: &str) -> Result<f64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the server has ended")?;
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
        found.and_then(|number| number.parse().ok()).with_context(|| format!("no {line} of the server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
