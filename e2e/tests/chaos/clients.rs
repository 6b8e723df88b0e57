//! Slow, silent and dead clients, and bodies that are not reviews.

use std::time::Duration;

use e2e::{Cluster, Output, TestNamespace, eventually, exclusive, image, injected, pod};
use serde_json::json;

use crate::load::{Load, row};

/// A pod with a shell that reaches the servers like any pod in the cluster.
struct Shell {
    cluster: Cluster,
    space: TestNamespace,
}

const SERVICE: &str = "outrigger.outrigger-system.svc.cluster.local";

impl Shell {
    async fn start(cluster: &Cluster) -> Self {
        let space = TestNamespace::plain(cluster).await;
        let mut shell = pod("shell");
        shell["spec"] = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "shell",
                "image": image("outrigger.dev/toolbox:1.0.0"),
                "command": ["sleep", "infinity"],
                // To disable its own network.
                "securityContext": { "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } },
            }],
        });
        cluster.create_pod(&space.name, &shell).await.unwrap();
        cluster.ready_pod(&space.name, "shell").await;
        Self { cluster: cluster.clone(), space }
    }

    fn run(&self, script: &str) -> Output {
        let script = format!("SERVICE={SERVICE}; ulimit -n 4096\n{script}");
        self.cluster.exec(&self.space.name, "shell", "shell", &["bash", "-c", &script])
    }
}

#[test]
fn slow_clients_do_not_delay_others() {
    exclusive("e2e-slow", |cluster, space| async move {
        let shell = Shell::start(&cluster).await;
        let mut load = Load::start(&cluster, &space, "e2e-slow").await;
        load.fault();
        // A hundred handshakes that stop after the first bytes, and forty requests that send their header slowly.
        let output = shell.run(
            r"
            for number in $(seq 100); do
                exec {socket}<>/dev/tcp/$SERVICE/443 && printf '\x16\x03\x01\x02\x00\x01' >&$socket || exit 1
            done
            line() { for second in $(seq 7); do printf 'x-%s: y\r\n' $second; sleep 1; done; }
            for number in $(seq 40); do
                (printf 'POST /mutate HTTP/1.1\r\nhost: x\r\n'; line) |
                    timeout 9 openssl s_client -quiet -no_ign_eof -connect $SERVICE:443 >/dev/null 2>&1 &
            done
            wait
            echo opened",
        );
        assert!(output.text.contains("opened"), "{}", output.text);
        let seen = load.end("140 slow clients (slow-loris)").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    });
}

#[test]
fn half_open_connections_do_not_delay_others() {
    exclusive("e2e-half-open", |cluster, space| async move {
        let shell = Shell::start(&cluster).await;
        let mut load = Load::start(&cluster, &space, "e2e-half-open").await;
        load.fault();
        // The pod's network is disabled, so the servers are not notified of the end of these connections.
        let output = shell.run(
            r"
            for number in $(seq 600); do
                exec {socket}<>/dev/tcp/$SERVICE/443 || exit 1
            done
            ip link set eth0 down && echo opened",
        );
        assert!(output.text.contains("opened"), "{}", output.text);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let seen = load.end("600 half-open connections").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    });
}

#[test]
fn bodies_of_every_size_are_answered() {
    exclusive("e2e-bodies", |cluster, space| async move {
        let shell = Shell::start(&cluster).await;
        let mut load = Load::start(&cluster, &space, "e2e-bodies").await;
        load.fault();
        let output = shell
            .run(
                r#"
            for size in 0 1 1000 65536 1000000 3145728 7000000 8000000 16777216; do
                for version in --http1.1 --http2; do
                    head --bytes $size /dev/zero | tr '\0' '[' | curl --silent --insecure $version --max-time 20 \
                        --header 'content-type: application/json' --data-binary @- --output /dev/null \
                        --write-out "$version $size %{http_code}\n" https://$SERVICE/mutate
                done
            done"#,
            )
            .text;
        let answers: Vec<&str> = output.lines().filter(|line| line.starts_with("--http")).collect();
        assert_eq!(answers.len(), 18, "{output}");
        for answer in &answers {
            let code = answer.rsplit(' ').next().unwrap();
            // Over HTTP/2, the server's rejection arrives with the end of the stream, which this curl reports as a
            // failure.
            let ended = ["--http2 8000000 000", "--http2 16777216 000"].contains(answer);
            assert!(code.starts_with('4') || ended, "{answer} is not a rejection:\n{output}");
        }
        row(
            "bodies of 0 B to 16 MB that are not reviews",
            "each over HTTP/1.1 and HTTP/2",
            18,
            "18: rejected, as expected",
            0,
            "at once",
        );

        // The largest pod that the API server accepts.
        let mut large = pod("large");
        let value = "v".repeat(100_000);
        let env = (0..25).map(|number| json!({ "name": format!("E{number}"), "value": value }));
        large["spec"]["containers"][0]["env"] = env.collect();
        let made = eventually("a pod of 2.5 MB", || cluster.dry_run_pod(&space.name, &large)).await;
        assert!(injected(&made, "e2e-bodies"));
        let seen = load.end("bodies of 0 B to 16 MB; pods at the same time").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    });
}
