use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use serde_json::{Value, json};

use super::*;
use crate::telemetry::Format;

type Sender = UnboundedSender<std::io::Result<Vec<u8>>>;

/// A fake API server with namespaces and no profiles, and with failures that tests set.
#[derive(Default)]
struct Server {
    namespaces: Mutex<Vec<&'static str>>,
    mood: Mutex<Mood>,
    /// The watches that are open.
    open: Mutex<Vec<(String, Sender)>>,
    asked: Mutex<Vec<String>>,
    /// Added to the resource version of lists.
    version: Mutex<u64>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Well,
    /// Connections are refused.
    Away,
    /// Connections are accepted, and requests get no answer.
    Silent,
    /// Watches fail because their start is too old (410).
    Forgetful,
    /// One kind cannot be listed.
    WithoutKind,
}

impl Server {
    async fn answer(
        self: Arc<Self>,
        request: http::Request<kube::client::Body>,
    ) -> std::io::Result<http::Response<Body>> {
        let path = request.uri().path().to_owned();
        let watches = request.uri().query().unwrap_or_default().contains("watch=true");
        let mood = *self.mood.lock().unwrap();
        self.asked.lock().unwrap().push(format!("{}{path}", if watches { "watch " } else { "list " }));
        let answer = |status, body| Ok(http::Response::builder().status(status).body(body).unwrap());
        match mood {
            Mood::Away => Err(std::io::ErrorKind::ConnectionRefused.into()),
            Mood::Silent => std::future::pending().await,
            Mood::Forgetful if watches => {
                let status = json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" });
                answer(410, Body::from(status.to_string()))
            }
            // This kind can be neither listed nor watched.
            Mood::WithoutKind if path.ends_with("/sidecarprofiles") => {
                answer(404, Body::from("404 page not found"))
            }
            _ if watches => {
                let (sender, receiver) = unbounded();
                self.open.lock().unwrap().push((path, sender));
                let whole = tokio::time::sleep(Duration::from_secs(90));
                answer(200, Body::from_stream(receiver.take_until(whole)))
            }
            _ => {
                let names = self.namespaces.lock().unwrap();
                let items: Vec<Value> = if path.ends_with("/namespaces") {
                    names
                        .iter()
                        .map(|name| json!({ "metadata": { "name": name, "resourceVersion": "1" } }))
                        .collect()
                } else {
                    Vec::new()
                };
                let version = (1 + *self.version.lock().unwrap()).to_string();
                let list = json!({ "metadata": { "resourceVersion": version }, "items": items });
                answer(200, Body::from(list.to_string()))
            }
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Sends an event to the open watches of a resource.
    fn send(&self, resource: &str, event: &Value) {
        let line = format!("{event}\n").into_bytes();
        for (path, sender) in self.open.lock().unwrap().iter() {
            if path.ends_with(&format!("/{resource}")) {
                drop(sender.unbounded_send(Ok(line.clone())));
            }
        }
    }

    /// Aborts the open watches.
    fn cut(&self) {
        for (_, sender) in self.open.lock().unwrap().drain(..) {
            drop(sender.unbounded_send(Err(std::io::ErrorKind::ConnectionReset.into())));
        }
    }

    /// Ends the open watches cleanly, like an API server that shuts down.
    fn end(&self) {
        self.open.lock().unwrap().clear();
    }

    /// Returns the number of requests since the last call.
    fn asked(&self, what: &str) -> usize {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.iter().filter(|asked| asked.starts_with(what)).count();
        asked.clear();
        count
    }
}

struct Watching {
    server: Arc<Server>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    observations: Observations,
    metrics: Arc<Metrics>,
    health: Health,
    _stop: tokio_util::sync::DropGuard,
}

impl Watching {
    fn start(mood: Mood) -> Self {
        let server = Arc::new(Server::default());
        server.namespaces.lock().unwrap().push("shop");
        server.set(mood);
        let answers = Arc::clone(&server);
        let service = tower::service_fn(move |request| Arc::clone(&answers).answer(request));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let (metrics, health, stop) =
            (Arc::new(Metrics::default()), Health::default(), CancellationToken::new());
        let observations = Observations::default();
        let client = Client::new(service, "default");
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
    let watching = Watching::start(Mood::WithoutKind);
    seconds(60).await;
    let waiting = watching.health.waiting_for().expect("one kind is not there");
    assert!(waiting.contains("are the CRDs installed"), "{waiting}");
    assert_eq!(watching.knows(), [""; 0], "half of the cluster is not served");
    assert_eq!(watching.unsynced().len(), 3, "nothing is decided from it either");
    watching.server.set(Mood::Well);
    seconds(30).await;
    assert_eq!(watching.health.waiting_for(), None);
    assert_eq!(watching.knows(), ["shop"]);
    assert!(watching.health.remarks().is_empty() && watching.is_connected());
    assert!(watching.age() < 0.001);
}

#[tokio::test(start_paused = true)]
async fn it_serves_what_it_knew_while_the_api_server_is_away() {
    let watching = Watching::start(Mood::Well);
    seconds(200).await;
    assert_eq!(watching.health.waiting_for(), None);
    assert!(watching.is_connected(), "a watch that ended in time is no broken one");
    let asked = watching.server.asked("watch ");
    assert!((6..=12).contains(&asked), "a silent watch is taken up again: {asked}");

    watching.server.set(Mood::Away);
    watching.server.cut();
    seconds(3600).await;
    assert_eq!((watching.knows(), watching.health.waiting_for()), (vec!["shop".to_owned()], None));
    assert!(!watching.is_connected());
    // The watches last received data when they were started, at most 90 s before.
    assert!((3600.0..3690.0).contains(&watching.age()), "{}", watching.age());
    let remarks = watching.health.remarks();
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    assert!(remarks[1].starts_with("namespaces: disconnected from the API server for 36"), "{remarks:?}");
    let asked = watching.server.asked("");
    assert!((3 * 700..3 * 1100).contains(&asked), "asked {asked} times in an hour");

    watching.server.namespaces.lock().unwrap().push("new");
    watching.server.set(Mood::Well);
    seconds(6).await;
    assert!(watching.is_connected() && watching.health.remarks().is_empty() && watching.age() < 0.001);
    assert_eq!(watching.knows(), ["new", "shop"], "it was listed anew");
    watching.server.send(
        "namespaces",
        &json!({ "type": "ADDED", "object": { "metadata": { "name": "newer", "resourceVersion": "2" } } }),
    );
    seconds(1).await;
    assert_eq!(watching.knows(), ["new", "newer", "shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_early_is_followed_by_a_list() {
    let watching = Watching::start(Mood::Well);
    seconds(30).await;
    // Like after a restore of etcd, the API server accepts the old resource version and sends no events.
    *watching.server.version.lock().unwrap() = 100;
    for (round, end) in [Server::end, Server::cut].into_iter().enumerate() {
        *watching.server.namespaces.lock().unwrap() = vec![["restored", "restored-again"][round]];
        end(&watching.server);
        seconds(1).await;
        assert_eq!(watching.knows(), [["restored", "restored-again"][round]]);
        assert!(watching.is_connected());
        seconds(30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_anew_from_time_to_time() {
    let watching = Watching::start(Mood::Well);
    seconds(1).await;
    *watching.server.namespaces.lock().unwrap() = vec!["unheard-of"];
    seconds(500).await;
    assert_eq!(watching.knows(), ["shop"], "watches that end in time continue");
    assert!(watching.is_connected());
    watching.server.asked("");
    seconds(300).await;
    assert_eq!(watching.knows(), ["unheard-of"]);
    assert_eq!(watching.server.asked("list "), 3);
}

#[tokio::test(start_paused = true)]
async fn a_resource_version_that_goes_backwards_is_noticed() {
    let watching = Watching::start(Mood::Well);
    *watching.server.version.lock().unwrap() = 1000;
    seconds(1).await;
    watching.server.cut();
    seconds(20).await;
    // The list after a lost connection reports it.
    *watching.server.version.lock().unwrap() = 500;
    watching.server.cut();
    seconds(20).await;
    assert!((watching.rollbacks() - 1.0).abs() < 0.1, "{}", watching.rollbacks());
    assert!(watching.is_connected() && watching.unsynced().is_empty());
    // So does an event of an open watch.
    *watching.server.version.lock().unwrap() = 100;
    *watching.server.namespaces.lock().unwrap() = vec!["restored"];
    let metadata = json!({ "name": "other", "resourceVersion": "101" });
    watching.server.send("namespaces", &json!({ "type": "ADDED", "object": { "metadata": metadata } }));
    seconds(1).await;
    assert_eq!(watching.knows(), ["restored"]);
    assert!((watching.rollbacks() - 2.0).abs() < 0.1, "{}", watching.rollbacks());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_while_a_kind_is_not_served() {
    let watching = Watching::start(Mood::Well);
    seconds(30).await;
    assert_eq!(watching.unsynced(), [""; 0]);
    watching.server.set(Mood::WithoutKind);
    watching.server.end();
    seconds(1).await;
    assert_eq!(watching.unsynced(), ["sidecarprofiles"]);
    assert_eq!(watching.health.waiting_for(), None, "the answer says more than no answer");
    let remarks = watching.health.remarks();
    assert!(remarks.iter().any(|remark| remark.starts_with("sidecarprofiles: not served")), "{remarks:?}");
    seconds(600).await;
    let asked = watching.server.asked("list /apis/outrigger.dev/v1alpha1/sidecarprofiles");
    assert!((300..1000).contains(&asked), "asked {asked} times in ten minutes");
    // The kind is served again, and its watch starts from a version that is too old: the kind is listed again without a wait.
    watching.server.set(Mood::Forgetful);
    seconds(2).await;
    assert_eq!(watching.unsynced(), ["sidecarprofiles"], "what comes after the list would be missed");
    watching.server.set(Mood::Well);
    seconds(6).await;
    assert_eq!(watching.unsynced(), [""; 0]);
    assert!(watching.health.remarks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_says_nothing_any_more_is_noticed() {
    let watching = Watching::start(Mood::Well);
    seconds(1).await;
    watching.server.set(Mood::Silent);
    seconds(90).await;
    assert!(watching.is_connected());
    seconds(40).await;
    assert!(!watching.is_connected());
    assert!(watching.age() > 120.0, "since it was last heard, not since that was noticed");
    watching.server.set(Mood::Well);
    seconds(60).await;
    assert!(watching.is_connected(), "{:?}", watching.health.remarks());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_remembers_less_is_listed_anew() {
    let watching = Watching::start(Mood::Well);
    seconds(1).await;
    *watching.server.namespaces.lock().unwrap() = vec!["other"];
    let status = json!({ "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" });
    watching.server.send("namespaces", &json!({ "type": "ERROR", "object": status }));
    seconds(10).await;
    assert_eq!(watching.knows(), ["other"], "it was told in the watch");
    assert!(watching.is_connected());

    *watching.server.namespaces.lock().unwrap() = vec!["third"];
    watching.server.set(Mood::Forgetful);
    watching.server.cut();
    seconds(60).await;
    assert_eq!(watching.knows(), ["third"], "the watch was refused");
    assert!(!watching.is_connected());
    watching.server.set(Mood::Well);
    seconds(30).await;
    assert!(watching.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_profile_waits_once_for_its_status_as_it_was_seen_last() {
    let watching = Watching::start(Mood::Well);
    seconds(1).await;
    let tell = |kind: &str, name: &str, generation: u64| {
        let metadata =
            json!({ "name": name, "generation": generation, "resourceVersion": generation.to_string() });
        let status = json!({ "observedGeneration": generation - 1 });
        let event = json!({ "type": kind, "object": { "metadata": metadata, "spec": {}, "status": status } });
        watching.server.send("clustersidecarprofiles", &event);
    };
    tell("ADDED", "gone", 2);
    for generation in 3..100 {
        tell("MODIFIED", "guard", generation);
    }
    tell("DELETED", "gone", 100);
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
    tell("MODIFIED", "guard", 101);
    let next = watching.observations.take().await;
    assert_eq!(next.values().map(|seen| seen.generation).collect::<Vec<_>>(), [Some(101)]);
}
