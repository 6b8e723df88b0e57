use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// An API server with one Lease.
#[derive(Default)]
struct Server(Mutex<(Option<Value>, u64)>);

impl Server {
    async fn answer(self: Arc<Self>, request: http::Request<kube::client::Body>) -> (u16, Value) {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut guard = self.0.lock().unwrap();
        let (lease, version) = &mut *guard;
        match (parts.method.as_str(), &lease) {
            ("GET", Some(lease)) => return (200, lease.clone()),
            ("GET", None) => return failure(404),
            ("POST", None) => {}
            ("PUT", Some(lease)) => {
                let written: Value = serde_json::from_slice(&body).unwrap();
                if written["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] {
                    return failure(409);
                }
            }
            _ => return failure(409),
        }
        *version += 1;
        let mut written: Value = serde_json::from_slice(&body).unwrap();
        written["metadata"]["resourceVersion"] = json!(version.to_string());
        *lease = Some(written.clone());
        (200, written)
    }

    fn spec(&self) -> Value {
        self.0.lock().unwrap().0.as_ref().map_or(Value::Null, |lease| lease["spec"].clone())
    }
}

fn failure(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    (
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason }),
    )
}

struct Replica {
    leadership: Leadership,
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    /// True while its requests get no answer.
    cut_off: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

fn replica(server: &Arc<Server>, identity: &str) -> Replica {
    let (server, cut_off) = (Arc::clone(server), Arc::new(AtomicBool::new(false)));
    let cut = Arc::clone(&cut_off);
    let service = tower::service_fn(move |request| {
        let (server, cut) = (Arc::clone(&server), Arc::clone(&cut));
        async move {
            if cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let (status, body) = server.answer(request).await;
            http::Response::builder().status(status).body(Body::from(body.to_string()))
        }
    });
    let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
    let election = Election {
        client: Client::new(service, "system"),
        namespace: "system".to_owned(),
        name: "outrigger".to_owned(),
        identity: identity.to_owned(),
        metrics: Arc::clone(&metrics),
    };
    let (leadership, running) = election.run(stop.clone());
    Replica { leadership, task: tokio::spawn(running), stop, cut_off, metrics }
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
    let server = Arc::new(Server::default());
    let first = replica(&server, "first");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_mins(1)).await, [true, false]);
    assert_eq!(server.spec()["holderIdentity"], "first");
    assert!(first.metrics.encode(crate::telemetry::Format::Plain).unwrap().contains("outrigger_writer 1"));

    first.stop.cancel();
    tokio::time::timeout(2 * LOOK, second.leadership.changed()).await.unwrap();
    assert!(second.leadership.is_held());
    assert!(!first.leadership.is_held());
    first.task.await.unwrap().unwrap();
    assert!(first.metrics.encode(crate::telemetry::Format::Plain).unwrap().contains("outrigger_writer 0"));
    assert_eq!(server.spec()["holderIdentity"], "second");
    assert_eq!(server.spec()["leaseTransitions"], 2);

    second.stop.cancel();
    second.task.await.unwrap().unwrap();
    assert_eq!(server.spec()["holderIdentity"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    let server = Arc::new(Server::default());
    let first = replica(&server, "first");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_secs(5)).await, [true, false]);
    first.cut_off.store(true, Ordering::Relaxed);
    assert_eq!(watched(&first, &second, BELIEF).await, [false, false]);
    assert_eq!(watched(&first, &second, DURATION).await, [false, true]);
    first.cut_off.store(false, Ordering::Relaxed);
    assert_eq!(watched(&first, &second, Duration::from_mins(1)).await, [false, true]);
    // It crashed, so it did not release the Lease.
    second.task.abort();
    tokio::time::sleep(DURATION + 2 * LOOK).await;
    assert!(first.leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn clocks_of_others_are_ignored_and_a_deleted_lease_is_created_again() {
    let server = Arc::new(Server::default());
    let spec = json!({ "holderIdentity": "gone", "renewTime": "1999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 10 });
    let lease = json!({ "metadata": { "name": "outrigger", "resourceVersion": "7" }, "spec": spec });
    *server.0.lock().unwrap() = (Some(lease), 7);
    let first = replica(&server, "first");
    let second = replica(&server, "second");
    assert_eq!(watched(&first, &second, Duration::from_secs(9)).await, [false, false]);
    let held = watched(&first, &second, Duration::from_secs(5)).await;
    assert!(held[0] || held[1]);
    server.0.lock().unwrap().0 = None;
    let held = watched(&first, &second, Duration::from_secs(5)).await;
    assert!(held[0] || held[1]);
    assert_ne!(server.spec(), Value::Null);
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
        let server = Arc::new(Server::default());
        let first = replica(&server, "first");
        let second = replica(&server, "second");
        assert_ne!(watched(&first, &second, Duration::from_secs(5)).await, [false, false]);
        // Another client overwrites the Lease while a replica holds it.
        let spec = json!({ "holderIdentity": "stran\"ger\n", "leaseDurationSeconds": duration });
        let lease = json!({ "metadata": { "name": "outrigger", "resourceVersion": "1000" }, "spec": spec });
        *server.0.lock().unwrap() = (Some(lease), 1000);
        assert_eq!(watched(&first, &second, Duration::from_secs(9)).await, [false, false], "{duration}");
        for replica in [&first, &second] {
            let text = replica.metrics.encode(crate::telemetry::Format::Plain).unwrap();
            assert!(text.contains("outrigger_lease_holder{holder=\"stran_ger_\"} 1\n"), "{text}");
        }
        let held = watched(&first, &second, LONGEST_FOREIGN).await;
        assert_ne!(held, [false, false], "{duration}");
        let name = if held[0] { "first" } else { "second" };
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(server.spec()["holderIdentity"], name);
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
