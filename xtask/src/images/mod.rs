//! The container images: the product, the programs of the demo and of the catalogue's tests, and what holds a pod's
//! namespaces.
//!
//! A program's recipe is a folder in `e2e/images`. Each image is built by buildah into an archive that any container
//! engine loads. Archives are cached by what they are made from, so an unchanged image costs nothing.

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

/// The product's image.
pub(crate) const PRODUCT: &str = "outrigger.dev/outrigger:0.1.0";

/// The folders below `e2e/images` whose programs the demo runs.
const DEMO: [&str; 5] = ["curl", "nginx", "redis", "redis-exporter", "rsyslog"];

/// The folders whose programs other tests than the catalogue's run as well.
const TESTS: [&str; 5] = ["cert-manager", "echo", "meddler", "prometheus", "toolbox"];

/// The folders whose programs the tests of `cargo xtask test compat` run.
const COMPAT: [&str; 4] = ["echo", "meddler", "redis", "toolbox"];

/// An image in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its name with registry and tag, as a container runtime spells it out.
    pub(crate) name: String,
    /// The archive, in Docker's format.
    pub(crate) archive: PathBuf,
}

/// The image of the pause program.
pub(crate) fn pause(tools: &Tools) -> Result<Image> {
    let recipe = workspace::root().join("e2e/images/pause");
    let key = key(&[&recipe.join("Containerfile"), &tools.pause], crate::cluster::PAUSE_IMAGE)?;
    cached(crate::cluster::PAUSE_IMAGE, &key, |context| {
        std::fs::copy(&tools.pause, context.join("pause"))?;
        Ok(recipe.join("Containerfile"))
    })
}

/// The Cargo profile that the product's static binary is built with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// The profile of a published image, and of whatever is measured.
    Release,
    /// The profile of the demo and of the end-to-end tests, which builds in less than half of the time.
    EndToEnd,
}

impl Profile {
    /// The name that Cargo knows it by, which is also the name of its folder below the target folder.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::EndToEnd => "e2e",
        }
    }

    /// The path of the static binary, once it is built.
    pub(crate) fn binary(self) -> PathBuf {
        workspace::cargo_target().join("x86_64-unknown-linux-musl").join(self.name()).join("outrigger")
    }
}

/// Builds the product's image from a static binary, which is built first.
pub(crate) fn product(profile: Profile) -> Result<Image> {
    let binary = product_binary(profile)?;
    let recipe = workspace::root().join("Dockerfile");
    let key = key(&[&recipe, &binary], PRODUCT)?;
    cached(PRODUCT, &key, |context| {
        std::fs::copy(&binary, context.join("outrigger"))?;
        Ok(recipe)
    })
}

/// Builds the static binary that the product's image holds.
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

/// The images of the programs that the demo runs.
pub(crate) fn demo() -> Result<Vec<Image>> {
    DEMO.iter().map(|folder| recipe::image(folder)).collect()
}

/// The images that tests outside of `e2e/tests/catalogue` run, which are there in a fraction of the time.
pub(crate) fn without_catalogue() -> Result<Vec<Image>> {
    DEMO.iter().chain(&TESTS).map(|folder| recipe::image(folder)).collect()
}

/// The images that the tests on other versions of Kubernetes run.
pub(crate) fn compat() -> Result<Vec<Image>> {
    COMPAT.iter().map(|folder| recipe::image(folder)).collect()
}

/// The images of all programs, for the tests.
pub(crate) fn programs() -> Result<Vec<Image>> {
    recipe::folders()?.iter().map(|folder| recipe::image(folder)).collect()
}

/// All images but the pause image, or those of the named folders, for `cargo xtask images`.
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
        progress(format_args!("{} is {}", image.name, image.archive.display()));
    }
    Ok(images)
}

/// Pushes an image to a registry under another name.
pub(crate) fn push(image: &Image, name: &str) -> Result<()> {
    build::push(&image.archive, name)
}

/// The archive with this key, built unless it is there.
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

/// A hash of the files that an image is made from.
fn key(sources: &[&PathBuf], name: &str) -> Result<String> {
    let mut hash = Sha256::new();
    // Changes with how images are built.
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
