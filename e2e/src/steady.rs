use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::alone::injected;
use crate::cluster::Cluster;
use crate::manifests::pod;

/// How many ask at once: more than the API server keeps idle connections, so that some are always taken up anew.
const AT_ONCE: usize = 6;

/// Pods that are created all the time, in a dry run.
pub struct Steady {
    done: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Counts>>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many were asked for.
    pub asked: usize,
    /// When and why some were refused.
    pub refused: Vec<(Instant, String)>,
    /// How many came without the sidecar.
    pub bare: usize,
}

impl Steady {
    /// Begins to create pods that are to have this sidecar.
    pub fn start(cluster: &Cluster, namespace: &str, sidecar: &str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let task = |_| {
            let (cluster, done) = (cluster.clone(), Arc::clone(&done));
            let (namespace, sidecar) = (namespace.to_owned(), sidecar.to_owned());
            tokio::spawn(async move {
                let mut counts = Counts::default();
                while !done.load(Ordering::Relaxed) {
                    counts.asked += 1;
                    match cluster.dry_run_pod(&namespace, &pod("steady")).await {
                        Ok(made) => counts.bare += usize::from(!injected(&made, &sidecar)),
                        Err(refused) => counts.refused.push((Instant::now(), refused)),
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                counts
            })
        };
        let tasks = (0..AT_ONCE).map(task).collect();
        Self { done, tasks }
    }

    /// Ends it.
    pub async fn stop(self) -> Counts {
        self.done.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for task in self.tasks {
            let counts = task.await.unwrap();
            all.asked += counts.asked;
            all.bare += counts.bare;
            all.refused.extend(counts.refused);
        }
        all.refused.sort_by_key(|(when, _)| *when);
        all
    }
}

impl Counts {
    /// None was refused and none came without its sidecar.
    #[track_caller]
    pub fn expect_none_failed(&self) {
        assert!(self.asked > 50, "{} pods are no test", self.asked);
        assert_eq!(self.bare, 0, "of {} pods, some came without their sidecar", self.asked);
        self.expect_none_refused();
    }

    /// None was refused, with its sidecar or without.
    #[track_caller]
    pub fn expect_none_refused(&self) {
        assert!(
            self.refused.is_empty(),
            "of {} pods, {} were refused, the first: {}",
            self.asked,
            self.refused.len(),
            self.refused[0].1
        );
    }
}
