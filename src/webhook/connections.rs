use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::activity::Activity;
use crate::telemetry::{Load, Shed};

/// How long a connection that has sent requests is idle at least before it makes room for another: its client
/// may be about to send the next one.
const REST: Duration = Duration::from_secs(5);
/// The same for a connection that has sent none.
const GREETING: Duration = Duration::from_secs(1);
/// How often a connection that waits for room looks for one that could make it.
const LOOK: Duration = Duration::from_millis(100);

/// The connections of one listener, at most so many.
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    next: AtomicU64,
    known: Mutex<HashMap<u64, Arc<Activity>>>,
    load: Option<Load>,
}

/// A connection's place among them, until it is dropped.
pub(super) struct Place {
    pub(super) activity: Arc<Activity>,
    id: u64,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// With `load` they are counted there.
    pub(super) fn new(most: usize, load: Option<Load>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most));
        Arc::new(Self { permits, next: AtomicU64::default(), known: Mutex::default(), load })
    }

    /// A place, once there is one. Where there is none, the connection that can best be spared ends.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
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
        Place { activity, id, connections: Arc::clone(self), _permit: permit }
    }

    /// Ends the connection that has been idle longest, one that never sent a request first.
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

    /// Asks all of them to end.
    pub(super) fn close(&self) {
        self.known().values().for_each(|activity| activity.close());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.known().remove(&self.id);
        if let Some(load) = &self.connections.load {
            load.connections.dec();
        }
    }
}
