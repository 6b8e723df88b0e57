//! Root directories from Debian packages, without their scripts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools::refresh_package_lists;
use crate::{sh, workspace};

/// Files that no program needs at run time.
const EXCLUDED: [&str; 12] = [
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "./usr/share/info/*",
    "./usr/share/lintian/*",
    "./usr/share/bash-completion/*",
    "./lib/systemd/*",
    "./etc/init.d/*",
    "./usr/bin/perl*",
    "./usr/share/perl*",
    "./usr/lib/x86_64-linux-gnu/perl*",
    "./usr/lib/x86_64-linux-gnu/gconv/*",
];

/// Unpacks packages with all their dependencies, except files that match one of the patterns.
pub(super) fn unpack(packages: &[String], leave_out: &[String], root: &Path) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let downloads = root.with_extension("debs");
    for file in &download(packages, &downloads)? {
        extract(file, leave_out, root).with_context(|| format!("cannot unpack {}", file.display()))?;
    }
    std::fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// Downloads the packages and their dependencies, as if nothing were installed.
fn download(packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
    if sh::which("apt-get").is_none() {
        bail!("this image needs Debian packages: apt-get is missing; use a Debian-like system");
    }
    std::fs::create_dir_all(folder.join("partial"))?;
    let status = folder.join("empty");
    std::fs::write(&status, "")?;
    let option = |name: &str, path: &Path| {
        let mut option = OsString::from(format!("{name}="));
        option.push(path);
        option
    };
    let attempt = || {
        sh::logged(
            Command::new("apt-get")
                .arg("-o")
                .arg(option("Dir::State::status", &status))
                .arg("-o")
                .arg(option("Dir::Cache::archives", folder))
                .args(["-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=true"])
                .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"])
                .args(["-y", "--download-only", "install"])
                .args(packages),
            &workspace::cache().join("log/image-packages.log"),
        )
    };
    if attempt().is_err() {
        refresh_package_lists()?;
        attempt()?;
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .collect();
    files.sort();
    Ok(files)
}

fn extract(package: &Path, leave_out: &[String], root: &Path) -> Result<()> {
    let mut data =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let archive = data.stdout.take().context("no output")?;
    let unpacked = Command::new("tar")
        .args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"])
        .arg(root)
        .args(EXCLUDED.map(|pattern| format!("--exclude={pattern}")))
        .args(leave_out.iter().map(|pattern| format!("--exclude={pattern}")))
        .stdin(archive)
        .status()?;
    let read = data.wait()?;
    if !unpacked.success() || !read.success() {
        bail!("dpkg-deb: {read}, tar: {unpacked}");
    }
    Ok(())
}
