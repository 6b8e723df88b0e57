use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::testing::collections::LEASES;
use crate::testing::{ApiServer, Fault};

fn spec(server: &ApiServer) -> Value {
    server.get(LEASES, "outrigger").map_or(Value::Null, |lease| lease["spec"].clone())
}

struct Replica {
    leadership: Leadership,
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
}

fn replica(server: &Arc<ApiServer>, identity: &'static str) -> Replica {
    let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
    let election = Election {
        client: server.client(identity),
        namespace: "system".to_owned(),
        name: "outrigger".to_owned(),
        identity: identity.to_owned(),
        metrics: Arc::clone(&metrics),
    };
    let (leadership, running) = election.run(stop.clone());
    Replica { leadership, task: tokio::spawn(running), stop, metrics }
}

/// Runs both replicas for this time and checks that they never write at once. Returns which ones are leaders at the end.
async fn watched(first: &Replica, second: &Replica, time: Duration) -> [bool; 2] {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let held = [first.leadership.is_held(), second.leadership.is_held()];
        assert_ne!(held, [true, true], "two replicas are leaders");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    [first.leadership.is_held(), second.leadership.is_held()]
}

#[tokio::test(start_paused = true)]
async fn the_leader_releases_the_lease_when_it_stops() {
    let server = ApiServer::start();
    let first = replica(&server, "first");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_mins(1)).await, [true, false]);
    assert_eq!(spec(&server)["holderIdentity"], "first");
    assert!(first.metrics.encode(crate::telemetry::Format::Plain).unwrap().contains("outrigger_writer 1"));

    first.stop.cancel();
    tokio::time::timeout(2 * LOOK, second.leadership.changed()).await.unwrap();
    assert!(second.leadership.is_held());
    assert!(!first.leadership.is_held());
    first.task.await.unwrap().unwrap();
    assert!(first.metrics.encode(crate::telemetry::Format::Plain).unwrap().contains("outrigger_writer 0"));
    assert_eq!(spec(&server)["holderIdentity"], "second");
    assert_eq!(spec(&server)["leaseTransitions"], 2);

    second.stop.cancel();
    second.task.await.unwrap().unwrap();
    assert_eq!(spec(&server)["holderIdentity"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    let server = ApiServer::start();
    let first = replica(&server, "first");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_secs(5)).await, [true, false]);
    server.set_faults(|request| (request.client == "first").then_some(Fault::Silent));
    assert_eq!(watched(&first, &second, BELIEF).await, [false, false]);
    assert_eq!(watched(&first, &second, DURATION).await, [false, true]);
    server.clear_faults();
    assert_eq!(watched(&first, &second, Duration::from_mins(1)).await, [false, true]);
    // It crashed, so it did not release the Lease.
    second.task.abort();
    tokio::time::sleep(DURATION + 2 * LOOK).await;
    assert!(first.leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn clocks_of_others_are_ignored_and_a_deleted_lease_is_created_again() {
    let server = ApiServer::start();
    let foreign = json!({ "holderIdentity": "gone", "renewTime": "1999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 10 });
    server.put(LEASES, "outrigger", json!({ "spec": foreign }));
    let first = replica(&server, "first");
    let second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_secs(9)).await, [false, false]);
    let held = watched(&first, &second, Duration::from_secs(5)).await;
    assert!(held[0] || held[1]);
    server.delete(LEASES, "outrigger");
    let held = watched(&first, &second, Duration::from_secs(5)).await;
    assert!(held[0] || held[1]);
    assert_ne!(spec(&server), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_replica_is_always_the_leader() {
    let mut always = Leadership::always();
    assert!(always.is_held());
    assert!(tokio::time::timeout(Duration::from_hours(1), always.changed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_duration_of_a_foreign_lease_is_limited() {
    for duration in [json!(i32::MAX), json!(-1), json!(0), Value::Null] {
        let server = ApiServer::start();
        let first = replica(&server, "first");
        let second = replica(&server, "second");
        assert_ne!(watched(&first, &second, Duration::from_secs(5)).await, [false, false]);
        // Another client overwrites the Lease while a replica holds it.
        let foreign = json!({ "holderIdentity": "stran\"ger\n", "leaseDurationSeconds": duration });
        server.put(LEASES, "outrigger", json!({ "spec": foreign }));
        assert_eq!(watched(&first, &second, Duration::from_secs(9)).await, [false, false], "{duration}");
        for replica in [&first, &second] {
            let text = replica.metrics.encode(crate::telemetry::Format::Plain).unwrap();
            assert!(text.contains("outrigger_lease_holder{holder=\"stran_ger_\"} 1\n"), "{text}");
        }
        let held = watched(&first, &second, LONGEST_FOREIGN).await;
        assert_ne!(held, [false, false], "{duration}");
        let name = if held[0] { "first" } else { "second" };
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(spec(&server)["holderIdentity"], name);
        for replica in [&first, &second] {
            let text = replica.metrics.encode(crate::telemetry::Format::Plain).unwrap();
            let holders = text.lines().filter(|line| line.starts_with("outrigger_lease_holder{"));
            assert_eq!(
                holders.collect::<Vec<_>>(),
                [format!("outrigger_lease_holder{{holder=\"{name}\"}} 1")]
            );
        }
    }
}
