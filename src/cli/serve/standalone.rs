//! Serving without a cluster: profiles and namespaces come from files.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::FutureExt as _;
use tracing::info;

use super::shared::Shared;
use crate::cli::inputs::Inputs;
use crate::cli::manifests::{self, Manifests};
use crate::cluster::{Announcer, Looking, Lookup, Snapshot};
use crate::engine::Namespace;
use crate::polling::follow_files;
use crate::profiles::ProfileEntry;
use crate::supervise::Tasks;
use crate::telemetry::Metrics;

/// Serves the profiles and namespaces of the files, and reloads them when they change.
///
/// # Errors
/// A file cannot be read at startup. Later, the previous content remains in use.
pub(super) fn follow(
    paths: Vec<PathBuf>,
    shared: &Shared,
    tasks: &mut Tasks,
) -> anyhow::Result<(Arc<dyn Lookup>, Announcer)> {
    let Shared { snapshot, metrics, .. } = shared.clone();
    let mut files = WatchedFiles { paths, seen: None };
    files.reload(&snapshot, &metrics)?;
    // Reading and compiling blocks this thread, so requests move to other threads.
    let look = move || tokio::task::block_in_place(|| files.reload(&snapshot, &metrics));
    let followed = follow_files("cannot read profiles and namespaces again", look, tasks.stop());
    tasks.spawn("files", followed);
    Ok((Arc::new(NoCluster), Announcer::default()))
}

/// A lookup without a cluster: only the objects in the files exist.
struct NoCluster;

impl Lookup for NoCluster {
    /// Returns a namespace without labels and annotations, because no file has it.
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        futures::future::ready(Ok(Some(Namespace { name: name.to_owned(), ..Namespace::default() }))).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, _: &'a str) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
}

/// The files with profiles and namespaces.
struct WatchedFiles {
    paths: Vec<PathBuf>,
    /// Fingerprint of the last content; the content itself would double the memory.
    seen: Option<u64>,
}

impl WatchedFiles {
    fn reload(&mut self, snapshot: &ArcSwap<Snapshot>, metrics: &Metrics) -> anyhow::Result<()> {
        let found = manifests::fingerprint(&self.paths)?;
        if self.seen == Some(found) {
            return Ok(());
        }
        let mut inputs = Inputs::default();
        for manifest in Manifests::open(&self.paths)?.objects() {
            let manifest = manifest?;
            inputs.take(&manifest.object, None).with_context(|| manifest.source.to_string())?;
        }
        let is_ready = |(_, _, entry): &(_, _, &ProfileEntry)| matches!(entry, ProfileEntry::Ready(_));
        let ready = inputs.profiles.all().filter(is_ready).count();
        let invalid = inputs.profiles.all().count() - ready;
        let copied = |(name, is): (&String, &Namespace)| (name.clone(), Arc::new(is.clone()));
        let namespaces = inputs.namespaces.iter().map(copied).collect();
        let read =
            Snapshot { profiles: Arc::new(inputs.profiles.copied()), namespaces, ..Snapshot::default() };
        drop(inputs);
        metrics.known(ready, invalid, read.namespaces.len());
        info!(profiles = ready, invalid, namespaces = read.namespaces.len(), "read profiles and namespaces");
        snapshot.store(Arc::new(read));
        self.seen = Some(found);
        Ok(())
    }
}
