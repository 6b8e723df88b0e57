use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt as _;

use super::router::State;
use crate::cluster::{Announcer, Looking, Lookup, Snapshot};
use crate::engine::{Namespace, Settings};
use crate::profiles::ProfileEntry;
use crate::supervise::Health;
use crate::telemetry::{Metrics, Traces};

impl State {
    /// Returns the state of a server that has only a snapshot: no live lookups, no Events and default settings. Tests,
    /// benchmarks and fuzz targets start from it.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            lookup: Arc::new(NothingElse),
            settings: Arc::new(Settings::default()),
            metrics: Arc::new(Metrics::default()),
            health: Health::default(),
            own_user: "".into(),
            announcer: Announcer::default(),
            traces: Traces::default(),
        }
    }
}

/// A lookup to which nothing exists besides the snapshot.
struct NothingElse;

impl Lookup for NothingElse {
    fn namespace<'a>(&'a self, _: &'a str) -> Looking<'a, Option<Namespace>> {
        futures::future::ready(Ok(None)).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, _: &'a str) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
}
