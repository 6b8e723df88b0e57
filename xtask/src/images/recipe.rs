//! Recipe of an image: a directory in `e2e/images`.
//!
//! | file | content |
//! | --- | --- |
//! | `name` | the image's name with registry and tag |
//! | `Containerfile` | builds the image from the directory `root`, which has all of the following |
//! | `packages` | Debian packages, one per line; dependencies are included |
//! | `leave-out` | patterns of the packages' files to exclude, such as `./usr/lib/x/*` |
//! | `programs` | a line `MODULE/BINARY` for each program of a Go module in `e2e/programs`; it goes to `/usr/local/bin` |
//! | `wheels` | a line `PACKAGE==VERSION FILE` for each file of a Python wheel; it goes to `/usr/local/bin` |
//! | `java/` | a Maven project: `pom.xml` with pinned dependencies, `src/*.java`, and `modules`, those of the runtime, one per line; the runtime goes to `/opt/java`, jars and classes to `/opt/app` |
//! | `files/` | files that are copied over the others |

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Image, cached, debian, java, key, wheels};
use crate::{sh, tools, workspace};

/// Returns the directories of all recipes for programs.
pub(super) fn folders() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(all())? {
        let entry = entry?;
        if entry.path().join("name").exists() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the image of a recipe, from the cache or built now.
pub(super) fn image(folder: &str) -> Result<Image> {
    let recipe = all().join(folder);
    let common = all().join("common");
    let name = std::fs::read_to_string(recipe.join("name"))?;
    let release = PathBuf::from("/etc/os-release");
    let programs = programs(&recipe)?;
    // The directory of a binary is named after a hash of its sources.
    let made_from: Vec<_> = programs.iter().map(|(_, path)| path.to_string_lossy()).collect();
    let key = key(&[&recipe, &common, &release], &format!("{} {}", name.trim(), made_from.join(" ")))?;
    cached(name.trim(), &key, |context| {
        let root = context.join("root");
        std::fs::create_dir_all(&root)?;
        debian::unpack(&list(&recipe, "packages")?, &list(&recipe, "leave-out")?, &root)?;
        let bin = root.join("usr/local/bin");
        for (name, path) in &programs {
            place(path, &bin.join(name))?;
        }
        for line in list(&recipe, "wheels")? {
            let (wheel, file) = line.split_once(' ').context("a wheel's line is PACKAGE==VERSION FILE")?;
            let found = wheels::file(wheel, file)?;
            place(&found, &bin.join(found.file_name().unwrap_or_default()))?;
        }
        if recipe.join("java").exists() {
            java::install(&recipe.join("java"), &root)?;
        }
        for files in [common.join("files"), recipe.join("files")] {
            if files.exists() {
                sh::run(
                    Command::new("cp").args(["--recursive", "--no-target-directory"]).arg(&files).arg(&root),
                )?;
            }
        }
        for name in ["tmp", "var/tmp", "var/log/app", "run"] {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder)?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777))?;
        }
        Ok(recipe.join("Containerfile"))
    })
}

fn all() -> PathBuf {
    workspace::root().join("e2e/images")
}

/// Returns the binaries of a recipe, built if they are not in the cache.
fn programs(recipe: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for line in list(recipe, "programs")? {
        let (module, binary) = line.split_once('/').context("a program's line is MODULE/BINARY")?;
        let made = tools::programs(module)?.into_iter().find(|(name, _)| name == binary);
        found.push(made.with_context(|| format!("e2e/programs/{module} has no binary {binary}"))?);
    }
    Ok(found)
}

fn place(file: &Path, destination: &Path) -> Result<()> {
    if let Some(folder) = destination.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(file, destination).with_context(|| format!("cannot copy {}", file.display()))?;
    std::fs::set_permissions(destination, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Returns the lines of a recipe's file; none if the file does not exist.
fn list(recipe: &Path, file: &str) -> Result<Vec<String>> {
    let path = recipe.join(file);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path)?;
    Ok(text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.trim().to_owned())
        .collect())
}
