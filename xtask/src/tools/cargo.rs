//! Programs that Cargo installs, with pinned versions and separate from the user's own.

use std::path::PathBuf;

use anyhow::Result;

use crate::report::progress;
use crate::{sh, workspace};

/// Returns the path of a program from crates.io. Installs it first if it is missing.
pub(crate) fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let root = workspace::cache().join(format!("{name}-{version}"));
    let binary = root.join("bin").join(name);
    if !binary.exists() {
        progress(format_args!("installing {name} {version}"));
        let mut command = sh::cmd("cargo", ["install", "--quiet", "--locked", name]);
        sh::run(command.args(["--version", version, "--root"]).arg(&root))?;
    }
    Ok(binary)
}
