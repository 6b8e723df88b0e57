//! Removal of the cluster, whatever state it is in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, cgroups, processes};

/// Ends every process, and removes the control groups and the state. Returns whether there was anything to remove.
///
/// The caller must hold the lock.
pub(super) fn down(cluster: &Cluster) -> Result<bool> {
    let ran = processes::kill(cluster)?;
    cgroups::remove(cluster)?;
    cgroups::restore_root(cluster);
    let had_state = cluster.state.exists();
    remove_folder(&cluster.state)?;
    Ok(ran || had_state)
}

fn remove_folder(path: &Path) -> Result<()> {
    for _ in 0..50 {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // The kernel unmounts the mounts of a mount namespace a moment after its last process ends.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    std::fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
}
