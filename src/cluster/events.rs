//! Events for those who look at the owner of a pod and wonder what is missing in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::engine::Reason;
use crate::telemetry::Metrics;

const CONTROLLER: &str = "outrigger.dev/webhook";
const REASON: &str = "ProfileLeftOut";
/// How many events may wait to be written.
const WAITING: usize = 256;
/// How long one may take to be written.
const LIMIT: Duration = Duration::from_secs(5);
/// How long nothing more is said of an owner and a profile of which it was said.
const SILENCE: Duration = Duration::from_mins(10);
/// How many owners and profiles are remembered.
const MOST: usize = 1000;
/// How many events may be written at once, and how many a second after that.
const BURST: u32 = 25;
const RATE: f64 = 1.0;
/// The API server takes no longer note, in bytes.
const NOTE: usize = 1024;

/// A profile that was left out of a pod.
#[derive(Debug)]
pub struct LeftOut {
    /// The pod's controller.
    pub owner: ObjectReference,
    /// The profile.
    pub profile: String,
    /// The code of what kept it out.
    pub code: &'static str,
    /// What happened, as a sentence.
    pub note: String,
}

/// Takes what is to be told, and never waits. Without a cluster it takes nothing.
#[derive(Clone, Default)]
pub struct Announcer(Option<mpsc::Sender<LeftOut>>);

impl Announcer {
    /// One whose events are written by `publish_events`.
    pub fn new() -> (Self, mpsc::Receiver<LeftOut>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(sender)), receiver)
    }

    /// Tells the owner of a pod that a profile was left out of it.
    pub fn tell(&self, owner: ObjectReference, profile: &str, cause: &Reason, metrics: &Metrics) {
        let Some(sender) = &self.0 else { return };
        let note = format!("profile {profile:?} was left out of a pod: {cause} [{}]", cause.code());
        let left_out = LeftOut { owner, profile: profile.to_owned(), code: cause.code(), note };
        if sender.try_send(left_out).is_err() {
            metrics.count_event("dropped");
        }
    }
}

/// Writes events until `stop`.
///
/// # Errors
/// None: an event that cannot be written is logged and counted.
pub async fn publish_events(
    client: Client,
    mut left_out: mpsc::Receiver<LeftOut>,
    instance: String,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut limiter = Limiter::new(Instant::now());
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = left_out.recv() => next,
        };
        let Some(next) = next else { return Ok(()) };
        let key = format!("{} {} {}", next.owner.uid.as_deref().unwrap_or_default(), next.profile, next.code);
        let outcome = match limiter.admit(&key, Instant::now()) {
            Admitted::Now { count } => {
                let written = tokio::time::timeout(LIMIT, write(&client, &next, &key, &instance, count));
                let problem = match written.await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("the API server did not answer in time".to_owned()),
                };
                if let Some(error) = &problem {
                    let (namespace, owner) = (&next.owner.namespace, &next.owner.name);
                    warn!(namespace, owner, profile = next.profile, error, "cannot write an event");
                }
                if problem.is_none() { "published" } else { "failed" }
            }
            Admitted::Repeated => "repeated",
            Admitted::Never => "dropped",
        };
        metrics.count_event(outcome);
    }
}

/// Writes an event, or says of the one that is there that it happened again. All replicas give it the same name.
async fn write(
    client: &Client,
    left_out: &LeftOut,
    key: &str,
    instance: &str,
    count: i32,
) -> kube::Result<()> {
    let owner = &left_out.owner;
    let namespace = owner.namespace.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let digest = Sha256::digest(key.as_bytes());
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    let owner_name: String = owner.name.as_deref().unwrap_or_default().chars().take(220).collect();
    let name = format!("{}.{hash:016x}", owner_name.trim_end_matches(['.', '-']));
    let now = MicroTime(Timestamp::now());
    let mut event = Event {
        action: Some("Inject".to_owned()),
        event_time: Some(now.clone()),
        note: Some(shorten(&left_out.note)),
        reason: Some(REASON.to_owned()),
        regarding: Some(owner.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    };
    event.metadata.name = Some(name.clone());
    event.metadata.namespace = Some(namespace.to_owned());
    match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(answer)) if answer.code == 409 => {
            let again = json!({ "series": { "count": count.max(2), "lastObservedTime": now } });
            api.patch(&name, &PatchParams::default(), &Patch::Merge(again)).await.map(drop)
        }
        other => other.map(drop),
    }
}

fn shorten(note: &str) -> String {
    let mut end = note.len().min(NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    /// It may be written; it happened so often since it was remembered.
    Now { count: i32 },
    /// It was said a short while ago.
    Repeated,
    /// There are too many.
    Never,
}

struct Told {
    last: Instant,
    count: i32,
}

/// Says which events may be written, so that no number of pods becomes a burden for the API server.
struct Limiter {
    told: HashMap<String, Told>,
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self { told: HashMap::new(), tokens: f64::from(BURST), filled: now }
    }

    fn admit(&mut self, key: &str, now: Instant) -> Admitted {
        if let Some(told) = self.told.get_mut(key) {
            told.count = told.count.saturating_add(1);
            if now.duration_since(told.last) < SILENCE {
                return Admitted::Repeated;
            }
        } else if self.told.len() >= MOST {
            self.told.retain(|_, told| now.duration_since(told.last) < SILENCE);
            if self.told.len() >= MOST {
                return Admitted::Never;
            }
        }
        let gained = now.duration_since(self.filled).as_secs_f64() * RATE;
        self.tokens = (self.tokens + gained).min(f64::from(BURST));
        self.filled = now;
        if self.tokens < 1.0 {
            return Admitted::Never;
        }
        self.tokens -= 1.0;
        let told = self.told.entry(key.to_owned()).or_insert(Told { last: now, count: 1 });
        told.last = now;
        Admitted::Now { count: told.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_is_told_once_in_a_while() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(limiter.admit("a", start), Admitted::Now { count: 1 });
        assert_eq!(limiter.admit("b", start), Admitted::Now { count: 1 });
        for second in 1..60 {
            assert_eq!(limiter.admit("a", start + Duration::from_secs(second)), Admitted::Repeated);
        }
        assert_eq!(limiter.admit("a", start + SILENCE), Admitted::Now { count: 61 });
    }

    #[test]
    fn many_owners_are_told_slowly_and_remembered_up_to_a_bound() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let told = |limiter: &mut Limiter, owner: &str, now| {
            matches!(limiter.admit(owner, now), Admitted::Now { .. })
        };
        let at_once = (0..5000).filter(|owner| told(&mut limiter, &owner.to_string(), start)).count();
        assert_eq!(at_once, 25);
        let in_a_minute = (0..6000)
            .filter(|step| {
                let now = start + Duration::from_millis(10 * step + 10);
                told(&mut limiter, &format!("later {step}"), now)
            })
            .count();
        assert!((59..=61).contains(&in_a_minute), "{in_a_minute}");
        let in_an_hour = (0..3600_u64)
            .filter(|second| {
                let now = start + Duration::from_secs(60 + second);
                told(&mut limiter, &format!("much later {second}"), now)
            })
            .count();
        assert!((3000..=3600).contains(&in_an_hour), "{in_an_hour}");
        assert!(limiter.told.len() <= MOST);
    }

    #[test]
    fn notes_end_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"é".repeat(600)), "é".repeat(512));
        assert_eq!(shorten(&format!("a{}", "é".repeat(600))).len(), 1023);
    }
}
