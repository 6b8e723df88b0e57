//! Checks of all requirements before anything is built. All problems are reported together.

use std::path::Path;

use anyhow::{Result, bail};

use super::apt;
use crate::{sh, workspace};

/// Oldest version of Go that builds all modules.
const GO: (u32, u32) = (1, 26);
/// Oldest version of Go that downloads a newer toolchain, unless this is disabled.
const FETCHING_GO: (u32, u32) = (1, 21);
const MUSL: &str = "x86_64-unknown-linux-musl";

/// Checks the requirements of the embedded cluster.
pub(crate) fn embedded() -> Result<()> {
    let mut problems = Vec::new();
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        problems.push("the embedded cluster needs Linux on x86-64".to_owned());
    } else if !rustix::process::geteuid().is_root() {
        problems.push(
            "the embedded cluster needs root, for namespaces, mounts and control groups: \
             run `sudo -E env \"PATH=$PATH\" cargo xtask …`, or become root"
                .to_owned(),
        );
    } else if let Err(error) = sh::run(&mut sh::line(
        "unshare --net --mount --pid --uts --ipc --cgroup --fork --mount-proc --propagation private true",
    )) {
        problems.push(format!(
            "root cannot create namespaces on this machine (a container without --privileged?):\n{error:#}"
        ));
    }
    check_programs(&mut problems);
    check_space(&mut problems);
    conclude(&problems)
}

/// Checks the requirements of an existing cluster. Root is needed only to install missing packages.
pub(crate) fn external() -> Result<()> {
    let mut problems = Vec::new();
    check_programs(&mut problems);
    check_space(&mut problems);
    let missing = apt::missing(&apt::NEEDED);
    if !missing.is_empty() && !rustix::process::geteuid().is_root() {
        problems.push(format!("packages are missing: `sudo apt-get install {}`", missing.join(" ")));
    }
    conclude(&problems)
}

fn conclude(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let list = problems.join("\n  - ");
    bail!(
        "requirements are missing:\n  - {list}\n\nYou can use an existing cluster instead: \
         --kubeconfig FILE with --load 'CMD {{}}' or --registry HOST/PATH"
    )
}

fn check_programs(problems: &mut Vec<String>) {
    match sh::output(sh::line("go version").current_dir(workspace::root())) {
        Err(_) => problems.push(format!(
            "Go is missing (or not on root's PATH): install Go {}.{} or later, see https://go.dev/doc/install",
            GO.0, GO.1
        )),
        Ok(text) => match go_version(&text) {
            Some(version) if version >= GO || (version >= FETCHING_GO && fetches_toolchains()) => {}
            _ => problems.push(format!("Go {}.{} or later is needed, this is: {}", GO.0, GO.1, text.trim())),
        },
    }
    let has_target = sh::output(&mut sh::line("rustc --print sysroot"))
        .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib").join(MUSL).join("lib").exists());
    if !has_target && let Err(error) = sh::run(&mut sh::cmd("rustup", ["target", "add", MUSL])) {
        problems.push(format!("Rust's target {MUSL} is missing, and rustup cannot add it:\n{error:#}"));
    }
}

fn fetches_toolchains() -> bool {
    sh::output(&mut sh::line("go env GOTOOLCHAIN")).is_ok_and(|setting| setting.contains("auto"))
}

fn go_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    let minor: String = number.chars().take_while(char::is_ascii_digit).collect();
    Some((1, minor.parse().ok()?))
}

/// Checks the free disk space. The first build also fills Go's caches; later ones need little.
fn check_space(problems: &mut Vec<String>) {
    let first_build = !workspace::cache().join("bin").exists();
    let needed: u64 = if first_build { 14 } else { 4 };
    let home = workspace::cache();
    let existing = home.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    for folder in [existing, &workspace::root()] {
        let Ok(found) = rustix::fs::statvfs(folder) else { continue };
        let free = found.f_bavail.saturating_mul(found.f_frsize) >> 30;
        if free < needed {
            problems.push(format!(
                "{} has {free} GiB of free space; about {needed} GiB are needed",
                folder.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_parsed() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_version("go version go1.27rc1 linux/amd64"), Some((1, 27)));
        assert_eq!(go_version("gcc 12"), None);
    }
}
