//! Kubernetes versions of the embedded cluster.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::{Args, Usage};
use crate::workspace;

/// A Kubernetes version: a directory in `e2e/kubernetes/kube`, whose `go.mod` pins the patch release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubernetesVersion {
    minor: u32,
    patch: u32,
}

impl KubernetesVersion {
    /// Removes `--kubernetes VERSION` from the command line.
    pub(crate) fn from_args(args: &mut Args) -> Result<Option<Self>> {
        let Some(wanted) = args.option("--kubernetes")? else { return Ok(None) };
        let all = Self::all()?;
        match all.iter().find(|version| version.is_named(&wanted)) {
            Some(version) => Ok(Some(version.clone())),
            None => Err(Usage(format!("unknown --kubernetes {wanted}: use one of {}", list(&all))).into()),
        }
    }

    /// Returns all versions, the oldest first.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let folder = modules();
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut versions = Vec::new();
        for entry in entries {
            let module = entry?.path().join("go.mod");
            if module.exists() {
                versions.push(Self::of_module(&module)?);
            }
        }
        versions.sort_by_key(|version| version.minor);
        Ok(versions)
    }

    /// Returns the oldest version.
    pub(crate) fn oldest() -> Result<Self> {
        Self::all()?.into_iter().next().context("e2e/kubernetes/kube has no version of Kubernetes")
    }

    /// Returns the newest version, which is the default.
    pub(crate) fn newest() -> Result<Self> {
        Self::all()?.into_iter().next_back().context("e2e/kubernetes/kube has no version of Kubernetes")
    }

    /// Returns the minor version: `37` of 1.37.2.
    pub(crate) fn minor(&self) -> u32 {
        self.minor
    }

    /// Returns the version without the patch release, which is the name of its directory: `1.37` for 1.37.2.
    pub(crate) fn short(&self) -> String {
        format!("1.{}", self.minor)
    }

    /// Returns the directory of the version's Go module.
    pub(super) fn module(&self) -> PathBuf {
        modules().join(self.short())
    }

    fn of_module(file: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let required = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
        required
            .and_then(Self::parse)
            .with_context(|| format!("{} does not require k8s.io/kubernetes", file.display()))
    }

    /// Parses a version such as 1.37.2.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (minor, patch) = text.strip_prefix("1.")?.split_once('.')?;
        Some(Self { minor: minor.parse().ok()?, patch: patch.parse().ok()? })
    }

    /// Returns whether a word of the command line names this version: `1.37`, `v1.37` or `1.37.2`.
    fn is_named(&self, word: &str) -> bool {
        let word = word.strip_prefix('v').unwrap_or(word);
        word == self.short() || word == self.to_string()
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "1.{}.{}", self.minor, self.patch)
    }
}

fn modules() -> PathBuf {
    workspace::root().join("e2e/kubernetes/kube")
}

fn list(versions: &[KubernetesVersion]) -> String {
    versions.iter().map(KubernetesVersion::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_modules() -> Result<()> {
        let all = KubernetesVersion::all()?;
        assert!(all.is_sorted_by_key(|version| version.minor) && all.len() > 1);
        for version in &all {
            assert!(
                version.module().join("go.mod").exists(),
                "{version}: the directory has a different name"
            );
        }
        assert_eq!(all.first(), Some(&KubernetesVersion::oldest()?));
        assert_eq!(all.last(), Some(&KubernetesVersion::newest()?));
        Ok(())
    }

    #[test]
    fn a_version_can_be_named_without_its_patch() {
        let version = KubernetesVersion { minor: 33, patch: 13 };
        assert!(["1.33", "v1.33", "1.33.13", "v1.33.13"].iter().all(|word| version.is_named(word)));
        assert!(["1.3", "1.33.1", "33", "1.330", ""].iter().all(|word| !version.is_named(word)));
    }

    #[test]
    fn the_error_for_an_unknown_version_lists_the_known_ones() -> Result<()> {
        let oldest = KubernetesVersion::oldest()?;
        let known =
            KubernetesVersion::from_args(&mut Args::from(&*format!("--kubernetes {}", oldest.short())))?;
        assert_eq!(known.as_ref(), Some(&oldest));
        assert_eq!(KubernetesVersion::from_args(&mut Args::from(""))?, None);
        let error = KubernetesVersion::from_args(&mut Args::from("--kubernetes 1.2")).err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("--kubernetes 1.2") && message.contains(&oldest.to_string()), "{message}");
        Ok(())
    }
}
