//! The cluster that a task works on: the embedded one, or one that is already there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::{Args, Usage};
use crate::cluster::Cluster;
use crate::images::{self, Image};
use crate::report::step;
use crate::tools::{self, Tools};
use crate::{sh, workspace};

/// Where to work, as the command line or the environment says.
#[derive(Clone)]
pub(crate) enum Target {
    /// The cluster that this program makes.
    Embedded(Cluster),
    /// A cluster that is already there.
    External {
        /// The file that says where it is.
        kubeconfig: PathBuf,
        /// How images get there.
        delivery: Delivery,
    },
}

/// How images get to a cluster that is already there.
#[derive(Clone)]
pub(crate) enum Delivery {
    /// A command for each archive; `{}` stands for its path.
    Load(String),
    /// A registry with a path, which the images are pushed to and the cluster pulls from.
    Registry(String),
}

impl Target {
    /// Takes the options that name a target out of the command line.
    pub(crate) fn from_args(args: &mut Args) -> Result<Self, Usage> {
        let from = |value: Option<String>, variable: &str| value.or_else(|| std::env::var(variable).ok());
        let kubeconfig = from(args.option("--kubeconfig")?, "OUTRIGGER_KUBECONFIG");
        let load = from(args.option("--load")?, "OUTRIGGER_LOAD");
        let registry = from(args.option("--registry")?, "OUTRIGGER_REGISTRY");
        Self::choose(kubeconfig, load, registry)
    }

    fn choose(
        kubeconfig: Option<String>,
        load: Option<String>,
        registry: Option<String>,
    ) -> Result<Self, Usage> {
        let Some(kubeconfig) = kubeconfig.filter(|path| !path.is_empty()) else {
            return match (load, registry) {
                (None, None) => Ok(Self::Embedded(Cluster::of_workspace())),
                _ => Err(Usage(
                    "--load and --registry are for a cluster of yours: add --kubeconfig FILE".to_owned(),
                )),
            };
        };
        if is_embedded(Path::new(&kubeconfig)) {
            return Ok(Self::Embedded(Cluster::of_workspace()));
        }
        let delivery = match (load, registry) {
            (Some(command), None) if command.contains("{}") => Delivery::Load(command),
            (Some(_), None) => {
                return Err(Usage("the command of --load needs {} where the archive's path goes".to_owned()));
            }
            (None, Some(registry)) => Delivery::Registry(registry.trim_end_matches('/').to_owned()),
            (Some(_), Some(_)) => return Err(Usage("--load and --registry exclude each other".to_owned())),
            (None, None) => {
                return Err(Usage(
                    "with --kubeconfig, say how images get to the cluster:\n  \
                     --load 'kind load image-archive {}'     a command that is run for each archive\n  \
                     --registry registry.example/outrigger   a registry that the cluster can pull from"
                        .to_owned(),
                ));
            }
        };
        let kubeconfig =
            std::path::absolute(&kubeconfig).map_err(|error| Usage(format!("{kubeconfig}: {error}")))?;
        if !kubeconfig.is_file() {
            return Err(Usage(format!("there is no kubeconfig {}", kubeconfig.display())));
        }
        Ok(Self::External { kubeconfig, delivery })
    }

    /// Checks what has to be there before anything is built.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Embedded(_) => tools::preflight::embedded(),
            Self::External { .. } => tools::preflight::external(),
        }
    }

    /// Builds everything, starts the cluster if it is ours, and brings the images there.
    pub(crate) fn prepare(&self) -> Result<Ready> {
        tools::install_packages()?;
        // The Go builds and the Rust build are the longest parts of a cold start, so they run beside each other.
        let (cluster_side, product) = std::thread::scope(|scope| {
            let cluster_side = scope.spawn(|| self.prepare_cluster());
            let product = images::product();
            (cluster_side.join(), product)
        });
        let Ok(cluster_side) = cluster_side else { bail!("preparing the cluster panicked") };
        let product = product?;
        cluster_side?.with_product(product)
    }

    /// The same without the product's image.
    pub(crate) fn prepare_cluster(&self) -> Result<Ready> {
        let tools = Tools::build()?;
        let kubeconfig = match self {
            Self::Embedded(cluster) => {
                let pause = images::pause(&tools)?;
                cluster.up(&tools, &pause.archive)?;
                cluster.kubeconfig()
            }
            Self::External { kubeconfig, .. } => kubeconfig.clone(),
        };
        let images = images::programs()?;
        let ready = Ready { target: self.clone(), tools, kubeconfig, images, product: None };
        ready.deliver(&ready.images)?;
        Ok(ready)
    }
}

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
            Target::Embedded(_) => {}
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
        matches!(self.target, Target::Embedded(_))
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
            Target::Embedded(cluster) => cluster.load_new(images),
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

/// Whether a kubeconfig is the embedded cluster's, which a test that runs this program hands on.
fn is_embedded(kubeconfig: &Path) -> bool {
    let ours = Cluster::of_workspace().kubeconfig().canonicalize();
    ours.is_ok_and(|ours| kubeconfig.canonicalize().is_ok_and(|theirs| ours == theirs))
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
        let image = line.split_once("image: ").and_then(|(before, name)| {
            let image = pushed.iter().find(|image| is_named(&image.name, name.trim()))?;
            before.chars().all(|letter| " -".contains(letter)).then_some((before, image))
        });
        match image {
            Some((before, image)) => {
                renamed.push_str(before);
                renamed.push_str("image: ");
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
        let manifest = "  - image: nginx:1.22\n    image: curlimages/curl:7.88.1\n  image: redis:7.0\n  text: image: nginx:1.22\n";
        assert_eq!(
            rename_images(manifest, &pushed, "host:5000/a"),
            "  - image: host:5000/a/nginx:1.22\n    image: host:5000/a/curl:7.88.1\n  image: redis:7.0\n  text: image: nginx:1.22\n"
        );
    }

    #[test]
    fn the_product_gets_a_tag_of_its_own_for_every_build() {
        assert_eq!(in_registry("host/a", &image(images::PRODUCT)), "host/a/outrigger:0.1.0-0a1b");
    }

    fn choose(kubeconfig: &str, load: &str, registry: &str) -> Result<Target, Usage> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Target::choose(given(kubeconfig), given(load), given(registry))
    }

    #[test]
    fn a_cluster_of_ones_own_needs_a_way_for_images() {
        assert!(matches!(choose("", "", ""), Ok(Target::Embedded(_))));
        let said = choose("Cargo.toml", "", "").err().map(|error| error.0).unwrap_or_default();
        assert!(said.contains("--load 'kind load") && said.contains("--registry registry.example"), "{said}");
        assert!(choose("", "x {}", "").is_err());
        assert!(choose("Cargo.toml", "x", "").is_err());
        assert!(choose("Cargo.toml", "x {}", "host/a").is_err());
        assert!(choose("no-such-file", "x {}", "").is_err());
        assert!(matches!(choose("Cargo.toml", "x {}", ""), Ok(Target::External { .. })));
    }
}
