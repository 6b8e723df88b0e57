//! Target cluster of a task: the embedded one, or an existing one.

mod ready;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::args::{Args, Usage};
use crate::cluster::Cluster;
use crate::images::{self, Image, Profile};
use crate::tools::{self, KubernetesVersion, Tools};

pub(crate) use ready::Ready;

/// Target cluster, from the command line or the environment.
#[derive(Clone)]
pub(crate) enum Target {
    /// The embedded cluster.
    Embedded {
        /// The cluster, up or down.
        cluster: Cluster,
        /// Its current or future version.
        kubernetes: KubernetesVersion,
    },
    /// An existing cluster.
    External {
        /// Path of the kubeconfig.
        kubeconfig: PathBuf,
        /// Way to load images into the cluster.
        delivery: Delivery,
    },
}

/// Way to load images into an existing cluster.
#[derive(Clone)]
pub(crate) enum Delivery {
    /// A command for each archive; `{}` is replaced with its path.
    Load(String),
    /// A registry with a path. Images are pushed to it, and the cluster pulls them from it.
    Registry(String),
}

impl Target {
    /// Removes the options of a target from the command line.
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
                return usage("--load and --registry need an existing cluster: add --kubeconfig FILE");
            }
            let kubernetes = kubernetes.map_or_else(KubernetesVersion::newest, Ok)?;
            return Ok(Self::Embedded { cluster: Cluster::of_workspace(), kubernetes });
        };
        if kubernetes.is_some() {
            return usage("--kubernetes is only for the embedded cluster: remove --kubeconfig");
        }
        if let Some(cluster) = Cluster::of_kubeconfig(Path::new(&kubeconfig)) {
            let kubernetes = cluster.kubernetes()?;
            return Ok(Self::Embedded { cluster, kubernetes });
        }
        let delivery = match (load, registry) {
            (Some(command), None) if command.contains("{}") => Delivery::Load(command),
            (Some(_), None) => {
                return usage("the command of --load must contain {} for the archive's path");
            }
            (None, Some(registry)) => Delivery::Registry(registry.trim_end_matches('/').to_owned()),
            (Some(_), Some(_)) => return usage("--load and --registry exclude each other"),
            (None, None) => {
                return usage(
                    "--kubeconfig needs a way to load images into the cluster:\n  \
                     --load 'kind load image-archive {}'     a command for each archive\n  \
                     --registry registry.example/outrigger   a registry from which the cluster can pull",
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

    /// Builds the programs for this cluster. kubectl has the version of the embedded cluster.
    pub(crate) fn tools(&self) -> Result<Tools> {
        match self {
            Self::Embedded { kubernetes, .. } => Tools::build(kubernetes),
            Self::External { .. } => Tools::build(&KubernetesVersion::newest()?),
        }
    }

    /// Checks the requirements before anything is built.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Embedded { cluster, kubernetes } => {
                cluster.expect_version(kubernetes)?;
                tools::preflight::embedded()
            }
            Self::External { .. } => tools::preflight::external(),
        }
    }

    /// Builds everything for the demo, starts an embedded cluster, and loads the images.
    pub(crate) fn prepare(&self) -> Result<Ready> {
        tools::install_packages()?;
        // The Go builds and the Rust build take most of a cold start, so they run in parallel.
        let (cluster_side, product) = std::thread::scope(|scope| {
            let cluster_side = scope.spawn(|| self.prepare_cluster(images::demo));
            let product = images::product(Profile::EndToEnd);
            (cluster_side.join(), product)
        });
        let Ok(cluster_side) = cluster_side else { bail!("preparing the cluster panicked") };
        let product = product?;
        cluster_side?.with_product(product)
    }

    /// Prepares the cluster without Outrigger's image.
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
    fn an_existing_cluster_needs_a_way_to_load_images() {
        assert!(matches!(choose("", "", ""), Ok(Target::Embedded { .. })));
        let message = choose("Cargo.toml", "", "").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            message.contains("--load 'kind load") && message.contains("--registry registry.example"),
            "{message}"
        );
        assert!(choose("", "x {}", "").is_err());
        assert!(choose("Cargo.toml", "x", "").is_err());
        assert!(choose("Cargo.toml", "x {}", "host/a").is_err());
        assert!(choose("no-such-file", "x {}", "").is_err());
        assert!(matches!(choose("Cargo.toml", "x {}", ""), Ok(Target::External { .. })));
    }

    #[test]
    fn a_version_is_only_for_the_embedded_cluster() -> Result<()> {
        let oldest = KubernetesVersion::oldest()?;
        let chosen = Target::choose(None, None, None, Some(oldest.clone()))?;
        assert!(matches!(chosen, Target::Embedded { kubernetes, .. } if kubernetes == oldest));
        let given = |text: &str| Some(text.to_owned());
        assert!(Target::choose(given("Cargo.toml"), given("x {}"), None, Some(oldest)).is_err());
        Ok(())
    }
}
