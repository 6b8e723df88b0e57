//! A steady stream of pods, and what became of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::{Cluster, TestNamespace, eventually, injected, pod};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;
use tokio::task::JoinSet;

/// Requests are sent by so many tasks, each of which waits for its answer, and then for a pause.
const TASKS: usize = 6;
const PAUSE: Duration = Duration::from_millis(170);
/// Whoever waits longer than this has noticed the fault, even if the answer is a good one.
const SLOW: Duration = Duration::from_secs(2);
/// Longer than the API server itself takes to give up.
const PATIENCE: Duration = Duration::from_secs(70);

/// What became of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Injected,
    /// It was admitted without its sidecar.
    Bare,
    /// The API server said no, or said nothing; in a few words, why.
    Failed(String),
    /// No answer came at all.
    Silent,
}

struct Asked {
    at: Instant,
    answered: Instant,
    /// In the namespace that is not enabled.
    elsewhere: bool,
    answer: Answer,
}

/// A steady stream of dry runs: they pass admission as any pod does, and cost no node anything. Every fourth is in a
/// namespace that is not enabled, for which nothing may ever change.
pub(crate) struct Load {
    what: &'static str,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    tasks: JoinSet<()>,
    elsewhere: TestNamespace,
    fault: Option<Instant>,
    repaired: Option<Instant>,
}

/// What a fault did to the stream.
pub(crate) struct Seen {
    /// The pods that were to be injected.
    pub(crate) asked: usize,
    /// Why some were refused, and how many.
    pub(crate) failed: BTreeMap<String, usize>,
    lost: usize,
    recovery: Option<Duration>,
}

impl Load {
    /// Starts the stream, once pods get the sidecar, and lets it run for a moment.
    pub(crate) async fn start(cluster: &Cluster, space: &TestNamespace, sidecar: &str) -> Self {
        e2e::injects(cluster, space, sidecar).await;
        let elsewhere = TestNamespace::plain(cluster).await;
        let mut load = Self {
            what: "pods, a steady stream",
            stop: Arc::default(),
            asked: Arc::default(),
            tasks: JoinSet::new(),
            elsewhere,
            fault: None,
            repaired: None,
        };
        for number in 0..TASKS {
            let stream = stream(
                cluster.clone(),
                [space.name.clone(), load.elsewhere.name.clone()],
                sidecar.to_owned(),
                number,
                Arc::clone(&load.stop),
                Arc::clone(&load.asked),
            );
            load.tasks.spawn(stream);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        load
    }

    /// The fault begins now.
    pub(crate) fn fault(&mut self) {
        self.fault = Some(Instant::now());
    }

    /// What the fault took away is there again, as of now.
    pub(crate) fn repaired(&mut self) {
        self.repaired = Some(Instant::now());
    }

    /// Waits until the stream has run for three seconds without a failure, ends it, and writes the line of the table.
    ///
    /// Whatever the fault, no pod is admitted without its sidecar, every pod is answered, and namespaces that are not
    /// enabled notice nothing of what happens to Outrigger.
    pub(crate) async fn end(mut self, fault: &str) -> Seen {
        eventually("three seconds in which every pod is injected", || async {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_secs(3)).await;
            let asked = self.asked.lock().unwrap();
            let mut late = asked.iter().filter(|asked| asked.answered > since).peekable();
            if late.peek().is_none() {
                return Err("nothing is answered".to_owned());
            }
            let bad = late.find(|asked| asked.answer != Answer::Injected);
            bad.map_or(Ok(()), |bad| Err(format!("{:?}", bad.answer)))
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
        let seen = self.seen();
        seen.write(fault, self.what);
        assert_eq!(seen.lost, 0, "{fault}: pods were admitted without their sidecar, or never answered");
        seen
    }

    fn seen(&self) -> Seen {
        let asked = self.asked.lock().unwrap();
        let fault = self.fault.expect("a test says when its fault begins");
        let mut seen = Seen { asked: 0, failed: BTreeMap::new(), lost: 0, recovery: None };
        let mut last = self.repaired;
        for one in asked.iter() {
            if one.elsewhere {
                assert!(
                    matches!(&one.answer, Answer::Injected | Answer::Silent)
                        || is_the_servers_own(&one.answer),
                    "a pod in a namespace that is not enabled: {:?}",
                    one.answer
                );
                continue;
            }
            seen.asked += 1;
            if one.answered - one.at > SLOW && one.answered > fault {
                last = last.max(Some(one.answered));
            }
            match &one.answer {
                Answer::Injected => continue,
                Answer::Failed(why) => *seen.failed.entry(why.clone()).or_default() += 1,
                Answer::Bare | Answer::Silent => seen.lost += 1,
            }
            assert!(one.answered > fault, "a pod failed before the fault: {:?}", one.answer);
            last = last.max(Some(one.answered));
        }
        seen.recovery = last.map(|last| last - fault);
        seen
    }
}

impl Seen {
    fn write(&self, fault: &str, what: &str) {
        let mut failed = self.failed.values().sum::<usize>().to_string();
        for (number, (why, count)) in self.failed.iter().enumerate() {
            let count = if self.failed.len() == 1 { String::new() } else { format!(" {count}") };
            write!(failed, "{}{count} {why}", if number == 0 { ":" } else { "," }).unwrap();
        }
        let recovery =
            self.recovery.map_or("at once".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        row(fault, what, self.asked, &failed, self.lost, &recovery);
    }
}

/// Writes a line of the table that `cargo xtask chaos` prints.
pub(crate) fn row(fault: &str, what: &str, asked: usize, failed: &str, lost: usize, recovery: &str) {
    let line = format!("{fault}\t{what}\t{asked}\t{failed}\t{lost}\t{recovery}\n");
    let Some(file) = std::env::var_os("OUTRIGGER_FAULTS") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// Whether the API server could not have answered better without Outrigger.
fn is_the_servers_own(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(why) if why == "API server away")
}

async fn stream(
    cluster: Cluster,
    spaces: [String; 2],
    sidecar: String,
    number: usize,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    for round in number.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let elsewhere = round % 4 == 0;
        let at = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, ask(&cluster, &spaces[usize::from(elsewhere)])).await;
        let answer = match answer {
            Err(_) => Answer::Silent,
            Ok(Err(why)) => Answer::Failed(why),
            Ok(Ok(made)) if elsewhere || injected(&made, &sidecar) => Answer::Injected,
            Ok(Ok(_)) => Answer::Bare,
        };
        asked.lock().unwrap().push(Asked { at, answered: Instant::now(), elsewhere, answer });
        tokio::time::sleep(PAUSE).await;
    }
}

/// Has the API server admit a pod; in a few words why not, otherwise.
async fn ask(cluster: &Cluster, space: &str) -> Result<serde_json::Value, String> {
    let mut asking = pod("steady");
    asking["metadata"] = json!({ "generateName": "steady-" });
    let asking: Pod = serde_json::from_value(asking).unwrap();
    let dry_run = PostParams { dry_run: true, field_manager: None };
    match cluster.api::<Pod>(space).create(&dry_run, &asking).await {
        Ok(made) => Ok(serde_json::to_value(made).unwrap()),
        Err(kube::Error::Api(said)) => Err(in_short(&said.message)),
        // No answer of the API server's at all: there was nobody that could have admitted anything.
        Err(_) => Err("API server away".to_owned()),
    }
}

fn in_short(message: &str) -> String {
    let known = [
        ("failed calling webhook", "webhook not reached"),
        ("etcdserver", "API server away"),
        ("etcd", "API server away"),
        ("context deadline", "API server away"),
        ("timeout", "API server away"),
        ("not yet ready", "API server away"),
        ("Timeout", "API server away"),
        ("[ProfileNotFound]", "ProfileNotFound"),
        ("[ProfileInvalid]", "ProfileInvalid"),
    ];
    let found = known.iter().find(|(part, _)| message.contains(part));
    found.map_or_else(|| message.to_owned(), |(_, short)| (*short).to_owned())
}
