use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;

use crate::api::{ProfileStatus, Scope};
use crate::profiles::{Finding, ProfileEntry};

/// Which profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileKey {
    /// Where it is defined.
    pub scope: Scope,
    /// Its namespace; empty for a cluster's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A profile that was seen, as far as its status depends on it.
#[derive(Debug)]
pub struct Observed {
    /// Its `metadata.resourceVersion`.
    pub resource_version: Option<String>,
    /// Its `metadata.generation`.
    pub generation: Option<i64>,
    /// The status that it has.
    pub status: ProfileStatus,
    /// Compiled.
    pub entry: ProfileEntry,
    /// What was found in it.
    pub findings: Vec<Finding>,
    /// Whether it cannot be injected because the server has no memory for it.
    pub is_parked: bool,
}

impl ProfileKey {
    pub(super) fn of(scope: Scope, metadata: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { scope, namespace: text(&metadata.namespace), name: text(&metadata.name) }
    }
}

/// Profiles that were seen, for whoever writes their status. Clones share one state.
///
/// Each profile waits once, as it was seen last, and one that is deleted no longer. So what waits is bounded by the
/// profiles that exist, however often they change and however slowly the API server takes their status.
#[derive(Clone, Debug, Default)]
pub struct Observations(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    profiles: Mutex<BTreeMap<ProfileKey, Observed>>,
    some: Notify,
}

impl Observations {
    /// A profile has been seen.
    pub(super) fn put(&self, key: ProfileKey, seen: Observed) {
        self.profiles().insert(key, seen);
        self.0.some.notify_one();
    }

    /// A profile is gone.
    pub(super) fn forget(&self, key: &ProfileKey) {
        self.profiles().remove(key);
    }

    /// Takes all that were seen since the last time; waits until there is one.
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
