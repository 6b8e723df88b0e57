//! The node's own view of the file system, so that its programs do not write to the host.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};

use crate::cluster::{Cluster, cgroups};
use crate::{sh, workspace};

/// Sysctls that the kubelet sets for the whole host. Instead, it gets files with the expected values.
const KUBELET_SYSCTLS: [(&str, &str); 5] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Sets up all mounts. The mount namespace is already private.
pub(super) fn prepare(cluster: &Cluster) -> Result<()> {
    let host_folders = HostFolders::open(&[cluster.state.clone(), workspace::cache(), workspace::root()])?;
    mount("--make-rprivate /")?;
    mount("-t tmpfs -o mode=755 tmpfs /run")?;
    for folder in ["lock", "upper"] {
        std::fs::create_dir_all(Path::new("/run").join(folder))?;
    }
    for name in ["etc", "var"] {
        let (upper, work) = (format!("/run/upper/{name}"), format!("/run/upper/{name}.work"));
        std::fs::create_dir_all(&upper)?;
        std::fs::create_dir_all(&work)?;
        mount(&format!("-t overlay overlay -o lowerdir=/{name},upperdir={upper},workdir={work} /{name}"))?;
    }
    host_folders.restore()?;
    // In a new network namespace, the host's /sys still shows the host's network interfaces.
    sh::run(&mut sh::line("umount --lazy /sys"))?;
    mount("-t sysfs sysfs /sys")?;
    if cgroups::was_unified(cluster)? {
        unified()?;
    } else {
        hierarchies(cluster)?;
    }
    for (name, value) in KUBELET_SYSCTLS {
        let file = PathBuf::from("/run/upper").join(name.replace('/', "_"));
        std::fs::write(&file, format!("{value}\n"))?;
        mount(&format!("--bind {} /proc/sys/{name}", file.display()))?;
    }
    std::fs::write("/etc/hosts", "127.0.0.1 localhost\n10.244.0.1 node1\n")?;
    replace("/etc/resolv.conf", "\n")?;
    Ok(())
}

fn mount(arguments: &str) -> Result<()> {
    sh::run(&mut sh::line(&format!("mount {arguments}")))
}

/// Replaces a file. On many hosts, it is a link into /run, which is empty here.
fn replace(path: &str, text: &str) -> Result<()> {
    drop(std::fs::remove_file(path));
    std::fs::write(path, text).with_context(|| format!("cannot write {path}"))
}

/// Directories that must stay the host's own, because containerd stores its layers in one of them.
struct HostFolders {
    folders: Vec<(PathBuf, OwnedFd)>,
}

impl HostFolders {
    fn open(folders: &[PathBuf]) -> Result<Self> {
        let hidden = |path: &&PathBuf| ["/run", "/etc", "/var"].iter().any(|top| path.starts_with(top));
        let folders = folders
            .iter()
            .filter(hidden)
            .map(|path| {
                let open = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
                Ok((path.clone(), open.with_context(|| format!("cannot open {}", path.display()))?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { folders })
    }

    fn restore(&self) -> Result<()> {
        for (path, folder) in &self.folders {
            std::fs::create_dir_all(path)?;
            let source = format!("/proc/self/fd/{}", folder.as_raw_fd());
            rustix::mount::mount_bind(source, path)
                .with_context(|| format!("cannot bind {} again", path.display()))?;
        }
        Ok(())
    }
}

fn hierarchies(cluster: &Cluster) -> Result<()> {
    mount("-t tmpfs -o mode=755 tmpfs /sys/fs/cgroup")?;
    for hierarchy in cgroups::read(cluster)? {
        let (point, controllers) = (&hierarchy.mount, &hierarchy.controllers);
        std::fs::create_dir_all(point)?;
        let options = if controllers.starts_with("name=") {
            format!("none,{controllers}")
        } else {
            controllers.clone()
        };
        mount(&format!("-t cgroup -o {options} cgroup {}", point.display()))?;
    }
    Ok(())
}

fn unified() -> Result<()> {
    mount("-t cgroup2 cgroup2 /sys/fs/cgroup")?;
    let root = Path::new("/sys/fs/cgroup");
    let init = root.join("init");
    std::fs::create_dir_all(&init)?;
    // The host's side moves `unshare`, which has PID 0 here, so this waits for it.
    for _ in 0..400 {
        let processes = std::fs::read_to_string(root.join("cgroup.procs"))?;
        if processes.trim().is_empty() {
            break;
        }
        for process in processes.lines().filter(|&process| process != "0") {
            drop(std::fs::write(init.join("cgroup.procs"), process));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    cgroups::enable_controllers(root)
}
