//! A cluster that runs, with the images in it, and the programs that talk to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Delivery, Target};
use crate::images::{self, Image};
use crate::report::step;
use crate::tools::Tools;
use crate::{sh, workspace};

/// A cluster that runs, with every image in it.
pub(crate) struct Ready {
    target: Target,
    /// The programs of the host's side.
    pub(crate) tools: Tools,
    /// The file that says where the cluster is.
    pub(crate) kubeconfig: PathBuf,
    images: Vec<Image>,
    product: Option<Image>,
}

impl Ready {
    /// Brings the images of the programs there.
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

    /// Brings the product's image there.
    pub(crate) fn with_product(self, product: Image) -> Result<Self> {
        self.deliver(std::slice::from_ref(&product))?;
        Ok(Self { product: Some(product), ..self })
    }

    /// kubectl for the cluster.
    pub(crate) fn kubectl<'word>(&self, words: impl IntoIterator<Item = &'word str>) -> Command {
        let mut kubectl = sh::cmd(&self.tools.kubectl, words);
        kubectl.env("KUBECONFIG", &self.kubeconfig).current_dir(workspace::root());
        kubectl
    }

    /// Helm for the cluster.
    pub(crate) fn helm<'word>(&self, words: impl IntoIterator<Item = &'word str>) -> Command {
        let mut helm = sh::cmd(&self.tools.helm, words);
        helm.env("KUBECONFIG", &self.kubeconfig).current_dir(workspace::root());
        helm
    }

    /// The environment in which this program, started again, works on the same cluster.
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

    /// Whether the cluster is the embedded one.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.target, Target::Embedded { .. })
    }

    /// The kubelet's folder for the logs of containers, where it is in reach.
    pub(crate) fn pod_logs(&self) -> Option<PathBuf> {
        match &self.target {
            Target::Embedded { cluster, .. } => Some(cluster.pod_logs()),
            Target::External { .. } => None,
        }
    }

    /// The product's repository and tag, as the cluster finds it.
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

    /// Changes whenever the product's image does.
    pub(crate) fn product_build(&self) -> String {
        let archive = self.product.as_ref().and_then(|image| image.archive.file_stem());
        archive.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The images in manifests, renamed where they come from a registry.
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

/// The name under which an image is pushed.
fn in_registry(registry: &str, image: &Image) -> String {
    let last = image.name.rsplit('/').next().unwrap_or(&image.name);
    if image.name == images::PRODUCT {
        // Nodes keep what they pulled under a tag, and this one is built again and again.
        let build = image.archive.file_stem().unwrap_or_default().to_string_lossy();
        return format!("{registry}/{last}-{build}");
    }
    format!("{registry}/{last}")
}

/// Renames the images that were pushed, wherever a manifest uses them.
fn rename_images(manifest: &str, pushed: &[Image], registry: &str) -> String {
    let mut renamed = String::with_capacity(manifest.len());
    for line in manifest.lines() {
        // A profile has its image as a parameter's default, a pod as its container's image.
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

/// Whether a manifest's name means this image: Docker Hub's names may leave out what they have in common.
fn is_named(full: &str, name: &str) -> bool {
    let short = full.strip_prefix("docker.io/");
    full == name || short.is_some_and(|short| short == name || short.strip_prefix("library/") == Some(name))
}

fn load(command: &str, archive: &Path) -> Result<()> {
    let path = archive.to_str().context("an archive's path that is not text")?;
    sh::interactive(&mut sh::cmd("sh", ["-c", &command.replace("{}", path)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Image {
        Image { name: name.to_owned(), archive: PathBuf::from("/cache/0a1b.tar") }
    }

    #[test]
    fn pushed_images_are_renamed_in_manifests_and_others_are_not() {
        let pushed = [image("docker.io/library/nginx:1.22"), image("docker.io/curlimages/curl:7.88.1")];
        let manifest = "  - image: nginx:1.22\n    image: curlimages/curl:7.88.1\n  default: nginx:1.22\n  image: redis:7.0\n  text: image: nginx:1.22\n";
        assert_eq!(
            rename_images(manifest, &pushed, "host:5000/a"),
            "  - image: host:5000/a/nginx:1.22\n    image: host:5000/a/curl:7.88.1\n  default: host:5000/a/nginx:1.22\n  image: redis:7.0\n  text: image: nginx:1.22\n"
        );
    }

    #[test]
    fn the_product_gets_a_tag_of_its_own_for_every_build() {
        assert_eq!(in_registry("host/a", &image(images::PRODUCT)), "host/a/outrigger:0.1.0-0a1b");
    }
}
