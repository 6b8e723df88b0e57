//! The cluster that a task works on: the embedded one, or one that is already there.

mod ready;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::args::{Args, Usage};
use crate::cluster::Cluster;
use crate::images::{self, Image, Profile};
use crate::tools::{self, KubernetesVersion, Tools};

pub(crate) use ready::Ready;

/// Where to work, as the command line or the environment says.
#[derive(Clone)]
pub(crate) enum Target {
    /// The cluster that this program makes.
    Embedded {
        /// The cluster, up or down.
        cluster: Cluster,
        /// The version that it runs, or will run.
        kubernetes: KubernetesVersion,
    },
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
    pub(crate) fn from_args(args: &mut Args) -> Result<Self> {
        let from = |value: Option<String>, variable: &str| value.or_else(|| std::env::var(variable).ok());
        let kubeconfig = from(args.option("--kubeconfig")?, "OUTRIGGER_KUBECONFIG");
        let load = from(args.option("--load")?, "OUTRIGGER_LOAD");
        let registry = from(args.option("--registry")?, "OUTRIGGER_REGISTRY");
        Self::choose(kubeconfig, load, registry, KubernetesVersion::from_args(args)?)
    }

    fn choose(
        kubeconfig: Option<String>,
        load: Option<String>,
        registry: Option<String>,
        kubernetes: Option<KubernetesVersion>,
    ) -> Result<Self> {
        let usage = |message: &str| Err(Usage(message.to_owned()).into());
        let Some(kubeconfig) = kubeconfig.filter(|path| !path.is_empty()) else {
            if load.is_some() || registry.is_some() {
                return usage("--load and --registry are for a cluster of yours: add --kubeconfig FILE");
            }
            let kubernetes = kubernetes.map_or_else(KubernetesVersion::newest, Ok)?;
            return Ok(Self::Embedded { cluster: Cluster::of_workspace(), kubernetes });
        };
        if kubernetes.is_some() {
            return usage("--kubernetes is for the embedded cluster: leave out --kubeconfig");
        }
        if let Some(cluster) = Cluster::of_kubeconfig(Path::new(&kubeconfig)) {
            let kubernetes = cluster.kubernetes()?;
            return Ok(Self::Embedded { cluster, kubernetes });
        }
        let delivery = match (load, registry) {
            (Some(command), None) if command.contains("{}") => Delivery::Load(command),
            (Some(_), None) => {
                return usage("the command of --load needs {} where the archive's path goes");
            }
            (None, Some(registry)) => Delivery::Registry(registry.trim_end_matches('/').to_owned()),
            (Some(_), Some(_)) => return usage("--load and --registry exclude each other"),
            (None, None) => {
                return usage(
                    "with --kubeconfig, say how images get to the cluster:\n  \
                     --load 'kind load image-archive {}'     a command that is run for each archive\n  \
                     --registry registry.example/outrigger   a registry that the cluster can pull from",
                );
            }
        };
        let kubeconfig =
            std::path::absolute(&kubeconfig).map_err(|error| Usage(format!("{kubeconfig}: {error}")))?;
        if !kubeconfig.is_file() {
            return usage(&format!("there is no kubeconfig {}", kubeconfig.display()));
        }
        Ok(Self::External { kubeconfig, delivery })
    }

    /// Builds the programs for this cluster: kubectl has the embedded cluster's version.
    pub(crate) fn tools(&self) -> Result<Tools> {
        match self {
            Self::Embedded { kubernetes, .. } => Tools::build(kubernetes),
            Self::External { .. } => Tools::build(&KubernetesVersion::newest()?),
        }
    }

    /// Checks what has to be there before anything is built.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Embedded { cluster, kubernetes } => {
                cluster.expect_version(kubernetes)?;
                tools::preflight::embedded()
            }
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
        let tools = self.tools()?;
        let kubeconfig = match self {
            Self::Embedded { cluster, .. } => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(kubeconfig: &str, load: &str, registry: &str) -> Result<Target> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Target::choose(given(kubeconfig), given(load), given(registry), None)
    }

    #[test]
    fn a_cluster_of_ones_own_needs_a_way_for_images() {
        assert!(matches!(choose("", "", ""), Ok(Target::Embedded { .. })));
        let said = choose("Cargo.toml", "", "").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("--load 'kind load") && said.contains("--registry registry.example"), "{said}");
        assert!(choose("", "x {}", "").is_err());
        assert!(choose("Cargo.toml", "x", "").is_err());
        assert!(choose("Cargo.toml", "x {}", "host/a").is_err());
        assert!(choose("no-such-file", "x {}", "").is_err());
        assert!(matches!(choose("Cargo.toml", "x {}", ""), Ok(Target::External { .. })));
    }

    #[test]
    fn a_version_is_for_the_embedded_cluster() -> Result<()> {
        let oldest = KubernetesVersion::oldest()?;
        let chosen = Target::choose(None, None, None, Some(oldest.clone()))?;
        assert!(matches!(chosen, Target::Embedded { kubernetes, .. } if kubernetes == oldest));
        let given = |text: &str| Some(text.to_owned());
        assert!(Target::choose(given("Cargo.toml"), given("x {}"), None, Some(oldest)).is_err());
        Ok(())
    }
}
