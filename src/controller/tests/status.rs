//! The status of profiles, with the API server's validation.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Replica, cluster, condition, profile};
use crate::cluster::LiveLookup;
use crate::controller::write_status;
use crate::testing::collections::{CLUSTER_PROFILES, POD_TEMPLATES, PROFILES_OF_SHOP};
use crate::testing::{ApiServer, Fault, until};

/// Starts a replica that writes the status of profiles.
fn writer(server: &Arc<ApiServer>, name: &'static str) -> Replica {
    let replica = Replica::start(server, name);
    let lookup = Arc::new(LiveLookup::new(server.client(name), "system"));
    let (observations, stop) = (replica.observations.clone(), replica.stop.clone());
    tokio::spawn(write_status(server.client(name), observations, lookup, stop));
    replica
}

/// Waits for a condition of the cluster profile `proxy` in this generation.
async fn proxy_has(server: &ApiServer, type_: &str, generation: i64) -> Value {
    until(&format!("condition {type_} of generation {generation}"), || {
        let found = condition(server, CLUSTER_PROFILES, "proxy", type_);
        found.filter(|condition| condition["observedGeneration"] == generation)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_accepted_and_then_validated_once() {
    for (collection, name) in [(CLUSTER_PROFILES, "proxy"), (PROFILES_OF_SHOP, "own")] {
        let server = cluster();
        let replica = writer(&server, "first");
        server.put(collection, name, profile("proxy:1"));
        let validated = until("validation", || condition(&server, collection, name, "Validated")).await;
        assert_eq!((&validated["status"], &validated["reason"]), (&json!("True"), &json!("Validated")));
        let accepted = condition(&server, collection, name, "Accepted").unwrap();
        assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("True"), &json!("Accepted")));
        let status = &server.get(collection, name).unwrap()["status"];
        assert_eq!((&status["observedGeneration"], &status["adds"]), (&json!(1), &json!("1 native sidecar")));
        assert!(status["revision"].is_string(), "{status}");

        // Later lists deliver the profile again, and nothing is left to write.
        tokio::time::sleep(Duration::from_mins(30)).await;
        let patch = format!("patch {collection}/{name}/status");
        assert_eq!(replica.writes(), [patch.clone(), format!("create {POD_TEMPLATES}"), patch]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_profile_is_not_accepted_until_it_is_corrected() {
    let server = cluster();
    let _replica = writer(&server, "first");
    let mut wrong = profile("proxy:1");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["imag"] = json!("a");
    server.put(CLUSTER_PROFILES, "proxy", wrong);
    let accepted = proxy_has(&server, "Accepted", 1).await;
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("False"), &json!("Invalid")));
    assert!(accepted["message"].as_str().unwrap().contains("imag"), "{accepted}");
    let asked = server.take_requests();
    assert!(
        !asked.iter().any(|request| request.is_for(POD_TEMPLATES)),
        "only an accepted profile is validated"
    );

    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:1"));
    assert_eq!(proxy_has(&server, "Accepted", 2).await["status"], "True");
    assert_eq!(proxy_has(&server, "Validated", 2).await["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_rejects_is_in_the_status() {
    let server = cluster();
    let _replica = writer(&server, "first");
    server.set_faults(|request| {
        let rejected = Fault::Invalid("template.spec.initContainers[0].image", "not allowed here");
        request.is_for(POD_TEMPLATES).then_some(rejected)
    });
    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:1"));
    let validated = proxy_has(&server, "Validated", 1).await;
    assert_eq!((&validated["status"], &validated["reason"]), (&json!("False"), &json!("Rejected")));
    assert!(validated["message"].as_str().unwrap().contains("not allowed here"), "{validated}");
    assert_eq!(proxy_has(&server, "Accepted", 1).await["status"], "True");

    server.clear_faults();
    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:2"));
    assert_eq!(proxy_has(&server, "Validated", 2).await["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_changes_during_the_write_gets_the_status_of_its_last_version() {
    let server = cluster();
    let replica = writer(&server, "first");
    server.set_faults(|request| (request.verb == "patch").then_some(Fault::Delayed(Duration::from_secs(3))));
    let mut wrong = profile("proxy:1");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["imag"] = json!("a");
    server.put(CLUSTER_PROFILES, "proxy", wrong);
    until("the first write", || (replica.writes().len() == 1).then_some(())).await;
    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:1"));
    // The first write reports the invalid version. It carries the version of the profile that it is for, so it conflicts.
    assert_eq!(proxy_has(&server, "Accepted", 2).await["status"], "True");
    let status = &server.get(CLUSTER_PROFILES, "proxy").unwrap()["status"];
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(proxy_has(&server, "Validated", 2).await["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_written_after_the_next_list() {
    let server = cluster();
    let replica = writer(&server, "first");
    server.set_faults(|request| (request.verb == "patch").then_some(Fault::Status(500, "InternalError")));
    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:1"));
    until("the failed write", || (replica.writes().len() == 1).then_some(())).await;
    server.clear_faults();
    server.abort_watches();
    assert_eq!(proxy_has(&server, "Accepted", 1).await["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn replicas_agree_on_the_status() {
    let server = cluster();
    let replicas = [writer(&server, "first"), writer(&server, "second")];
    server.put(CLUSTER_PROFILES, "proxy", profile("proxy:1"));
    proxy_has(&server, "Validated", 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = server.get(CLUSTER_PROFILES, "proxy").unwrap()["status"].clone();
    let writes = replicas.each_ref().map(|replica| replica.writes().len());
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(server.get(CLUSTER_PROFILES, "proxy").unwrap()["status"], status);
    assert_eq!(replicas.each_ref().map(|replica| replica.writes().len()), writes);
}
