//! The server's view of the cluster: watched profiles and namespaces in one immutable [`Snapshot`], which requests read without
//! a lock.

mod bucket;
mod events;
pub(crate) mod follow;
mod judgment;
mod kept;
mod lease;
mod limited;
mod live_lookup;
mod lookup;
mod observed;
mod pod_templates;
mod watch;
pub(crate) mod watch_health;

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

pub(crate) use events::publish;
pub use events::{Announcer, EventLimits, Notice, publish_events};
pub(crate) use judgment::{ask_cluster, judge};
pub use lease::{Election, Leadership};
pub use limited::LimitedLookup;
pub use live_lookup::LiveLookup;
pub(crate) use live_lookup::minor_version;
pub use lookup::{Judgment, Looking, Lookup, LookupError};
pub use observed::{Observations, Observed, ProfileKey};
pub(crate) use watch::namespace_of;
pub use watch::watch;

use crate::api::{ClusterSidecarProfile, Scope, SidecarProfile};
use crate::engine::Namespace;
use crate::profiles::{Finding, ProfileEntry, ProfileSet, Quota};

/// The state of the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All profiles.
    pub profiles: Arc<ProfileSet>,
    /// All namespaces, by name.
    pub namespaces: HashMap<String, Arc<Namespace>>,
    /// Resources that have not been listed and watched yet, or that the API server does not serve. Pods that depend on them get
    /// an error.
    pub unsynced: Vec<&'static str>,
}

/// The server's memory limits for profiles.
#[derive(Clone, Copy, Debug)]
pub struct ProfileMemory {
    /// Limit for cluster profiles.
    pub cluster: Quota,
    /// Limit for the profiles of all namespaces together, separate from the one for cluster profiles.
    pub namespaced: Quota,
}

impl Default for ProfileMemory {
    fn default() -> Self {
        Self { cluster: Quota::of_cluster(32 << 20), namespaced: Quota::of_namespaces(16 << 20) }
    }
}

/// Returns the API resources of the two profile kinds.
pub(crate) fn profile_resources() -> [(Scope, ApiResource); 2] {
    [
        (Scope::Cluster, ApiResource::erase::<ClusterSidecarProfile>(&())),
        (Scope::Namespace, ApiResource::erase::<SidecarProfile>(&())),
    ]
}

/// Compiles a profile as the API server returns it. A profile that cannot be parsed becomes an invalid entry, so it does not
/// affect the others.
pub(crate) fn entry_of(object: &DynamicObject, scope: Scope) -> (ProfileEntry, Vec<Finding>) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    ProfileEntry::read(name, scope, spec)
}
