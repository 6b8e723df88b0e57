//! Serving without a cluster: profiles and namespaces come from files.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::manifests;
use super::world::World;
use crate::again::follow_files;
use crate::cluster::Snapshot;
use crate::engine::Namespace;
use crate::profiles::Entry;
use crate::telemetry::Metrics;
use crate::webhook::{Looking, Lookup};

/// Where nothing can be looked up: what the files do not hold does not exist.
pub(super) struct NoCluster;

impl Lookup for NoCluster {
    /// A namespace that no file holds has neither labels nor annotations.
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        futures::future::ready(Ok(Some(Namespace { name: name.to_owned(), ..Namespace::default() }))).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, _: &'a str) -> Looking<'a, Vec<(Option<String>, Entry)>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
}

/// The files with profiles and namespaces.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// The fingerprint of what was read last: what it was itself would double the memory.
    seen: Option<u64>,
}

impl Files {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(
        paths: Vec<PathBuf>,
        snapshot: &ArcSwap<Snapshot>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let mut files = Self { paths, seen: None };
        files.look(snapshot, metrics)?;
        Ok(files)
    }

    /// Follows their changes until `stop`.
    ///
    /// # Errors
    /// None: where a file cannot be read, what was read before goes on holding.
    pub(super) async fn follow(
        mut self,
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        // Profiles are read and compiled; requests go on beside that.
        let look = move || tokio::task::block_in_place(|| self.look(&snapshot, &metrics));
        follow_files("cannot read profiles and namespaces again", look, stop).await
    }

    fn look(&mut self, snapshot: &ArcSwap<Snapshot>, metrics: &Metrics) -> anyhow::Result<()> {
        let found = manifests::fingerprint(&self.paths)?;
        if self.seen == Some(found) {
            return Ok(());
        }
        let manifests = manifests::read(&self.paths)?;
        let mut world = World::default();
        for manifest in &manifests {
            world.take(&manifest.object, None).with_context(|| manifest.source.clone())?;
        }
        let is_ready = |(_, _, entry): &(_, _, &Entry)| matches!(entry, Entry::Ready(_));
        let ready = world.profiles.all().filter(is_ready).count();
        let invalid = world.profiles.all().count() - ready;
        let namespaces = world.namespaces.into_iter().map(|(name, is)| (name, Arc::new(is)));
        let read = Snapshot { profiles: Arc::new(world.profiles), namespaces: namespaces.collect() };
        metrics.known(ready, invalid, read.namespaces.len());
        info!(profiles = ready, invalid, namespaces = read.namespaces.len(), "read profiles and namespaces");
        snapshot.store(Arc::new(read));
        self.seen = Some(found);
        Ok(())
    }
}
