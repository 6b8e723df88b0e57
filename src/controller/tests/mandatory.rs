//! The webhook entries of Mandatory profiles.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Replica, cluster, condition, profile};
use crate::controller::Mandatory;
use crate::testing::collections::{CLUSTER_PROFILES, MUTATING, VALIDATING};
use crate::testing::{ApiServer, Fault, until};

const NAME: &str = "outrigger-mandatory";
/// Time in which a controller that writes anything would have written it.
const SETTLED: Duration = Duration::from_secs(30);

/// Returns a server with the configurations as the chart creates them, and with a CA in the release's own.
fn installed() -> Arc<ApiServer> {
    let server = cluster();
    let own = json!({
        "name": "pods.outrigger.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": { "caBundle": "QUJD", "service": { "name": "outrigger", "namespace": "system" } },
    });
    server.put(MUTATING, "outrigger", json!({ "webhooks": [own] }));
    for collection in [MUTATING, VALIDATING] {
        server.put(collection, NAME, json!({ "webhooks": [] }));
    }
    server
}

fn writer(server: &Arc<ApiServer>, name: &'static str, is_leader: bool) -> Replica {
    let replica = Replica::start(server, name);
    replica.leads.send_replace(is_leader);
    let mandatory = Mandatory {
        client: server.client(name),
        configuration: "outrigger".to_owned(),
        excluded: BTreeSet::from(["system".to_owned()]),
        live: replica.live.clone(),
        snapshot: Arc::clone(&replica.snapshot),
        leadership: replica.leadership(),
    };
    tokio::spawn(mandatory.run(replica.stop.clone()));
    replica
}

fn mandatory() -> Value {
    let mut profile = profile("guard:1");
    profile["spec"]["enforcement"] = json!("Mandatory");
    profile["spec"]["match"] = json!({ "namespaceSelector": { "matchLabels": { "guarded": "yes" } } });
    profile
}

fn webhooks(server: &ApiServer, collection: &str) -> Vec<Value> {
    server.get(collection, NAME).unwrap()["webhooks"].as_array().unwrap().clone()
}

/// Returns the numbers of injecting and verifying entries.
fn counts(server: &ApiServer) -> (usize, usize) {
    (webhooks(server, MUTATING).len(), webhooks(server, VALIDATING).len())
}

async fn until_counts(server: &ApiServer, wanted: (usize, usize)) {
    until(&format!("{wanted:?} entries"), || (counts(server) == wanted).then_some(())).await;
}

/// Waits for the reason of the condition Enforced of the profile `guard`.
async fn enforced(server: &ApiServer, reason: &str) -> Value {
    until(&format!("condition Enforced with the reason {reason}"), || {
        let found = condition(server, CLUSTER_PROFILES, "guard", "Enforced");
        found.filter(|condition| condition["reason"] == reason)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn the_entries_of_a_profile_are_written_and_removed() {
    let server = installed();
    let replica = writer(&server, "first", true);
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    assert_eq!(enforced(&server, "WebhooksInForce").await["status"], "True");
    assert_eq!(counts(&server), (1, 4));
    let entry = &webhooks(&server, MUTATING)[0];
    assert_eq!(entry["clientConfig"]["caBundle"], "QUJD");
    assert_eq!(entry["namespaceSelector"]["matchLabels"], json!({ "guarded": "yes" }));
    let excluded = entry["namespaceSelector"]["matchExpressions"][0]["values"].as_array().unwrap();
    assert!(excluded.contains(&json!("system")) && excluded.contains(&json!("kube-system")), "{excluded:?}");
    let patched: Vec<String> = replica.writes();
    let wanted = [
        format!("patch {MUTATING}/{NAME}"),
        format!("patch {VALIDATING}/{NAME}"),
        format!("patch {CLUSTER_PROFILES}/guard/status"),
    ];
    assert_eq!(patched, wanted, "the injecting entry comes first");

    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(replica.writes().len(), 3, "nothing changes, so nothing is written: {:?}", replica.writes());
    server.put(CLUSTER_PROFILES, "guard", profile("guard:1"));
    until_counts(&server, (0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_another_client_changes_are_restored() {
    let server = installed();
    let _replica = writer(&server, "first", true);
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    enforced(&server, "WebhooksInForce").await;
    let before = [MUTATING, VALIDATING].map(|collection| webhooks(&server, collection));
    for (index, collection) in [MUTATING, VALIDATING].into_iter().enumerate() {
        let mut weakened = before[index].clone();
        weakened[0]["failurePolicy"] = json!("Ignore");
        for entries in [json!(weakened), json!([])] {
            server.put(collection, NAME, json!({ "webhooks": entries }));
            until(&format!("the entries of {collection}"), || {
                (webhooks(&server, collection) == before[index]).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let server = installed();
    let replica = writer(&server, "second", false);
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    tokio::time::sleep(SETTLED).await;
    assert_eq!((counts(&server), replica.writes().len()), ((0, 0), 0));
    replica.leads.send_replace(true);
    enforced(&server, "WebhooksInForce").await;
    assert_eq!(counts(&server), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_repeated() {
    let server = installed();
    let replica = writer(&server, "first", true);
    server.set_faults(|request| {
        (request.verb == "patch" && request.is_for(VALIDATING)).then_some(Fault::Status(403, "Forbidden"))
    });
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    until_counts(&server, (1, 0)).await;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(condition(&server, CLUSTER_PROFILES, "guard", "Enforced"), None, "half of it is not in force");
    let attempts = replica.writes().len();
    assert!((5..=20).contains(&attempts), "{attempts} attempts in {SETTLED:?}");
    server.clear_faults();
    enforced(&server, "WebhooksInForce").await;
    assert_eq!(counts(&server), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn entries_stay_while_profiles_cannot_be_listed() {
    let server = installed();
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    let before = writer(&server, "before", true);
    enforced(&server, "WebhooksInForce").await;
    drop(before);
    server.set_faults(|request| request.is_for(CLUSTER_PROFILES).then_some(Fault::NotServed));
    let replica = writer(&server, "after", true);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(counts(&server), (1, 4));
    assert_eq!(replica.writes(), [""; 0]);

    // Once they can be listed, an entry of a deleted profile is removed.
    server.delete(CLUSTER_PROFILES, "guard");
    server.clear_faults();
    until_counts(&server, (0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn the_condition_says_why_a_profile_is_not_enforced() {
    let server = installed();
    let own = server.get(MUTATING, "outrigger").unwrap();
    let _replica = writer(&server, "first", true);
    server.put(MUTATING, "outrigger", json!({ "webhooks": [] }));
    server.put(CLUSTER_PROFILES, "guard", mandatory());
    assert_eq!(enforced(&server, "NotCallable").await["status"], "False");

    let mut disarmed = own.clone();
    disarmed["webhooks"][0]["matchConditions"] =
        json!([{ "name": "outrigger.dev/disarmed", "expression": "false" }]);
    server.put(MUTATING, "outrigger", disarmed);
    assert_eq!(enforced(&server, "Disarmed").await["status"], "False");
    for entry in [webhooks(&server, MUTATING), webhooks(&server, VALIDATING)].concat() {
        let conditions = entry["matchConditions"].to_string();
        assert!(conditions.contains("outrigger.dev/disarmed"), "{entry}");
    }
    server.put(MUTATING, "outrigger", own.clone());
    // `rearm` enables the verifying entries itself, as the last ones.
    server.put(VALIDATING, NAME, json!({ "webhooks": [] }));
    assert_eq!(enforced(&server, "WebhooksInForce").await["status"], "True");

    server.delete(VALIDATING, NAME);
    assert_eq!(enforced(&server, "ConfigurationMissing").await["status"], "False");
}
