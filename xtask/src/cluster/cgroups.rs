//! The cluster's own group in every control group hierarchy.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Cluster;

const ROOT: &str = "/sys/fs/cgroup";
/// File with the controllers that a version 2 group enables for its children.
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";
/// File in the state directory with the controllers that were enabled at the root for this cluster.
const NEW_AT_ROOT: &str = "controllers";
/// Value of `controllers` for the version 2 hierarchy.
const UNIFIED: &str = "unified";

/// A hierarchy: the cluster's group in it, its mount point, and its controllers.
#[derive(Clone, Debug)]
pub(super) struct Hierarchy {
    pub(super) group: PathBuf,
    pub(super) mount: PathBuf,
    pub(super) controllers: String,
}

/// Returns whether the host has only the unified hierarchy.
pub(super) fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Creates the groups: in version 1 below this process's own groups, so that their limits apply; in version 2 at the
/// root.
pub(super) fn create(cluster: &Cluster) -> Result<Vec<Hierarchy>> {
    let hierarchies = if is_unified() { vec![unified(cluster)?] } else { hierarchies(cluster)? };
    for hierarchy in &hierarchies {
        let group = &hierarchy.group;
        std::fs::create_dir_all(group)
            .with_context(|| format!("cannot make control group {}", group.display()))?;
        // A new version 1 cpuset has no processors and no memory nodes, and accepts no process until these are set.
        if group.join("cpuset.cpus").exists() && !is_unified() {
            let parent = group.parent().context("a control group without a parent")?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                std::fs::write(group.join(file), std::fs::read(parent.join(file))?)?;
            }
        }
    }
    if hierarchies.is_empty() {
        bail!("no control groups are mounted below {ROOT}");
    }
    check_controllers(&hierarchies)?;
    let mut text = String::new();
    for one in &hierarchies {
        writeln!(text, "{}\t{}\t{}", one.group.display(), one.mount.display(), one.controllers)?;
    }
    std::fs::write(cluster.state.join("cgroups"), text)?;
    Ok(hierarchies)
}

/// Checks the controllers that the kubelet requires.
fn check_controllers(hierarchies: &[Hierarchy]) -> Result<()> {
    let mut found = String::new();
    for hierarchy in hierarchies {
        match hierarchy.controllers.as_str() {
            UNIFIED => found.push_str(&std::fs::read_to_string(hierarchy.group.join("cgroup.controllers"))?),
            controllers => found.push_str(&controllers.replace(',', " ")),
        }
        found.push(' ');
    }
    let missing: Vec<&str> = ["cpu", "cpuset", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !found.split_whitespace().any(|controller| controller == *wanted))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing control group controllers: {}. In a container, other processes may use them; \
         run it with the host's control groups (--cgroupns=host), or on the host",
        missing.join(", ")
    )
}

/// Returns whether the groups of `create` are of version 2. Inside the namespaces, the host's mounts cannot be
/// inspected.
pub(super) fn was_unified(cluster: &Cluster) -> Result<bool> {
    Ok(read(cluster)?.iter().any(|hierarchy| hierarchy.controllers == UNIFIED))
}

/// Returns the groups of `create`.
pub(super) fn read(cluster: &Cluster) -> Result<Vec<Hierarchy>> {
    let text = std::fs::read_to_string(cluster.state.join("cgroups"))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Hierarchy {
                group: fields.next()?.into(),
                mount: fields.next()?.into(),
                controllers: fields.next()?.to_owned(),
            })
        })
        .collect())
}

/// Moves a process into a group.
pub(super) fn enter(group: &Path, pid: i32) -> Result<()> {
    std::fs::write(group.join("cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot enter control group {}", group.display()))
}

/// Enables every controller of a version 2 group for its children, as far as the kernel allows.
pub(super) fn enable_controllers(group: &Path) -> Result<()> {
    let controllers = std::fs::read_to_string(group.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        // The kernel rejects a controller that is in use elsewhere. `check_controllers` checks those that the kubelet
        // needs.
        drop(std::fs::write(group.join(SUBTREE_CONTROL), format!("+{controller}")));
    }
    Ok(())
}

/// Disables the controllers at the root that were enabled for this cluster.
pub(super) fn restore_root(cluster: &Cluster) {
    let new = std::fs::read_to_string(cluster.state.join(NEW_AT_ROOT)).unwrap_or_default();
    for controller in new.split_whitespace() {
        // The kernel rejects this while another group, such as that of another cluster, uses the controller.
        drop(std::fs::write(Path::new(ROOT).join(SUBTREE_CONTROL), format!("-{controller}")));
    }
}

/// Removes the cluster's groups from all hierarchies, including those of a start that left no record.
pub(super) fn remove(cluster: &Cluster) -> Result<()> {
    let name = cluster.group();
    let mut left = Vec::new();
    for _ in 0..200 {
        left.clear();
        find(Path::new(ROOT), &name, &mut left);
        if left.is_empty() {
            return Ok(());
        }
        for group in &left {
            remove_tree(group);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    left.clear();
    find(Path::new(ROOT), &name, &mut left);
    if left.is_empty() { Ok(()) } else { bail!("cannot remove control groups {left:?}") }
}

/// Removes a group as far as possible. A group becomes empty a moment after its last process ends, so the caller
/// retries.
fn remove_tree(group: &Path) {
    for child in folders(group) {
        remove_tree(&child);
    }
    drop(std::fs::remove_dir(group));
}

fn find(below: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for folder in folders(below) {
        if folder.file_name().is_some_and(|last| last == name) {
            found.push(folder);
        } else {
            find(&folder, name, found);
        }
    }
}

fn folders(below: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(below) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn unified(cluster: &Cluster) -> Result<Hierarchy> {
    let root = PathBuf::from(ROOT);
    let before = std::fs::read_to_string(root.join(SUBTREE_CONTROL))?;
    enable_controllers(&root)?;
    let after = std::fs::read_to_string(root.join(SUBTREE_CONTROL))?;
    let new = after.split_whitespace().filter(|one| !before.split_whitespace().any(|other| other == *one));
    std::fs::write(cluster.state.join(NEW_AT_ROOT), new.collect::<Vec<_>>().join(" "))?;
    Ok(Hierarchy { group: root.join(cluster.group()), mount: root, controllers: UNIFIED.to_owned() })
}

fn hierarchies(cluster: &Cluster) -> Result<Vec<Hierarchy>> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(own
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (root, mount) = mounted(&mounts, controllers)?;
            // In a container, the mount shows only a part of the hierarchy.
            let inside = path.strip_prefix(root.as_str()).unwrap_or(path).trim_matches('/');
            let group = mount.join(inside).join(cluster.group());
            Some(Hierarchy { group, mount, controllers: controllers.to_owned() })
        })
        .collect())
}

/// Returns the root and the mount point of the version 1 hierarchy with these controllers.
fn mounted(mountinfo: &str, controllers: &str) -> Option<(String, PathBuf)> {
    if controllers.is_empty() {
        return None;
    }
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - cgroup ")?;
        let options: Vec<&str> = right.split_whitespace().last()?.split(',').collect();
        let first = controllers.split(',').next()?;
        let mut fields = left.split_whitespace().skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        options.contains(&first).then(|| (root.trim_end_matches('/').to_owned(), PathBuf::from(mount)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_is_found_by_its_first_controller() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
                      31 25 0:27 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
        let at = |path: &str| Some((String::new(), PathBuf::from(path)));
        assert_eq!(mounted(mounts, "cpu,cpuacct"), at("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounted(mounts, "name=systemd"), at("/sys/fs/cgroup/systemd"));
        assert_eq!(mounted(mounts, "memory"), Some(("/docker/1".to_owned(), "/sys/fs/cgroup/memory".into())));
        assert_eq!(mounted(mounts, ""), None);
        assert_eq!(mounted(mounts, "pids"), None);
    }
}
