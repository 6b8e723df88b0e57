use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt as _;

use crate::cluster::{Announcer, Looking, Lookup, Snapshot};
use crate::engine::{Namespace, Settings};
use crate::profiles::ProfileEntry;
use crate::supervise::Health;
use crate::telemetry::{Metrics, Traces};

/// The state that all handlers share.
#[derive(Clone)]
pub struct State {
    /// Latest view of the cluster.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Live lookup of names that the snapshot does not contain.
    pub lookup: Arc<dyn Lookup>,
    /// The operator's settings.
    pub settings: Arc<Settings>,
    /// Metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Liveness and readiness of the server.
    pub health: Health,
    /// The server's own user; only this user may change elements of Mandatory profiles in live pods. Empty if the server has
    /// none.
    pub own_user: Arc<str>,
    /// Publisher of Events about profiles that were left out.
    pub announcer: Announcer,
    /// Exporter of traces.
    pub traces: Traces,
}

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
