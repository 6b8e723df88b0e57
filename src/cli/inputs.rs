//! The profiles and namespaces that apply to manifests, from files or from a cluster.

use std::collections::HashMap;

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::Value;

use super::in_force::InForce;
use super::messages::print_message;
use crate::api::{Scope, keys};
use crate::cluster::{entry_of, namespace_of};
use crate::engine::Namespace;
use crate::profiles::ProfileSet;
use crate::workload::Facts;

/// The profiles and namespaces that apply.
pub(super) struct Inputs {
    pub(super) profiles: ProfileSet,
    pub(super) namespaces: HashMap<String, Namespace>,
    pub(super) default_namespace: String,
    /// Objects that admission plugins read.
    pub(super) facts: Facts,
    /// Creation times of profiles, by namespace (none for those of the cluster) and name, in RFC 3339.
    pub(super) profiles_since: HashMap<(Option<String>, String), String>,
    /// Times at which namespaces got the label that enables them, in RFC 3339.
    pub(super) enabled_since: HashMap<String, String>,
    /// The settings of the cluster's webhooks; `None` without a cluster.
    pub(super) in_force: Option<InForce>,
}

impl Default for Inputs {
    fn default() -> Self {
        let default_namespace = "default".to_owned();
        Self {
            profiles: ProfileSet::default(),
            namespaces: HashMap::new(),
            default_namespace,
            facts: Facts::default(),
            profiles_since: HashMap::new(),
            enabled_since: HashMap::new(),
            in_force: None,
        }
    }
}

impl Inputs {
    /// Returns whether [`Self::take`] adds an object.
    pub(super) fn reads(object: &Value) -> bool {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let (group, kind) = (text("apiVersion").split('/').next(), text("kind"));
        (text("apiVersion") == "v1" && kind == "Namespace")
            || group == Some(keys::GROUP)
            || Facts::reads(kind)
    }

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
        let label = format!("f:{}", keys::INJECT);
        let entries = metadata.managed_fields.iter().flatten();
        let labelled = entries.filter(|entry| {
            let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:metadata/f:labels"));
            fields.is_some_and(|labels| labels.get(&label).is_some())
        });
        if let Some(since) = labelled.filter_map(|entry| entry.time.as_ref()).map(written).max() {
            self.enabled_since.insert(namespace.name.clone(), since);
        }
        self.namespaces.insert(namespace.name.clone(), namespace);
    }

    pub(super) fn add_profile(&mut self, object: &DynamicObject, scope: Scope, namespace: Option<&str>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let own = object.metadata.namespace.as_deref().or(namespace).unwrap_or(&self.default_namespace);
        let owner = (scope == Scope::Namespace).then(|| own.to_owned());
        let (entry, findings) = entry_of(object, scope);
        for finding in findings {
            print_message(format_args!("profile {name:?}: {finding}"));
        }
        self.profiles.insert(owner.as_deref(), &name, entry);
        if let Some(since) = object.metadata.creation_timestamp.as_ref().map(written) {
            self.profiles_since.insert((owner, name), since);
        }
    }
}

/// Formats a time in RFC 3339, like the API server.
fn written(time: &Time) -> String {
    serde_json::to_value(time).ok().and_then(|time| time.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read(object: &Value) -> anyhow::Result<DynamicObject> {
    serde_json::from_value(object.clone()).context("the profile cannot be read")
}
