//! The released program on loopback, without a cluster: malformed reviews, and a shutdown during requests.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::row;
use crate::standalone::{Connection, Server, head};

/// An ordinary review.
pub(crate) const REVIEW: &str = include_str!("../../../benches/reviews/ordinary.json");
const REVIEWS: usize = 100_000;
const CONNECTIONS: usize = 4;
/// Memory limit of the chart.
const MEMORY_LIMIT_KIB: u64 = 256 * 1024;

/// Deterministic random number generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Fragments with a meaning in JSON, pods or expressions.
const PIECES: [&str; 16] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "18446744073709551616",
    "\\ud800",
    "\u{0}",
    "$[[",
    "{\"name\":",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "\"outrigger.dev/status\":\"{}\",",
    "\"image\":\"auto\"",
    "true",
    ",",
];

/// Applies one or two changes: bytes are replaced, deleted, duplicated, or fragments inserted; half of the time at the
/// start of a value.
fn mutate(review: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = review.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        let mut at = random.below(bytes.len());
        if random.below(2) == 0 {
            at = bytes.iter().skip(at).position(|&byte| byte == b':').map_or(at, |more| at + more + 1);
        }
        let at = at.min(bytes.len().saturating_sub(1));
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(10) {
            0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => bytes.truncate(at.max(1)),
            // Replaces letters and digits, so that the JSON often stays valid.
            4 | 5 => {
                let letters = bytes.iter_mut().skip(at).filter(|byte| byte.is_ascii_alphanumeric()).take(3);
                letters.for_each(|byte| *byte = b'0' + u8::try_from(random.below(10)).unwrap());
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                // Replaces the value at this position, if there is one.
                let value = bytes[at..].iter().position(|byte| b",}]".contains(byte)).unwrap_or(0);
                bytes.splice(at..at + value, piece.bytes());
            }
        }
    }
    bytes
}

/// Returns a review of the profile for /validate.
fn profile_review() -> String {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "8b1f", "kind": { "group": "outrigger.dev", "version": "v1alpha1", "kind": "ClusterSidecarProfile" },
        "operation": "CREATE", "object": e2e::companion("changed"), "oldObject": null, "dryRun": false,
    } })
    .to_string()
}

#[test]
fn a_hundred_thousand_malformed_reviews_are_answered() {
    let server = Server::start("mutated");
    let started = Instant::now();
    let (injected, status) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|worker| {
                let mut connection = server.connect();
                scope.spawn(move || {
                    let mut random = Random(0x9e37_79b9_7f4a_7c15 + u64::try_from(worker).unwrap());
                    let profile = profile_review();
                    let mut counts = (0, 0);
                    for number in 0..REVIEWS / CONNECTIONS {
                        let (path, review) = if number % 8 == 0 {
                            ("/validate", profile.as_str())
                        } else {
                            ("/mutate", REVIEW)
                        };
                        let body = mutate(review, &mut random);
                        let (code, answer) = connection.post(path, &body);
                        let shown = || String::from_utf8_lossy(&body).into_owned();
                        match code {
                            200 => {
                                let answer: Value = serde_json::from_slice(&answer).unwrap();
                                assert!(
                                    answer["response"]["allowed"].is_boolean(),
                                    "{answer} to {}",
                                    shown()
                                );
                                counts.0 += usize::from(answer["response"]["patch"].is_string());
                            }
                            400..=499 => counts.1 += 1,
                            other => panic!("{other} {} to {}", String::from_utf8_lossy(&answer), shown()),
                        }
                    }
                    counts
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let took = started.elapsed();
    let (code, answer) = server.connect().post("/mutate", REVIEW.as_bytes());
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&answer));
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(answer["response"]["patch"].is_string(), "{answer}");
    let peak = server.peak();
    assert!(peak < MEMORY_LIMIT_KIB, "{peak} KiB");
    server.signal("TERM");
    let log = server.end();
    assert!(!log.contains("panicked"), "{log}");
    assert!(
        injected > REVIEWS / 20 && status > REVIEWS / 20,
        "{injected} injected, {status} rejected: too few of one kind"
    );
    let summary = format!("{status} answered 4xx, {injected} injected");
    let what = format!("reviews with 1 or 2 changes; peak memory {} MiB", peak / 1024);
    row(
        "100,000 mutated reviews",
        &what,
        REVIEWS,
        &summary,
        0,
        &format!("{:.0} s in all", took.as_secs_f64()),
    );
}

#[test]
fn a_request_in_progress_is_completed_during_shutdown() {
    let server = Server::start("shutdown");
    let mut idle = server.connect();
    assert_eq!(idle.post("/mutate", REVIEW.as_bytes()).0, 200);
    let mut connections: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    let (first, rest) = REVIEW.split_at(REVIEW.len() / 2);
    for connection in &mut connections {
        connection.send(format!("{}{first}", head("/mutate", REVIEW.len())).as_bytes());
    }
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    for connection in &mut connections {
        connection.send(rest.as_bytes());
    }
    for connection in &mut connections {
        let (head, body) = connection.answer();
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["response"]["patch"].is_string(), "{answer}");
    }
    // A connection that was open before the drain still gets a response, with `connection: close`.
    idle.send([head("/mutate", REVIEW.len()).as_bytes(), REVIEW.as_bytes()].concat().as_slice());
    assert!(idle.answer().0.contains("connection: close"));
    server.end();
    row("SIGTERM during requests", "reviews half sent", connections.len() + 1, "0", 0, "at once");
}
