use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::manifests::pod;
use crate::namespace::injected;

/// Number of concurrent requests. It is above the API server's limit of idle connections, so that some are always new.
const CONCURRENCY: usize = 6;
/// Pause of each task after a response.
const PAUSE: Duration = Duration::from_millis(150);
/// Timeout of a request, which is longer than the API server's own.
const TIMEOUT: Duration = Duration::from_secs(70);

/// Continuous creation of pods in dry runs, which pass admission like any pod but use no node.
pub struct PodStream {
    done: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    tasks: JoinSet<()>,
}

/// Attempt to create a pod.
#[derive(Debug)]
pub struct Attempt {
    /// Time of the request.
    pub at: Instant,
    /// Time of the response.
    pub answered: Instant,
    /// Result of the attempt.
    pub answer: Answer,
}

/// Result of an attempt to create a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The pod has the sidecar.
    Injected,
    /// The pod was admitted without the sidecar.
    NotInjected,
    /// The API server rejected the pod with this message.
    Rejected(String),
    /// The API server was unreachable.
    Unreachable,
    /// There was no response within the timeout.
    TimedOut,
}

/// Number of attempts by result.
#[derive(Debug, Default)]
pub struct Counts {
    /// Number of attempts.
    pub attempts: usize,
    /// Time and message of each rejection.
    pub rejected: Vec<(Instant, String)>,
    /// Number of pods without the sidecar.
    pub not_injected: usize,
}

impl PodStream {
    /// Starts to create pods that should have this sidecar.
    pub fn start(cluster: &Cluster, namespace: &str, sidecar: &str) -> Self {
        let mut stream = Self { done: Arc::default(), attempts: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..CONCURRENCY {
            let (cluster, namespace, sidecar) = (cluster.clone(), namespace.to_owned(), sidecar.to_owned());
            let (done, all) = (Arc::clone(&stream.done), Arc::clone(&stream.attempts));
            stream.tasks.spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    let answer =
                        tokio::time::timeout(TIMEOUT, create_pod(&cluster, &namespace, &sidecar)).await;
                    let answer = answer.unwrap_or(Answer::TimedOut);
                    all.lock().unwrap().push(Attempt { at, answered: Instant::now(), answer });
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        stream
    }

    /// Returns the attempts that have a result so far.
    pub fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap()
    }

    /// Stops, and returns all attempts in the order of their results.
    pub async fn end(self) -> Vec<Attempt> {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        std::mem::take(&mut *self.attempts.lock().unwrap())
    }

    /// Stops, and counts the attempts by result.
    pub async fn stop(self) -> Counts {
        let attempts = self.end().await;
        let mut counts = Counts { attempts: attempts.len(), ..Counts::default() };
        for Attempt { answered, answer, .. } in attempts {
            match answer {
                Answer::Injected => {}
                Answer::NotInjected => counts.not_injected += 1,
                Answer::Rejected(message) => counts.rejected.push((answered, message)),
                other => counts.rejected.push((answered, format!("{other:?}"))),
            }
        }
        counts
    }
}

async fn create_pod(cluster: &Cluster, namespace: &str, sidecar: &str) -> Answer {
    let requested: Pod = serde_json::from_value(pod("steady")).unwrap();
    let dry_run = PostParams { dry_run: true, field_manager: None };
    match cluster.api::<Pod>(namespace).create(&dry_run, &requested).await {
        Ok(created) if injected(&serde_json::to_value(&created).unwrap(), sidecar) => Answer::Injected,
        Ok(_) => Answer::NotInjected,
        Err(kube::Error::Api(status)) => Answer::Rejected(status.message.clone()),
        Err(_) => Answer::Unreachable,
    }
}

impl Counts {
    /// Fails if a pod was rejected or has no sidecar.
    #[track_caller]
    pub fn expect_none_failed(&self) {
        assert!(self.attempts > 50, "only {} pods were created", self.attempts);
        assert_eq!(self.not_injected, 0, "of {} pods, some have no sidecar", self.attempts);
        self.expect_none_rejected();
    }

    /// Fails if a pod was rejected.
    #[track_caller]
    pub fn expect_none_rejected(&self) {
        assert!(
            self.rejected.is_empty(),
            "of {} pods, {} were rejected, the first: {}",
            self.attempts,
            self.rejected.len(),
            self.rejected[0].1
        );
    }
}
