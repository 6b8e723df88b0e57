//! Paths: the checkout, its build directory, and the cache that checkouts share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Not the variable at run time: a test that starts this program has that of its own package.
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Returns a search path with the directories of system programs, if this process's path lacks one of them, as after
/// `su`.
pub(crate) fn path_with_administrators_programs() -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let wanted = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let missing: Vec<PathBuf> = wanted.into_iter().filter(|folder| !folders.contains(folder)).collect();
    if missing.is_empty() {
        return None;
    }
    std::env::join_paths(folders.into_iter().chain(missing)).ok()
}

/// Returns the directory of all files of this checkout that can be regenerated.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Returns Cargo's build directory, which a developer can move.
pub(crate) fn cargo_target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, |folder| root().join(folder))
}

/// Returns the cache that all checkouts of this user share.
pub(crate) fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| target().join("cache"));
    base.join("outrigger")
}
