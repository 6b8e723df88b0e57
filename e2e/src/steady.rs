use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::exclusive::injected;
use crate::manifests::pod;

/// How many ask at once: more than the API server keeps idle connections, so that some are always taken up anew.
const AT_ONCE: usize = 6;
/// How long each of them rests after an answer.
const PAUSE: Duration = Duration::from_millis(150);
/// Longer than the API server itself takes to give up.
const PATIENCE: Duration = Duration::from_secs(70);

/// Pods that are created all the time, in a dry run: they pass admission as any pod does, and cost no node anything.
pub struct Steady {
    done: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    tasks: JoinSet<()>,
}

/// One of them.
#[derive(Debug)]
pub struct Asked {
    /// When it was asked for.
    pub at: Instant,
    /// When the answer came.
    pub answered: Instant,
    /// What became of it.
    pub answer: Answer,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It came with the sidecar.
    Injected,
    /// It was admitted without.
    Bare,
    /// The API server did not want it, with this message.
    Refused(String),
    /// There was no API server that could have admitted anything.
    Away,
    /// No answer came at all.
    Silent,
}

/// What became of all of them.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many were asked for.
    pub asked: usize,
    /// When and why some were not admitted.
    pub refused: Vec<(Instant, String)>,
    /// How many came without the sidecar.
    pub bare: usize,
}

impl Steady {
    /// Begins to create pods that are to have this sidecar.
    pub fn start(cluster: &Cluster, namespace: &str, sidecar: &str) -> Self {
        let mut steady = Self { done: Arc::default(), asked: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..AT_ONCE {
            let (cluster, namespace, sidecar) = (cluster.clone(), namespace.to_owned(), sidecar.to_owned());
            let (done, all) = (Arc::clone(&steady.done), Arc::clone(&steady.asked));
            steady.tasks.spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    let answer = tokio::time::timeout(PATIENCE, ask(&cluster, &namespace, &sidecar)).await;
                    let answer = answer.unwrap_or(Answer::Silent);
                    all.lock().unwrap().push(Asked { at, answered: Instant::now(), answer });
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        steady
    }

    /// Those that were answered so far.
    pub fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap()
    }

    /// Ends it; gives all of them, in the order of their answers.
    pub async fn end(self) -> Vec<Asked> {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Ends it and counts them.
    pub async fn stop(self) -> Counts {
        let asked = self.end().await;
        let mut counts = Counts { asked: asked.len(), ..Counts::default() };
        for Asked { answered, answer, .. } in asked {
            match answer {
                Answer::Injected => {}
                Answer::Bare => counts.bare += 1,
                Answer::Refused(why) => counts.refused.push((answered, why)),
                none => counts.refused.push((answered, format!("{none:?}"))),
            }
        }
        counts
    }
}

async fn ask(cluster: &Cluster, namespace: &str, sidecar: &str) -> Answer {
    let asking: Pod = serde_json::from_value(pod("steady")).unwrap();
    let dry_run = PostParams { dry_run: true, field_manager: None };
    match cluster.api::<Pod>(namespace).create(&dry_run, &asking).await {
        Ok(made) if injected(&serde_json::to_value(&made).unwrap(), sidecar) => Answer::Injected,
        Ok(_) => Answer::Bare,
        Err(kube::Error::Api(said)) => Answer::Refused(said.message.clone()),
        Err(_) => Answer::Away,
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
