//! The profiles and namespaces that hold for manifests, from files or from a cluster.

use std::collections::HashMap;

use anyhow::Context as _;
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::Value;

use crate::api::{Scope, keys};
use crate::cluster::{entry_of, namespace_of};
use crate::engine::Namespace;
use crate::profiles::ProfileSet;
use crate::workload::Facts;

/// The profiles and namespaces that hold.
pub(super) struct World {
    pub(super) profiles: ProfileSet,
    pub(super) namespaces: HashMap<String, Namespace>,
    pub(super) default_namespace: String,
    /// What admission plugins read.
    pub(super) facts: Facts,
}

impl Default for World {
    fn default() -> Self {
        let default_namespace = "default".to_owned();
        let (profiles, facts) = (ProfileSet::default(), Facts::default());
        Self { profiles, namespaces: HashMap::new(), default_namespace, facts }
    }
}

impl World {
    /// Adds the object if it is a profile, a namespace, or an object that admission plugins read.
    pub(super) fn take(&mut self, object: &Value, namespace: Option<&str>) -> anyhow::Result<()> {
        let group = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().split('/').next();
        match (group, object.get("kind").and_then(Value::as_str)) {
            (Some("v1"), Some("Namespace")) => {
                let metadata = object.get("metadata").cloned().unwrap_or_default();
                let metadata: ObjectMeta =
                    serde_json::from_value(metadata).context("the Namespace's metadata")?;
                self.add_namespace(&metadata);
            }
            (Some(keys::GROUP), Some("ClusterSidecarProfile")) => {
                self.add_profile(&read(object)?, Scope::Cluster, namespace);
            }
            (Some(keys::GROUP), Some("SidecarProfile")) => {
                self.add_profile(&read(object)?, Scope::Namespace, namespace);
            }
            _ => {
                let own = object.pointer("/metadata/namespace").and_then(Value::as_str).or(namespace);
                self.facts.add(object, own.unwrap_or(&self.default_namespace));
            }
        }
        Ok(())
    }

    pub(super) fn add_namespace(&mut self, metadata: &ObjectMeta) {
        let namespace = namespace_of(metadata);
        self.namespaces.insert(namespace.name.clone(), namespace);
    }

    pub(super) fn add_profile(&mut self, object: &DynamicObject, scope: Scope, namespace: Option<&str>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let own = object.metadata.namespace.as_deref().or(namespace).unwrap_or(&self.default_namespace);
        let owner = (scope == Scope::Namespace).then(|| own.to_owned());
        let (entry, findings) = entry_of(object, scope);
        for finding in findings {
            super::say(format_args!("profile {name:?}: {finding}"));
        }
        self.profiles.insert(owner.as_deref(), &name, entry);
    }
}

fn read(object: &Value) -> anyhow::Result<DynamicObject> {
    serde_json::from_value(object.clone()).context("the profile cannot be read")
}
