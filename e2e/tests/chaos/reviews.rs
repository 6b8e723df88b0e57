//! The shipped program on loopback, without a cluster: reviews that are broken in every way, and an end in the middle of
//! one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outrigger::certificates::Material;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::load::row;

const REVIEW: &str = include_str!("../../../benches/reviews/ordinary.json");
const REVIEWS: usize = 100_000;
const CONNECTIONS: usize = 4;
/// What the chart allows the server.
const MEMORY_LIMIT_KIB: u64 = 256 * 1024;

/// `outrigger serve --profiles`, until it is dropped.
struct Server {
    process: Child,
    address: String,
    config: Arc<ClientConfig>,
    folder: PathBuf,
    log: JoinHandle<String>,
}

impl Server {
    fn start(name: &str) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("profiles")).unwrap();
        let names = ["localhost".to_owned()];
        let material = Material::new(&names, time::OffsetDateTime::now_utc()).unwrap();
        std::fs::write(folder.join("tls.crt"), &material.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &material.key).unwrap();
        let profile = e2e::companion("log-shipper").to_string();
        std::fs::write(folder.join("profiles/profile.yaml"), profile).unwrap();
        let namespace: Value = serde_json::from_str(REVIEW).unwrap();
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": namespace["request"]["namespace"],
            "labels": { "outrigger.dev/inject": "enabled" },
            "annotations": { "outrigger.dev/profiles": "log-shipper" },
        } });
        std::fs::write(folder.join("profiles/namespace.yaml"), namespace.to_string()).unwrap();

        let mut process = Command::new(std::env::var_os("OUTRIGGER_BINARY").unwrap())
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
                "--drain-delay",
                "1",
            ])
            .args(["--log-format", "json", "--log-filter", "warn,outrigger::cli=info", "--profiles"])
            .arg(folder.join("profiles"))
            .arg("--tls-cert")
            .arg(folder.join("tls.crt"))
            .arg("--tls-key")
            .arg(folder.join("tls.key"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                seen += &line;
                let line: Value = serde_json::from_str(&line).ok()?;
                Some(line["listen"].as_str()?.to_owned())
            })
            .unwrap_or_else(|| panic!("the server does not say where it listens: {seen}"));
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(material.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { process, address, config: Arc::new(config), folder, log }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.address, &self.config)
    }

    /// The most memory that it ever had, in KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Tells it to end; gives what it logged.
    fn end(mut self) -> String {
        self.signal("TERM");
        let status = self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        let log = self.log.join().unwrap();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// A connection that is kept open, as the API server keeps it.
struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    address: String,
    config: Arc<ClientConfig>,
}

impl Connection {
    fn open(address: &str, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).unwrap();
        // No answer within this time is none at all.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let stream = BufReader::new(StreamOwned::new(session, socket));
        Self { stream, address: address.to_owned(), config: Arc::clone(config) }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// The head in lower case, and the body.
    fn answer(&mut self) -> (String, Vec<u8>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the connection ends: {head}");
        }
        head.make_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {head}")).parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn post(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.send(&[head(path, body.len()).as_bytes(), body].concat());
        let (head, body) = self.answer();
        if head.contains("connection: close") {
            *self = Self::open(&self.address, &self.config);
        }
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Pieces that mean something to who reads JSON, pods or expressions.
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

/// One or two changes: bytes turned, taken out, doubled, or pieces put in; at a place where a value begins, half of the time.
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
            // Letters and digits, so that the JSON often stays whole.
            4 | 5 => {
                let letters = bytes.iter_mut().skip(at).filter(|byte| byte.is_ascii_alphanumeric()).take(3);
                letters.for_each(|byte| *byte = b'0' + u8::try_from(random.below(10)).unwrap());
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                // The value that stands there goes, where there is one.
                let value = bytes[at..].iter().position(|byte| b",}]".contains(byte)).unwrap_or(0);
                bytes.splice(at..at + value, piece.bytes());
            }
        }
    }
    bytes
}

/// A review of the profile, for /validate.
fn profile_review() -> String {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "8b1f", "kind": { "group": "outrigger.dev", "version": "v1alpha1", "kind": "ClusterSidecarProfile" },
        "operation": "CREATE", "object": e2e::companion("changed"), "oldObject": null, "dryRun": false,
    } })
    .to_string()
}

#[test]
fn a_hundred_thousand_broken_reviews_are_answered() {
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
    let log = server.end();
    assert!(!log.contains("panicked"), "{log}");
    assert!(
        injected > REVIEWS / 20 && status > REVIEWS / 20,
        "{injected} injected, {status} refused: no mixture"
    );
    let said = format!("{status} answered 4xx, {injected} injected");
    let what = format!("reviews with 1 or 2 changes; {} MiB at most", peak / 1024);
    row("100,000 mutated reviews", &what, REVIEWS, &said, 0, &format!("{:.0} s in all", took.as_secs_f64()));
}

#[test]
fn a_request_is_finished_that_is_under_way_when_the_server_is_told_to_end() {
    let server = Server::start("told");
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
    // A connection that was open before the drain still is answered, and told to go elsewhere.
    idle.send([head("/mutate", REVIEW.len()).as_bytes(), REVIEW.as_bytes()].concat().as_slice());
    assert!(idle.answer().0.contains("connection: close"));
    let mut server = server;
    assert!(server.process.wait().unwrap().success());
    std::fs::remove_dir_all(&server.folder).unwrap();
    row("SIGTERM in mid-request", "reviews half sent", connections.len() + 1, "0", 0, "at once");
}
