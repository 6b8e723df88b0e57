use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::activity::Activity;
use crate::telemetry::{Load, Shed};

/// Minimum idle time before a connection that has sent requests is closed for a new one: its client may be about to send the
/// next request.
const REST: Duration = Duration::from_secs(5);
/// Minimum idle time before a connection that has sent no request is closed for a new one.
const GREETING: Duration = Duration::from_secs(1);
/// Interval at which a waiting connection checks for a connection that can be closed.
const LOOK: Duration = Duration::from_millis(100);

/// The connections of one listener, limited in number.
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    next: AtomicU64,
    known: Mutex<HashMap<u64, Arc<Activity>>>,
    load: Option<Load>,
}

/// A connection's place within the limit; released on drop.
pub(super) struct ConnectionSlot {
    pub(super) activity: Arc<Activity>,
    id: u64,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Returns an empty set with the limit `most`. With `load`, connections are counted in its metrics.
    pub(super) fn new(most: usize, load: Option<Load>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most));
        Arc::new(Self { permits, next: AtomicU64::default(), known: Mutex::default(), load })
    }

    /// Waits for a place. At the limit, the connection that has been idle longest is closed.
    pub(super) async fn place(self: &Arc<Self>) -> ConnectionSlot {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            self.make_room();
            let waited = tokio::time::timeout(LOOK, Arc::clone(&self.permits).acquire_owned()).await;
            if let Ok(Ok(permit)) = waited {
                break permit;
            }
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Activity::new();
        self.known().insert(id, Arc::clone(&activity));
        if let Some(load) = &self.load {
            load.connections.inc();
        }
        ConnectionSlot { activity, id, connections: Arc::clone(self), _permit: permit }
    }

    /// Closes the connection that has been idle longest; those that never sent a request come first.
    fn make_room(&self) {
        let now = Instant::now();
        let known = self.known();
        let spare = known.values().filter_map(|activity| {
            let since = activity.idle_since()?;
            let has_served = activity.begun() > 0;
            let rest = if has_served { REST } else { GREETING };
            (now.duration_since(since) >= rest).then_some(((has_served, since), activity))
        });
        if let Some((_, activity)) = spare.min_by_key(|(rank, _)| *rank) {
            activity.close();
            self.load.iter().for_each(|load| load.shed(Shed::Connections));
        }
    }

    /// Tells all connections to end.
    pub(super) fn close(&self) {
        self.known().values().for_each(|activity| activity.close());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.known().remove(&self.id);
        if let Some(load) = &self.connections.load {
            load.connections.dec();
        }
    }
}
