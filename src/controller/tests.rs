//! The controllers' loops with a stand-in for the API server, in simulated time.

mod drift;
mod mandatory;
mod status;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::watch as channel;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::certificates::{Configurations, LiveConfigurations, watch_configurations};
use crate::cluster::{Leadership, Observations, ProfileMemory, Snapshot, watch};
use crate::supervise::Health;
use crate::telemetry::{Format, Metrics};
use crate::testing::ApiServer;
use crate::testing::collections::NAMESPACES;

/// The inputs of the controllers in one replica, which follow the API server.
struct Replica {
    server: Arc<ApiServer>,
    name: &'static str,
    snapshot: Arc<ArcSwap<Snapshot>>,
    observations: Observations,
    live: channel::Receiver<LiveConfigurations>,
    leads: channel::Sender<bool>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    _stopped: DropGuard,
}

/// Returns a server with the namespace `shop`.
fn cluster() -> Arc<ApiServer> {
    let server = ApiServer::start();
    server.put(NAMESPACES, "shop", json!({}));
    server
}

impl Replica {
    /// Starts the watches of a replica, which is the leader.
    fn start(server: &Arc<ApiServer>, name: &'static str) -> Self {
        let (snapshot, observations) =
            (Arc::new(ArcSwap::from_pointee(Snapshot::default())), Observations::default());
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let (sender, live) = channel::channel(LiveConfigurations::default());
        let configurations = Configurations {
            mutating: vec!["outrigger".to_owned(), "outrigger-mandatory".to_owned()],
            validating: vec!["outrigger".to_owned(), "outrigger-mandatory".to_owned()],
            service: "outrigger".to_owned(),
            namespace: "system".to_owned(),
        };
        tokio::spawn(watch_configurations(server.client(name), configurations, sender, stop.clone()));
        tokio::spawn(watch(
            server.client(name),
            Arc::clone(&snapshot),
            observations.clone(),
            ProfileMemory::default(),
            Arc::clone(&metrics),
            Health::default(),
            stop.clone(),
        ));
        let (leads, server) = (channel::Sender::new(true), Arc::clone(server));
        Self {
            server,
            name,
            snapshot,
            observations,
            live,
            leads,
            metrics,
            _stopped: stop.clone().drop_guard(),
            stop,
        }
    }

    fn leadership(&self) -> Leadership {
        Leadership::following(self.leads.subscribe())
    }

    /// Returns the value of a metric; `None` if it is absent.
    fn metric(&self, name: &str) -> Option<String> {
        let text = self.metrics.encode(Format::Plain).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::to_owned)
    }

    /// Returns the writes of this replica, one per line.
    fn writes(&self) -> Vec<String> {
        let writes = self.server.writes();
        writes.iter().filter(|write| write.client == self.name).map(ToString::to_string).collect()
    }
}

/// Returns a profile with one sidecar of this image.
fn profile(image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "initContainers": [
        { "name": "proxy", "image": image, "restartPolicy": "Always" },
    ] } } } })
}

/// Returns the condition of a profile; `None` if it has none of this type.
fn condition(server: &ApiServer, collection: &str, name: &str, type_: &str) -> Option<Value> {
    let profile = server.get(collection, name)?;
    let conditions = profile["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}
