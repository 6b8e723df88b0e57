//! Files of Python wheels: some programs are published there as binaries, built by the package's authors.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::report::step;
use crate::{sh, workspace};

/// A file of a wheel, unpacked in the cache.
pub(super) fn file(wheel: &str, name: &str) -> Result<PathBuf> {
    let folder = workspace::cache().join("wheels").join(wheel.replace("==", "-"));
    let file = folder.join(name);
    if file.exists() {
        return Ok(file);
    }
    step(&format!("download {wheel}"), |_| {
        let downloads = folder.with_extension("download");
        drop(std::fs::remove_dir_all(&downloads));
        std::fs::create_dir_all(&downloads)?;
        sh::logged(
            Command::new("python3")
                .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest"])
                .arg(&downloads)
                .arg(wheel),
            &workspace::cache().join("log/wheels.log"),
        )?;
        for entry in std::fs::read_dir(&downloads)? {
            sh::run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(entry?.path()).arg(&folder))?;
        }
        std::fs::remove_dir_all(&downloads)?;
        Ok(())
    })?;
    if !file.exists() {
        bail!("the wheel {wheel} has no file {name}");
    }
    Ok(file)
}
