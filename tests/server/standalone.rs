//! The server as a process, without a cluster.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use outrigger::certificates::Material;
use serde_json::{Value, json};

use crate::log_lines;
use crate::running::{connect, material, request};
use crate::support::{patched, pod};

/// The server as a process, without a cluster.
struct Standalone {
    child: std::process::Child,
    address: std::net::SocketAddr,
    /// Log lines that a strict parser rejects.
    malformed: Arc<Mutex<Vec<String>>>,
    /// Messages of the log.
    messages: Receiver<String>,
}

/// Longest wait for a message or for the end of the process.
const PATIENCE: Duration = Duration::from_mins(1);

impl Standalone {
    fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = std::process::Command::new("kill").args([&signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for a message of the log.
    fn logs(&self, wanted: &str) {
        while self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no message {wanted:?}"))
            != wanted
        {}
    }

    /// Waits for the end of the process; returns its exit code.
    async fn ends(&mut self) -> Option<i32> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return ended.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the process did not end");
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn standalone(folder: &std::path::Path, more: &[&str]) -> Standalone {
    use std::io::BufRead as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--profiles",
            "profiles",
        ])
        .args(["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--log-format", "json"])
        .args(more)
        .current_dir(folder)
        .env_remove("KUBECONFIG")
        .env_remove("POD_NAMESPACE")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let malformed = Arc::<Mutex<Vec<String>>>::default();
    let found = malformed.clone();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .inspect(move |line| {
            let problem = log_lines::problem(line).map(|problem| format!("{problem}: {line}"));
            found.lock().unwrap().extend(problem);
        });
    let address = log.by_ref().find_map(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["listen"].as_str().map(|address| address.parse().unwrap())
    });
    let (sender, messages) = std::sync::mpsc::channel();
    // A full pipe would stop the server, so its log is read to the end.
    std::thread::spawn(move || {
        for line in log {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            drop(sender.send(line["message"].as_str().unwrap_or_default().to_owned()));
        }
    });
    let address = address.expect("the server logs its address");
    Standalone { child, address, malformed, messages }
}

fn profile(image: &str) -> String {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterSidecarProfile",
        "metadata": { "name": "proxy" },
        "spec": { "template": { "spec": { "initContainers": [
            { "name": "proxy", "image": image, "restartPolicy": "Always" },
        ] } } },
    })
    .to_string()
}

#[tokio::test]
async fn without_a_cluster_profiles_are_loaded_and_reloaded_from_files() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("standalone");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(folder.join("profiles")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let certify = |material: &Material| {
        put("tls.key", &material.key);
        put("tls.crt", &material.certificate);
    };
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {outrigger.dev/inject: enabled}\n  annotations: {outrigger.dev/profiles: proxy}\n";
    let first = material();
    certify(&first);
    put("profiles/namespace.yaml", namespace);
    put("profiles/proxy.json", &profile("proxy:1"));
    let server = standalone(&folder, &[]);

    let ask = async |authority: &str, namespace: &str| -> Option<Value> {
        let stream = connect(server.address, authority, b"http/1.1").await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request(namespace)).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let response = &answer["response"];
        assert_eq!(response["allowed"], true, "{response}");
        if response["patch"].is_null() {
            Some(Value::Null)
        } else {
            Some(patched(&pod(&json!({})), response))
        }
    };
    let image = |pod: &Value| pod["spec"]["initContainers"][0]["image"].as_str().map(str::to_owned);
    let eventually = async |authority: &str, wanted: &str| {
        for _ in 0..300 {
            if let Some(pod) = ask(authority, "shop").await
                && image(&pod).as_deref() == Some(wanted)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{wanted} was not injected in time");
    };
    eventually(&first.authority.certificate, "proxy:1").await;
    // No file has this namespace, so it is not enabled.
    assert_eq!(image(&ask(&first.authority.certificate, "elsewhere").await.unwrap()), None);

    put("profiles/proxy.json", &profile("proxy:2"));
    eventually(&first.authority.certificate, "proxy:2").await;
    put("profiles/proxy.json", "{ half of a cha");
    let second = material();
    certify(&second);
    eventually(&second.authority.certificate, "proxy:2").await;
    assert!(ask(&first.authority.certificate, "shop").await.is_none(), "the old certificate is still served");
    assert_eq!(*server.malformed.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_second_signal_ends_the_drain() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for second in ["TERM", "INT"] {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("signal-{second}"));
        std::fs::create_dir_all(folder.join("profiles")).unwrap();
        let material = material();
        std::fs::write(folder.join("tls.key"), &material.key).unwrap();
        std::fs::write(folder.join("tls.crt"), &material.certificate).unwrap();
        let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";
        std::fs::write(folder.join("profiles/namespace.yaml"), namespace).unwrap();
        // The test is over long before the delay.
        let mut server = standalone(&folder, &["--drain-delay", "3600"]);
        server.signal("TERM");
        server.logs("shutting down; draining connections");
        let stream = connect(server.address, &material.authority.certificate, b"http/1.1").await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request("shop")).await.unwrap();
        assert_eq!(answer.status(), 200, "a server that drains still answers");
        assert!(server.child.try_wait().unwrap().is_none());

        server.signal(second);
        assert_eq!(server.ends().await, Some(0), "{second}");
    }
}

#[test]
fn startup_errors_are_printed_in_the_format_of_the_log() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for format in ["text", "json"] {
        for (words, part) in [
            (["--log-filter", "outrigger=nonsense"], "cannot be read"),
            (["--listen", &taken], "Address already in use"),
        ] {
            let done = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
                .args(["serve", "--profiles", "profiles", "--tls-cert", "tls.crt", "--tls-key", "tls.key"])
                .args(["--log-format", format])
                .args(words)
                .env_remove("KUBECONFIG")
                .output()
                .unwrap();
            let log = String::from_utf8(done.stderr).unwrap();
            assert!(log.contains(part), "{log}");
            assert_eq!(done.status.code(), Some(1), "{log}");
            for line in log.lines() {
                assert_eq!(log_lines::problem(line), None, "{line}");
            }
        }
    }
}
