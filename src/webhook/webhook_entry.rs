use crate::api::{Scope, keys};
use crate::engine::Namespace;
use crate::profiles::{ProfileEntry, ProfileSet};

/// The webhook entry that called. Each entry implies something about the labels of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEntry {
    /// The namespace has the key `outrigger.dev/inject`.
    Namespace,
    /// The pod has the key, and the namespace does not.
    Pod,
    /// A webhook configuration of the user's own, which implies nothing.
    Any,
    /// The Mandatory profile of this name selects the namespace.
    Mandatory(String),
    /// The Mandatory profile of this name selects the namespace of a submitted pod, before admission plugins have changed any
    /// injected container.
    Submitted(String),
}

impl WebhookEntry {
    /// Returns the Mandatory profile whose entry called.
    pub(super) fn mandatory(&self) -> Option<&String> {
        match self {
            Self::Mandatory(profile) | Self::Submitted(profile) => Some(profile),
            Self::Namespace | Self::Pod | Self::Any => None,
        }
    }

    /// Returns whether the snapshot's labels of the namespace agree with the entry that called.
    pub(super) fn agrees(&self, namespace: &Namespace, profiles: &ProfileSet) -> bool {
        let labelled = namespace.labels.contains_key(keys::INJECT);
        match self {
            Self::Namespace => labelled,
            Self::Pod => !labelled,
            Self::Any => true,
            Self::Mandatory(name) | Self::Submitted(name) => profiles
                .find_in(Scope::Cluster, &namespace.name, name)
                .filter(|entry| entry.is_mandatory())
                .and_then(ProfileEntry::matching)
                .is_none_or(|matching| matching.selects_namespace(&namespace.labels.pairs())),
        }
    }
}
