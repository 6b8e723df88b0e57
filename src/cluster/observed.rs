use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::DynamicObject;
use serde_json::Value;
use tokio::sync::Notify;

use super::entry_of;
use crate::api::{ProfileStatus, Scope};
use crate::profiles::{Entry, Finding};

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
    pub entry: Entry,
    /// What was found in it.
    pub findings: Vec<Finding>,
}

impl Observed {
    /// A profile as the API server holds it.
    pub(super) fn new(scope: Scope, mut object: DynamicObject) -> (ProfileKey, Self) {
        let (entry, findings) = entry_of(&object, scope);
        let status = object.data.get_mut("status").map(Value::take).unwrap_or_default();
        let metadata = object.metadata;
        let key = ProfileKey {
            scope,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
        };
        let seen = Self {
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            // One that cannot be read is written anew.
            status: serde_json::from_value(status).unwrap_or_default(),
            entry,
            findings,
        };
        (key, seen)
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
