//! Ambassadors: the app connects to localhost, and the sidecar to the remote server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Cluster, TestNamespace, eventually, pod};
use serde_json::{Value, json};

/// Returns the number that follows a text in the output of `INFO` or in metrics.
fn number(text: &str, before: &str) -> u64 {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {before} in {text}"))
}

/// Returns the metrics of a proxy.
fn metrics(cluster: &Cluster, space: &TestNamespace, pod: &str, port: u16) -> String {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/metrics", space.name);
    cluster.kubectl(&["get", "--raw", &path]).expect()
}

/// Returns an idle pod that uses none of the proxy's ports, for measurements.
fn idle() -> Value {
    let mut idle = pod("idle");
    idle["spec"]["containers"][0]["args"] = json!(["redis-server", "--dir", "/tmp", "--port", "7777"]);
    idle
}

/// Creates a Redis Cluster of the pods, and returns the pod of each master by its slots.
async fn redis_cluster(cluster: &Cluster, space: &TestNamespace) -> BTreeMap<String, String> {
    cluster.apply_file(&space.name, "ambassador-redis/cluster.yaml").expect();
    let pods = cluster.ready_pods(&space.name, "app=redis", 6).await;
    let name_of: BTreeMap<_, _> = pods
        .iter()
        .map(|pod| {
            (pod["status"]["podIP"].as_str().unwrap(), pod["metadata"]["name"].as_str().unwrap().to_owned())
        })
        .collect();
    let addresses: Vec<_> = name_of.keys().map(|address| format!("{address}:6379")).collect();
    let mut create = vec!["redis-cli", "--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    cluster.exec(&space.name, "redis-0", "redis", &create).expect();
    eventually("three masters with a replica each", || async {
        for pod in name_of.values() {
            let ask = |words: &[&str]| cluster.exec(&space.name, pod, "redis", words).text;
            let (state, replication) =
                (ask(&["redis-cli", "cluster", "info"]), ask(&["redis-cli", "info", "replication"]));
            let is_linked =
                replication.contains("master_link_status:up") || replication.contains("state=online");
            if !state.contains("cluster_state:ok") || !is_linked {
                return Err(state + &replication);
            }
        }
        let nodes = cluster.exec(&space.name, "redis-0", "redis", &["redis-cli", "cluster", "nodes"]).text;
        let masters: BTreeMap<_, _> = nodes
            .lines()
            .filter(|line| line.contains("master"))
            .filter_map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let address = words[1].split(':').next()?;
                Some(((*words.get(8)?).to_owned(), name_of[address].clone()))
            })
            .collect();
        if masters.len() == 3 { Ok(masters) } else { Err(nodes) }
    })
    .await
}

/// Returns the responses of a counting container: numbers, and everything else.
fn counted(cluster: &Cluster, space: &TestNamespace, key: &str) -> (Vec<u64>, Vec<String>) {
    let output = cluster.logs(&space.name, "shop", &format!("counts-{key}"));
    let lines = output.lines().filter(|line| !line.is_empty());
    let (numbers, errors): (Vec<_>, Vec<_>) = lines.partition(|line| line.parse::<u64>().is_ok());
    (
        numbers.iter().map(|number| number.parse().unwrap()).collect(),
        errors.into_iter().map(str::to_owned).collect(),
    )
}

#[tokio::test]
async fn the_redis_ambassador_shards_over_a_cluster_and_survives_a_failover() {
    let cluster = Cluster::installed().await;
    let settings = [
        ("ambassador-redis.outrigger.dev/seeds", "redis-0.redis,redis-1.redis,redis-2.redis"),
        ("ambassador-redis.outrigger.dev/passwordSecret", "redis"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &["ambassador-redis"], &settings, true).await;
    let masters = redis_cluster(&cluster, &space).await;
    cluster.apply_file(&space.name, "ambassador-redis/app.yaml").expect();
    cluster.ready_pod(&space.name, "shop").await;
    let app = |words: &[&str]| {
        let mut command = vec!["redis-cli"];
        command.extend(words);
        cluster.exec(&space.name, "shop", "app", &command)
    };
    let node = |pod: &str, words: &[&str]| {
        let mut command = vec!["redis-cli"];
        command.extend(words);
        cluster.exec(&space.name, pod, "redis", &command).expect()
    };

    // The app has no password, and the cluster requires one.
    let seed = masters.values().next().unwrap();
    assert!(app(&["-h", &format!("{seed}.redis"), "get", "key1"]).text.contains("NOAUTH"));

    // One command with keys of all masters. The keys are stored on all of them.
    let keys: Vec<_> = (0..600).map(|number| format!("key{number}")).collect();
    let pairs: Vec<_> = keys.iter().flat_map(|key| [key.clone(), format!("value of {key}")]).collect();
    let mut mset = vec!["mset"];
    mset.extend(pairs.iter().map(String::as_str));
    let mut mget = vec!["mget"];
    mget.extend(keys.iter().map(String::as_str));
    let values = pairs.iter().skip(1).step_by(2).map(|value| value.clone() + "\n").collect::<String>();
    assert_eq!(app(&mset).expect(), "OK\n");
    assert_eq!(app(&mget).expect(), values);
    assert_eq!(app(&["set", "one", "1"]).expect(), "OK\n");
    assert_eq!(app(&["get", "one"]).expect(), "1\n");
    assert_eq!(app(&["del", "one", "two", "key0"]).expect(), "2\n");
    assert_eq!(app(&["get", "key0"]).expect(), "\n");
    assert_eq!(app(&["set", "key0", "value of key0"]).expect(), "OK\n");
    let sizes: Vec<u64> =
        masters.values().map(|pod| node(pod, &["dbsize"]).trim().parse().unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 100), "{sizes:?}");
    // There are also the keys of the counting containers.
    assert_eq!(sizes.iter().sum::<u64>(), 600 + 3);

    // All acknowledged writes are on the replica before the master is deleted.
    let victim = masters.iter().find(|(slots, _)| slots.starts_with("0-")).unwrap().1;
    let written = number(&node(victim, &["info", "replication"]), "master_repl_offset:");
    eventually("the replica catching up with its master", || async {
        let replication = node(victim, &["info", "replication"]);
        let has = number(&replication, "state=online,offset=");
        if has >= written { Ok(()) } else { Err(replication) }
    })
    .await;
    let before = counted(&cluster, &space, "b").0.len();
    cluster
        .kubectl(&["delete", "pod", victim, "--namespace", &space.name, "--force", "--grace-period=0"])
        .expect();
    eventually("errors after the loss of a master", || async {
        let (numbers, errors) = counted(&cluster, &space, "b");
        if errors.is_empty() { Err(format!("{} responses without an error", numbers.len())) } else { Ok(()) }
    })
    .await;
    // All slots accept writes again, and earlier writes are kept.
    let survivor = masters.values().find(|pod| *pod != victim).unwrap();
    eventually("the slots of the lost master accepting writes", || async {
        let output = app(&["incr", "{b}again"]).text;
        if output.trim().parse::<u64>().is_ok() { Ok(()) } else { Err(output) }
    })
    .await;
    assert_eq!(app(&mget).expect(), values);
    assert_eq!(app(&mset).expect(), "OK\n");
    assert!(node(survivor, &["cluster", "nodes"]).contains("master,fail"));
    eventually("twenty more responses", || async {
        let (numbers, _) = counted(&cluster, &space, "b");
        if numbers.len() >= before + 20 { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
    for key in ["a", "b", "c"] {
        let (numbers, errors) = counted(&cluster, &space, key);
        let lost_master = key == "b";
        // Redis replicates after its response, so the last write of a connection can be lost with the master.
        let follows = |pair: &[u64]| pair[1] > pair[0] || lost_master && pair[1] == pair[0];
        assert!(numbers.windows(2).all(follows), "{key}: {numbers:?}");
        assert_eq!(!errors.is_empty(), lost_master, "{key}: {errors:?}");
    }

    let shown = metrics(&cluster, &space, "shop", 15111);
    assert!(number(&shown, "envoy_redis_command_incr_success{envoy_redis_prefix=\"ambassador\"} ") > 0);
    space.measure("ambassador-redis", &idle()).await;
}

/// Certificates in a temporary directory, which is deleted at the end of the test.
struct Certificates(PathBuf);

impl Certificates {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // The system's configuration would make every certificate a CA.
        std::fs::write(folder.join("req.cnf"), "[req]\ndistinguished_name=none\n[none]\n").unwrap();
        Self(folder)
    }

    fn openssl(&self, name: &str, extension: &str, more: &[&str]) {
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-config", "req.cnf", "-days", "2", "-subj", &format!("/CN={name}"), "-addext", extension])
            .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
            .args(more)
            .current_dir(&self.0)
            .output()
            .expect("openssl starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn authority(&self, name: &str) {
        self.openssl(name, "basicConstraints=critical,CA:TRUE", &[]);
    }

    /// Signs a certificate and creates a Secret with it and the trusted CA.
    fn secret(&self, space: &TestNamespace, cluster: &Cluster, authority: &str, name: &str) {
        let (certificate, key) = (format!("{authority}.crt"), format!("{authority}.key"));
        let host = format!("subjectAltName=DNS:{name}.{}.svc.cluster.local", space.name);
        self.openssl(name, &host, &["-CA", &certificate, "-CAkey", &key]);
        let file = |key: &str, file: &str| format!("--from-file={key}={}", self.0.join(file).display());
        let files = [
            file("ca.crt", &certificate),
            file("tls.crt", &format!("{name}.crt")),
            file("tls.key", &format!("{name}.key")),
        ];
        let mut create = vec!["create", "secret", "generic", name, "--namespace", &space.name];
        create.extend(files.iter().map(String::as_str));
        cluster.kubectl(&create).expect();
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

#[tokio::test]
async fn the_tls_ambassador_verifies_both_ends_of_a_connection() {
    let cluster = Cluster::installed().await;
    let default = [
        ("ambassador-tls.outrigger.dev/secret", "shop"),
        ("ambassador-tls.outrigger.dev/host", "secure.default.svc.cluster.local"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &["ambassador-tls"], &default, true).await;
    let certificates = Certificates::new(&space.name);
    certificates.authority("ours");
    certificates.authority("theirs");
    for (authority, name) in [("ours", "secure"), ("ours", "plain"), ("ours", "shop"), ("theirs", "other")] {
        certificates.secret(&space, &cluster, authority, name);
    }
    cluster.apply_file(&space.name, "ambassador-tls/pods.yaml").expect();
    for name in ["secure", "plain", "shop", "to-plain", "other-authority", "other-name", "no-certificate"] {
        cluster.ready_pod(&space.name, name).await;
    }
    let redis = |pod: &str, words: &[&str]| {
        let mut command = vec!["timeout", "30", "redis-cli"];
        command.extend(words);
        cluster.exec(&space.name, pod, "app", &command)
    };
    let log = |pod: &str| cluster.logs(&space.name, pod, "ambassador-tls");

    // Plain text at localhost becomes TLS with a client certificate. The server accepts nothing else.
    assert_eq!(redis("shop", &["set", "paid", "yes"]).expect(), "OK\n");
    assert_eq!(redis("shop", &["get", "paid"]).expect(), "yes\n");
    let secure = ["-h", "secure", "-p", "6380"];
    redis("shop", &[&secure[..], &["ping"]].concat()).expect_failure();
    let trusting = [&secure[..], &["--tls", "--cacert", "/secret/ca.crt"]].concat();
    redis("secure", &[&trusting[..], &["ping"]].concat()).expect_failure();
    // The count is from the server's log, because the client may not get the reason.
    let refused = || {
        let output = cluster.logs(&space.name, "secure", "app");
        output.matches("peer did not return a certificate").count()
    };
    let directly = refused();
    assert!(directly > 0, "{}", cluster.logs(&space.name, "secure", "app"));
    for (pod, why) in [
        ("other-authority", "certificate verify failed"),
        ("other-name", "certificate verify failed"),
        // The server rejects the client after the handshake, which can already be complete for the client.
        ("no-certificate", " 0 bytes after"),
    ] {
        redis(pod, &["get", "paid"]).expect_failure();
        assert!(log(pod).contains(why), "{pod}: {}", log(pod));
    }
    // In the other direction: TLS in front of a plain-text server that only its own pod can reach.
    assert_eq!(redis("to-plain", &["set", "sent", "yes"]).expect(), "OK\n");
    assert_eq!(redis("plain", &["get", "sent"]).expect(), "yes\n");
    let plain = ["-h", "plain", "-p", "6390"];
    redis("secure", &[&plain[..], &["ping"]].concat()).expect_failure();
    let tls = [&plain[..], &["--tls", "--cacert", "/secret/ca.crt"]].concat();
    redis("secure", &[&tls[..], &["ping"]].concat()).expect_failure();
    let with_certificate = ["--cert", "/secret/tls.crt", "--key", "/secret/tls.key", "get", "sent"];
    assert_eq!(redis("secure", &[&tls[..], &with_certificate].concat()).expect(), "yes\n");
    assert!(log("plain").contains("wrong version number"), "{}", log("plain"));
    assert!(log("plain").contains("peer did not return a certificate"), "{}", log("plain"));

    let shown = metrics(&cluster, &space, "shop", 15121);
    assert_eq!(number(&shown, "haproxy_frontend_sessions_total{proxy=\"ambassador-tls\"} "), 2);
    let mut measured = idle();
    measured["metadata"]["annotations"] = json!({
        "ambassador-tls.outrigger.dev/host": format!("secure.{}.svc.cluster.local", space.name),
    });
    space.measure("ambassador-tls", &measured).await;
}

#[tokio::test]
async fn the_circuit_breaker_opens_on_failures_and_closes_after_recovery() {
    let cluster = Cluster::installed().await;
    let settings = [("ambassador-breaker.outrigger.dev/host", "flaky")];
    let space = TestNamespace::with_profiles(&cluster, &["ambassador-breaker"], &settings, true).await;
    cluster.apply_file(&space.name, "ambassador-breaker/service.yaml").expect();
    cluster.apply_file(&space.name, "ambassador-breaker/app.yaml").expect();
    for name in ["flaky", "app", "small"] {
        cluster.ready_pod(&space.name, name).await;
    }
    // Each request uses a new connection of the app. The lines have the status and the breaker's header.
    let call = |pod: &str, path: &str, more: &[&str]| {
        let (form, url) =
            ("%{http_code} %header{x-ambassador-breaker}\n", format!("http://127.0.0.1:15130/{path}"));
        let mut command = vec!["curl", "--silent", "--max-time", "60", "--output", "/dev/null"];
        command.extend(["--header", "Connection: close", "--write-out", form, &url]);
        command.extend(more);
        let output = cluster.exec(&space.name, pod, "app", &command).expect();
        output.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let seen = || cluster.logs(&space.name, "flaky", "nginx");
    let gauge = |name: &str| {
        let before = format!("{name}{{envoy_cluster_name=\"service\"}} ");
        number(&metrics(&cluster, &space, "app", 15131), &before)
    };
    let ejected = "envoy_cluster_outlier_detection_ejections_active";

    // Two hundred connections of the app become few to the service, which gets its own name as host.
    assert_eq!(call("app", "good/[1-200]", &[]), vec!["200"; 200]);
    let (lines, by_name) = (seen(), " flaky /good/");
    let connections: BTreeSet<_> = lines
        .lines()
        .filter(|line| line.contains(by_name))
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(lines.matches(by_name).count(), 200);
    assert!(connections.len() <= 3, "{connections:?}");
    assert_eq!(gauge("envoy_cluster_upstream_cx_total"), connections.len() as u64);
    assert_eq!(gauge("envoy_cluster_upstream_rq_total"), 200);
    assert_eq!(gauge(ejected), 0);

    for (openings, round) in [(1, "first"), (2, "second")] {
        // The service's own 503 has no header of the breaker, even if the service sends one.
        cluster.exec(&space.name, "flaky", "nginx", &["touch", "/tmp/bad"]).expect();
        // Envoy ejects the host in its main thread and informs the worker later, which takes longer on a busy machine.
        let mut answers = Vec::new();
        while answers.len() < 400 && !answers.iter().any(|answer| answer == "503 open") {
            answers.extend(call("app", &format!("{round}/[1-100]"), &[]));
        }
        let from_service = answers.iter().take_while(|answer| *answer == "503").count();
        assert!((5..400).contains(&from_service), "{answers:?}");
        assert!(answers[from_service..].iter().all(|answer| answer == "503 open"), "{answers:?}");
        assert_eq!(seen().matches(&format!(" flaky /{round}/")).count(), from_service);
        // The gauge of active ejections can be 0 again when a busy machine reads it.
        assert_eq!(gauge("envoy_cluster_outlier_detection_ejections_enforced_total"), openings);
        cluster.exec(&space.name, "flaky", "nginx", &["rm", "/tmp/bad"]).expect();
        eventually("the breaker closing", || async {
            let answers = call("app", "back", &[]);
            if answers == ["200"] { Ok(()) } else { Err(format!("{answers:?}")) }
        })
        .await;
        assert_eq!(gauge(ejected), 0);
    }

    // Timeouts and a full queue. The slow page responds once per second.
    let slow = call("small", "slow?[1-3]", &[]);
    assert!(slow.iter().any(|answer| answer == "504 no-answer"), "{slow:?}");
    let many = call("small", "slow?[1-20]", &["--parallel", "--parallel-immediate"]);
    assert!(many.iter().any(|answer| answer == "503 full"), "{many:?}");

    // Without a service, calls get no answer until the breaker opens.
    let now = ["delete", "pod", "flaky", "--namespace", &space.name, "--force", "--grace-period=0"];
    cluster.kubectl(&now).expect();
    eventually("the breaker opening", || async {
        let answers = call("app", "gone/[1-10]", &[]);
        let both = ["503 no-answer", "503 open"].iter().all(|one| answers.iter().any(|output| output == one));
        if both { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    cluster.apply_file(&space.name, "ambassador-breaker/service.yaml").expect();
    eventually("the new pod being called", || async {
        let answers = call("app", "back", &[]);
        if answers == ["200"] { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    assert_eq!(gauge("envoy_cluster_outlier_detection_ejections_enforced_total"), 3);
    space.measure("ambassador-breaker", &idle()).await;
}
