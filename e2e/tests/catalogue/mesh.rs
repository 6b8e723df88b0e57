//! The mesh: capture, mutual TLS and traffic rules by Envoy, between apps that speak plain HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// A certificate authority, and a mesh's namespace.
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

    /// A Secret with the identity of a service account, signed by one of the authorities, and the mesh's authority.
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

    /// A service account, with the Secret that the profile looks for.
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

    /// What the app in a pod gets from a URL: `status=…`, and the answer.
    fn get(&self, pod: &str, url: &str) -> String {
        self.cluster.exec(&self.space.name, pod, "app", &["echo", "get", url]).text
    }

    /// The same of a server that the pod has not called before: its name, and its endpoints, may not be known yet.
    async fn answer(&self, pod: &str, url: &str) -> String {
        eventually("an answer", || async {
            let said = self.get(pod, url);
            if said.contains("status=200") { Ok(said) } else { Err(said) }
        })
        .await
    }

    /// How often each status and each server's name came.
    fn load(&self, pod: &str, url: &str, count: u32, together: u32) -> BTreeMap<String, u32> {
        let words = ["echo", "load", url, &count.to_string(), &together.to_string()];
        let said = self.cluster.exec(&self.space.name, pod, "app", &words).expect();
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.filter_map(|(key, number)| Some((key.to_owned(), number.parse().ok()?))).collect()
    }

    /// Changes how the app of a pod answers from now on.
    fn control(&self, pod: &str, how: &str) {
        let said = self.get(pod, &format!("http://127.0.0.1:8080/control?{how}"));
        assert!(said.contains("status=200"), "{said}");
    }

    /// Envoy's metrics, as anybody gets them.
    fn metrics(&self, from: &str, address: &str) -> String {
        self.get(from, &format!("http://{address}:15090/stats/prometheus"))
    }

    /// So many lines of a proxy's access log; they come a moment after what they tell.
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

/// A pod with the app that says its name, and its caller as Envoy tells it.
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

/// The same without the mesh.
fn outsider(name: &str) -> Value {
    let mut pod = app(name, "default", &json!({}));
    pod["metadata"]["labels"]["outrigger.dev/inject"] = json!("disabled");
    pod
}

/// The value of the metrics whose line begins and contains so, added up.
fn sum(metrics: &str, begins: &str, contains: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(begins) && line.contains(contains));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn only_pods_of_the_mesh_reach_an_app_and_only_by_mutual_tls() {
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", "server:8080@server,strict:8080")]).await;
    let (cluster, space) = (&mesh.cluster, &mesh.space.name);
    for account in ["server", "client", "strict"] {
        mesh.account(account);
        mesh.service(account, &json!({ "app": account }), 8080);
    }
    mesh.authority("another");
    mesh.identity("client", "another", "forged");
    let allowed = format!("{space}/nobody");
    mesh.apply(&outsider("outsider"));
    mesh.apply(&app("server", "server", &json!({})));
    mesh.apply(&app("strict", "strict", &json!({ "mesh-proxy.outrigger.dev/allowedCallers": allowed })));
    mesh.apply(&app("forger", "client", &json!({ "mesh-proxy.outrigger.dev/secret": "forged" })));
    let server = mesh.address("server").await;
    // Until the Service's name is known, there is no server.
    mesh.answer("strict", "http://server:8080/").await;
    // Its own init container calls through the mesh already.
    let mut client = app("client", "client", &json!({}));
    client["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 0 });
    client["spec"]["initContainers"] = json!([{
        "name": "early", "image": image("outrigger.dev/echo:1.0"),
        "command": ["echo", "get", "http://server:8080/early"],
    }]);
    mesh.apply(&client);
    let client = mesh.address("client").await;
    let identity = |account: &str| format!("spiffe://cluster.local/ns/{space}/sa/{account}");
    for said in
        [cluster.logs(space, "client", "early"), mesh.get("client", "http://server:8080/hello?delay=1")]
    {
        assert!(
            said.contains("status=200") && said.contains("name=server uid=4242 peer=127.0.0.6:"),
            "{said}"
        );
        assert!(said.contains(&format!("By={};", identity("server"))), "{said}");
        assert!(said.contains(&format!("URI={} ", identity("client"))), "{said}");
    }
    assert!(cluster.logs(space, "client", "mesh-init").starts_with("iptables-restore\n"));

    // Without a certificate, with a forged one, and with one that is not allowed.
    let said = mesh.get("outsider", &format!("http://{server}:8080/hello"));
    assert!(said.contains("status=403") && said.contains("A client certificate"), "{said}");
    let address = mesh.address("forger").await;
    let said = mesh.get("outsider", &format!("http://{address}:8081/"));
    assert!(said.contains("status=0"), "{said}");
    for url in ["http://server:8080/hello", "http://strict:8080/hello"] {
        let said = mesh.get("forger", url);
        assert!(said.contains("status=503"), "{said}");
    }
    let said = mesh.get("client", "http://strict:8080/hello");
    assert!(said.contains("status=503"), "{said}");

    // The wire: TLS between the two, and no call that came to the app without it but the probes.
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

    // The kubelet's probe asks the app, not the proxy.
    mesh.control("server", "sick=true");
    eventually("the sick app being not ready", || async {
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
    mesh.control("server", "sick=false");
    cluster.ready_pod(space, "server").await;

    let mut proxy = app("proxy-user", "client", &json!({}));
    proxy["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1337 });
    let denial = cluster.dry_run_pod(space, &proxy).await.unwrap_err();
    assert!(denial.contains("user 1337 is the proxy itself"), "{denial}");
    mesh.space.measure("mesh-proxy", &app("measured", "client", &json!({}))).await;
}

#[tokio::test]
async fn traffic_is_balanced_retried_cut_off_and_kept_from_what_fails() {
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
    // A name is asked for again every few seconds; until then not all endpoints are known.
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

    // In turns; at random, where one is chosen twice in a row; and the least busy.
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

    // A route with a time of its own, and one without retries.
    let said = mesh.get("turns", "http://server:8080/short?delay=1500");
    assert!(said.contains("status=504"), "{said}");
    let said = mesh.get("turns", "http://server:8080/long?delay=1500");
    assert!(said.contains("status=200"), "{said}");
    fails_in_part(&mesh).await;
}

/// The same mesh, of whose servers one fails.
async fn fails_in_part(mesh: &Mesh) {
    let (of, url) = (|name: &str| format!("name={name}"), "http://server:8080/");
    mesh.control("server-0", "failEvery=2");
    let seen = mesh.load("turns", "http://server:8080/once", 120, 1);
    assert!((15..=25).contains(&seen["status=503"]), "{seen:?}");
    assert_eq!(mesh.load("turns", url, 120, 1)["status=200"], 120);

    // One that fails always is asked about five times, and again after a while, when it works.
    mesh.control("server-0", "failEvery=1");
    let seen = mesh.load("random", "http://server:8080/failing", 200, 1);
    // Envoy's worker may send one or two more before it has heard of the ejection.
    assert!((5..=8).contains(&seen["status=503"]), "{seen:?}");
    assert_eq!(seen[&of("server-0")], seen["status=503"], "{seen:?}");
    let shown = mesh.metrics("turns", &mesh.address("random").await);
    let ejections = "envoy_cluster_outlier_detection_ejections_enforced_consecutive_5xx";
    assert!((sum(&shown, ejections, "server_") - 1.0).abs() < 0.5, "{shown}");
    mesh.load("turns", "http://server:8080/once", 60, 1);
    mesh.control("server-0", "failEvery=0");
    eventually("the server being asked again", || async {
        let seen = mesh.load("turns", url, 30, 1);
        if seen.contains_key(&of("server-0")) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    // More requests at a time than allowed are not passed on.
    let seen = mesh.load("random", "http://server:8080/crowd?delay=300", 20, 10);
    assert!(seen["status=503"] >= 1 && seen["status=200"] >= 2, "{seen:?}");
    mesh.accesses("random", 1, |line| line["path"] == "/crowd?delay=300" && line["flags"] == "UO").await;
}

#[tokio::test]
async fn a_route_changes_in_a_running_pod_and_what_is_excluded_goes_past_the_proxy() {
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

    // Without the proxy for a pod that excludes the port, with it for one that does not.
    let said = mesh.get("outsider", &format!("http://{}:8080/", mesh.address("open").await));
    assert!(said.contains("status=200"), "{said}");
    assert!(mesh.get("outsider", &format!("http://{server}:8080/")).contains("status=403"));
    let passed = || sum(&mesh.metrics("outsider", &client), "envoy_cluster_upstream_cx_total", "passthrough");
    for excluded in [format!("http://{near}:8080/"), format!("http://{server}:15021/ready")] {
        assert!(mesh.get("client", &excluded).contains("status=200"), "{excluded}");
    }
    assert!(passed().abs() < 0.5, "an excluded call went by the proxy");
    assert!(mesh.get("client", &format!("http://{far}:8080/")).contains("status=200"));
    assert!((passed() - 1.0).abs() < 0.5, "a call that is not excluded did not go by the proxy");
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
        let said = mesh.get("client", slow);
        if said.contains("status=504") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(statuses(), before);
}

#[tokio::test]
async fn what_is_not_http_is_carried_too_and_a_pod_that_ends_is_not_held_up() {
    let mesh = Mesh::new(&[("mesh-proxy.outrigger.dev/upstreams", "raw:9000@server/tcp")]).await;
    for account in ["server", "client"] {
        mesh.account(account);
    }
    mesh.service("raw", &json!({ "app": "server" }), 9000);
    mesh.apply(&outsider("outsider"));
    // To its proxy the port is no HTTP, so nothing in the answer is the proxy's.
    let mut raw = app("raw", "server", &json!({ "mesh-proxy.outrigger.dev/tcpPorts": "9000" }));
    raw["spec"]["containers"][0]["args"] = json!(["serve", ":9000"]);
    raw["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9000);
    mesh.apply(&raw);
    let raw = mesh.address("raw").await;
    let said = mesh.get("outsider", &format!("http://{raw}:9000/"));
    assert!(said.contains("status=403"), "{said}");
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
    let said = mesh.cluster.logs(&mesh.space.name, "once", "app");
    assert!(said.contains("status=200") && said.contains("name=raw") && said.contains("caller= "), "{said}");
    let caller = format!("spiffe://cluster.local/ns/{}/sa/client", mesh.space.name);
    mesh.accesses("raw", 1, |line| line["chain"] == "inbound-9000" && line["caller"] == caller).await;
}

#[tokio::test]
async fn a_call_leaves_one_trace_of_both_proxies() {
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
    let said = mesh.answer("client", "http://server:8080/traced").await;
    let trace = said.split("traceparent=00-").nth(1).and_then(|rest| rest.get(..32)).expect(&said).to_owned();
    let pod = plain.ready("app=collector").await;
    eventually("the trace at the collector", || async {
        let log = cluster.logs(&plain.name, &pod, "collector");
        // A block for each service, with the spans that it sent.
        let all = ["client", "server"].iter().all(|account| {
            let service = format!("service.name: Str({account}.{})", mesh.space.name);
            log.split("ResourceSpans #").any(|block| block.contains(&service) && block.contains(&trace))
        });
        if all { Ok(()) } else { Err(log) }
    })
    .await;
}
