//! buildah, with a separate storage that is deleted afterwards.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{sh, workspace};

/// Builds an image from a recipe and a context into an archive.
pub(super) fn archive(name: &str, recipe: &Path, context: &Path, archive: &Path) -> Result<()> {
    let storage = context.with_extension("storage");
    let unfinished = archive.with_extension("unfinished");
    if let Some(folder) = archive.parent() {
        std::fs::create_dir_all(folder)?;
    }
    drop(std::fs::remove_file(&unfinished));
    let log = workspace::cache().join("log");
    let built = sh::logged(
        buildah(&storage, "bud")
            .args([
                "--isolation",
                "chroot",
                "--layers=false",
                "--timestamp",
                "0",
                "--pull-never",
                "--tag",
                name,
            ])
            .arg("--file")
            .arg(recipe)
            .arg(context),
        &log.join("image-build.log"),
    )
    .and_then(|()| {
        let destination = format!("docker-archive:{}:{name}", unfinished.display());
        sh::logged(buildah(&storage, "push").args([name, &destination]), &log.join("image-push.log"))
    });
    drop(std::fs::remove_dir_all(&storage));
    built?;
    std::fs::rename(unfinished, archive)?;
    Ok(())
}

/// Pushes the image of an archive to a registry with another name.
pub(super) fn push(archive: &Path, name: &str) -> Result<()> {
    let storage = workspace::target().join("images/push.storage");
    let pushed = sh::output(buildah(&storage, "pull").arg(format!("docker-archive:{}", archive.display())))
        .and_then(|id| {
            let id = id.lines().last().unwrap_or_default().trim().to_owned();
            // A registry on this machine usually has no certificate.
            let is_local = ["localhost", "127.0.0.1"].iter().any(|host| name.starts_with(host));
            let verify = format!("--tls-verify={}", !is_local);
            sh::run(buildah(&storage, "push").args([&verify, &id, &format!("docker://{name}")]))
        });
    drop(std::fs::remove_dir_all(&storage));
    pushed
}

fn buildah(storage: &Path, command: &str) -> Command {
    let mut buildah = Command::new("buildah");
    buildah
        // The overlay driver would leave mounts, and does not work on every file system.
        .args(["--storage-driver", "vfs", "--root"])
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"))
        .arg(command)
        .arg("--signature-policy")
        .arg(workspace::root().join("e2e/images/policy.json"));
    buildah
}
