use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The activity of one connection, from which its time limits follow.
///
/// Every request writes to it, so it has atomic numbers instead of a lock.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Number of requests under way.
    busy: AtomicUsize,
    /// Number of requests that have begun.
    begun: AtomicU64,
    /// Time at which the last request ended, in microseconds after `opened`.
    idle_since: AtomicU64,
    close: Notify,
}

/// A request under way; ended on drop.
pub(super) struct UnderWay(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            busy: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            close: Notify::new(),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns the number of requests that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Returns the time since when there has been no request; `None` during a request.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.busy.load(Ordering::Acquire) == 0;
        is_idle.then(|| self.opened + Duration::from_micros(self.idle_since.load(Ordering::Relaxed)))
    }

    /// Tells the connection to end after its current requests.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    /// Waits for [`Activity::close`].
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.idle_since.store(now, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}
