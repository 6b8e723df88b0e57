//! Who is answered. These tests change what all share, so they run one at a time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, alone, companion, eventually, image, injects, pod};
use serde_json::json;

/// The common name in the certificate that the embedded cluster's API server shows.
const NAME: &str = "kube-apiserver-webhook-client";

#[test]
fn the_api_server_is_answered_for_its_client_certificate_and_nobody_else_is() {
    alone("e2e-clients", |cluster, space| async move {
        let shell = shell(&cluster).await;
        let anonymous = || review(&cluster, &shell);
        assert!(anonymous().ends_with(" 400"), "without an authority, anybody is answered");
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
        let refused = anonymous();
        assert!(
            refused.contains("none was shown; see --client-ca") && refused.ends_with(" 403"),
            "{refused}"
        );

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
