use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Finding, Profile, Severity};
use crate::api::{Failure, ProfileSpec, Scope};

/// A profile as the set holds it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// It can be injected.
    Ready(Arc<Profile>),
    /// It exists, and cannot be injected.
    Invalid(Arc<InvalidProfile>),
}

/// A profile that exists and cannot be injected.
#[derive(Clone, Debug)]
pub struct InvalidProfile {
    /// Where it is defined.
    pub scope: Scope,
    /// What it says of pods to which it cannot be applied.
    pub on_error: Failure,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl Entry {
    /// Compiles a profile. What is wrong with it is kept, so that a pod that names it learns why.
    pub fn new(name: &str, scope: Scope, spec: &ProfileSpec) -> (Self, Vec<Finding>) {
        match super::compile(name, scope, spec) {
            Ok((profile, warnings)) => (Self::Ready(Arc::new(profile)), warnings),
            Err(findings) => {
                let invalid = InvalidProfile { scope, on_error: spec.on_error, findings: findings.clone() };
                (Self::Invalid(Arc::new(invalid)), findings)
            }
        }
    }

    /// A profile whose spec has the wrong shape at `path`.
    pub fn unreadable(scope: Scope, path: String, message: String) -> (Self, Vec<Finding>) {
        let findings = vec![Finding { severity: Severity::Error, path, message }];
        let invalid = InvalidProfile { scope, on_error: Failure::Fail, findings: findings.clone() };
        (Self::Invalid(Arc::new(invalid)), findings)
    }
}

/// The profiles of a cluster. Which one a name means depends on the namespace: its own `SidecarProfile`
/// takes the place of a `ClusterSidecarProfile` of the same name.
#[derive(Clone, Debug, Default)]
pub struct ProfileSet {
    cluster: BTreeMap<String, Entry>,
    namespaced: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl ProfileSet {
    /// Puts a profile in, in place of one of the same name. `namespace` is `None` for a cluster's profile.
    pub fn insert(&mut self, namespace: Option<&str>, name: &str, entry: Entry) {
        match namespace {
            None => self.cluster.insert(name.to_owned(), entry),
            Some(namespace) => {
                self.namespaced.entry(namespace.to_owned()).or_default().insert(name.to_owned(), entry)
            }
        };
    }

    /// The profile that a name means in a namespace.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.namespaced.get(namespace).and_then(|own| own.get(name)).or_else(|| self.cluster.get(name))
    }

    /// The profile of a name in one scope alone.
    pub fn find_in(&self, scope: Scope, namespace: &str, name: &str) -> Option<&Entry> {
        match scope {
            Scope::Cluster => self.cluster.get(name),
            Scope::Namespace => self.namespaced.get(namespace).and_then(|own| own.get(name)),
        }
    }

    /// The profiles that a namespace can have without naming them: those that match by themselves and are
    /// not shadowed there.
    pub fn automatic<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Profile>> {
        let own = self.namespaced.get(namespace);
        let visible =
            self.cluster.iter().filter(move |(name, _)| own.is_none_or(|own| !own.contains_key(*name)));
        let all = visible.map(|(_, entry)| entry).chain(own.into_iter().flat_map(BTreeMap::values));
        all.filter_map(|entry| match entry {
            Entry::Ready(profile) => profile.matching.is_some().then_some(profile),
            Entry::Invalid(_) => None,
        })
    }

    /// The names that mean a profile in a namespace; a shadowed one comes twice.
    pub fn names<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a str> {
        let own = self.namespaced.get(namespace).into_iter().flat_map(BTreeMap::keys);
        self.cluster.keys().chain(own).map(String::as_str)
    }
}
