//! A steady stream of pods, and what became of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use e2e::{Answer, Cluster, Steady, TestNamespace, eventually};

/// Whoever waits longer than this has noticed the fault, even if the answer is a good one.
const SLOW: Duration = Duration::from_secs(2);

/// A steady stream of pods, and another in a namespace that is not enabled, for which nothing may ever change.
pub(crate) struct Load {
    stream: Steady,
    elsewhere: Steady,
    fault: Option<Instant>,
    repaired: Option<Instant>,
    /// Where the other stream is, for as long as it lasts.
    _plain: TestNamespace,
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
        let plain = TestNamespace::plain(cluster).await;
        let load = Self {
            stream: Steady::start(cluster, &space.name, sidecar),
            elsewhere: Steady::start(cluster, &plain.name, sidecar),
            fault: None,
            repaired: None,
            _plain: plain,
        };
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

    /// Waits until this many more pods are answered.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.stream.asked().len() + count;
        eventually("more pods being answered", || async {
            let answered = self.stream.asked().len();
            if answered >= wanted { Ok(()) } else { Err(format!("{answered} of {wanted}")) }
        })
        .await;
    }

    /// Waits until the stream has run for three seconds without a failure, ends it, and writes the line of the table.
    ///
    /// Whatever the fault, no pod is admitted without its sidecar, every pod is answered, and namespaces that are not
    /// enabled notice nothing of what happens to Outrigger.
    pub(crate) async fn end(self, fault: &str) -> Seen {
        eventually("three seconds in which every pod is injected", || async {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_secs(3)).await;
            for (stream, wanted) in [(&self.stream, Answer::Injected), (&self.elsewhere, Answer::Bare)] {
                let asked = stream.asked();
                let mut late = asked.iter().filter(|asked| asked.answered > since).peekable();
                if late.peek().is_none() {
                    return Err("nothing is answered".to_owned());
                }
                if let Some(bad) = late.find(|asked| asked.answer != wanted) {
                    return Err(format!("{:?}", bad.answer));
                }
            }
            Ok(())
        })
        .await;
        let seen = self.seen().await;
        seen.write(fault, "pods, a steady stream");
        assert_eq!(seen.lost, 0, "{fault}: pods were admitted without their sidecar, or never answered");
        seen
    }

    async fn seen(self) -> Seen {
        for one in self.elsewhere.end().await {
            // Without Outrigger, the API server could not have answered better.
            let is_its_own = match &one.answer {
                Answer::Bare | Answer::Away | Answer::Silent => true,
                Answer::Refused(why) => in_short(why) == AWAY,
                Answer::Injected => false,
            };
            assert!(is_its_own, "a pod in a namespace that is not enabled: {:?}", one.answer);
        }
        let fault = self.fault.expect("a test says when its fault begins");
        let mut seen = Seen { asked: 0, failed: BTreeMap::new(), lost: 0, recovery: None };
        let mut last = self.repaired;
        for one in self.stream.end().await {
            seen.asked += 1;
            if one.answered - one.at > SLOW && one.answered > fault {
                last = last.max(Some(one.answered));
            }
            let why = match &one.answer {
                Answer::Injected => continue,
                Answer::Refused(why) => in_short(why),
                Answer::Away => AWAY,
                Answer::Bare | Answer::Silent => "",
            };
            if why.is_empty() {
                seen.lost += 1;
            } else {
                *seen.failed.entry(why.to_owned()).or_default() += 1;
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

/// Why a pod failed that the API server could not admit, whatever Outrigger does.
const AWAY: &str = "API server away";

/// In a few words, why the API server did not admit a pod.
fn in_short(message: &str) -> &str {
    let known = [
        ("failed calling webhook", "webhook not reached"),
        ("etcdserver", AWAY),
        ("etcd", AWAY),
        ("context deadline", AWAY),
        ("timeout", AWAY),
        ("not yet ready", AWAY),
        ("Timeout", AWAY),
        ("[ProfileNotFound]", "ProfileNotFound"),
        ("[ProfileInvalid]", "ProfileInvalid"),
    ];
    known.iter().find(|(part, _)| message.contains(part)).map_or(message, |(_, short)| short)
}
