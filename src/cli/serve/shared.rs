use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::certificates::Serving;
use crate::cluster::Snapshot;
use crate::supervise::Health;
use crate::telemetry::Metrics;

/// The state that all tasks share. Clones share one state.
#[derive(Clone, Default)]
pub(super) struct Shared {
    /// Latest view of the cluster.
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    /// Certificate of new connections.
    pub(super) serving: Arc<Serving>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Health,
}
