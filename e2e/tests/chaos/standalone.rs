//! The released program on loopback, without a cluster, and connections to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use outrigger::certificates::{Lifetimes, Material};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::log_lines;
use crate::reviews::REVIEW;

/// `outrigger serve --profiles` with one profile, for the namespace of the review.
pub(crate) struct Server {
    process: Child,
    address: String,
    config: Arc<ClientConfig>,
    folder: PathBuf,
    log: JoinHandle<String>,
}

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("profiles")).unwrap();
        let names = ["localhost".to_owned()];
        let material = Material::new(&names, Lifetimes::DEFAULT, time::OffsetDateTime::now_utc()).unwrap();
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
            .unwrap_or_else(|| panic!("the server did not log its address: {seen}"));
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));

        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(material.authority.certificate.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { process, address, config: Arc::new(config), folder, log }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.address, &self.config)
    }

    /// Returns the peak memory in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until the server has ended, and returns its log.
    pub(crate) fn end(mut self) -> String {
        let status = self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        let log = self.log.join().unwrap();
        for line in log.lines() {
            assert_eq!(log_lines::problem(line), None, "{line}");
        }
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// A persistent connection, like those of the API server.
pub(crate) struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    address: String,
    config: Arc<ClientConfig>,
}

impl Connection {
    fn open(address: &str, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).unwrap();
        // Timeout of a response.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let stream = BufReader::new(StreamOwned::new(session, socket));
        Self { stream, address: address.to_owned(), config: Arc::clone(config) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Reads a response, and returns its header in lower case and its body.
    pub(crate) fn answer(&mut self) -> (String, Vec<u8>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the connection was closed: {head}");
        }
        head.make_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {head}")).parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.send(&[head(path, body.len()).as_bytes(), body].concat());
        let (head, body) = self.answer();
        if head.contains("connection: close") {
            *self = Self::open(&self.address, &self.config);
        }
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }
}

pub(crate) fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}
