//! Follows a collection of the API server: a list, then watches, then another list whenever something may have been
//! missed.
//!
//! It replaces kube-runtime's watcher, which resumes a watch from the last resource version after any disconnect. An API server
//! whose etcd was restored from a backup accepts such a watch and sends nothing, because the version lies in its future.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use kube_runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::polling::RepeatedFailure;

/// Duration of one watch, in seconds; the API server then ends it, and the next one continues from there.
pub(crate) const WATCH_SECONDS: u32 = 90;
/// Time without data after the end of a watch, after which its connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two lists of a collection whose watches never broke.
pub(crate) const RELIST: Duration = Duration::from_mins(10);
/// Time that one page of a list, or the start of a watch, may take.
const ANSWER: Duration = Duration::from_secs(30);
/// First wait after the second failure in a row; the first failure is retried at once.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait while the collection is not served (404), because it may return at any moment.
const LONGEST_WAIT_MISSING: Duration = Duration::from_secs(1);
/// Duration of a watch after which earlier failures no longer count.
const HEALTHY: Duration = Duration::from_secs(10);

/// A change in a followed collection or in its connection.
#[derive(Debug)]
pub(crate) enum Update<K> {
    /// The start of a list, one of its objects, its end, or a change.
    Event(Event<K>),
    /// A watch has started from the last list; every later change will be seen.
    Synced,
    /// The connection was lost, or a request failed; a list follows.
    Lost(Lost),
}

/// Reason for which a collection is listed again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The API server does not serve the collection (404): its `CustomResourceDefinition` is missing.
    #[error("the API server does not serve this resource: {0}")]
    Missing(kube::Error),
    /// The API server no longer has the history since the last resource version (410).
    #[error("the resource version has expired: {0}")]
    Expired(String),
    /// The resource version went backwards: etcd was restored from a backup.
    #[error(
        "the resource version went backwards from {before} to {now}; etcd was probably restored from a backup"
    )]
    Backwards {
        /// Highest version seen before.
        before: u64,
        /// Version of the answer.
        now: u64,
    },
    /// The API server ended the watch before its time, as it does when it shuts down or a definition changes.
    #[error("the watch ended early")]
    EndedEarly,
    /// No data arrived, not even the end of the watch.
    #[error("the API server does not answer")]
    Silent,
    /// Any other failure.
    #[error("{0}")]
    Failed(kube::Error),
}

impl Lost {
    fn of(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 404 => Self::Missing(error),
            kube::Error::Api(status) if status.code == 410 => Self::Expired(status.message.clone()),
            _ => Self::Failed(error),
        }
    }
}

/// Follows all objects of `api`, or the one with this name, without end. `limit` is the page size of lists.
pub(crate) fn follow<K>(
    api: Api<K>,
    name: Option<&str>,
    page: u32,
) -> impl Stream<Item = Update<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let fields = name.map(|name| format!("metadata.name={name}"));
    let follower = Follower {
        api,
        limit: page,
        fields,
        queue: VecDeque::new(),
        phase: Phase::first(),
        highest: None,
        failures: 0,
        is_missing: false,
    };
    futures::stream::unfold(follower, |mut follower| async move {
        let update = follower.next().await;
        Some((update, follower))
    })
}

/// Follows the object with this name. Yields the object when it is found or changes, and `None` when it is deleted. Reports
/// each lost connection.
pub(crate) fn follow_one<K, R>(
    api: Api<K>,
    name: &str,
    report: R,
) -> impl Stream<Item = Option<K>> + Send + use<K, R>
where
    R: Fn(&Lost) + Send,
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (mut listed, mut failure) = (None, RepeatedFailure::default());
    follow(api, Some(name), 1).filter_map(move |update| {
        futures::future::ready(match update {
            Update::Event(Event::Init) => {
                listed = None;
                None
            }
            Update::Event(Event::InitApply(object)) => {
                listed = Some(object);
                None
            }
            Update::Event(Event::InitDone) => Some(listed.take()),
            Update::Event(Event::Apply(object)) => Some(Some(object)),
            Update::Event(Event::Delete(_)) => Some(None),
            Update::Synced => {
                failure.reset();
                None
            }
            Update::Lost(lost) => {
                if failure.changed_message(&lost).is_some() {
                    report(&lost);
                }
                None
            }
        })
    })
}

enum Phase<K> {
    /// The next page is due.
    List { page: Option<String> },
    /// The list is complete; a watch is due.
    Start { version: String, listed: Instant },
    Watch {
        version: String,
        listed: Instant,
        started: Instant,
        events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    },
}

impl<K> Phase<K> {
    fn first() -> Self {
        Self::List { page: None }
    }
}

struct Follower<K> {
    api: Api<K>,
    /// Objects in one page of a list.
    limit: u32,
    fields: Option<String>,
    queue: VecDeque<Update<K>>,
    phase: Phase<K>,
    /// Highest resource version seen.
    highest: Option<u64>,
    /// Failures since the last healthy watch.
    failures: u32,
    /// True if the last failure was [`Lost::Missing`].
    is_missing: bool,
}

impl<K> Follower<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    async fn next(&mut self) -> Update<K> {
        loop {
            if let Some(update) = self.queue.pop_front() {
                return update;
            }
            let phase = std::mem::replace(&mut self.phase, Phase::first());
            if matches!(phase, Phase::List { page: None }) {
                tokio::time::sleep(self.wait()).await;
            }
            match self.step(phase).await {
                Ok(next) => self.phase = next,
                Err(lost) => {
                    self.failures = self.failures.saturating_add(1);
                    self.is_missing = matches!(lost, Lost::Missing(_));
                    self.queue.push_back(Update::Lost(lost));
                }
            }
        }
    }

    async fn step(&mut self, phase: Phase<K>) -> Result<Phase<K>, Lost> {
        match phase {
            Phase::List { page } => self.list(page).await,
            Phase::Start { version, listed } => {
                let parameters = WatchParams {
                    field_selector: self.fields.clone(),
                    ..WatchParams::default().timeout(WATCH_SECONDS)
                };
                let events = answered(self.api.watch(&parameters, &version)).await?.boxed();
                self.queue.push_back(Update::Synced);
                Ok(Phase::Watch { version, listed, started: Instant::now(), events })
            }
            Phase::Watch { version, listed, started, events } => {
                self.watch(version, listed, started, events).await
            }
        }
    }

    /// Returns the wait before the next list: none after the first failure, then longer with each one. It is shortened at
    /// random by up to a quarter, so that replicas do not retry at the same moment.
    fn wait(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(2) else { return Duration::ZERO };
        let longest = if self.is_missing { LONGEST_WAIT_MISSING } else { LONGEST_WAIT };
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
        wait.mul_f64(1.0 - f64::from(jitter()) / f64::from(u32::MAX) / 4.0)
    }

    /// Lists one page.
    async fn list(&mut self, page: Option<String>) -> Result<Phase<K>, Lost> {
        if page.is_none() {
            self.queue.push_back(Update::Event(Event::Init));
        }
        let parameters = ListParams {
            field_selector: self.fields.clone(),
            limit: Some(self.limit),
            continue_token: page,
            ..ListParams::default()
        };
        let list = answered(self.api.list(&parameters)).await?;
        self.queue.extend(list.items.into_iter().map(|object| Update::Event(Event::InitApply(object))));
        if let Some(next) = list.metadata.continue_.filter(|token| !token.is_empty()) {
            return Ok(Phase::List { page: Some(next) });
        }
        self.queue.push_back(Update::Event(Event::InitDone));
        let version = list.metadata.resource_version.unwrap_or_default();
        // The list is complete in any case; the rollback is only reported.
        if let Err(backwards) = self.advance(&version) {
            self.queue.push_back(Update::Lost(backwards));
        }
        Ok(Phase::Start { version, listed: Instant::now() })
    }

    async fn watch(
        &mut self,
        version: String,
        listed: Instant,
        started: Instant,
        mut events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    ) -> Result<Phase<K>, Lost> {
        let whole = Duration::from_secs(u64::from(WATCH_SECONDS));
        let next = tokio::time::timeout(whole + GRACE, events.next()).await;
        if started.elapsed() >= HEALTHY {
            self.failures = 0;
        }
        let event = match next {
            Err(_) => return Err(Lost::Silent),
            Ok(None) if started.elapsed() + GRACE < whole => return Err(Lost::EndedEarly),
            Ok(None) if listed.elapsed() >= RELIST => return Ok(Phase::first()),
            Ok(None) => return Ok(Phase::Start { version, listed }),
            Ok(Some(Err(error))) => return Err(Lost::of(error)),
            Ok(Some(Ok(event))) => event,
        };
        let (now, event) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (object.resource_version().unwrap_or_default(), Some(Event::Apply(object)))
            }
            WatchEvent::Deleted(object) => {
                (object.resource_version().unwrap_or_default(), Some(Event::Delete(object)))
            }
            WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version, None),
            WatchEvent::Error(status) => return Err(Lost::of(kube::Error::Api(status.boxed()))),
        };
        self.advance(&now)?;
        self.queue.extend(event.map(Update::Event));
        let version = if now.is_empty() { version } else { now };
        Ok(Phase::Watch { version, listed, started, events })
    }

    /// Records a resource version. Since KEP-5504, resource versions are comparable numbers; other values are not checked.
    fn advance(&mut self, version: &str) -> Result<(), Lost> {
        let Ok(now) = version.parse::<u64>() else { return Ok(()) };
        match self.highest.replace(now) {
            Some(before) if now < before => Err(Lost::Backwards { before, now }),
            _ => Ok(()),
        }
    }
}

async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Lost> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(answer) => answer.map_err(Lost::of),
        Err(_) => Err(Lost::Silent),
    }
}

/// Returns a number that differs between processes and calls.
fn jitter() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let hash = std::hash::RandomState::new().build_hasher().finish();
    u32::try_from(hash >> 32).unwrap_or_default()
}
