//! The servers use every right that the chart grants them, and need no other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{Cluster, TestNamespace, companion, deployment, eventually, exclusive, injects, pod};
use serde_json::{Value, json};

/// A verb on a resource of a group.
type Right = (String, String, String);

/// Rights that this test does not exercise, each with its use.
const RARE: [(&str, &str, &str); 3] = [
    // Lookup of a namespace that is not in the server's snapshot yet:
    // `objects_that_are_missing_in_the_snapshot_are_looked_up`.
    ("get", "", "namespaces"),
    // Update of an Event's series, ten minutes after the first Event.
    ("patch", "events.k8s.io", "events"),
    // Removal of an earlier CA: `certificates::a_rotation_of_cas_and_certificates_rejects_no_pod`.
    ("list", "discovery.k8s.io", "endpointslices"),
];

fn granted(cluster: &Cluster) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for words in [
        &["get", "clusterrole", "outrigger", "--output", "json"][..],
        &["get", "role", "outrigger", "--namespace", Cluster::SYSTEM, "--output", "json"],
    ] {
        let role: Value = serde_json::from_str(&cluster.kubectl(words).expect()).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let texts = |field: &str| -> Vec<String> { serde_json::from_value(rule[field].clone()).unwrap() };
            for (group, resource) in texts("apiGroups")
                .iter()
                .flat_map(|group| texts("resources").into_iter().map(move |r| (group.clone(), r)))
            {
                let verbs = texts("verbs").into_iter();
                rights.extend(verbs.map(|verb| (verb, group.clone(), resource.clone())));
            }
        }
    }
    rights
}

/// Returns the rights that the servers used after `since`, and the requests that were forbidden.
fn used_rights(cluster: &Cluster, since: &str) -> (BTreeSet<Right>, Vec<String>) {
    let user = format!("system:serviceaccount:{}:outrigger", Cluster::SYSTEM);
    let (mut rights, mut forbidden) = (BTreeSet::new(), Vec::new());
    for entry in cluster.audited_by(&user) {
        if entry["requestReceivedTimestamp"].as_str().unwrap_or_default() < since {
            continue;
        }
        let text = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let resource = match text("subresource") {
            none if none.is_empty() => text("resource"),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        if entry["responseStatus"]["code"] == 403 {
            forbidden.push(entry["requestURI"].to_string());
        }
        rights.insert((entry["verb"].as_str().unwrap().to_owned(), text("apiGroup"), resource));
    }
    (rights, forbidden)
}

#[test]
fn the_servers_use_all_their_rights_and_need_no_others() {
    exclusive("e2e-rights", |cluster, space| async move {
        let now = ["get", "namespace", &space.name, "--output", "jsonpath={.metadata.creationTimestamp}"];
        let since = cluster.kubectl(&now).expect();
        // Restart the servers, so that the requests at startup are included.
        cluster.install(&["podAnnotations.round=rights", "log.format=json"]);
        injects(&cluster, &space, "e2e-rights").await;
        exercise_rights(&cluster, &space).await;
        eventually("the use of every right", || async {
            let (used, forbidden) = used_rights(&cluster, &since);
            assert!(forbidden.is_empty(), "forbidden requests: {forbidden:?}");
            let rare =
                RARE.map(|(verb, group, resource)| (verb.to_owned(), group.to_owned(), resource.to_owned()));
            let unused: Vec<Right> =
                granted(&cluster).difference(&used).filter(|right| !rare.contains(right)).cloned().collect();
            if unused.is_empty() { Ok(()) } else { Err(format!("unused rights: {unused:?}")) }
        })
        .await;
        cluster.install(&[]);
    });
}

/// Causes the events for which the servers need their rights.
async fn exercise_rights(cluster: &Cluster, space: &TestNamespace) {
    // An unknown profile is looked up.
    let mut unknown = pod("unknown");
    unknown["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-unknown" });
    cluster.dry_run_pod(&space.name, &unknown).await.unwrap_err();
    // A namespaced profile, a Mandatory profile, and a profile that is skipped in a Deployment's pods.
    let mut own = companion("e2e-rights-own");
    own["kind"] = json!("SidecarProfile");
    cluster.apply(&space.name, &own.to_string()).expect();
    let mut mandatory = companion("e2e-rights-mandatory");
    mandatory["spec"]["enforcement"] = json!("Mandatory");
    mandatory["spec"]["match"] = json!({ "namespaceSelector": { "matchLabels": { "e2e-rights": "none" } } });
    cluster.apply("default", &mandatory.to_string()).expect();
    let enforced = [
        "wait",
        "--for=condition=Enforced",
        "--timeout=60s",
        "clustersidecarprofile",
        "e2e-rights-mandatory",
    ];
    cluster.kubectl(&enforced).expect();
    let mut needy = companion("e2e-rights-needy");
    needy["spec"]["onError"] = json!("Ignore");
    needy["spec"]["parameters"] = json!([{ "name": "to", "type": "string", "required": true }]);
    cluster.apply("default", &needy.to_string()).expect();
    let mut web = deployment("web", 1);
    web["spec"]["template"]["metadata"]["annotations"] =
        json!({ "outrigger.dev/profiles": "e2e-rights-needy" });
    cluster.apply(&space.name, &web.to_string()).expect();
    // For an injected workload, the limits and quotas of its namespace are read.
    let mut bounded = deployment("bounded", 0);
    bounded["spec"]["template"]["metadata"]["annotations"] =
        json!({ "outrigger.dev/profiles": "e2e-rights-own" });
    cluster.apply(&space.name, &bounded.to_string()).expect();
    // Objects that the servers maintain are deleted, and restored.
    let system = ["--namespace", Cluster::SYSTEM];
    let secret = "outrigger-certificates";
    let less = r#"[{"op": "remove", "path": "/data/tls.crt"}]"#;
    cluster
        .kubectl(&[&["patch", "secret", secret, "--type=json", "--patch", less][..], &system].concat())
        .expect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.kubectl(&[&["delete", "secret", secret][..], &system].concat()).expect();
    cluster.kubectl(&[&["delete", "lease", "outrigger"][..], &system].concat()).expect();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let emptied = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
        cluster.kubectl(&["patch", kind, "outrigger", "--type=json", "--patch", emptied]).expect();
    }
    injects(cluster, space, "e2e-rights").await;
    for profile in ["e2e-rights-mandatory", "e2e-rights-needy"] {
        cluster.kubectl(&["delete", "clustersidecarprofile", profile]).expect();
    }
}
