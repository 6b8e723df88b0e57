//! The cluster that a task works on: the embedded one, or one that is already there.

mod ready;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::args::{Args, Usage};
use crate::cluster::Cluster;
use crate::images::{self, Image, Profile};
use crate::tools::{self, Tools};

pub(crate) use ready::Ready;

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

    /// Builds what the demo needs, starts the cluster if it is ours, and brings the images there.
    pub(crate) fn prepare(&self) -> Result<Ready> {
        tools::install_packages()?;
        // The Go builds and the Rust build are the longest parts of a cold start, so they run beside each other.
        let (cluster_side, product) = std::thread::scope(|scope| {
            let cluster_side = scope.spawn(|| self.prepare_cluster(images::demo));
            let product = images::product(Profile::EndToEnd);
            (cluster_side.join(), product)
        });
        let Ok(cluster_side) = cluster_side else { bail!("preparing the cluster panicked") };
        let product = product?;
        cluster_side?.with_product(product)
    }

    /// The same without the product's image.
    pub(crate) fn prepare_cluster(&self, programs: impl FnOnce() -> Result<Vec<Image>>) -> Result<Ready> {
        let tools = Tools::build()?;
        let kubeconfig = match self {
            Self::Embedded(cluster) => {
                let pause = images::pause(&tools)?;
                cluster.up(&tools, &pause.archive)?;
                cluster.kubeconfig()
            }
            Self::External { kubeconfig, .. } => kubeconfig.clone(),
        };
        let images = programs()?;
        Ready::with_images(self.clone(), tools, kubeconfig, images)
    }
}

/// Whether a kubeconfig is the embedded cluster's, which a test that runs this program hands on.
fn is_embedded(kubeconfig: &Path) -> bool {
    let ours = Cluster::of_workspace().kubeconfig().canonicalize();
    ours.is_ok_and(|ours| kubeconfig.canonicalize().is_ok_and(|theirs| ours == theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

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
