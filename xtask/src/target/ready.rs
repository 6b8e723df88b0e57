//! A running cluster with its images, and the programs to access it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Delivery, Target};
use crate::images::{self, Image};
use crate::report::step;
use crate::tools::Tools;
use crate::{sh, workspace};

/// A running cluster with all images.
pub(crate) struct Ready {
    target: Target,
    /// Programs on the host.
    pub(crate) tools: Tools,
    /// Path of the kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    images: Vec<Image>,
    product: Option<Image>,
}

impl Ready {
    /// Loads the images of the programs.
    pub(super) fn with_images(
        target: Target,
        tools: Tools,
        kubeconfig: PathBuf,
        images: Vec<Image>,
    ) -> Result<Self> {
        let ready = Self { target, tools, kubeconfig, images, product: None };
        ready.deliver(&ready.images)?;
        Ok(ready)
    }

    /// Loads Outrigger's image.
    pub(crate) fn with_product(self, product: Image) -> Result<Self> {
        self.deliver(std::slice::from_ref(&product))?;
        Ok(Self { product: Some(product), ..self })
    }

    /// Returns a kubectl command for the cluster.
    pub(crate) fn kubectl<'word>(&self, words: impl IntoIterator<Item = &'word str>) -> Command {
        let mut kubectl = sh::cmd(&self.tools.kubectl, words);
        kubectl.env("KUBECONFIG", &self.kubeconfig).current_dir(workspace::root());
        kubectl
    }

    /// Returns a Helm command for the cluster.
    pub(crate) fn helm<'word>(&self, words: impl IntoIterator<Item = &'word str>) -> Command {
        let mut helm = sh::cmd(&self.tools.helm, words);
        helm.env("KUBECONFIG", &self.kubeconfig).current_dir(workspace::root());
        helm
    }

    /// Returns the environment with which another process of this program uses the same cluster.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![("OUTRIGGER_KUBECONFIG", self.kubeconfig.clone().into_os_string())];
        match &self.target {
            Target::Embedded { cluster, .. } => {
                environment.push(("OUTRIGGER_AUDIT_LOG", cluster.audit_log().into_os_string()));
            }
            Target::External { delivery: Delivery::Load(command), .. } => {
                environment.push(("OUTRIGGER_LOAD", command.into()));
            }
            Target::External { delivery: Delivery::Registry(registry), .. } => {
                environment.push(("OUTRIGGER_REGISTRY", registry.into()));
            }
        }
        environment
    }

    /// Returns whether the cluster is the embedded one.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.target, Target::Embedded { .. })
    }

    /// Returns the kubelet's directory for the logs of containers, if it is accessible.
    pub(crate) fn pod_logs(&self) -> Option<PathBuf> {
        match &self.target {
            Target::Embedded { cluster, .. } => Some(cluster.pod_logs()),
            Target::External { .. } => None,
        }
    }

    /// Returns repository and tag of Outrigger's image in the cluster.
    pub(crate) fn product(&self) -> (String, String) {
        let name = match (&self.target, &self.product) {
            (Target::External { delivery: Delivery::Registry(registry), .. }, Some(image)) => {
                in_registry(registry, image)
            }
            _ => images::PRODUCT.to_owned(),
        };
        name.rsplit_once(':')
            .map_or((name.clone(), String::new()), |(left, right)| (left.to_owned(), right.to_owned()))
    }

    /// Returns a text that changes with Outrigger's image.
    pub(crate) fn product_build(&self) -> String {
        let archive = self.product.as_ref().and_then(|image| image.archive.file_stem());
        archive.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the manifest with the images' names in the registry, if one is used.
    pub(crate) fn rename_images(&self, manifest: &str) -> String {
        match &self.target {
            Target::External { delivery: Delivery::Registry(registry), .. } => {
                rename_images(manifest, &self.images, registry)
            }
            _ => manifest.to_owned(),
        }
    }

    fn deliver(&self, images: &[Image]) -> Result<()> {
        match &self.target {
            Target::Embedded { cluster, .. } => cluster.load_new(images),
            Target::External { delivery: Delivery::Load(command), .. } => {
                images.iter().try_for_each(|image| {
                    step(&format!("load {}", image.name), |_| load(command, &image.archive))
                })
            }
            Target::External { delivery: Delivery::Registry(registry), .. } => {
                images.iter().try_for_each(|image| {
                    let name = in_registry(registry, image);
                    step(&format!("push {name}"), |_| images::push(image, &name))
                })
            }
        }
    }
}

/// Returns the name of an image in the registry.
fn in_registry(registry: &str, image: &Image) -> String {
    let last = image.name.rsplit('/').next().unwrap_or(&image.name);
    if image.name == images::PRODUCT {
        // Nodes cache images by tag, so every build of this one gets its own tag.
        let build = image.archive.file_stem().unwrap_or_default().to_string_lossy();
        return format!("{registry}/{last}-{build}");
    }
    format!("{registry}/{last}")
}

/// Renames the pushed images in a manifest.
fn rename_images(manifest: &str, pushed: &[Image], registry: &str) -> String {
    let mut renamed = String::with_capacity(manifest.len());
    for line in manifest.lines() {
        // In a profile, the image is a parameter's default; in a pod, a container's image.
        let image = ["image: ", "default: "].into_iter().find_map(|key| {
            let (before, name) = line.split_once(key)?;
            let image = pushed.iter().find(|image| is_named(&image.name, name.trim()))?;
            before.chars().all(|letter| " -".contains(letter)).then_some((before, key, image))
        });
        match image {
            Some((before, key, image)) => {
                renamed.push_str(before);
                renamed.push_str(key);
                renamed.push_str(&in_registry(registry, image));
            }
            None => renamed.push_str(line),
        }
        renamed.push('\n');
    }
    renamed
}

/// Returns whether a manifest's name refers to this image. Names of Docker Hub can omit their common prefix.
fn is_named(full: &str, name: &str) -> bool {
    let short = full.strip_prefix("docker.io/");
    full == name || short.is_some_and(|short| short == name || short.strip_prefix("library/") == Some(name))
}

fn load(command: &str, archive: &Path) -> Result<()> {
    let path = archive.to_str().context("the archive's path is not UTF-8")?;
    sh::interactive(&mut sh::cmd("sh", ["-c", &command.replace("{}", path)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Image {
        Image { name: name.to_owned(), archive: PathBuf::from("/cache/0a1b.tar") }
    }

    #[test]
    fn only_pushed_images_are_renamed_in_manifests() {
        let pushed = [image("docker.io/library/nginx:1.22"), image("docker.io/curlimages/curl:7.88.1")];
        let manifest = "  - image: nginx:1.22\n    image: curlimages/curl:7.88.1\n  default: nginx:1.22\n  image: redis:7.0\n  text: image: nginx:1.22\n";
        assert_eq!(
            rename_images(manifest, &pushed, "host:5000/a"),
            "  - image: host:5000/a/nginx:1.22\n    image: host:5000/a/curl:7.88.1\n  default: host:5000/a/nginx:1.22\n  image: redis:7.0\n  text: image: nginx:1.22\n"
        );
    }

    #[test]
    fn each_build_of_the_product_has_its_own_tag() {
        assert_eq!(in_registry("host/a", &image(images::PRODUCT)), "host/a/outrigger:0.1.0-0a1b");
    }
}
