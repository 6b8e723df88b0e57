//! What is known of the cluster: profiles and namespaces, watched, and put together in one immutable
//! [`Snapshot`] that requests read without a lock.

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
pub use judgment::Judgment;
pub(crate) use judgment::{ask_cluster, judge};
pub use lease::{Election, Leadership};
pub use limited::LimitedLookup;
pub use live_lookup::LiveLookup;
pub(crate) use live_lookup::minor_version;
pub use lookup::{Looking, Lookup, LookupError};
pub use observed::{Observations, Observed, ProfileKey};
pub(crate) use watch::namespace_of;
pub use watch::watch;

use crate::api::{ClusterSidecarProfile, Scope, SidecarProfile};
use crate::engine::Namespace;
use crate::profiles::{Finding, ProfileEntry, ProfileSet, Quota};

/// What is known of the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All profiles.
    pub profiles: Arc<ProfileSet>,
    /// All namespaces, by name.
    pub namespaces: HashMap<String, Arc<Namespace>>,
    /// Resources that have not been listed and watched yet, or that the API server does not serve. Pods that depend on them
    /// get an error.
    pub unsynced: Vec<&'static str>,
}

/// The memory that a server has for profiles.
#[derive(Clone, Copy, Debug)]
pub struct ProfileMemory {
    /// For those of the cluster.
    pub cluster: Quota,
    /// For those of all namespaces, which take nothing from the others.
    pub namespaced: Quota,
}

impl Default for ProfileMemory {
    fn default() -> Self {
        Self { cluster: Quota::of_cluster(32 << 20), namespaced: Quota::of_namespaces(16 << 20) }
    }
}

/// How the API server names the profile kinds.
pub(crate) fn profile_resources() -> [(Scope, ApiResource); 2] {
    [
        (Scope::Cluster, ApiResource::erase::<ClusterSidecarProfile>(&())),
        (Scope::Namespace, ApiResource::erase::<SidecarProfile>(&())),
    ]
}

/// Compiles a profile as the API server holds it. One that cannot even be read is an invalid profile, and
/// does not keep the others from being read.
pub(crate) fn entry_of(object: &DynamicObject, scope: Scope) -> (ProfileEntry, Vec<Finding>) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    ProfileEntry::read(name, scope, spec)
}
