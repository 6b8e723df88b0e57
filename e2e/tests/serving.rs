//! Client authentication and resistance to forged reviews. The tests change the release, so they run one at a time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, companion, eventually, exclusive, image, injects, pod};
use serde_json::{Value, json};

/// Common name in the client certificate of the embedded cluster's API server.
const NAME: &str = "kube-apiserver-webhook-client";

#[test]
fn only_clients_with_the_configured_certificate_are_answered() {
    exclusive("e2e-clients", |cluster, space| async move {
        let shell = shell(&cluster).await;
        // After an upgrade, the Service forwards to the old servers until kube-proxy has read the new endpoints.
        let anonymous = |expected: &'static [&'static str]| {
            let answer = || review(&cluster, &shell);
            eventually("an answer to a client without a certificate", move || {
                let answer = answer();
                let is_expected = expected.iter().all(|part| answer.contains(part));
                async move { if is_expected { Ok(()) } else { Err(answer) } }
            })
        };
        // Without a client CA, every client is answered.
        anonymous(&[" 400"]).await;
        // The API server's certificate is signed by the cluster's client CA, and not by Outrigger's CA.
        let path = "go-template={{ index .data \"client-ca-file\" }}";
        let signed = ["configmap", "extension-apiserver-authentication", "--namespace", "kube-system"];
        copy_ca(&cluster, "e2e-clients-signed", &signed, path);
        let path = "go-template={{ (index .webhooks 0).clientConfig.caBundle | base64decode }}";
        copy_ca(&cluster, "e2e-clients-other", &["mutatingwebhookconfiguration", "outrigger"], path);

        require_client_ca(&cluster, "e2e-clients-signed");
        injects(&cluster, &space, "e2e-clients").await;
        let profile = companion("e2e-clients").to_string();
        cluster.apply("default", &profile.replace("A Redis beside", "Another Redis beside")).expect();
        anonymous(&["none was shown; see --client-ca", " 403"]).await;

        require_client_ca(&cluster, "e2e-clients-other");
        eventually("the rejection of the API server", || async {
            match cluster.dry_run_pod(&space.name, &pod("rejected")).await {
                Err(output) if output.contains("failed calling webhook") && output.contains("tls: ") => {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;

        cluster.install(&[]);
        injects(&cluster, &space, "e2e-clients").await;
        let authorities = ["delete", "configmap", "e2e-clients-signed", "e2e-clients-other", "--namespace"];
        cluster.kubectl(&[&authorities[..], &[Cluster::SYSTEM]].concat()).expect();
    });
}

/// Copies a CA certificate of the cluster to a ConfigMap for `webhook.clientCA.configMap`.
fn copy_ca(cluster: &Cluster, name: &str, place: &[&str], path: &str) {
    let found = cluster.kubectl(&[&["get", "--output", path], place].concat()).expect();
    assert!(found.contains("BEGIN CERTIFICATE"), "{found}");
    let made = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "ca.crt": found } });
    cluster.apply(Cluster::SYSTEM, &made.to_string()).expect();
}

/// Configures the release to answer only clients with [`NAME`] in a certificate of this CA.
fn require_client_ca(cluster: &Cluster, ca: &str) {
    let ca = format!("webhook.clientCA.configMap={ca}");
    cluster.install(&[&ca, &format!("webhook.clientCA.name={NAME}")]);
}

/// Creates a namespace with a pod that can send requests to the servers.
async fn shell(cluster: &Cluster) -> TestNamespace {
    let space = TestNamespace::plain(cluster).await;
    let mut shell = pod("shell");
    shell["spec"]["containers"] = json!([{
        "name": "shell", "image": image("outrigger.dev/toolbox:1.0.0"), "command": ["sleep", "infinity"],
    }]);
    cluster.create_pod(&space.name, &shell).await.unwrap();
    cluster.ready_pod(&space.name, "shell").await;
    space
}

/// Sends an invalid review without a certificate, and returns the response and its status.
fn review(cluster: &Cluster, shell: &TestNamespace) -> String {
    let url = "https://outrigger.outrigger-system.svc.cluster.local/mutate/namespace";
    let curl = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "--data", "{}"];
    let more = ["--header", "content-type: application/json", "--write-out", " %{http_code}", url];
    let curl = [&curl[..], &more].concat();
    cluster.exec(&shell.name, "shell", "shell", &curl).text
}

/// Script that sends reviews for 300 nonexistent namespaces, and for 60 pods with nonexistent owners in an enabled one.
const FLOOD: &str = r#"
review() {
  printf '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"forged\\n2026-01-01T00:00:00Z ERROR outrigger: forged","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"%s","operation":"CREATE","object":{"metadata":{"name":"forged","annotations":{"outrigger.dev/profiles":"e2e-flood-needy"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"forged-%s","uid":"forged-%s","controller":true}]},"spec":{"containers":[{"name":"app","image":"web:1"}]}}}}' "$1" "$2" "$2"
}
url=https://outrigger.outrigger-system.svc.cluster.local/mutate/namespace
send() { curl --silent --insecure --max-time 20 --header 'content-type: application/json' --data @- "$url" > /dev/null; }
n=0; while [ $n -lt 300 ]; do review "$0-unknown-$n" $n | send & n=$((n+1)); [ $((n % 20)) -eq 0 ] && wait; done; wait
n=0; while [ $n -lt 60 ]; do review "$0" $n | send; n=$((n+1)); done
"#;

/// Any client in the cluster can send reviews. They must cause few API calls, and no forged line in the log.
#[test]
fn a_flood_of_forged_reviews_causes_few_api_calls_and_events() {
    exclusive("e2e-flood", |cluster, space| async move {
        // A restart resets the servers' rate limits.
        cluster.install(&["podAnnotations.round=flood"]);
        injects(&cluster, &space, "e2e-flood").await;
        let mut needy = companion("e2e-flood-needy");
        needy["spec"]["onError"] = json!("Ignore");
        needy["spec"]["parameters"] = json!([{ "name": "to", "type": "string", "required": true }]);
        cluster.apply("default", &needy.to_string()).expect();
        let shell = shell(&cluster).await;
        let began = std::time::Instant::now();
        cluster.exec(&shell.name, "shell", "shell", &["sh", "-c", FLOOD, &space.name]).expect();
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();

        let user = format!("system:serviceaccount:{}:outrigger", Cluster::SYSTEM);
        let unknown = format!("{}-unknown-", space.name);
        let calls = cluster.audited_by(&user).into_iter().filter(|entry| {
            let name = entry["objectRef"]["name"].as_str().unwrap_or_default();
            entry["verb"] == "get" && name.starts_with(&unknown)
        });
        let calls = calls.count();
        assert!(calls <= 2 * (100 + 20 * (seconds + 1)), "{calls} calls in {seconds} s");
        let events = ["get", "events", "--field-selector", "reason=ProfileLeftOut", "--output", "json"];
        let events = cluster.kubectl(&[&events[..], &["--namespace", &space.name]].concat()).expect();
        let events = serde_json::from_str::<Value>(&events).unwrap()["items"].as_array().unwrap().len();
        assert!((1..=10).contains(&events), "{events} events from two servers");
        let logs = ["logs", "--selector", "app.kubernetes.io/name=outrigger", "--tail=-1", "--namespace"];
        let output = cluster.kubectl(&[&logs[..], &[Cluster::SYSTEM]].concat()).expect();
        assert!(output.contains("uid=\"forged\\n2026-01-01"), "the uid is not quoted");
        assert!(
            !output.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z ERROR")),
            "the log has a forged line"
        );

        // Settings for clusters whose pods are not trusted: no Events, and no profile names in metrics.
        cluster
            .install_with(
                "webhook: {events: {enabled: false}}\nmonitoring: {profileNames: false}\nlog: {format: json}",
            )
            .expect();
        injects(&cluster, &space, "e2e-flood").await;
        // The dry runs above are not counted.
        cluster.create_pod(&space.name, &pod("counted")).await.unwrap();
        let metrics = eventually("metrics without names", || async {
            let servers = cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await;
            let text: String = servers
                .iter()
                // The old servers are still draining.
                .filter(|server| server["metadata"]["deletionTimestamp"].is_null())
                .map(|server| {
                    let name = server["metadata"]["name"].as_str().unwrap();
                    let path =
                        format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", Cluster::SYSTEM);
                    cluster.kubectl(&["get", "--raw", &path]).text
                })
                .collect();
            if text.contains("profile=\"_cluster\"") { Ok(text) } else { Err(text) }
        })
        .await;
        assert!(!metrics.contains("e2e-flood"), "{metrics}");
        cluster.install(&[]);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-flood-needy"]).expect();
    });
}
