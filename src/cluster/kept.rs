//! The profiles that the server keeps within its memory limit.
//!
//! The choice depends only on the profiles that exist, so every replica keeps the same ones: in each namespace the first by
//! name, until the namespace's share is used up. The others are parked: they are in the set of profiles, cannot be injected,
//! and their status gives the reason.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Observed, ProfileKey};
use crate::api::{ProfileStatus, Scope};
use crate::profiles::{Finding, ProfileEntry, Quota};

/// Maximum number of parked profiles that are requested at once.
const MOST_RECALLED: usize = 16;

/// Smallest size that a profile is charged, in bytes.
const LEAST: usize = 2 << 10;

/// The profiles of one kind.
pub(super) struct KeptProfiles {
    scope: Scope,
    quota: Quota,
    /// Share of each namespace, as last computed.
    share: usize,
    namespaces: BTreeMap<String, Group>,
}

/// The profiles of one namespace, by name.
#[derive(Default)]
struct Group {
    profiles: BTreeMap<String, Record>,
}

#[derive(Clone)]
struct Record {
    entry: ProfileEntry,
    findings: Arc<[Finding]>,
    fingerprint: [u8; 16],
    /// Size of the compiled profile, in bytes; `None` if it was parked before it was compiled.
    cost: Option<usize>,
    is_parked: bool,
    /// True if its memory is shared with the parsed list; see [`ProfileEntry::copied`].
    is_fresh: bool,
    resource_version: Option<String>,
    generation: Option<i64>,
}

impl Group {
    /// Returns the size of all profiles, in bytes.
    fn asked(&self) -> usize {
        self.profiles.values().map(|record| record.cost.unwrap_or(LEAST)).sum()
    }

    /// Returns the size of the profiles that come before a name, in bytes.
    fn before(&self, name: &str) -> usize {
        let before = (Bound::Unbounded, Bound::Excluded(name));
        self.profiles.range::<str, _>(before).map(|(_, record)| record.cost.unwrap_or(LEAST)).sum()
    }
}

impl KeptProfiles {
    pub(super) fn new(scope: Scope, quota: Quota) -> Self {
        Self { scope, quota, share: quota.namespace, namespaces: BTreeMap::new() }
    }

    /// Returns an empty set with the same limits, for the next list.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.scope, self.quota)
    }

    /// Stores a profile as the API server returns it. A profile whose spec is known from here or from `before` is not compiled
    /// again.
    pub(super) fn apply(
        &mut self,
        mut object: DynamicObject,
        before: Option<&Self>,
        observed: &mut Vec<(ProfileKey, Observed)>,
    ) {
        let key = ProfileKey::of(self.scope, &object.metadata);
        let spec = object.data.get("spec").unwrap_or(&Value::Null);
        let fingerprint = fingerprint(spec);
        let taken = self.namespaces.get(&key.namespace).map_or(0, |group| group.before(&key.name));
        let has_room = |cost: usize| taken.saturating_add(cost) <= self.share;
        let is_same = |record: &&Record| {
            // A parked profile that still exceeds the share stays parked.
            record.fingerprint == fingerprint
                && (!record.is_parked || record.cost.is_some_and(|cost| !has_room(cost)))
        };
        let known = self.get(&key).filter(is_same);
        let known = known.or_else(|| before?.get(&key).filter(is_same)).cloned();
        let mut record = known.unwrap_or_else(|| self.compiled(&key, spec, fingerprint, taken));
        record.resource_version = object.metadata.resource_version.take();
        record.generation = object.metadata.generation;
        let status = object.data.get_mut("status").map(Value::take).unwrap_or_default();
        // A status that cannot be parsed is replaced.
        let status = serde_json::from_value(status).unwrap_or_default();
        observed.push((key.clone(), record.observed(status)));
        let namespace = key.namespace.clone();
        self.namespaces.entry(key.namespace).or_default().profiles.insert(key.name, record);
        self.limit_namespace(&namespace, self.quota.namespace, observed);
    }

    /// Compiles a profile, if its share allows one more.
    fn compiled(&self, key: &ProfileKey, spec: &Value, fingerprint: [u8; 16], taken: usize) -> Record {
        let is_parked = taken + LEAST > self.quota.namespace;
        let ((entry, findings), cost) = if is_parked {
            (ProfileEntry::parked(&key.name, key.scope, spec, self.full(&key.namespace)), None)
        } else {
            let (entry, findings) = ProfileEntry::read(&key.name, key.scope, spec);
            let cost = entry.cost();
            ((entry, findings), Some(cost))
        };
        let findings = findings.into();
        let (resource_version, generation) = (None, None);
        Record { entry, findings, fingerprint, cost, is_parked, is_fresh: true, resource_version, generation }
    }

    pub(super) fn remove(&mut self, key: &ProfileKey) {
        if let Some(group) = self.namespaces.get_mut(&key.namespace) {
            group.profiles.remove(&key.name);
            if group.profiles.is_empty() {
                self.namespaces.remove(&key.namespace);
            }
        }
    }

    /// Parks the profiles that exceed the quota.
    pub(super) fn limit(&mut self, observed: &mut Vec<(ProfileKey, Observed)>) {
        self.share = self.quota.share(self.namespaces.values().map(Group::asked));
        let namespaces: Vec<String> = self.namespaces.keys().cloned().collect();
        for namespace in &namespaces {
            self.limit_namespace(namespace, self.share, observed);
        }
    }

    fn limit_namespace(&mut self, namespace: &str, share: usize, observed: &mut Vec<(ProfileKey, Observed)>) {
        let (scope, message) = (self.scope, self.full(namespace));
        let Some(group) = self.namespaces.get_mut(namespace) else { return };
        let mut taken = 0_usize;
        for (name, record) in &mut group.profiles {
            taken = taken.saturating_add(record.cost.unwrap_or(LEAST));
            if record.is_parked || taken <= share {
                continue;
            }
            let (entry, findings) = record.entry.park(message.clone());
            (record.entry, record.findings, record.is_parked) = (entry, findings.into(), true);
            let (namespace, name) = (namespace.to_owned(), name.clone());
            observed.push((ProfileKey { scope, namespace, name }, record.observed(ProfileStatus::default())));
        }
    }

    /// Rewrites the status of parked profiles that fit now. The API server then sends these profiles to every replica again.
    pub(super) fn recall(&mut self, observed: &mut Vec<(ProfileKey, Observed)>) {
        let share = self.share;
        let mut recalled = 0;
        for (namespace, group) in &mut self.namespaces {
            let mut taken = 0_usize;
            for (name, record) in &mut group.profiles {
                taken = taken.saturating_add(record.cost.unwrap_or(LEAST));
                if taken > share || recalled == MOST_RECALLED {
                    break;
                }
                if !record.is_parked {
                    continue;
                }
                recalled += 1;
                (record.entry, record.findings) = {
                    let (entry, findings) = record.entry.park(RECALLED.to_owned());
                    (entry, findings.into())
                };
                let key = ProfileKey { scope: self.scope, namespace: namespace.clone(), name: name.clone() };
                observed.push((key, record.observed(ProfileStatus::default())));
            }
        }
    }

    fn full(&self, namespace: &str) -> String {
        match self.scope {
            Scope::Cluster => "the ClusterSidecarProfiles that come before this one by name use up the servers' memory for them; remove some or make them smaller, or raise profileMemory.cluster of the chart (--profile-memory)".to_owned(),
            Scope::Namespace => format!(
                "the SidecarProfiles of namespace {namespace:?} that come before this one by name use up its share of the servers' memory for them; remove some or make them smaller, or raise profileMemory.namespaced of the chart (--namespaced-profile-memory)"
            ),
        }
    }

    fn get(&self, key: &ProfileKey) -> Option<&Record> {
        self.namespaces.get(&key.namespace)?.profiles.get(&key.name)
    }

    /// Copies newly read profiles to memory of their own; see [`ProfileEntry::copied`].
    pub(super) fn copy_fresh(&mut self) {
        for record in self.namespaces.values_mut().flat_map(|group| group.profiles.values_mut()) {
            if std::mem::take(&mut record.is_fresh) {
                record.entry = record.entry.copied();
            }
        }
    }

    /// Returns the entries of all profiles, each with its namespace and name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str, &ProfileEntry)> {
        self.namespaces.iter().flat_map(|(namespace, group)| {
            let named = |(name, record)| -> (&str, &str, &ProfileEntry) {
                let (name, record): (&String, &Record) = (name, record);
                (namespace, name, &record.entry)
            };
            group.profiles.iter().map(named)
        })
    }
}

const RECALLED: &str = "there is room for it in the servers' memory for profiles again; it is being read";

impl Record {
    fn observed(&self, status: ProfileStatus) -> Observed {
        Observed {
            resource_version: self.resource_version.clone(),
            generation: self.generation,
            status,
            entry: self.entry.clone(),
            findings: self.findings.to_vec(),
            is_parked: self.is_parked,
        }
    }
}

/// Returns the hash by which an unchanged spec is recognized.
fn fingerprint(spec: &Value) -> [u8; 16] {
    struct Hashing(Sha256);
    impl std::io::Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hashing = Hashing(Sha256::new());
    // Hashing does not fail, and every JSON value can be serialized.
    drop(serde_json::to_writer(&mut hashing, spec));
    let hash = hashing.0.finalize();
    let mut fingerprint = [0; 16];
    fingerprint.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    fingerprint
}

#[cfg(test)]
mod tests;
