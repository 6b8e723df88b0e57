//! Programs from Debian packages.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::report::{progress, step};
use crate::{sh, workspace};

/// Alternative programs (or absolute paths of files), and the package that has one of them.
pub(crate) type Needed = (&'static [&'static str], &'static str);

/// Requirements of every task.
pub(super) const NEEDED: [Needed; 16] = [
    (&["runc"], "runc"),
    (&["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"], "containernetworking-plugins"),
    (&["buildah"], "buildah"),
    (&["nft"], "nftables"),
    (&["iptables"], "iptables"),
    (&["ip"], "iproute2"),
    (&["openssl"], "openssl"),
    (&["unshare"], "util-linux"),
    (&["mount"], "mount"),
    (&["hostname"], "hostname"),
    (&["tar"], "tar"),
    (&["python3"], "python3"),
    (&["pip", "pip3"], "python3-pip"),
    // aws-lc, the library behind rustls, is C code.
    (&["musl-gcc"], "musl-tools"),
    (&["cc"], "gcc"),
    (&["/usr/include/stdio.h"], "libc6-dev"),
];

/// Services of installed packages that must not run on the host.
const UNITS: [&str; 2] = ["nftables.service", "prometheus.service"];

/// Returns the packages of missing programs.
pub(super) fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = needed
        .iter()
        .filter(|(names, _)| {
            !names.iter().any(|name| {
                if name.starts_with('/') { Path::new(name).exists() } else { sh::which(name).is_some() }
            })
        })
        .map(|&(_, package)| package)
        .collect();
    packages.dedup();
    packages
}

/// Installs missing packages. None of their services is started, now or at the next boot.
pub(super) fn install(needed: &[Needed]) -> Result<()> {
    let packages = missing(needed);
    if packages.is_empty() {
        return Ok(());
    }
    if sh::which("apt-get").is_none() {
        bail!(
            "programs are missing, and apt-get is not available; install the equivalents of the Debian packages {}",
            packages.join(", ")
        );
    }
    step("install packages", |activity| {
        progress(format_args!("install packages: {}", packages.join(" ")));
        if lists_are_old() {
            activity.set("apt-get update");
            // An unreachable source is no reason to stop, unless a package is missing afterwards.
            if let Err(error) = update() {
                progress(format_args!("apt-get update failed; using the existing lists: {error:#}"));
            }
        }
        activity.set("apt-get install");
        let enabled_before = enabled_units();
        if apt_install(&packages).is_err() {
            update()?;
            apt_install(&packages)?;
        }
        disable_new(&enabled_before);
        let still = missing(needed);
        if still.is_empty() {
            Ok(())
        } else {
            bail!("packages are still missing after the installation: {}", still.join(", "))
        }
    })
}

/// Updates the package lists.
pub(super) fn update() -> Result<()> {
    sh::logged(
        sh::line("apt-get -qq -o Acquire::Retries=3 update").env("DEBIAN_FRONTEND", "noninteractive"),
        &workspace::cache().join("log/apt-update.log"),
    )
}

/// Returns whether the package lists are missing or older than a day.
fn lists_are_old() -> bool {
    let day = Duration::from_hours(24);
    let is_fresh = |entry: std::fs::DirEntry| {
        entry.file_name().to_string_lossy().contains("Packages")
            && entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < day))
    };
    let updated = std::fs::metadata("/var/lib/apt/lists/partial").and_then(|folder| folder.modified());
    let updated_lately =
        updated.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < day));
    let mut entries = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten().peekable();
    let has_lists = Path::new("/var/lib/apt/lists").read_dir().is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("Packages"))
    });
    !(has_lists && (updated_lately || entries.any(is_fresh)))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    // Hides this directory, by which the packages' scripts detect systemd, so that they start no service.
    let script = "if [ -d /run/systemd ]; then mount -t tmpfs tmpfs /run/systemd; fi; \
                  exec apt-get -y -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold install --no-install-recommends \"$@\"";
    sh::logged(
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "install"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("NEEDRESTART_SUSPEND", "1"),
        &workspace::cache().join("log/apt-install.log"),
    )
}

fn enabled_units() -> Vec<&'static str> {
    UNITS
        .into_iter()
        .filter(|unit| {
            sh::attempt(&mut sh::cmd("systemctl", ["is-enabled", unit])).is_ok_and(|(enabled, _)| enabled)
        })
        .collect()
}

fn disable_new(before: &[&str]) {
    for unit in enabled_units().into_iter().filter(|unit| !before.contains(unit)) {
        // Without systemd, this fails, and no service is started at boot.
        drop(sh::attempt(&mut sh::cmd("systemctl", ["disable", unit])));
    }
}
