use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::Limits;
use crate::telemetry::{Load, Shed};

/// The limits for reviews under way and for the memory of their bodies.
pub struct LoadShed {
    pub(super) limits: Limits,
    /// True if only clients that the listener has verified may send reviews.
    pub(super) asks_clients: bool,
    /// Size of large bodies in memory, in bytes.
    held: AtomicUsize,
    turns: Arc<Semaphore>,
    /// Turns for profiles that are checked, and places for those that wait.
    validations: Arc<Semaphore>,
    waiting_validations: Arc<Semaphore>,
    load: Load,
}

/// The turn of a large body to be read, or of a profile to be checked; released on drop.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A review under way; released on drop.
pub(super) struct AdmittedRequest(Arc<LoadShed>);

/// The share of one body in the memory for bodies; released on drop.
pub(super) struct Held {
    load_shed: Arc<LoadShed>,
    /// Length of the body so far, in bytes.
    length: usize,
    taken: usize,
}

impl LoadShed {
    /// Returns the limiter with these limits. It counts requests in `load`.
    pub fn new(limits: Limits, load: Load) -> Self {
        let (held, turns) = (AtomicUsize::new(0), Arc::new(Semaphore::new(limits.turns)));
        let validations = Arc::new(Semaphore::new(Limits::VALIDATIONS));
        let waiting_validations = Arc::new(Semaphore::new(Limits::WAITING_VALIDATIONS));
        Self { limits, asks_clients: false, held, turns, validations, waiting_validations, load }
    }

    /// Accepts reviews only from clients that the listener has verified.
    #[must_use]
    pub fn for_clients_only(mut self) -> Self {
        self.asks_clients = true;
        self
    }

    /// Admits a review, if the limit is not reached.
    pub(super) fn enter(self: &Arc<Self>) -> Option<AdmittedRequest> {
        let others = usize::try_from(self.load.requests.inc()).unwrap_or_default();
        let admitted = AdmittedRequest(Arc::clone(self));
        if others < self.limits.requests {
            return Some(admitted);
        }
        self.load.shed(Shed::Requests);
        None
    }

    /// Waits for the turn of a large body. After the time limit or the request's deadline, the body is read without a turn.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<Turn> {
        let permit = Arc::clone(&self.turns).acquire_owned();
        let until = deadline.min(Instant::now() + Limits::TURN);
        let permit = tokio::time::timeout_at(until, permit).await.ok()?.ok()?;
        Some(Turn { _permit: permit })
    }

    /// Waits until a profile may be checked; `None` if too many wait already.
    pub(super) async fn validation(&self) -> Option<Turn> {
        let Ok(_waiting) = Arc::clone(&self.waiting_validations).try_acquire_owned() else {
            self.load.shed(Shed::Validations);
            return None;
        };
        let permit = Arc::clone(&self.validations).acquire_owned().await.ok()?;
        Some(Turn { _permit: permit })
    }

    /// Returns the share of a body that is about to be read; it begins at zero.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held { load_shed: Arc::clone(self), length: 0, taken: 0 }
    }
}

impl Held {
    /// Reserves this many more bytes for the body, if there is memory.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let (before, after) = (large(self.length), large(self.length + more));
        self.length += more;
        self.take(after - before)
    }

    /// Reserves memory for this many parsed values, if there is memory.
    pub(super) fn parse(&mut self, values: usize) -> bool {
        self.take(values.saturating_mul(Limits::VALUE))
    }

    fn take(&mut self, more: usize) -> bool {
        let most = self.load_shed.limits.body_memory;
        let grown = |held: usize| held.checked_add(more).filter(|held| *held <= most);
        let taken =
            more == 0 || self.load_shed.held.fetch_update(Ordering::AcqRel, Ordering::Relaxed, grown).is_ok();
        if taken {
            self.taken += more;
        } else {
            self.load_shed.load.shed(Shed::Memory);
        }
        taken
    }
}

/// Returns the part of a body's length that counts as large, in bytes.
fn large(length: usize) -> usize {
    length.saturating_sub(Limits::SMALL_BODY)
}

impl Drop for AdmittedRequest {
    fn drop(&mut self) {
        self.0.load.requests.dec();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.load_shed.held.fetch_sub(self.taken, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn load_shed_with(requests: usize, body_memory: usize) -> Arc<LoadShed> {
        Arc::new(LoadShed::new(Limits { requests, body_memory, ..Limits::default() }, Load::default()))
    }

    #[test]
    fn small_bodies_are_let_in_whatever_large_ones_hold() {
        let gate = load_shed_with(1, 10 * MIB);
        let mut bodies: Vec<Held> = (0..100).map(|_| gate.hold()).collect();
        let taken = bodies.iter_mut().filter_map(|body| body.grow(7 * MIB).then_some(())).count();
        assert_eq!(taken, 1);
        assert!(gate.hold().grow(Limits::SMALL_BODY) && !gate.hold().grow(4 * MIB));
        bodies.clear();
        assert_eq!(gate.held.load(Ordering::Relaxed), 0);
        assert!(gate.hold().grow(10 * MIB));
    }

    #[test]
    fn a_body_grows_by_what_comes() {
        let gate = load_shed_with(1, MIB);
        let mut body = gate.hold();
        let chunks = std::iter::repeat_with(|| body.grow(1000)).take_while(|taken| *taken).count();
        assert_eq!(chunks, (MIB + Limits::SMALL_BODY) / 1000);
        drop(body);
        assert_eq!(gate.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_so_many_are_let_in_at_once() {
        let gate = load_shed_with(2, 0);
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        drop(first);
        let again = gate.enter();
        assert!(again.is_some() && gate.enter().is_none());
        drop((second, again));
        assert_eq!(gate.load.requests.get(), 0);
    }
}
