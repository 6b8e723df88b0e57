//! A continuous stream of pods, and the result of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use e2e::{Answer, Cluster, PodStream, TestNamespace, eventually};

/// Responses that take longer count as affected by the fault.
const SLOW: Duration = Duration::from_secs(2);

/// A continuous stream of pods, and another one in a namespace that is not enabled, which no fault of Outrigger may
/// affect.
pub(crate) struct Load {
    stream: PodStream,
    elsewhere: PodStream,
    fault: Option<Instant>,
    repaired: Option<Instant>,
    /// Namespace of the other stream.
    _plain: TestNamespace,
}

/// Effect of a fault on the stream.
pub(crate) struct Seen {
    /// Number of pods that should be injected.
    pub(crate) asked: usize,
    /// Number of rejections by reason.
    pub(crate) failed: BTreeMap<String, usize>,
    lost: usize,
    recovery: Option<Duration>,
}

impl Load {
    /// Waits until pods are injected, then starts both streams and waits for a second.
    pub(crate) async fn start(cluster: &Cluster, space: &TestNamespace, sidecar: &str) -> Self {
        e2e::injects(cluster, space, sidecar).await;
        let plain = TestNamespace::plain(cluster).await;
        let load = Self {
            stream: PodStream::start(cluster, &space.name, sidecar),
            elsewhere: PodStream::start(cluster, &plain.name, sidecar),
            fault: None,
            repaired: None,
            _plain: plain,
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        load
    }

    /// Records the start of the fault.
    pub(crate) fn fault(&mut self) {
        self.fault = Some(Instant::now());
    }

    /// Records the end of the repair.
    pub(crate) fn repaired(&mut self) {
        self.repaired = Some(Instant::now());
    }

    /// Waits until this many more pods have got a response.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.stream.attempts().len() + count;
        eventually("responses to more pods", || async {
            let answered = self.stream.attempts().len();
            if answered >= wanted { Ok(()) } else { Err(format!("{answered} of {wanted}")) }
        })
        .await;
    }

    /// Waits until the streams have run for three seconds without a failure, ends them, and writes the line of the
    /// table.
    ///
    /// Whatever the fault, every pod gets a response, none is admitted without its sidecar, and namespaces that are not
    /// enabled are not affected by faults of Outrigger.
    pub(crate) async fn end(self, fault: &str) -> Seen {
        eventually("three seconds without a failure", || async {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_secs(3)).await;
            for (stream, wanted) in [(&self.stream, Answer::Injected), (&self.elsewhere, Answer::NotInjected)]
            {
                let attempts = stream.attempts();
                let mut late = attempts.iter().filter(|attempt| attempt.answered > since).peekable();
                if late.peek().is_none() {
                    return Err("there is no response".to_owned());
                }
                if let Some(bad) = late.find(|attempt| attempt.answer != wanted) {
                    return Err(format!("{:?}", bad.answer));
                }
            }
            Ok(())
        })
        .await;
        let seen = self.seen().await;
        seen.write(fault, "pods, a continuous stream");
        assert_eq!(seen.lost, 0, "{fault}: pods were admitted without their sidecar, or got no response");
        seen
    }

    async fn seen(self) -> Seen {
        for one in self.elsewhere.end().await {
            // Results that are possible without Outrigger as well.
            let is_expected = match &one.answer {
                Answer::NotInjected | Answer::Unreachable | Answer::TimedOut => true,
                Answer::Rejected(message) => summary(message) == UNREACHABLE,
                Answer::Injected => false,
            };
            assert!(is_expected, "a pod in a namespace that is not enabled was affected: {:?}", one.answer);
        }
        let fault = self.fault.expect("the test has called fault()");
        let mut seen = Seen { asked: 0, failed: BTreeMap::new(), lost: 0, recovery: None };
        let mut last = self.repaired;
        for one in self.stream.end().await {
            seen.asked += 1;
            if one.answered - one.at > SLOW && one.answered > fault {
                last = last.max(Some(one.answered));
            }
            let why = match &one.answer {
                Answer::Injected => continue,
                Answer::Rejected(message) => summary(message),
                Answer::Unreachable => UNREACHABLE,
                Answer::NotInjected | Answer::TimedOut => "",
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

/// Appends a line to the table that `cargo xtask chaos` prints.
pub(crate) fn row(fault: &str, what: &str, asked: usize, failed: &str, lost: usize, recovery: &str) {
    let line = format!("{fault}\t{what}\t{asked}\t{failed}\t{lost}\t{recovery}\n");
    let Some(file) = std::env::var_os("OUTRIGGER_FAULTS") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// Reason of failures for which only the API server is responsible.
pub(crate) const UNREACHABLE: &str = "API server unreachable";

/// Returns a short form of the reason why the API server did not admit a pod.
fn summary(message: &str) -> &str {
    let known = [
        ("failed calling webhook", "webhook not reached"),
        ("etcdserver", UNREACHABLE),
        ("etcd", UNREACHABLE),
        ("context deadline", UNREACHABLE),
        ("timeout", UNREACHABLE),
        ("not yet ready", UNREACHABLE),
        ("Timeout", UNREACHABLE),
        ("[ProfileNotFound]", "ProfileNotFound"),
        ("[ProfileInvalid]", "ProfileInvalid"),
    ];
    known.iter().find(|(part, _)| message.contains(part)).map_or(message, |(_, short)| short)
}
