//! The mesh: traffic capture, mutual TLS and traffic rules with Envoy, between plain HTTP apps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// A CA, and the namespace of a mesh.
struct Mesh {
    cluster: Cluster,
    space: TestNamespace,
    folder: PathBuf,
}

impl Mesh {
    async fn new(annotations: &[(&str, &str)]) -> Self {
        let cluster = Cluster::installed().await;
        let space = TestNamespace::with_profiles(&cluster, &["mesh-proxy"], annotations, false).await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&space.name);
        std::fs::create_dir_all(&folder).unwrap();
        let mesh = Self { cluster, space, folder };
        mesh.authority("ca");
        mesh
    }

    fn openssl(&self, line: &str) {
        let made = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(&self.folder)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn authority(&self, name: &str) {
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        self.openssl(&format!("req -x509 -new -key {name}.key -subj /CN={name} -days 2 -out {name}.crt"));
    }

    /// Creates a Secret with the identity of a service account, signed by one of the CAs, and with the CA of the mesh.
    fn identity(&self, account: &str, authority: &str, secret: &str) {
        let names = format!(
            "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=URI:spiffe://cluster.local/ns/{}/sa/{account}\n",
            self.space.name
        );
        std::fs::write(self.folder.join("extensions"), names).unwrap();
        self.openssl("ecparam -name prime256v1 -genkey -noout -out tls.key");
        self.openssl(&format!("req -new -key tls.key -subj /CN={account} -out request"));
        self.openssl(&format!(
            "x509 -req -in request -CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days 2 -out tls.crt -extfile extensions"
        ));
        let read = |file: &str| std::fs::read_to_string(self.folder.join(file)).unwrap();
        let made = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret },
            "stringData": {
                "tls.crt": read("tls.crt"), "tls.key": read("tls.key"), "ca.crt": read("ca.crt"),
            },
        });
        self.apply(&made);
    }

    /// Creates a service account and the Secret that the profile mounts.
    fn account(&self, name: &str) {
        self.apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } }));
        self.identity(name, "ca", &format!("mesh-{name}"));
    }

    fn service(&self, name: &str, selector: &Value, port: u16) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "clusterIP": "None", "selector": selector, "ports": [{ "port": port }] },
        }));
    }

    fn apply(&self, object: &Value) {
        self.cluster.apply(&self.space.name, &object.to_string()).expect();
    }

    async fn address(&self, pod: &str) -> String {
        let ready = self.cluster.ready_pod(&self.space.name, pod).await;
        ready["status"]["podIP"].as_str().unwrap().to_owned()
    }

    /// Sends a request from the app of a pod, and returns `status=…` followed by the response.
    fn get(&self, pod: &str, url: &str) -> String {
        self.cluster.exec(&self.space.name, pod, "app", &["echo", "get", url]).text
    }

    /// Sends requests until one succeeds. A server that the pod calls for the first time may not be resolved yet.
    async fn answer(&self, pod: &str, url: &str) -> String {
        eventually("a response with status 200", || async {
            let output = self.get(pod, url);
            if output.contains("status=200") { Ok(output) } else { Err(output) }
        })
        .await
    }

    /// Sends `count` requests, `together` at a time, and returns how often each status and each server's name occurred.
    fn load(&self, pod: &str, url: &str, count: u32, together: u32) -> BTreeMap<String, u32> {
        let words = ["echo", "load", url, &count.to_string(), &together.to_string()];
        let output = self.cluster.exec(&self.space.name, pod, "app", &words).expect();
        let lines = output.lines().filter_map(|line| line.split_once(' '));
        lines.filter_map(|(key, number)| Some((key.to_owned(), number.parse().ok()?))).collect()
    }

    /// Changes the behavior of a pod's app.
    fn control(&self, pod: &str, how: &str) {
        let output = self.get(pod, &format!("http://127.0.0.1:8080/control?{how}"));
        assert!(output.contains("status=200"), "{output}");
    }

    /// Returns Envoy's metrics, requested from another pod.
    fn metrics(&self, from: &str, address: &str) -> String {
        self.get(from, &format!("http://{address}:15090/stats/prometheus"))
    }

    /// Waits for `count` lines of a proxy's access log that match. Lines are written with a delay.
    async fn accesses(&self, pod: &str, count: usize, are: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually("the lines of the access log", || async {
            let log = self.cluster.logs(&self.space.name, pod, "mesh-proxy");
            let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
            let found: Vec<Value> = lines.filter(&are).collect();
            if found.len() >= count { Ok(found) } else { Err(log) }
        })
        .await
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns a pod whose app responds with its name, and with its caller according to Envoy.
fn app(name: &str, account: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": account, "pod": name }, "annotations": annotations },
        "spec": {
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "app",
                "image": image("outrigger.dev/echo:1.0"),
                "env": [{ "name": "NAME", "value": name }],
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 1, "failureThreshold": 1 },
                "securityContext": { "runAsUser": 4242 },
            }],
        },
    })
}

/// Returns such a pod without the mesh.
fn outsider(name: &str) -> Value {
    let mut pod = app(name, "default", &json!({}));
    pod["metadata"]["labels"]["outrigger.dev/inject"] = json!("disabled");
    pod
}

/// Returns the sum of all metrics whose line starts with one text and contains another.
fn sum(metrics: &str, begins: &str, contains: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(begins) && line.contains(contains));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn only_pods_in_the_mesh_reach_an_app_and_only_with_mutual_tls() {
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", "server:8080@server,strict:8080")]).await;
    let (cluster, space) = (&mesh.cluster, &mesh.space.name);
    for account in ["server", "client", "strict"] {
        mesh.account(account);
        mesh.service(account, &json!({ "app": account }), 8080);
    }
    mesh.authority("another");
    mesh.identity("client", "another", "forged");
    let allowed = format!("{space}/other");
    mesh.apply(&outsider("outsider"));
    mesh.apply(&app("server", "server", &json!({})));
    mesh.apply(&app("strict", "strict", &json!({ "mesh-proxy.outrigger.dev/allowedCallers": allowed })));
    mesh.apply(&app("forger", "client", &json!({ "mesh-proxy.outrigger.dev/secret": "forged" })));
    let server = mesh.address("server").await;
    // Waits until DNS resolves the Service.
    mesh.answer("strict", "http://server:8080/").await;
    // An init container of the client's own already calls through the mesh.
    let mut client = app("client", "client", &json!({}));
    client["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 0 });
    client["spec"]["initContainers"] = json!([{
        "name": "early", "image": image("outrigger.dev/echo:1.0"),
        "command": ["echo", "get", "http://server:8080/early"],
    }]);
    mesh.apply(&client);
    let client = mesh.address("client").await;
    let identity = |account: &str| format!("spiffe://cluster.local/ns/{space}/sa/{account}");
    for output in
        [cluster.logs(space, "client", "early"), mesh.get("client", "http://server:8080/hello?delay=1")]
    {
        assert!(
            output.contains("status=200") && output.contains("name=server uid=4242 peer=127.0.0.6:"),
            "{output}"
        );
        assert!(output.contains(&format!("By={};", identity("server"))), "{output}");
        assert!(output.contains(&format!("URI={} ", identity("client"))), "{output}");
    }
    assert!(cluster.logs(space, "client", "mesh-init").starts_with("iptables-restore\n"));

    // Callers without a certificate, with a forged one, and with one that is not allowed are rejected.
    let output = mesh.get("outsider", &format!("http://{server}:8080/hello"));
    assert!(output.contains("status=403") && output.contains("A client certificate"), "{output}");
    let address = mesh.address("forger").await;
    let output = mesh.get("outsider", &format!("http://{address}:8081/"));
    assert!(output.contains("status=0"), "{output}");
    for url in ["http://server:8080/hello", "http://strict:8080/hello"] {
        let output = mesh.get("forger", url);
        assert!(output.contains("status=503"), "{output}");
    }
    let output = mesh.get("client", "http://strict:8080/hello");
    assert!(output.contains("status=503"), "{output}");

    // Metrics and access logs show TLS between the two, and no plain-text requests except the probes.
    let seen = mesh.metrics("outsider", &client);
    assert!(sum(&seen, "envoy_cluster_ssl_handshake", "server_") >= 1.0, "{seen}");
    let seen = mesh.metrics("outsider", &server);
    assert!(sum(&seen, "envoy_listener_ssl_handshake", "") >= 1.0, "{seen}");
    assert!(sum(&seen, "envoy_listener_ssl_fail_verify_error", "") >= 1.0, "{seen}");
    let seen = mesh.metrics("outsider", &mesh.address("strict").await);
    assert!(sum(&seen, "envoy_listener_ssl_fail_verify_san", "") >= 1.0, "{seen}");
    let is_hello = |line: &Value| line["path"] == "/hello?delay=1";
    let sent = mesh.accesses("client", 1, is_hello).await.remove(0);
    assert_eq!((&sent["status"], &sent["upstream"]), (&json!(200), &json!(format!("{server}:8080"))));
    let received = mesh.accesses("server", 1, is_hello).await;
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(received[0]["caller"], json!(identity("client")));
    assert_eq!(received[0]["request"], sent["request"]);

    // The kubelet's probe reaches the app, not only the proxy.
    mesh.control("server", "unhealthy=true");
    eventually("the failing app becoming unready", || async {
        let pod =
            cluster.kubectl(&["get", "pod", "server", "--namespace", space, "--output", "json"]).expect();
        let pod: Value = serde_json::from_str(&pod).unwrap();
        let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
        if statuses.iter().any(|status| status["ready"] == false) {
            Ok(())
        } else {
            Err("it is ready".to_owned())
        }
    })
    .await;
    mesh.control("server", "unhealthy=false");
    cluster.ready_pod(space, "server").await;

    let mut proxy = app("proxy-user", "client", &json!({}));
    proxy["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1337 });
    let denial = cluster.dry_run_pod(space, &proxy).await.unwrap_err();
    assert!(denial.contains("user 1337 is the proxy itself"), "{denial}");
    mesh.space.measure("mesh-proxy", &app("measured", "client", &json!({}))).await;
}

#[tokio::test]
async fn traffic_is_balanced_retried_timed_out_and_kept_from_failing_pods() {
    let upstreams = "server:8080@server,v1:8080@server,v2:8080@server,front:8080";
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", upstreams)]).await;
    for account in ["server", "client"] {
        mesh.account(account);
    }
    mesh.service("server", &json!({ "app": "server" }), 8080);
    mesh.service("front", &json!({ "app": "server" }), 8080);
    mesh.service("v1", &json!({ "pod": "server-0" }), 8080);
    mesh.service("v2", &json!({ "pod": "server-1" }), 8080);
    let servers = ["server-0", "server-1", "server-2"];
    for name in servers {
        mesh.apply(&app(name, "server", &json!({})));
    }
    let parameter = |name: &str| format!("mesh-proxy.outrigger.dev/{name}");
    mesh.apply(&app(
        "turns",
        "client",
        &json!({
            parameter("routes"): "server:8080/short timeout=0.5s retries=0,server:8080/once retries=0",
            parameter("splits"): "front:8080 v1=90 v2=10",
            parameter("retries"): "3",
            parameter("ejectFor"): "1s",
        }),
    ));
    mesh.apply(&app("least", "client", &json!({ parameter("lbPolicy"): "LEAST_REQUEST" })));
    mesh.apply(&app(
        "random",
        "client",
        &json!({
            parameter("lbPolicy"): "RANDOM", parameter("retries"): "0", parameter("maxRequests"): "2",
        }),
    ));
    for name in servers.iter().chain(&["turns", "least", "random"]) {
        mesh.address(name).await;
    }
    let of = |name: &str| format!("name={name}");
    let url = "http://server:8080/";
    // Names are resolved again every few seconds. Until then, not all endpoints are known.
    for client in ["turns", "least", "random"] {
        eventually("all three servers being known", || async {
            let seen = mesh.load(client, url, 30, 1);
            if servers.iter().all(|name| seen.contains_key(&of(name))) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }

    // Round robin; random, where the same server can follow itself; and least requests.
    let seen = mesh.load("turns", url, 300, 1);
    assert!(servers.iter().all(|name| (95..=105).contains(&seen[&of(name)])), "{seen:?}");
    let seen = mesh.load("random", "http://server:8080/dice", 300, 1);
    assert!(servers.iter().all(|name| (50..=150).contains(&seen[&of(name)])), "{seen:?}");
    let thrown = mesh.accesses("random", 300, |line| line["path"] == "/dice").await;
    assert!(thrown.windows(2).any(|two| two[0]["upstream"] == two[1]["upstream"]), "{thrown:?}");
    mesh.control("server-2", "delay=1000");
    let seen = mesh.load("least", url, 120, 6);
    assert!(seen.get(&of("server-2")).copied().unwrap_or(0) < 30, "{seen:?}");
    mesh.control("server-2", "delay=0");
    let seen = mesh.load("turns", "http://front:8080/", 400, 2);
    assert!((320..400).contains(&seen[&of("server-0")]) && !seen.contains_key(&of("server-2")), "{seen:?}");
    assert_eq!(seen[&of("server-0")] + seen[&of("server-1")], 400);

    // A route with its own timeout, and one without.
    let output = mesh.get("turns", "http://server:8080/short?delay=1500");
    assert!(output.contains("status=504"), "{output}");
    let output = mesh.get("turns", "http://server:8080/long?delay=1500");
    assert!(output.contains("status=200"), "{output}");
    failures_are_retried_and_ejected(&mesh).await;
}

/// Continues the test with a failing server.
async fn failures_are_retried_and_ejected(mesh: &Mesh) {
    let (of, url) = (|name: &str| format!("name={name}"), "http://server:8080/");
    mesh.control("server-0", "failEvery=2");
    let seen = mesh.load("turns", "http://server:8080/once", 120, 1);
    assert!((15..=25).contains(&seen["status=503"]), "{seen:?}");
    assert_eq!(mesh.load("turns", url, 120, 1)["status=200"], 120);

    // A server that always fails is ejected after about five requests, and used again after it has recovered.
    mesh.control("server-0", "failEvery=1");
    let seen = mesh.load("random", "http://server:8080/failing", 200, 1);
    // Envoy's worker can send one or two more requests before it gets the ejection.
    assert!((5..=8).contains(&seen["status=503"]), "{seen:?}");
    assert_eq!(seen[&of("server-0")], seen["status=503"], "{seen:?}");
    let shown = mesh.metrics("turns", &mesh.address("random").await);
    let ejections = "envoy_cluster_outlier_detection_ejections_enforced_consecutive_5xx";
    assert!((sum(&shown, ejections, "server_") - 1.0).abs() < 0.5, "{shown}");
    mesh.load("turns", "http://server:8080/once", 60, 1);
    mesh.control("server-0", "failEvery=0");
    eventually("requests to the recovered server", || async {
        let seen = mesh.load("turns", url, 30, 1);
        if seen.contains_key(&of("server-0")) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    // Requests above the limit of concurrent requests are rejected.
    let seen = mesh.load("random", "http://server:8080/crowd?delay=300", 20, 10);
    assert!(seen["status=503"] >= 1 && seen["status=200"] >= 2, "{seen:?}");
    mesh.accesses("random", 1, |line| line["path"] == "/crowd?delay=300" && line["flags"] == "UO").await;
}

#[tokio::test]
async fn routes_are_reloaded_and_excluded_traffic_bypasses_the_proxy() {
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", "server:8080@server")]).await;
    let (cluster, space) = (&mesh.cluster, &mesh.space.name);
    for account in ["server", "client"] {
        mesh.account(account);
    }
    mesh.service("server", &json!({ "app": "server" }), 8080);
    mesh.apply(&outsider("outsider"));
    mesh.apply(&outsider("other-port"));
    mesh.apply(&app("server", "server", &json!({})));
    mesh.apply(&app("open", "server", &json!({ "mesh-proxy.outrigger.dev/excludeInboundPorts": "8080" })));
    let (near, far) = (mesh.address("outsider").await, mesh.address("other-port").await);
    let range = format!("192.0.2.0/24,{near}/32");
    mesh.apply(&app(
        "client",
        "client",
        &json!({
            "mesh-proxy.outrigger.dev/excludeOutboundPorts": "15021",
            "mesh-proxy.outrigger.dev/excludeOutboundRanges": range,
            "mesh-proxy.outrigger.dev/packetFilter": "Nftables",
        }),
    ));
    let (server, client) = (mesh.address("server").await, mesh.address("client").await);

    // A pod that excludes the port accepts plain text on it; another one does not.
    let output = mesh.get("outsider", &format!("http://{}:8080/", mesh.address("open").await));
    assert!(output.contains("status=200"), "{output}");
    assert!(mesh.get("outsider", &format!("http://{server}:8080/")).contains("status=403"));
    let passed = || sum(&mesh.metrics("outsider", &client), "envoy_cluster_upstream_cx_total", "passthrough");
    for excluded in [format!("http://{near}:8080/"), format!("http://{server}:15021/ready")] {
        assert!(mesh.get("client", &excluded).contains("status=200"), "{excluded}");
    }
    assert!(passed().abs() < 0.5, "an excluded call went through the proxy");
    assert!(mesh.get("client", &format!("http://{far}:8080/")).contains("status=200"));
    assert!((passed() - 1.0).abs() < 0.5, "a call that is not excluded did not go through the proxy");
    assert_eq!(cluster.logs(space, "client", "mesh-init").lines().next(), None);

    let statuses = || {
        let pod =
            cluster.kubectl(&["get", "pod", "client", "--namespace", space, "--output", "json"]).expect();
        let pod: Value = serde_json::from_str(&pod).unwrap();
        let lists = [&pod["status"]["initContainerStatuses"], &pod["status"]["containerStatuses"]];
        let all = lists.into_iter().flat_map(|list| list.as_array().unwrap());
        all.map(|one| format!("{} {} {}", one["name"], one["containerID"], one["restartCount"]))
            .collect::<Vec<_>>()
    };
    let before = statuses();
    let slow = "http://server:8080/?delay=1500";
    mesh.answer("client", slow).await;
    let key = "files.outrigger.dev/mesh-config.routes.yaml";
    let pod = cluster.kubectl(&["get", "pod", "client", "--namespace", space, "--output", "json"]).expect();
    let pod: Value = serde_json::from_str(&pod).unwrap();
    let routes =
        pod["metadata"]["annotations"][key].as_str().unwrap().replace("timeout: 15s", "timeout: 0.5s");
    let change = format!("{key}={routes}");
    cluster.kubectl(&["annotate", "--overwrite", "pod", "client", "--namespace", space, &change]).expect();
    eventually("the changed route", || async {
        let output = mesh.get("client", slow);
        if output.contains("status=504") { Ok(()) } else { Err(output) }
    })
    .await;
    assert_eq!(statuses(), before);
}

#[tokio::test]
async fn the_mesh_carries_tcp_and_does_not_delay_a_completed_pod() {
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", "raw:9000@server/tcp")]).await;
    for account in ["server", "client"] {
        mesh.account(account);
    }
    mesh.service("raw", &json!({ "app": "server" }), 9000);
    mesh.apply(&outsider("outsider"));
    // Its proxy treats the port as TCP, so the response has no headers of the proxy.
    let mut raw = app("raw", "server", &json!({ "mesh-proxy.outrigger.dev/tcpPorts": "9000" }));
    raw["spec"]["containers"][0]["args"] = json!(["serve", ":9000"]);
    raw["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9000);
    mesh.apply(&raw);
    let raw = mesh.address("raw").await;
    let output = mesh.get("outsider", &format!("http://{raw}:9000/"));
    assert!(output.contains("status=403"), "{output}");
    let mut once = app("once", "client", &json!({}));
    once["spec"]["restartPolicy"] = json!("OnFailure");
    once["spec"]["containers"][0]["args"] = json!(["get", "http://raw:9000/"]);
    once["spec"]["containers"][0].as_object_mut().unwrap().remove("readinessProbe");
    mesh.apply(&once);
    eventually("the pod's end", || async {
        let words =
            ["get", "pod", "once", "--namespace", &mesh.space.name, "--output", "jsonpath={.status.phase}"];
        let phase = mesh.cluster.kubectl(&words).text;
        if phase == "Succeeded" { Ok(()) } else { Err(phase) }
    })
    .await;
    let output = mesh.cluster.logs(&mesh.space.name, "once", "app");
    assert!(
        output.contains("status=200") && output.contains("name=raw") && output.contains("caller= "),
        "{output}"
    );
    let caller = format!("spiffe://cluster.local/ns/{}/sa/client", mesh.space.name);
    mesh.accesses("raw", 1, |line| line["chain"] == "inbound-9000" && line["caller"] == caller).await;
}

#[tokio::test]
async fn both_proxies_of_a_call_report_to_one_trace() {
    let cluster = Cluster::installed().await;
    let plain = TestNamespace::plain(&cluster).await;
    cluster.apply_file(&plain.name, "mesh-proxy/collector.yaml").expect();
    plain.ready("app=collector").await;
    let collector = format!("collector.{}.svc.cluster.local:4317", plain.name);
    let mesh = Mesh::new(&[
        ("mesh-proxy.outrigger.dev/upstreams", "server:8080@server"),
        ("mesh-proxy.outrigger.dev/tracing", &collector),
    ])
    .await;
    for account in ["server", "client"] {
        mesh.account(account);
        mesh.service(account, &json!({ "app": account }), 8080);
        mesh.apply(&app(account, account, &json!({})));
    }
    mesh.address("server").await;
    mesh.address("client").await;
    let output = mesh.answer("client", "http://server:8080/traced").await;
    let trace =
        output.split("traceparent=00-").nth(1).and_then(|rest| rest.get(..32)).expect(&output).to_owned();
    let pod = plain.ready("app=collector").await;
    eventually("the trace at the collector", || async {
        let log = cluster.logs(&plain.name, &pod, "collector");
        // The log has a block for each service with its spans.
        let all = ["client", "server"].iter().all(|account| {
            let service = format!("service.name: Str({account}.{})", mesh.space.name);
            log.split("ResourceSpans #").any(|block| block.contains(&service) && block.contains(&trace))
        });
        if all { Ok(()) } else { Err(log) }
    })
    .await;
}
