//! Reports of webhook configurations that differ from the installed ones.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Replica, cluster};
use crate::controller::Drift;
use crate::testing::collections::{CONFIG_MAPS, EVENTS, MUTATING, VALIDATING};
use crate::testing::{ApiServer, until};

/// Time after which a lasting problem must have been reported.
const REPORTED: Duration = Duration::from_secs(30);

fn webhook() -> Value {
    json!({
        "name": "pods.outrigger.dev", "failurePolicy": "Fail", "timeoutSeconds": 5,
        "clientConfig": { "service": { "name": "outrigger", "namespace": "system", "path": "/mutate" } },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
    })
}

/// Writes everything as the chart installs it.
fn install(server: &ApiServer) {
    let webhooks = json!([webhook()]);
    for collection in [MUTATING, VALIDATING] {
        server.put(collection, "outrigger", json!({ "webhooks": webhooks }));
        server.put(collection, "outrigger-mandatory", json!({ "webhooks": [] }));
    }
    let text = webhooks.to_string();
    let data = json!({ "mutating.json": text, "validating.json": text });
    server.put(CONFIG_MAPS, "outrigger-installed", json!({ "data": data }));
}

fn compares(server: &Arc<ApiServer>, name: &'static str) -> Replica {
    let replica = Replica::start(server, name);
    let drift = Drift {
        client: server.client(name),
        namespace: "system".to_owned(),
        config_map: "outrigger-installed".to_owned(),
        mutating: "outrigger".to_owned(),
        validating: "outrigger".to_owned(),
        live: replica.live.clone(),
        leadership: replica.leadership(),
        metrics: Arc::clone(&replica.metrics),
        instance: name.to_owned(),
    };
    tokio::spawn(drift.run(replica.stop.clone()));
    replica
}

/// Returns the drift that a replica's metrics report, as kind, name and problem.
fn measured(replica: &Replica) -> Vec<String> {
    let name = "outrigger_webhook_configuration_drift{";
    let text = replica.metrics.encode(crate::telemetry::Format::Plain).unwrap();
    let found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_suffix("} 1"));
    found.map(str::to_owned).collect()
}

/// Returns the reason and the note of each Event.
fn events(server: &ApiServer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    server.list(EVENTS).iter().map(|event| (text(&event["reason"]), text(&event["note"]))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_as_installed_is_not_reported() {
    let server = cluster();
    install(&server);
    let replica = compares(&server, "first");
    until("the first comparison", || {
        let labels = "configuration=\"outrigger\",kind=\"MutatingWebhookConfiguration\",problem=\"Changed\"";
        replica.metric(&format!("outrigger_webhook_configuration_drift{{{labels}}}"))
    })
    .await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(measured(&replica), [""; 0]);
    assert_eq!(replica.writes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_reported_and_not_reverted() {
    let server = cluster();
    install(&server);
    let replica = compares(&server, "first");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut changed = webhook();
    changed["failurePolicy"] = json!("Ignore");
    let changed = server.put(MUTATING, "outrigger", json!({ "webhooks": [changed] }));
    let (reason, note) = until("an Event", || events(&server).first().cloned()).await;
    assert_eq!(reason, "WebhookConfigurationChanged");
    assert!(note.contains("failurePolicy \"Ignore\", installed was \"Fail\""), "{note}");
    let found = measured(&replica);
    assert!(found.len() == 1 && found[0].contains("MutatingWebhookConfiguration"), "{found:?}");
    assert_eq!(server.get(MUTATING, "outrigger").unwrap(), changed, "Helm owns the configuration");

    // The same report is not repeated at once.
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(replica.writes().len(), 1, "{:?}", replica.writes());
    install(&server);
    until("the end of the drift", || measured(&replica).is_empty().then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn every_missing_object_is_reported() {
    for (collection, name, reason) in [
        (MUTATING, "outrigger", "WebhookConfigurationMissing"),
        (VALIDATING, "outrigger", "WebhookConfigurationMissing"),
        (VALIDATING, "outrigger-mandatory", "WebhookConfigurationMissing"),
        (CONFIG_MAPS, "outrigger-installed", "WebhookConfigurationMissing"),
    ] {
        let server = cluster();
        install(&server);
        server.delete(collection, name);
        let replica = compares(&server, "first");
        let (found, note) = until("an Event", || events(&server).first().cloned()).await;
        assert_eq!(found, reason, "{name}");
        assert!(note.contains("it does not exist"), "{name}: {note}");
        assert_eq!(measured(&replica).len(), 1, "{name}: {:?}", measured(&replica));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_during_an_upgrade_is_not_reported() {
    let server = cluster();
    install(&server);
    let replica = compares(&server, "first");
    tokio::time::sleep(Duration::from_secs(10)).await;
    server.delete(MUTATING, "outrigger");
    until("the drift in the metric", || (measured(&replica).len() == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    install(&server);
    tokio::time::sleep(REPORTED).await;
    assert_eq!(events(&server), []);
    assert_eq!(measured(&replica), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes_events_and_every_replica_has_the_metric() {
    let server = cluster();
    install(&server);
    server.delete(VALIDATING, "outrigger");
    let replica = compares(&server, "second");
    replica.leads.send_replace(false);
    tokio::time::sleep(REPORTED).await;
    assert_eq!(events(&server), []);
    assert_eq!(measured(&replica).len(), 1);
    replica.leads.send_replace(true);
    until("an Event", || events(&server).first().cloned()).await;
}
