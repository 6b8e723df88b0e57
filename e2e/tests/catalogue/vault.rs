//! Secrets from a real Vault.

use e2e::{Cluster, TestNamespace, eventually};
use serde_json::{Value, json};

/// Starts Vault in its own namespace, and returns the name of its pod.
async fn vault(cluster: &Cluster) -> (TestNamespace, String) {
    let space = TestNamespace::plain(cluster).await;
    cluster.apply_file(&space.name, "vault-agent/vault.yaml").expect();
    let pod = space.ready("app=vault").await;
    (space, pod)
}

/// Waits until the first init container of a pod has failed with this message.
async fn reason(cluster: &Cluster, space: &TestNamespace, pod: &str, wanted: &str) {
    eventually(&format!("failure of {pod} with {wanted:?}"), || async {
        let found = cluster.kubectl(&["get", "pod", pod, "--namespace", &space.name, "--output", "json"]);
        let found: Value = serde_json::from_str(&found.expect()).unwrap();
        assert!(found["status"]["containerStatuses"][0]["state"]["running"].is_null(), "{found}");
        let first = &found["status"]["initContainerStatuses"][0];
        let states = [&first["state"]["terminated"], &first["lastState"]["terminated"]];
        let output = states.iter().find_map(|state| state["message"].as_str()).unwrap_or_default();
        if output.contains(wanted) { Ok(()) } else { Err(output.to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn vault_secrets_are_written_before_the_app_starts_and_refreshed() {
    let cluster = Cluster::installed().await;
    let (server, vault) = vault(&cluster).await;
    let annotations = [
        ("vault-agent.outrigger.dev/address", format!("https://vault.{}.svc:8200", server.name)),
        ("vault-agent.outrigger.dev/caSecret", "vault-ca".to_owned()),
        ("vault-agent.outrigger.dev/role", "shop".to_owned()),
    ];
    let annotations = annotations.each_ref().map(|(key, value)| (*key, value.as_str()));
    let space = TestNamespace::with_profiles(&cluster, &["vault-agent"], &annotations, true).await;
    let authority = cluster.exec(&server.name, &vault, "vault", &["cat", "/tmp/tls/vault-ca.pem"]).expect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault-ca" },
        "stringData": { "ca.crt": authority },
    });
    cluster.apply(&space.name, &secret.to_string()).expect();

    // The app's own init container fails without the value, so the pod becomes ready only with it.
    cluster.apply_file(&space.name, "vault-agent/app.yaml").expect();
    let app = space.ready("app=app").await;
    let file = |name: &str| {
        cluster.exec(&space.name, &app, "app", &["cat", &format!("/var/run/outrigger/secrets/{name}")])
    };
    assert_eq!(file("password").expect(), "first-value");
    assert_eq!(file("secrets.env").expect().trim(), "URL=postgres://shop:first-value@db.shop.svc/shop");

    let change = ["vault", "kv", "put", "secret/shop/db", "user=shop", "password=second-value"];
    cluster.exec(&server.name, &vault, "vault", &change).expect();
    eventually("the new value in both files", || async {
        let both = (file("password").text, file("secrets.env").text);
        if both.0 == "second-value" && both.1.contains(":second-value@") {
            Ok(())
        } else {
            Err(format!("{both:?}"))
        }
    })
    .await;
    let pod = cluster.pods(&space.name, "app=app").await.remove(0);
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in pod["status"][list].as_array().unwrap() {
            assert_eq!(status["restartCount"], 0, "{status}");
        }
    }
    // Neither the value nor the token is in annotations or logs.
    let seen = format!(
        "{}{}{}",
        pod["metadata"],
        cluster.logs(&space.name, &app, "vault-init"),
        cluster.logs(&space.name, &app, "vault-agent")
    );
    for hidden in ["first-value", "second-value", "hvs.", "eyJ"] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }

    // In mode Init, the secret is fetched once, without a sidecar.
    let pod = |name: &str, account: &str, secrets: &str| {
        let mut made = e2e::pod(name);
        made["metadata"]["annotations"] = json!({
            "vault-agent.outrigger.dev/mode": "Init",
            "vault-agent.outrigger.dev/secrets": secrets,
        });
        made["spec"]["serviceAccountName"] = json!(account);
        made
    };
    let once = pod("once", "app", "password=secret/data/shop/db#password");
    cluster.create_pod(&space.name, &once).await.unwrap();
    let made = cluster.ready_pod(&space.name, "once").await;
    assert_eq!(made["spec"]["initContainers"].as_array().unwrap().len(), 1);
    let found = cluster.exec(&space.name, "once", "app", &["cat", "/var/run/outrigger/secrets/password"]);
    assert_eq!(found.expect(), "second-value");

    // Pods without permission, or with a missing field, do not start, with the reason in the message.
    for (name, account, secrets, wanted) in [
        (
            "stranger",
            "default",
            "password=secret/data/shop/db#password",
            "service account name not authorized",
        ),
        ("curious", "app", "password=secret/data/other/db#password", "permission denied"),
        ("mistaken", "app", "password=secret/data/shop/db#pasword", "the secret has no field pasword"),
    ] {
        cluster.create_pod(&space.name, &pod(name, account, secrets)).await.unwrap();
        reason(&cluster, &space, name, wanted).await;
    }
    let mut measured = pod("measured", "app", "password=secret/data/shop/db#password");
    measured["metadata"]["annotations"]["vault-agent.outrigger.dev/mode"] = json!("Sidecar");
    space.measure("vault-agent", &measured).await;
    cluster.kubectl(&["delete", "clusterrolebinding", &format!("vault-{}", server.name)]).expect();
}
