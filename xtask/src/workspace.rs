//! Where things are: the checkout, its build folder, and the cache that checkouts share.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Not the variable at run time: a test that starts this program has one of its own package.
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The folder of everything that belongs to this checkout and can be made again.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// The folder that Cargo builds into, which a developer may have moved.
pub(crate) fn cargo_target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, |folder| root().join(folder))
}

/// The cache that all checkouts of this user share.
pub(crate) fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| target().join("cache"));
    base.join("outrigger")
}
