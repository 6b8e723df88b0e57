//! The cluster's own branch in every control group hierarchy.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Cluster;

const ROOT: &str = "/sys/fs/cgroup";
/// The file that says which controllers a version 2 group hands down.
const HANDED_DOWN: &str = "cgroup.subtree_control";
/// The file in the state folder that says which of them the root did not hand down before.
const NEW_AT_ROOT: &str = "controllers";
/// Stands where a version 1 hierarchy names its controllers.
const UNIFIED: &str = "unified";

/// One hierarchy: the cluster's group in it, where it is mounted, and its controllers.
#[derive(Clone, Debug)]
pub(super) struct Hierarchy {
    pub(super) group: PathBuf,
    pub(super) mount: PathBuf,
    pub(super) controllers: String,
}

/// Whether the host has the unified hierarchy only.
pub(super) fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Makes the groups: below this process's own ones in version 1 (its limits stay in force), at the root in version 2.
pub(super) fn create(cluster: &Cluster) -> Result<Vec<Hierarchy>> {
    let hierarchies = if is_unified() { vec![unified(cluster)?] } else { hierarchies(cluster)? };
    for hierarchy in &hierarchies {
        let group = &hierarchy.group;
        std::fs::create_dir_all(group)
            .with_context(|| format!("cannot make control group {}", group.display()))?;
        // A new group has no processors and no memory nodes, and takes no process, until it is told.
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

/// The kubelet refuses to run without these.
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
        "control group controllers that are missing here: {}. In a container, its own processes may hold them; \
         run it with the host's control groups (--cgroupns=host), or on the host",
        missing.join(", ")
    )
}

/// Whether the groups that `create` made are of version 2; inside, the host's mounts are not there to ask.
pub(super) fn was_unified(cluster: &Cluster) -> Result<bool> {
    Ok(read(cluster)?.iter().any(|hierarchy| hierarchy.controllers == UNIFIED))
}

/// The groups that `create` made.
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

/// Hands every controller of a version 2 group down to its children, as far as the kernel agrees.
pub(super) fn hand_down(group: &Path) -> Result<()> {
    let controllers = std::fs::read_to_string(group.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        // One that is held elsewhere is refused; the kubelet needs four, which are checked by name.
        drop(std::fs::write(group.join(HANDED_DOWN), format!("+{controller}")));
    }
    Ok(())
}

/// Takes back the controllers that were handed down at the root for this cluster alone.
pub(super) fn restore_root(cluster: &Cluster) {
    let new = std::fs::read_to_string(cluster.state.join(NEW_AT_ROOT)).unwrap_or_default();
    for controller in new.split_whitespace() {
        // The kernel refuses while another group, as of another cluster, uses it.
        drop(std::fs::write(Path::new(ROOT).join(HANDED_DOWN), format!("-{controller}")));
    }
}

/// Removes the cluster's groups wherever they are, also those of a start that left no record.
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
    if left.is_empty() { Ok(()) } else { bail!("control groups that cannot be removed: {left:?}") }
}

/// Groups empty a moment after their last process, so what cannot be removed now is tried again by the caller.
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
    let before = std::fs::read_to_string(root.join(HANDED_DOWN))?;
    hand_down(&root)?;
    let after = std::fs::read_to_string(root.join(HANDED_DOWN))?;
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
            // In a container the mount shows a part of the hierarchy only.
            let inside = path.strip_prefix(root.as_str()).unwrap_or(path).trim_matches('/');
            let group = mount.join(inside).join(cluster.group());
            Some(Hierarchy { group, mount, controllers: controllers.to_owned() })
        })
        .collect())
}

/// The root and the mount point of the version 1 hierarchy with these controllers.
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
