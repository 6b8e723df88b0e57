//! Supervision of the server's tasks, which end together, and its health.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Tasks of the server. When one ends, all are told to stop; the first error is returned as the server's.
#[derive(Default)]
pub struct Tasks {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Tasks {
    /// Returns the token that tells a task to stop.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It must end soon after [`Tasks::stop`] is cancelled.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits for all tasks.
    ///
    /// # Errors
    /// The first error of a task, with the task's name; a panic counts as an error.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let failure = match ended {
                Ok((name, Ok(()))) => {
                    info!(task = name, "ended");
                    None
                }
                Ok((name, Err(cause))) => Some(cause.context(format!("{name} failed"))),
                Err(panicked) => Some(anyhow::Error::new(panicked)),
            };
            if let Some(cause) = failure {
                error!(error = format!("{cause:#}"), "a task failed; stopping");
                if result.is_ok() {
                    result = Err(cause);
                }
            }
            self.stop.cancel();
        }
        result
    }
}

/// Readiness of the server. Clones share one state.
#[derive(Clone, Default)]
pub struct Health(Arc<Parts>);

/// Callback that returns remarks for the operator.
type Remarks = Box<dyn Fn() -> Vec<String> + Send>;

#[derive(Default)]
struct Parts {
    /// Atomic and outside the lock, because every request reads it.
    draining: AtomicBool,
    /// Same state as `draining`, for tasks that wait for it.
    drain: CancellationToken,
    waiting: Mutex<BTreeMap<&'static str, String>>,
    remarks: Mutex<Vec<Remarks>>,
}

impl Health {
    /// Adds a part that the server needs before it is ready, until [`Health::ready`] names it.
    pub fn wait_for(&self, part: &'static str, what: impl Into<String>) {
        self.waiting().insert(part, what.into());
    }

    /// Records that the part is ready.
    pub fn ready(&self, part: &'static str) {
        self.waiting().remove(part);
    }

    /// Adds a callback for remarks about a server that is ready.
    pub fn remark(&self, about: impl Fn() -> Vec<String> + Send + 'static) {
        self.0.remarks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(about));
    }

    /// Returns the remarks for the operator, although the server is ready.
    pub fn remarks(&self) -> Vec<String> {
        let remarks = self.0.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.iter().flat_map(|about| about()).collect()
    }

    /// Starts the shutdown: the server drains its connections.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        self.0.drain.cancel();
    }

    /// Waits until the server is draining.
    pub async fn draining(&self) {
        self.0.drain.cancelled().await;
    }

    /// Checks whether the server is draining.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Returns the missing parts; `None` when the server is ready.
    pub fn waiting_for(&self) -> Option<String> {
        if self.is_draining() {
            return Some("it is going away".to_owned());
        }
        let waiting: Vec<String> = self.waiting().values().cloned().collect();
        (!waiting.is_empty()).then(|| waiting.join("; "))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_ready_when_all_parts_are_ready() {
        let health = Health::default();
        assert_eq!(health.waiting_for(), None);
        health.wait_for("a", "the first list of profiles");
        health.wait_for("b", "the certificate");
        assert_eq!(health.waiting_for().unwrap(), "the first list of profiles; the certificate");
        health.ready("a");
        health.ready("b");
        assert_eq!(health.waiting_for(), None);
        health.drain();
        assert_eq!(health.waiting_for().unwrap(), "it is going away");
    }

    #[tokio::test]
    async fn the_end_of_a_task_stops_all_and_the_first_error_is_returned() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        tasks.spawn("waits", async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.spawn("fails", async { anyhow::bail!("broken") });
        assert_eq!(format!("{:#}", tasks.join().await.unwrap_err()), "fails failed: broken");
    }
}
