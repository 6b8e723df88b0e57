use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;

use crate::api::{ProfileStatus, Scope};
use crate::profiles::{Finding, ProfileEntry};

/// The identity of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileKey {
    /// Scope of the profile's kind.
    pub scope: Scope,
    /// Namespace of the profile; empty for a cluster profile.
    pub namespace: String,
    /// Name of the profile.
    pub name: String,
}

/// A profile from a watch, with the data that its status depends on.
#[derive(Debug)]
pub struct Observed {
    /// Value of `metadata.resourceVersion`.
    pub resource_version: Option<String>,
    /// Value of `metadata.generation`.
    pub generation: Option<i64>,
    /// Current status in the cluster.
    pub status: ProfileStatus,
    /// The compiled profile.
    pub entry: ProfileEntry,
    /// Findings of the checks.
    pub findings: Vec<Finding>,
    /// True if it cannot be injected because the server has no memory for it.
    pub is_parked: bool,
}

impl ProfileKey {
    pub(super) fn of(scope: Scope, metadata: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { scope, namespace: text(&metadata.namespace), name: text(&metadata.name) }
    }
}

/// Queue of changed profiles whose status may have to be written. Clones share one state.
///
/// Each profile is in the queue at most once, in its latest version, until it is deleted. The queue is therefore bounded by the
/// number of existing profiles, however often they change and however slowly the API server writes their status.
#[derive(Clone, Debug, Default)]
pub struct Observations(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    profiles: Mutex<BTreeMap<ProfileKey, Observed>>,
    some: Notify,
}

impl Observations {
    /// Adds a profile, or replaces its earlier version.
    pub(super) fn put(&self, key: ProfileKey, seen: Observed) {
        self.profiles().insert(key, seen);
        self.0.some.notify_one();
    }

    /// Removes a deleted profile.
    pub(super) fn forget(&self, key: &ProfileKey) {
        self.profiles().remove(key);
    }

    /// Takes all queued profiles; waits until there is at least one.
    pub async fn take(&self) -> BTreeMap<ProfileKey, Observed> {
        loop {
            let seen = std::mem::take(&mut *self.profiles());
            if !seen.is_empty() {
                return seen;
            }
            self.0.some.notified().await;
        }
    }

    fn profiles(&self) -> MutexGuard<'_, BTreeMap<ProfileKey, Observed>> {
        self.0.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
