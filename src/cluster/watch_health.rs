//! The state of the connections to the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body as AnyBody;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Unit;
use tokio::time::Instant;
use tower::BoxError;
use tower_http::timeout::TimeoutBody;

/// Maximum time until the API server begins an answer. The API server may delay a list by itself.
const ANSWER: Duration = Duration::from_secs(30);
/// Maximum pause within an answer. A watch without data is ended before that.
const PAUSE: Duration = Duration::from_mins(2);

/// The state of the watches, and the time at which each last received data. Clones share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchHealth(Arc<Mutex<BTreeMap<&'static str, Heard>>>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    connected: bool,
    /// True if the API server does not serve the resource.
    missing: bool,
    last: Instant,
}

impl WatchHealth {
    /// Returns a client for one watch that records received data. It has timeouts for an API server that does not answer; the
    /// watcher itself has none.
    pub(crate) fn listening(&self, client: Client, resource: &'static str) -> Client {
        self.expect(resource);
        let contact = self.clone();
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request: axum::http::Request<Body>| {
            let (client, contact) = (client.clone(), contact.clone());
            async move {
                let query = request.uri().query().unwrap_or_default();
                let is_watch = query.split('&').any(|field| field == "watch=true");
                let answer = tokio::time::timeout(ANSWER, client.send(request))
                    .await
                    .map_err(|_| BoxError::from(format!("no answer within {} s", ANSWER.as_secs())))??;
                if !answer.status().is_success() {
                    return Ok(answer.map(AnyBody::new));
                }
                contact.note(resource, is_watch);
                let heard = move |frame| {
                    contact.note(resource, is_watch);
                    frame
                };
                let bounded = |body| AnyBody::new(TimeoutBody::new(PAUSE, AnyBody::new(body)));
                Ok::<_, BoxError>(answer.map(|body| AnyBody::new(bounded(body).map_frame(heard))))
            }
        });
        Client::new(service, namespace)
    }

    /// Adds a watch that is not connected yet.
    pub(crate) fn expect(&self, resource: &'static str) {
        self.note(resource, false);
    }

    /// Records a broken watch; `missing` if the API server does not serve the resource.
    pub(crate) fn lost(&self, resource: &'static str, missing: bool) {
        if let Some(heard) = self.all().get_mut(resource) {
            heard.connected = false;
            heard.missing |= missing;
        }
    }

    /// Records that the resource is served and watched.
    pub(crate) fn found(&self, resource: &'static str) {
        if let Some(heard) = self.all().get_mut(resource) {
            heard.missing = false;
        }
    }

    /// Returns the maximum age of the data: zero while all watches are connected, otherwise the time since the first
    /// disconnected watch last received data.
    fn age(&self) -> Duration {
        let all = self.all();
        let broken = all.values().filter(|heard| !heard.connected);
        broken.map(|heard| heard.last.elapsed()).max().unwrap_or_default()
    }

    /// Returns remarks for the readiness page: one line for each watch that is not connected.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let all = self.all();
        let broken = all.iter().filter(|(_, heard)| !heard.connected);
        broken
            .map(|(resource, heard)| {
                let seconds = heard.last.elapsed().as_secs();
                if heard.missing {
                    return format!(
                        "{resource}: not served by the API server (is the CustomResourceDefinition installed?); pods of enabled namespaces are not decided"
                    );
                }
                format!(
                    "{resource}: disconnected from the API server for {seconds} s; serving the last known state"
                )
            })
            .collect()
    }

    /// Records received data. A list does not start a watch, and does not end one either.
    fn note(&self, resource: &'static str, connected: bool) {
        let last = Instant::now();
        let mut all = self.all();
        let heard = all.entry(resource).or_insert(Heard { connected, missing: false, last });
        *heard = Heard { connected: heard.connected || connected, last, ..*heard };
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for WatchHealth {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let connected: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        for (resource, heard) in self.all().iter() {
            connected.get_or_create(&[("resource", *resource)]).set(i64::from(heard.connected));
        }
        let help = "Whether the watch of the resource is connected to the API server (1) or not (0).";
        let descriptor = encoder.encode_descriptor("watch_connected", help, None, MetricType::Gauge)?;
        connected.encode(descriptor)?;
        let help = "Seconds since the longest-broken watch lost its connection; 0 if all are connected.";
        let age = ConstGauge::new(self.age().as_secs_f64());
        age.encode(encoder.encode_descriptor(
            "snapshot_age",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?)
    }
}
