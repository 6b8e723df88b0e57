//! Files of Python wheels. Some programs are published there as binaries, built by their authors.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::report::step;
use crate::{sh, workspace};

/// Returns the path of a wheel's file, unpacked in the cache.
pub(super) fn file(wheel: &str, name: &str) -> Result<PathBuf> {
    let folder = workspace::cache().join("wheels").join(wheel.replace("==", "-"));
    let file = folder.join(name);
    if file.exists() {
        return Ok(file);
    }
    step(&format!("download {wheel}"), |_| {
        let downloads = folder.with_extension("download");
        let unpacked = downloads.join("unpacked");
        drop(std::fs::remove_dir_all(&downloads));
        std::fs::create_dir_all(&unpacked)?;
        sh::logged(
            Command::new("python3")
                .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest"])
                .arg(&downloads)
                .arg(wheel),
            &workspace::cache().join("log/wheels.log"),
        )?;
        for entry in std::fs::read_dir(&downloads)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "whl") {
                sh::run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(path).arg(&unpacked))?;
            }
        }
        // Renamed when complete, so that an incomplete file is never used.
        drop(std::fs::remove_dir_all(&folder));
        std::fs::rename(unpacked, &folder)?;
        std::fs::remove_dir_all(&downloads)?;
        Ok(())
    })?;
    if !file.exists() {
        bail!("the wheel {wheel} has no file {name}");
    }
    Ok(file)
}
