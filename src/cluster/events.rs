//! Kubernetes Events about profiles that were left out, on the owner of the pod.

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

use super::bucket::TokenBucket;
use crate::engine::Reason;
use crate::telemetry::Metrics;

const CONTROLLER: &str = "outrigger.dev/webhook";
/// Maximum number of Events that wait to be written.
const WAITING: usize = 256;
/// Time limit for the write of one Event.
const LIMIT: Duration = Duration::from_secs(5);
/// Minimum time between two Events about the same owner and profile.
const SILENCE: Duration = Duration::from_mins(10);
/// Maximum number of remembered pairs of owner and profile.
const MOST: usize = 1000;
/// Maximum length of a note that the API server accepts, in bytes.
const NOTE: usize = 1024;
/// Longest name of an object, in bytes.
const LONGEST_NAME: usize = 253;

/// Limits on the Events that reviews can cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLimits {
    /// Maximum number of Events in a burst.
    burst: u32,
    /// Events per second after that.
    rate: f64,
    /// Maximum number of Events about objects of one namespace within [`SILENCE`].
    per_namespace: usize,
}

impl EventLimits {
    /// Limits for reviews that only the API server can send, since clients must show a certificate.
    pub(crate) const VERIFIED: Self = Self { burst: 25, rate: 1.0, per_namespace: MOST };
    /// Limits for reviews that any client may have forged, including the owner that they name.
    pub(crate) const UNVERIFIED: Self = Self { burst: 10, rate: 0.1, per_namespace: 5 };
    /// No Events.
    pub(crate) const NONE: Self = Self { burst: 0, rate: 0.0, per_namespace: 0 };
}

/// An Event to be written.
#[derive(Debug)]
pub struct Notice {
    /// The object of the Event; without a namespace, a cluster-scoped object.
    pub regarding: ObjectReference,
    /// Action of the Event, in `UpperCamelCase`.
    pub action: &'static str,
    /// Reason of the Event, in `UpperCamelCase`.
    pub reason: &'static str,
    /// Message, as a sentence.
    pub note: String,
    /// Key that, together with the object, identifies repetitions of the same Event.
    pub cause: String,
}

impl Notice {
    fn key(&self) -> String {
        let regarding = &self.regarding;
        let uid = regarding.uid.as_deref().or(regarding.name.as_deref()).unwrap_or_default();
        format!("{uid} {}", self.cause)
    }

    /// Returns the namespace of the Event. For cluster-scoped objects it is `default`: the API server accepts no other.
    fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or("default")
    }
}

/// Queue of Events to be written. It never blocks, and without a cluster it drops everything.
#[derive(Clone, Default)]
pub struct Announcer(Option<mpsc::Sender<Notice>>);

impl Announcer {
    /// Returns an announcer, and the receiver for `publish_events`.
    pub fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(sender)), receiver)
    }

    /// Queues an Event for the owner of a pod about a profile that was left out.
    pub fn announce(&self, owner: ObjectReference, profile: &str, cause: &Reason, metrics: &Metrics) {
        let Some(sender) = &self.0 else { return };
        let note = format!("profile {profile:?} was left out of a pod: {cause} [{}]", cause.code());
        let cause = format!("{profile} {}", cause.code());
        let notice = Notice { regarding: owner, action: "Inject", reason: "ProfileLeftOut", note, cause };
        if !is_well_formed(&notice.regarding) || sender.try_send(notice).is_err() {
            metrics.count_event("dropped");
        }
    }
}

/// Returns whether the reference has a valid form. The API server has not validated its pod yet.
fn is_well_formed(owner: &ObjectReference) -> bool {
    let is_word = |text: Option<&str>, more: &[u8]| {
        text.is_some_and(|text| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(is_known)
        })
    };
    is_word(owner.name.as_deref(), b"-.")
        && is_word(owner.uid.as_deref(), b"-")
        && is_word(owner.kind.as_deref(), b"")
        && is_word(owner.api_version.as_deref(), b"-./")
}

/// Writes Events until `stop`.
///
/// # Errors
/// None: an Event that cannot be written is logged and counted.
pub(crate) async fn publish_events(
    client: Client,
    mut left_out: mpsc::Receiver<Notice>,
    instance: String,
    limits: EventLimits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut limiter = Limiter::new(limits, Instant::now());
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = left_out.recv() => next,
        };
        let Some(next) = next else { return Ok(()) };
        let outcome = match limiter.admit(&next.key(), next.namespace(), Instant::now()) {
            Permit::Now { count } => publish(&client, &next, &instance, count).await,
            Permit::Repeated => "repeated",
            Permit::Never => "dropped",
        };
        metrics.count_event(outcome);
    }
}

/// Writes an Event and returns the outcome for the metric.
pub(crate) async fn publish(client: &Client, notice: &Notice, instance: &str, count: i32) -> &'static str {
    let problem = match tokio::time::timeout(LIMIT, write(client, notice, instance, count)).await {
        Ok(Ok(())) => return "published",
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    let Notice { regarding, reason, .. } = notice;
    warn!(
        namespace = notice.namespace(),
        kind = regarding.kind,
        name = regarding.name,
        reason,
        error = problem,
        "failed to write an event"
    );
    "failed"
}

/// Writes an Event, or increments the count of the existing one. All replicas use the same name for it.
async fn write(client: &Client, notice: &Notice, instance: &str, count: i32) -> kube::Result<()> {
    let (owner, namespace, key) = (&notice.regarding, notice.namespace(), notice.key());
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let digest = Sha256::digest(key.as_bytes());
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    let owner_name: String = owner.name.as_deref().unwrap_or_default().chars().take(220).collect();
    let name = format!("{}.{hash:016x}", owner_name.trim_end_matches(['.', '-']));
    let now = MicroTime(Timestamp::now());
    let mut event = Event {
        action: Some(notice.action.to_owned()),
        event_time: Some(now.clone()),
        note: Some(shorten(&printable(&notice.note))),
        reason: Some(notice.reason.to_owned()),
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

/// Returns the note with control characters escaped: parts of it come from a pod, and terminals display it.
fn printable(note: &str) -> String {
    note.chars().fold(String::with_capacity(note.len()), |mut text, character| {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
        text
    })
}

fn shorten(note: &str) -> String {
    let mut end = note.len().min(NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[derive(Debug, PartialEq, Eq)]
enum Permit {
    /// The Event may be written. It occurred this many times since it was first remembered.
    Now { count: i32 },
    /// The same Event was written a short while ago.
    Repeated,
    /// A limit is reached.
    Never,
}

struct Told {
    namespace: String,
    last: Instant,
    count: i32,
}

/// The limits on Events, which bound the load on the API server for any number of pods.
struct Limiter {
    told: HashMap<String, Told>,
    bucket: TokenBucket,
    per_namespace: usize,
}

impl Limiter {
    fn new(limits: EventLimits, now: Instant) -> Self {
        let bucket = TokenBucket::new(limits.burst, limits.rate, now);
        Self { told: HashMap::new(), bucket, per_namespace: limits.per_namespace }
    }

    fn admit(&mut self, key: &str, namespace: &str, now: Instant) -> Permit {
        let is_recent = |told: &Told| now.duration_since(told.last) < SILENCE;
        if let Some(told) = self.told.get_mut(key) {
            told.count = told.count.saturating_add(1);
            if is_recent(told) {
                return Permit::Repeated;
            }
        } else if self.told.len() >= MOST {
            self.told.retain(|_, told| is_recent(told));
            if self.told.len() >= MOST {
                return Permit::Never;
            }
        }
        let of_namespace = self.told.values().filter(|told| told.namespace == namespace && is_recent(told));
        if of_namespace.count() >= self.per_namespace || !self.bucket.take(1, now) {
            return Permit::Never;
        }
        let told = self.told.entry(key.to_owned()).or_insert_with(|| Told {
            namespace: namespace.to_owned(),
            last: now,
            count: 1,
        });
        told.last = now;
        Permit::Now { count: told.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_owner_are_limited() {
        let start = Instant::now();
        let mut limiter = Limiter::new(EventLimits::VERIFIED, start);
        assert_eq!(limiter.admit("a", "shop", start), Permit::Now { count: 1 });
        assert_eq!(limiter.admit("b", "shop", start), Permit::Now { count: 1 });
        for second in 1..60 {
            assert_eq!(limiter.admit("a", "shop", start + Duration::from_secs(second)), Permit::Repeated);
        }
        assert_eq!(limiter.admit("a", "shop", start + SILENCE), Permit::Now { count: 61 });
    }

    #[test]
    fn events_of_many_owners_and_the_memory_of_owners_are_limited() {
        let start = Instant::now();
        let mut limiter = Limiter::new(EventLimits::VERIFIED, start);
        let admits = |limiter: &mut Limiter, owner: &str, now| {
            matches!(limiter.admit(owner, "shop", now), Permit::Now { .. })
        };
        let at_once = (0..5000).filter(|owner| admits(&mut limiter, &owner.to_string(), start)).count();
        assert_eq!(at_once, 25);
        let in_a_minute = (0..6000)
            .filter(|step| {
                let now = start + Duration::from_millis(10 * step + 10);
                admits(&mut limiter, &format!("later {step}"), now)
            })
            .count();
        assert!((59..=61).contains(&in_a_minute), "{in_a_minute}");
        let in_an_hour = (0..3600_u64)
            .filter(|second| {
                let now = start + Duration::from_secs(60 + second);
                admits(&mut limiter, &format!("much later {second}"), now)
            })
            .count();
        assert!((3000..=3600).contains(&in_an_hour), "{in_an_hour}");
        assert!(limiter.told.len() <= MOST);
    }

    #[test]
    fn unverified_reviews_cause_few_events_per_namespace() {
        let start = Instant::now();
        let mut limiter = Limiter::new(EventLimits::UNVERIFIED, start);
        let mut admits = |namespace: &str, step: u64, now| {
            matches!(limiter.admit(&format!("{namespace} {step}"), namespace, now), Permit::Now { .. })
        };
        assert_eq!((0..100).filter(|step| admits("shop", *step, start)).count(), 5);
        assert_eq!((0..100).filter(|step| admits("bank", *step, start)).count(), 5);
        assert!(!admits("third", 0, start), "the limit of ten is exceeded");
        let later = |second| start + Duration::from_secs(second);
        let in_five_minutes = (0..300).filter(|second| admits("third", *second, later(*second))).count();
        assert_eq!(in_five_minutes, 5);
        let spread = (300..600).filter(|second| admits(&second.to_string(), *second, later(*second)));
        assert!(spread.count() <= 40);
        let mut none = Limiter::new(EventLimits::NONE, start);
        assert_eq!(none.admit("a", "shop", later(3600)), Permit::Never);
    }

    #[test]
    fn only_well_formed_references_get_an_event() {
        let owner = |name: &str, uid: &str| ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("ReplicaSet".to_owned()),
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let uid = "0b3c7c56-5c1c-4a1e-9e58-8a2f0c8f4a11";
        assert!(is_well_formed(&owner("web-5b8", uid)));
        for (name, uid) in [("../x", uid), ("web\n", uid), ("", uid), ("web", "a b"), (&"a".repeat(300), uid)]
        {
            assert!(!is_well_formed(&owner(name, uid)), "{name:?} {uid:?}");
        }
        assert_eq!(printable("a\n\u{1b}[2Ké"), "a\\n\\u{1b}[2Ké");
    }

    #[test]
    fn notes_are_truncated_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"é".repeat(600)), "é".repeat(512));
        assert_eq!(shorten(&format!("a{}", "é".repeat(600))).len(), 1023);
    }
}
