//! Renewal of certificates.

use std::collections::BTreeSet;

use e2e::{Cluster, TestNamespace, eventually};
use serde_json::{Value, json};

/// Starts step-ca in its own namespace, and returns the fingerprint of its root certificate.
async fn authority(cluster: &Cluster) -> (TestNamespace, String) {
    let space = TestNamespace::plain(cluster).await;
    cluster.apply_file(&space.name, "cert-rotator/authority.yaml").expect();
    let pod = space.ready("app=step-ca").await;
    let fingerprint = cluster.logs(&space.name, &pod, "setup").lines().last().unwrap().to_owned();
    (space, fingerprint)
}

/// Creates a restricted namespace whose pods get certificates of this CA with a lifetime of twenty seconds.
async fn certified(cluster: &Cluster, authority: &TestNamespace, fingerprint: &str) -> TestNamespace {
    cluster.profiles(&["cert-rotator"]);
    let space = TestNamespace::enabled(cluster, "cert-rotator").await;
    for (key, value) in [
        ("url", format!("https://step-ca.{}.svc", authority.name)),
        ("fingerprint", fingerprint.to_owned()),
        ("lifetime", "20s".to_owned()),
        ("renewAt", "40".to_owned()),
    ] {
        let annotation = format!("cert-rotator.outrigger.dev/{key}={value}");
        cluster.kubectl(&["annotate", "namespace", &space.name, &annotation]).expect();
    }
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", &space.name, restricted]).expect();
    eventually("the last parameter taking effect", || async {
        let probe = cluster.dry_run_pod(&space.name, &e2e::pod("probe")).await?;
        let env = probe["spec"]["initContainers"][0]["env"].to_string();
        let settled = env.contains(r#"{"name":"RENEW_AT","value":"40"}"#);
        if settled { Ok(()) } else { Err(env) }
    })
    .await;
    space.injects(&["cert-rotator"]).await;
    space
}

fn restarts(pod: &Value) -> i64 {
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    lists.into_iter().flatten().flatten().map(|status| status["restartCount"].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn certificates_are_renewed_without_a_failed_request() {
    let cluster = Cluster::installed().await;
    let (authority, fingerprint) = authority(&cluster).await;
    let space = certified(&cluster, &authority, &fingerprint).await;
    cluster.apply_file(&space.name, "cert-rotator/servers.yaml").expect();
    for server in ["watching", "signaled"] {
        space.ready(&format!("app={server}")).await;
    }
    cluster.apply_file(&space.name, "cert-rotator/client.yaml").expect();
    let client = space.ready("app=client").await;

    // Four certificates of each server: one watches the files, the other one gets a signal.
    eventually("three renewals", || async {
        let output = cluster.logs(&space.name, &client, "client");
        assert!(!output.contains("failed"), "{output}");
        let serials = |server: &str| {
            let shown = output.lines().filter_map(|line| line.strip_prefix(&format!("served {server} ")));
            shown.filter(|serial| serial.len() > 16).collect::<BTreeSet<_>>().len()
        };
        let seen = (serials("watching"), serials("signaled"));
        if seen.0 >= 4 && seen.1 >= 4 { Ok(()) } else { Err(format!("{seen:?} serials")) }
    })
    .await;
    for pod in cluster.pods(&space.name, "app").await {
        assert_eq!(restarts(&pod), 0, "{}", pod["metadata"]["name"]);
    }
    // The client's own certificate was renewed as well: both servers accepted each of them, and one has expired three
    // times.
    eventually("three renewals of the client's own certificate", || async {
        let rotated = cluster.logs(&space.name, &client, "cert-rotator");
        assert!(!rotated.contains("not renewed"), "{rotated}");
        if rotated.matches("renewed").count() >= 3 { Ok(()) } else { Err(rotated) }
    })
    .await;
    let output = cluster.logs(&space.name, &client, "client");
    assert!(!output.contains("failed"), "{output}");

    // With a lifetime that the CA does not allow, cert-init reports the reason, and the app does not start.
    let mut greedy = e2e::pod("greedy");
    greedy["metadata"]["annotations"] = json!({
        "cert-rotator.outrigger.dev/lifetime": "48h",
        "cert-rotator.outrigger.dev/timeout": "5s",
    });
    cluster.create_pod(&space.name, &greedy).await.unwrap();
    eventually("cert-init's reason", || async {
        let pod = cluster.kubectl(&["get", "pod", "greedy", "--namespace", &space.name, "--output", "json"]);
        let pod: Value = serde_json::from_str(&pod.expect()).unwrap();
        assert!(pod["status"]["containerStatuses"][0]["state"]["running"].is_null(), "{pod}");
        let first = &pod["status"]["initContainerStatuses"][0];
        let ended = [&first["state"]["terminated"], &first["lastState"]["terminated"]];
        let output = ended.iter().find_map(|state| state["message"].as_str()).unwrap_or_default();
        let wanted =
            output.contains("no certificate from") && output.contains("more than the authorized maximum");
        if wanted { Ok(()) } else { Err(output.to_owned()) }
    })
    .await;
    space.measure("cert-rotator", &e2e::pod("app")).await;
}

/// Checks that the API server admits the pod, and that the volume has the attributes of the driver. cert-manager does
/// not run.
#[tokio::test]
async fn a_volume_of_the_cert_manager_csi_driver_is_admitted() {
    let cluster = Cluster::installed().await;
    let annotations = [("cert-manager-csi.outrigger.dev/issuer", "own-ca")];
    let space = TestNamespace::with_profiles(&cluster, &["cert-manager-csi"], &annotations, true).await;
    let mut web = e2e::pod("web");
    web["metadata"]["labels"] = json!({ "app": "web" });
    web["metadata"]["annotations"] = json!({
        "cert-manager-csi.outrigger.dev/lifetime": "10h",
        "cert-manager-csi.outrigger.dev/group": "1000",
    });
    let made = cluster.dry_run_pod(&space.name, &web).await.unwrap();
    let volumes = made["spec"]["volumes"].as_array().unwrap();
    let csi = &volumes.iter().find(|volume| volume["name"] == "workload-certificates").unwrap()["csi"];
    let name = &space.name;
    let wanted = json!({
        "driver": "csi.cert-manager.io",
        "readOnly": true,
        "volumeAttributes": {
            "csi.cert-manager.io/issuer-name": "own-ca",
            "csi.cert-manager.io/issuer-kind": "ClusterIssuer",
            "csi.cert-manager.io/issuer-group": "cert-manager.io",
            "csi.cert-manager.io/uri-sans": format!("spiffe://cluster.local/ns/{name}/sa/default"),
            "csi.cert-manager.io/dns-names": format!("web.{name}.svc,web.{name}.svc.cluster.local"),
            "csi.cert-manager.io/duration": "36000s",
            "csi.cert-manager.io/renew-before": "12240s",
            "csi.cert-manager.io/key-usages": "digital signature,server auth,client auth",
            "csi.cert-manager.io/fs-group": "1000",
        },
    });
    assert_eq!(csi, &wanted);
    let mounts = made["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == "workload-certificates").unwrap();
    assert_eq!(mount["mountPath"], "/var/run/outrigger/certificates");
    // Without a label that names a Service, the attribute for DNS names is absent instead of empty.
    let bare = cluster.dry_run_pod(&space.name, &e2e::pod("bare")).await.unwrap();
    assert!(!bare["spec"]["volumes"].to_string().contains("dns-names"), "{bare}");
}
