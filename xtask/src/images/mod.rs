//! Container images: Outrigger, the programs of the demo and of the tests, and the pause image.
//!
//! The recipe of a program is a directory in `e2e/images`. buildah builds each image into an archive that any container
//! engine can load. Archives are cached by a hash of their sources, so an unchanged image is not built again.

mod build;
mod debian;
mod java;
mod recipe;
mod wheels;

use std::path::PathBuf;

use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::args::unknown;
use crate::report::{progress, step};
use crate::tools::Tools;
use crate::{sh, workspace};

/// Name of the pause image.
pub(crate) const PAUSE_IMAGE: &str = "outrigger.dev/pause:1";

/// Name of Outrigger's image.
pub(crate) const PRODUCT: &str = "outrigger.dev/outrigger:0.1.0";

/// Directories in `e2e/images` with the demo's programs.
const DEMO: [&str; 5] = ["curl", "nginx", "redis", "redis-exporter", "rsyslog"];

/// Directories with the programs of tests outside of the catalogue.
const TESTS: [&str; 5] = ["cert-manager", "echo", "meddler", "prometheus", "toolbox"];

/// Directories with the programs of `cargo xtask test compat`.
const COMPAT: [&str; 4] = ["echo", "meddler", "redis", "toolbox"];

/// An image in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Name with registry and tag, in the complete form of a container runtime.
    pub(crate) name: String,
    /// Path of the archive, in Docker's format.
    pub(crate) archive: PathBuf,
}

/// Returns the pause image.
pub(crate) fn pause(tools: &Tools) -> Result<Image> {
    let recipe = workspace::root().join("e2e/images/pause");
    let key = key(&[&recipe.join("Containerfile"), &tools.pause], PAUSE_IMAGE)?;
    cached(PAUSE_IMAGE, &key, |context| {
        std::fs::copy(&tools.pause, context.join("pause"))?;
        Ok(recipe.join("Containerfile"))
    })
}

/// Cargo profile of Outrigger's static binary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// Profile of the published image and of measurements.
    Release,
    /// Profile of the demo and the end-to-end tests, which builds in less than half of the time.
    EndToEnd,
}

impl Profile {
    /// Returns Cargo's name of the profile, which is also its directory in the target directory.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::EndToEnd => "e2e",
        }
    }

    /// Returns the path of the built static binary.
    pub(crate) fn binary(self) -> PathBuf {
        workspace::cargo_target().join("x86_64-unknown-linux-musl").join(self.name()).join("outrigger")
    }
}

/// Builds the static binary and Outrigger's image.
pub(crate) fn product(profile: Profile) -> Result<Image> {
    let binary = product_binary(profile)?;
    let recipe = workspace::root().join("Dockerfile");
    let key = key(&[&recipe, &binary], PRODUCT)?;
    cached(PRODUCT, &key, |context| {
        std::fs::copy(&binary, context.join("outrigger"))?;
        Ok(recipe)
    })
}

/// Builds the static binary for Outrigger's image.
fn product_binary(profile: Profile) -> Result<PathBuf> {
    step("build outrigger", |activity| {
        let command =
            "cargo build --locked --target x86_64-unknown-linux-musl --package outrigger --bin outrigger";
        sh::watched(
            sh::line(command).args(["--profile", profile.name()]).current_dir(workspace::root()),
            &workspace::cache().join("log/build-outrigger.log"),
            |line| activity.set(line),
        )
    })?;
    Ok(profile.binary())
}

/// Returns the images for the demo.
pub(crate) fn demo() -> Result<Vec<Image>> {
    DEMO.iter().map(|folder| recipe::image(folder)).collect()
}

/// Returns the images for tests outside of `e2e/tests/catalogue`, which build in a fraction of the time.
pub(crate) fn without_catalogue() -> Result<Vec<Image>> {
    DEMO.iter().chain(&TESTS).map(|folder| recipe::image(folder)).collect()
}

/// Returns the images for the tests on other versions of Kubernetes.
pub(crate) fn compat() -> Result<Vec<Image>> {
    COMPAT.iter().map(|folder| recipe::image(folder)).collect()
}

/// Returns the images of all programs.
pub(crate) fn programs() -> Result<Vec<Image>> {
    recipe::folders()?.iter().map(|folder| recipe::image(folder)).collect()
}

/// Builds all images except the pause image, or those of the named directories, for `cargo xtask images`.
pub(crate) fn build(folders: &[String]) -> Result<Vec<Image>> {
    let images = if folders.is_empty() {
        let mut images = vec![product(Profile::Release)?];
        images.extend(programs()?);
        images
    } else {
        let known = recipe::folders()?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if let Some(other) = folders.iter().find(|folder| !known.contains(&folder.as_str())) {
            return Err(unknown(other, &known).into());
        }
        folders.iter().map(|folder| recipe::image(folder)).collect::<Result<_>>()?
    };
    for image in &images {
        progress(format_args!("{}: {}", image.name, image.archive.display()));
    }
    Ok(images)
}

/// Pushes an image to a registry with another name.
pub(crate) fn push(image: &Image, name: &str) -> Result<()> {
    build::push(&image.archive, name)
}

/// Returns the image in the archive with this key. Builds it if the archive does not exist.
fn cached(name: &str, key: &str, prepare: impl FnOnce(&std::path::Path) -> Result<PathBuf>) -> Result<Image> {
    let archive = workspace::cache().join("images").join(format!("{key}.tar"));
    if !archive.exists() {
        step(&format!("image {name}"), |_| {
            let context = workspace::target().join("images").join(key);
            drop(std::fs::remove_dir_all(&context));
            std::fs::create_dir_all(&context)?;
            let recipe = prepare(&context)?;
            let built = build::archive(name, &recipe, &context, &archive);
            drop(std::fs::remove_dir_all(&context));
            built
        })?;
    }
    Ok(Image { name: name.to_owned(), archive })
}

/// Returns a hash of the source files of an image.
fn key(sources: &[&PathBuf], name: &str) -> Result<String> {
    let mut hash = Sha256::new();
    // Version of the build. Increase it when the way to build images changes.
    hash.update("2");
    hash.update(name);
    let mut pending: Vec<PathBuf> = sources.iter().map(|&path| path.clone()).collect();
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(Sha256::digest(std::fs::read(&file)?));
    }
    Ok(crate::hash::short(hash))
}
