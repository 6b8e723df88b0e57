//! Who is answered. These tests change what all share, so they run one at a time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, companion, eventually, exclusive, image, injects, pod};
use serde_json::{Value, json};

/// The common name in the certificate that the embedded cluster's API server shows.
const NAME: &str = "kube-apiserver-webhook-client";

#[test]
fn the_api_server_is_answered_for_its_client_certificate_and_nobody_else_is() {
    exclusive("e2e-clients", |cluster, space| async move {
        let shell = shell(&cluster).await;
        // After an upgrade, the Service forwards to the servers of before it until kube-proxy has read the new endpoints.
        let anonymous = |expected: &'static [&'static str]| {
            let answer = || review(&cluster, &shell);
            eventually("an answer to a client without a certificate", move || {
                let answer = answer();
                let is_expected = expected.iter().all(|part| answer.contains(part));
                async move { if is_expected { Ok(()) } else { Err(answer) } }
            })
        };
        // Without an authority, every client is answered.
        anonymous(&[" 400"]).await;
        // The cluster's own authority of clients has signed it; Outrigger's has not.
        let path = "go-template={{ index .data \"client-ca-file\" }}";
        let signed = ["configmap", "extension-apiserver-authentication", "--namespace", "kube-system"];
        authority(&cluster, "e2e-clients-signed", &signed, path);
        let path = "go-template={{ (index .webhooks 0).clientConfig.caBundle | base64decode }}";
        authority(&cluster, "e2e-clients-other", &["mutatingwebhookconfiguration", "outrigger"], path);

        demand(&cluster, "e2e-clients-signed");
        injects(&cluster, &space, "e2e-clients").await;
        let profile = companion("e2e-clients").to_string();
        cluster.apply("default", &profile.replace("A Redis beside", "Another Redis beside")).expect();
        anonymous(&["none was shown; see --client-ca", " 403"]).await;

        demand(&cluster, "e2e-clients-other");
        eventually("the API server being refused", || async {
            match cluster.dry_run_pod(&space.name, &pod("refused")).await {
                Err(said) if said.contains("failed calling webhook") && said.contains("tls: ") => Ok(()),
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

/// Puts an authority that the cluster has somewhere where the chart looks for one.
fn authority(cluster: &Cluster, name: &str, place: &[&str], path: &str) {
    let found = cluster.kubectl(&[&["get", "--output", path], place].concat()).expect();
    assert!(found.contains("BEGIN CERTIFICATE"), "{found}");
    let made = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "ca.crt": found } });
    cluster.apply(Cluster::SYSTEM, &made.to_string()).expect();
}

/// Changes the release so that it answers clients with that name and a certificate of that authority.
fn demand(cluster: &Cluster, authority: &str) {
    let authority = format!("webhook.clientCA.configMap={authority}");
    cluster.install(&[&authority, &format!("webhook.clientCA.name={NAME}")]);
}

/// A namespace with a pod from which the servers are reached as anybody in the cluster reaches them.
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

/// Sends what is no review, without a certificate; gives the answer and its status.
fn review(cluster: &Cluster, shell: &TestNamespace) -> String {
    let url = "https://outrigger.outrigger-system.svc.cluster.local/mutate/namespace";
    let curl = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "--data", "{}"];
    let more = ["--header", "content-type: application/json", "--write-out", " %{http_code}", url];
    let curl = [&curl[..], &more].concat();
    cluster.exec(&shell.name, "shell", "shell", &curl).text
}

/// Reviews of 300 namespaces that do not exist, and of 60 pods in an enabled one whose owners do not exist.
const FLOOD: &str = r#"
review() {
  printf '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"forged\\n2026-01-01T00:00:00Z ERROR outrigger: forged","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"%s","operation":"CREATE","object":{"metadata":{"name":"forged","annotations":{"outrigger.dev/profiles":"e2e-flood-needy"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"forged-%s","uid":"forged-%s","controller":true}]},"spec":{"containers":[{"name":"app","image":"web:1"}]}}}}' "$1" "$2" "$2"
}
url=https://outrigger.outrigger-system.svc.cluster.local/mutate/namespace
send() { curl --silent --insecure --max-time 20 --header 'content-type: application/json' --data @- "$url" > /dev/null; }
n=0; while [ $n -lt 300 ]; do review "$0-unknown-$n" $n | send & n=$((n+1)); [ $((n % 20)) -eq 0 ] && wait; done; wait
n=0; while [ $n -lt 60 ]; do review "$0" $n | send; n=$((n+1)); done
"#;

/// Anyone who reaches the port can send a review. It costs the API server little, and forges no line of the log.
#[test]
fn a_flood_of_made_up_reviews_causes_few_api_calls_and_events() {
    exclusive("e2e-flood", |cluster, space| async move {
        // Their limits are full again.
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
        let asked = cluster.audited_by(&user).into_iter().filter(|entry| {
            let name = entry["objectRef"]["name"].as_str().unwrap_or_default();
            entry["verb"] == "get" && name.starts_with(&unknown)
        });
        let asked = asked.count();
        assert!(asked <= 2 * (100 + 20 * (seconds + 1)), "{asked} calls in {seconds} s");
        let events = ["get", "events", "--field-selector", "reason=ProfileLeftOut", "--output", "json"];
        let events = cluster.kubectl(&[&events[..], &["--namespace", &space.name]].concat()).expect();
        let events = serde_json::from_str::<Value>(&events).unwrap()["items"].as_array().unwrap().len();
        assert!((1..=10).contains(&events), "{events} events by two servers");
        let logs = ["logs", "--selector", "app.kubernetes.io/name=outrigger", "--tail=-1", "--namespace"];
        let said = cluster.kubectl(&[&logs[..], &[Cluster::SYSTEM]].concat()).expect();
        assert!(said.contains("uid=\"forged\\n2026-01-01"), "the uid is quoted");
        assert!(!said.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z ERROR")), "a line is forged");

        // Who wants none writes none; who needs certainty asks for a certificate.
        cluster
            .install_with(
                "webhook: {events: {enabled: false}}\nmonitoring: {profileNames: false}\nlog: {format: json}",
            )
            .expect();
        injects(&cluster, &space, "e2e-flood").await;
        // Dry runs, by which the servers were waited for, are not counted.
        cluster.create_pod(&space.name, &pod("counted")).await.unwrap();
        let metrics = eventually("metrics without names", || async {
            let servers = cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await;
            let text: String = servers
                .iter()
                // Those of before the upgrade drain for a while.
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
