use std::time::Duration;

use serde_json::json;

use super::*;
use crate::telemetry::Format;
use crate::testing::collections::{CLUSTER_PROFILES as PROFILE_PATH, NAMESPACES as NAMESPACE_PATH};
use crate::testing::{ApiServer, Fault, Request};

/// Fails watches because their start is too old.
fn forgets(request: &Request) -> Option<Fault> {
    (request.verb == "watch").then_some(Fault::Status(410, "Expired"))
}

/// Serves no profiles of namespaces.
fn lacks_a_kind(request: &Request) -> Option<Fault> {
    request.path.ends_with("/sidecarprofiles").then_some(Fault::NotServed)
}

struct Watching {
    server: Arc<ApiServer>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    observations: Observations,
    metrics: Arc<Metrics>,
    health: Health,
    _stop: tokio_util::sync::DropGuard,
}

impl Watching {
    /// Starts the watches of a server with the namespace `shop` and no profiles.
    fn start() -> Self {
        Self::of(ApiServer::start())
    }

    fn of(server: Arc<ApiServer>) -> Self {
        server.put(NAMESPACE_PATH, "shop", json!({}));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let (metrics, health, stop) =
            (Arc::new(Metrics::default()), Health::default(), CancellationToken::new());
        let observations = Observations::default();
        let client = server.client("watch");
        let (known, counted, waiting) = (Arc::clone(&snapshot), Arc::clone(&metrics), health.clone());
        tokio::spawn(watch(
            client,
            known,
            observations.clone(),
            ProfileMemory::default(),
            counted,
            waiting,
            stop.clone(),
        ));
        Self { server, snapshot, observations, metrics, health, _stop: stop.drop_guard() }
    }

    fn knows(&self) -> Vec<String> {
        let snapshot = self.snapshot.load();
        let mut names: Vec<String> = snapshot.namespaces.keys().cloned().collect();
        names.sort();
        names
    }

    /// Replaces the resource version and the namespaces without events, as a restore of etcd does.
    fn restore(&self, version: u64, name: &str) {
        self.server.restore(version, NAMESPACE_PATH, vec![json!({ "metadata": { "name": name } })]);
    }

    /// Returns the number of requests with this verb since the last call.
    fn asked(&self, verb: &str) -> usize {
        self.server.take_requests().iter().filter(|request| request.verb == verb).count()
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.encode(Format::OpenMetrics).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{text}")).trim().parse().unwrap()
    }

    fn unsynced(&self) -> Vec<&'static str> {
        self.snapshot.load().unsynced.clone()
    }

    fn rollbacks(&self) -> f64 {
        self.metric("outrigger_resource_version_rollbacks_total{resource=\"namespaces\"}")
    }

    fn is_connected(&self) -> bool {
        self.metric("outrigger_watch_connected{resource=\"namespaces\"}") > 0.5
    }

    fn age(&self) -> f64 {
        self.metric("outrigger_snapshot_age_seconds")
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_not_ready_before_every_list_is_there() {
    let server = ApiServer::start();
    server.set_faults(lacks_a_kind);
    let watching = Watching::of(server);
    seconds(60).await;
    let waiting = watching.health.waiting_for().expect("one kind is not there");
    assert!(waiting.contains("are the CRDs installed"), "{waiting}");
    assert_eq!(watching.knows(), [""; 0], "half of the cluster is not served");
    assert_eq!(watching.unsynced().len(), 3, "nothing is decided from it either");
    watching.server.clear_faults();
    seconds(30).await;
    assert_eq!(watching.health.waiting_for(), None);
    assert_eq!(watching.knows(), ["shop"]);
    assert!(watching.health.remarks().is_empty() && watching.is_connected());
    assert!(watching.age() < 0.001);
}

#[tokio::test(start_paused = true)]
async fn it_serves_what_it_knew_while_the_api_server_is_away() {
    let watching = Watching::start();
    seconds(200).await;
    assert_eq!(watching.health.waiting_for(), None);
    assert!(watching.is_connected(), "a watch that ended in time is no broken one");
    let asked = watching.asked("watch");
    assert!((6..=12).contains(&asked), "a silent watch is taken up again: {asked}");

    watching.server.set_faults(|_| Some(Fault::Refused));
    watching.server.abort_watches();
    seconds(3600).await;
    assert_eq!((watching.knows(), watching.health.waiting_for()), (vec!["shop".to_owned()], None));
    assert!(!watching.is_connected());
    // The watches last received data when they were started, at most 90 s before.
    assert!((3600.0..3690.0).contains(&watching.age()), "{}", watching.age());
    let remarks = watching.health.remarks();
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    assert!(remarks[1].starts_with("namespaces: disconnected from the API server for 36"), "{remarks:?}");
    let asked = watching.server.take_requests().len();
    assert!((3 * 700..3 * 1100).contains(&asked), "asked {asked} times in an hour");

    watching.server.put(NAMESPACE_PATH, "new", json!({}));
    watching.server.clear_faults();
    seconds(6).await;
    assert!(watching.is_connected() && watching.health.remarks().is_empty() && watching.age() < 0.001);
    assert_eq!(watching.knows(), ["new", "shop"], "it was listed anew");
    watching.server.put(NAMESPACE_PATH, "newer", json!({}));
    seconds(1).await;
    assert_eq!(watching.knows(), ["new", "newer", "shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_early_is_followed_by_a_list() {
    let watching = Watching::start();
    seconds(30).await;
    // Like after a restore of etcd, the API server accepts the old resource version and sends no events.
    for (end, name) in
        [(ApiServer::end_watches as fn(&ApiServer), "restored"), (ApiServer::abort_watches, "restored-again")]
    {
        watching.restore(100, name);
        end(&watching.server);
        seconds(1).await;
        assert_eq!(watching.knows(), [name]);
        assert!(watching.is_connected());
        seconds(30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_anew_from_time_to_time() {
    let watching = Watching::start();
    seconds(1).await;
    watching.restore(1, "unheard-of");
    seconds(500).await;
    assert_eq!(watching.knows(), ["shop"], "watches that end in time continue");
    assert!(watching.is_connected());
    watching.server.take_requests();
    seconds(300).await;
    assert_eq!(watching.knows(), ["unheard-of"]);
    assert_eq!(watching.asked("list"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_resource_version_that_goes_backwards_is_noticed() {
    let watching = Watching::start();
    watching.restore(1000, "shop");
    seconds(1).await;
    watching.server.abort_watches();
    seconds(20).await;
    // The list after a lost connection reports it.
    watching.restore(500, "shop");
    watching.server.abort_watches();
    seconds(20).await;
    assert!((watching.rollbacks() - 1.0).abs() < 0.1, "{}", watching.rollbacks());
    assert!(watching.is_connected() && watching.unsynced().is_empty());
    // So does an event of an open watch.
    watching.restore(100, "restored");
    watching.server.put(NAMESPACE_PATH, "other", json!({}));
    seconds(1).await;
    assert_eq!(watching.knows(), ["other", "restored"]);
    assert!((watching.rollbacks() - 2.0).abs() < 0.1, "{}", watching.rollbacks());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_while_a_kind_is_not_served() {
    let watching = Watching::start();
    seconds(30).await;
    assert_eq!(watching.unsynced(), [""; 0]);
    watching.server.set_faults(lacks_a_kind);
    watching.server.end_watches();
    seconds(1).await;
    assert_eq!(watching.unsynced(), ["sidecarprofiles"]);
    assert_eq!(watching.health.waiting_for(), None, "the answer says more than no answer");
    let remarks = watching.health.remarks();
    assert!(remarks.iter().any(|remark| remark.starts_with("sidecarprofiles: not served")), "{remarks:?}");
    seconds(600).await;
    let requests = watching.server.take_requests();
    let of_the_kind = |request: &&Request| request.path.ends_with("/sidecarprofiles");
    let asked = requests.iter().filter(of_the_kind).count();
    assert!((300..1000).contains(&asked), "asked {asked} times in ten minutes");
    // The kind is served again, and its watch starts from a version that is too old: the kind is listed again without a wait.
    watching.server.set_faults(forgets);
    seconds(2).await;
    assert_eq!(watching.unsynced(), ["sidecarprofiles"], "what comes after the list would be missed");
    watching.server.clear_faults();
    seconds(6).await;
    assert_eq!(watching.unsynced(), [""; 0]);
    assert!(watching.health.remarks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_says_nothing_any_more_is_noticed() {
    let watching = Watching::start();
    seconds(1).await;
    watching.server.set_faults(|_| Some(Fault::Silent));
    seconds(90).await;
    assert!(watching.is_connected());
    seconds(40).await;
    assert!(!watching.is_connected());
    assert!(watching.age() > 120.0, "since it was last heard, not since that was noticed");
    watching.server.clear_faults();
    seconds(60).await;
    assert!(watching.is_connected(), "{:?}", watching.health.remarks());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_remembers_less_is_listed_anew() {
    let watching = Watching::start();
    seconds(1).await;
    watching.restore(1, "other");
    let status = json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" });
    watching.server.send(NAMESPACE_PATH, &json!({ "type": "ERROR", "object": status }));
    seconds(10).await;
    assert_eq!(watching.knows(), ["other"], "it was told in the watch");
    assert!(watching.is_connected());

    watching.restore(1, "third");
    watching.server.set_faults(forgets);
    watching.server.abort_watches();
    seconds(60).await;
    assert_eq!(watching.knows(), ["third"], "the watch was refused");
    assert!(!watching.is_connected());
    watching.server.clear_faults();
    seconds(30).await;
    assert!(watching.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_profile_waits_once_for_its_status_as_it_was_seen_last() {
    let watching = Watching::start();
    seconds(1).await;
    let tell = |name: &str, generation: u64| {
        let profile = json!({
            "spec": { "description": generation.to_string() },
            "status": { "observedGeneration": generation - 1 },
        });
        watching.server.put(PROFILE_PATH, name, profile);
    };
    tell("gone", 1);
    for generation in 1..100 {
        tell("guard", generation);
    }
    watching.server.delete(PROFILE_PATH, "gone");
    seconds(1).await;
    let taken = watching.observations.take().await;
    let seen: Vec<_> = taken
        .iter()
        .map(|(key, seen)| (key.scope, key.name.as_str(), seen.generation, seen.status.observed_generation))
        .collect();
    assert_eq!(seen, [(Scope::Cluster, "guard", Some(99), Some(98))]);

    // Afterwards nothing waits until the next change.
    let nothing = tokio::time::timeout(Duration::from_mins(1), watching.observations.take()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    tell("guard", 100);
    let next = watching.observations.take().await;
    assert_eq!(next.values().map(|seen| seen.generation).collect::<Vec<_>>(), [Some(100)]);
}
