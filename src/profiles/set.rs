use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::compile::{compile_within, errors_first};
use super::finding::Findings;
use super::matching::Anchor;
use super::weight::weight;
use super::{Finding, Labels, Matching, Profile};
use crate::api::{Enforcement, OnError, ProfileSpec, Scope};
use crate::expression::{CompileBudget, OverBudget};

/// Profile in a [`ProfileSet`].
#[derive(Clone, Debug)]
pub enum ProfileEntry {
    /// Profile that can be injected.
    Ready(Arc<Profile>),
    /// Profile that exists, but cannot be injected.
    Invalid(Arc<InvalidProfile>),
}

/// Profile that exists, but cannot be injected.
#[derive(Clone, Debug)]
pub struct InvalidProfile {
    /// Name of the profile.
    pub name: String,
    /// Scope of the profile: the cluster or a namespace.
    pub scope: Scope,
    /// Behavior for pods for which it is rejected.
    pub on_error: OnError,
    /// Rules that select pods without a choice.
    pub matching: Option<Matching>,
    /// `true` if matching pods cannot opt out.
    pub mandatory: bool,
    /// Errors and warnings.
    pub findings: Vec<Finding>,
    /// Charge against the server's memory for profiles, in bytes.
    pub cost: usize,
}

/// Fixed charge for an invalid profile, in addition to its findings and selectors, in bytes.
const INVALID: usize = 512;

impl InvalidProfile {
    fn new(name: &str, spec: &ProfileSpec, scope: Scope, findings: Vec<Finding>, compiled: usize) -> Self {
        let (matching, cost) = super::compile::matching(spec);
        let cost = INVALID + cost + texts(&findings);
        Self {
            name: name.to_owned(),
            scope,
            on_error: spec.on_error,
            matching,
            mandatory: spec.enforcement == Enforcement::Mandatory,
            // The work of rejecting it counts as well: a server repeats it on every start.
            cost: cost.max(compiled),
            findings,
        }
    }
}

/// Maximum size in bytes of a namespaced profile's selector that is kept without the profile.
const LARGEST_SELECTOR: usize = 2 << 10;

fn texts(findings: &[Finding]) -> usize {
    findings.iter().map(|finding| size_of::<Finding>() + finding.path.len() + finding.message.len()).sum()
}

impl ProfileEntry {
    /// Compiles a profile. Its errors are kept, so that a pod that names it gets them in the message.
    pub fn new(name: &str, scope: Scope, spec: &ProfileSpec) -> (Self, Vec<Finding>) {
        let mut findings = Findings::default();
        if let Some(profile) = compile_within(name, scope, spec, &mut findings) {
            return (Self::Ready(Arc::new(profile)), findings.into_vec());
        }
        let cost = findings.budget.cost();
        let findings = errors_first(findings.into_vec());
        let invalid = InvalidProfile::new(name, spec, scope, findings.clone(), cost);
        (Self::Invalid(Arc::new(invalid)), findings)
    }

    /// Parses and compiles a profile's spec. If it is too large or has the wrong shape, the profile is invalid.
    pub fn read(name: &str, scope: Scope, spec: &Value) -> (Self, Vec<Finding>) {
        if weight(spec) > CompileBudget::MEMORY {
            let message = OverBudget::Memory.to_string();
            return Self::uncompiled(
                name,
                scope,
                spec,
                vec![Finding::error("spec", message)],
                CompileBudget::MEMORY,
            );
        }
        match serde_path_to_error::deserialize::<_, ProfileSpec>(spec) {
            Ok(spec) => Self::new(name, scope, &spec),
            Err(problem) => {
                let findings =
                    vec![Finding::error(&format!("spec.{}", problem.path()), problem.inner().to_string())];
                Self::unreadable(name, scope, findings)
            }
        }
    }

    /// Returns an entry for a profile that exceeds the server's memory. It selects pods only by its selectors, and such pods
    /// are not admitted without it unless its spec allows that.
    pub fn parked(name: &str, scope: Scope, spec: &Value, message: String) -> (Self, Vec<Finding>) {
        Self::uncompiled(name, scope, spec, vec![Finding::error("spec", message)], 0)
    }

    /// Returns the parked entry for a compiled profile.
    #[must_use]
    pub fn park(&self, message: String) -> (Self, Vec<Finding>) {
        let findings = vec![Finding::error("spec", message)];
        let parked = match self {
            Self::Ready(profile) => InvalidProfile {
                name: profile.name.to_string(),
                scope: profile.scope,
                on_error: profile.on_error,
                matching: profile.matching.as_ref().map(Matching::selectors_only),
                mandatory: profile.mandatory,
                findings: findings.clone(),
                cost: profile.cost,
            },
            Self::Invalid(invalid) => InvalidProfile {
                matching: invalid.matching.as_ref().map(Matching::selectors_only),
                findings: findings.clone(),
                ..InvalidProfile::clone(invalid)
            },
        };
        (Self::Invalid(Arc::new(parked)), findings)
    }

    fn uncompiled(
        name: &str,
        scope: Scope,
        spec: &Value,
        findings: Vec<Finding>,
        cost: usize,
    ) -> (Self, Vec<Finding>) {
        let given = |field: &str| spec.get(field).cloned();
        let selector = |field: &str| {
            let selector = spec.get("match")?.get(field)?;
            // Without a selector, all pods are selected: if it is too large to be kept, no pod is admitted without the
            // profile.
            (scope == Scope::Cluster || weight(selector) <= LARGEST_SELECTOR).then(|| selector.clone())
        };
        let mut few = serde_json::Map::new();
        for (field, value) in [("enforcement", given("enforcement")), ("onError", given("onError"))] {
            few.extend(value.map(|value| (field.to_owned(), value)));
        }
        if spec.get("match").is_some_and(Value::is_object) {
            let selectors = ["namespaceSelector", "podSelector"].into_iter();
            let selectors = selectors.filter_map(|field| Some((field.to_owned(), selector(field)?)));
            few.insert("match".to_owned(), Value::Object(selectors.collect()));
        }
        match serde_json::from_value::<ProfileSpec>(Value::Object(few)) {
            Ok(few) => {
                let invalid = InvalidProfile::new(name, &few, scope, findings.clone(), cost);
                (Self::Invalid(Arc::new(invalid)), findings)
            }
            Err(_) => Self::unreadable(name, scope, findings),
        }
    }

    /// Returns an entry for a profile whose spec has the wrong shape.
    fn unreadable(name: &str, scope: Scope, findings: Vec<Finding>) -> (Self, Vec<Finding>) {
        let invalid = InvalidProfile {
            name: name.to_owned(),
            scope,
            on_error: OnError::Fail,
            matching: None,
            mandatory: false,
            cost: INVALID + texts(&findings),
            findings: findings.clone(),
        };
        (Self::Invalid(Arc::new(invalid)), findings)
    }

    /// Returns a copy in newly allocated memory. Profiles that are kept from a list were allocated between temporary values,
    /// and each would keep a mostly free memory page alive; copies made afterwards are contiguous.
    #[must_use]
    pub fn copied(&self) -> Self {
        match self {
            Self::Ready(profile) => Self::Ready(Arc::new(Profile::clone(profile))),
            Self::Invalid(invalid) => Self::Invalid(Arc::new(InvalidProfile::clone(invalid))),
        }
    }

    /// Returns the rules that select pods without a choice.
    pub fn matching(&self) -> Option<&Matching> {
        match self {
            Self::Ready(profile) => profile.matching.as_ref(),
            Self::Invalid(invalid) => invalid.matching.as_ref(),
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ready(profile) => profile.name.as_str(),
            Self::Invalid(invalid) => &invalid.name,
        }
    }

    /// Returns the charge against the server's memory for profiles, in bytes.
    pub fn cost(&self) -> usize {
        match self {
            Self::Ready(profile) => profile.cost,
            Self::Invalid(invalid) => invalid.cost,
        }
    }

    /// Checks whether the profile's selection or elements may depend on the pod.
    #[cfg(feature = "server")]
    pub(crate) fn reads_pod(&self) -> bool {
        match self {
            Self::Ready(profile) => profile.reads_pod(),
            Self::Invalid(invalid) => invalid.matching.as_ref().is_some_and(Matching::reads_pod),
        }
    }

    fn is_revision(&self, revision: &str) -> bool {
        matches!(self, Self::Ready(profile) if profile.revision == revision)
    }

    /// Checks whether matching pods cannot opt out.
    pub fn is_mandatory(&self) -> bool {
        match self {
            Self::Ready(profile) => profile.mandatory,
            Self::Invalid(invalid) => invalid.mandatory,
        }
    }
}

/// Profiles of a cluster. A name is resolved per namespace: a `SidecarProfile` shadows a `ClusterSidecarProfile` of the same
/// name, unless that one is Mandatory.
#[derive(Clone, Debug, Default)]
pub struct ProfileSet {
    cluster: Scoped,
    namespaced: BTreeMap<String, Scoped>,
}

/// Profiles of one scope, with an index of those with a `match` by a label that they require: of thousands, only those that
/// can match are evaluated.
#[derive(Clone, Debug, Default)]
struct Scoped {
    entries: BTreeMap<String, ProfileEntry>,
    by_label: HashMap<String, HashMap<String, Vec<String>>>,
    by_no_label: Vec<String>,
    /// Last revision before the current one, of Mandatory profiles.
    earlier: BTreeMap<String, Arc<Profile>>,
}

impl Scoped {
    fn insert(&mut self, name: &str, entry: ProfileEntry) {
        if let Some(old) = self.entries.remove(name) {
            self.forget(name, &old);
        }
        if let Some(matching) = entry.matching() {
            // The label shared by the fewest profiles is the most selective index key.
            match matching.anchors().iter().min_by_key(|anchor| self.count(anchor)) {
                None => self.by_no_label.push(name.to_owned()),
                Some(anchor) => {
                    let values = self.by_label.entry(anchor.key.clone()).or_default();
                    for value in &anchor.values {
                        values.entry(value.clone()).or_default().push(name.to_owned());
                    }
                }
            }
        }
        self.entries.insert(name.to_owned(), entry);
    }

    fn forget(&mut self, name: &str, old: &ProfileEntry) {
        self.by_no_label.retain(|known| known != name);
        for anchor in old.matching().map(Matching::anchors).unwrap_or_default() {
            let Some(values) = self.by_label.get_mut(&anchor.key) else { continue };
            for value in &anchor.values {
                if let Some(names) = values.get_mut(value) {
                    names.retain(|known| known != name);
                }
            }
        }
    }

    /// Returns the number of profiles with the anchor's label.
    fn count(&self, anchor: &Anchor) -> usize {
        let Some(by_value) = self.by_label.get(&anchor.key) else { return 0 };
        anchor.values.iter().filter_map(|value| by_value.get(value)).map(Vec::len).sum()
    }

    /// Returns the profiles that may match a pod with these labels, in no particular order.
    fn candidates<'a>(
        &'a self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> impl Iterator<Item = (&'a str, &'a ProfileEntry)> {
        let labelled = labels.filter_map(|(key, value)| self.by_label.get(key)?.get(value)).flatten();
        let names = labelled.chain(&self.by_no_label);
        names.filter_map(|name| self.entries.get_key_value(name)).map(|(name, entry)| (name.as_str(), entry))
    }
}

impl ProfileSet {
    /// Inserts or replaces a profile. `namespace` is `None` for a cluster profile.
    pub fn insert(&mut self, namespace: Option<&str>, name: &str, entry: ProfileEntry) {
        let scoped = match namespace {
            None => &mut self.cluster,
            Some(namespace) => self.namespaced.entry(namespace.to_owned()).or_default(),
        };
        scoped.insert(name, entry);
    }

    /// Returns a copy in newly allocated memory: see [`ProfileEntry::copied`].
    #[must_use]
    pub fn copied(&self) -> Self {
        let mut copy = Self::default();
        for (namespace, name, entry) in self.all() {
            copy.insert(namespace, name, entry.copied());
        }
        copy
    }

    /// Keeps the last revision of a Mandatory cluster profile before the current one, for pods that were injected just before
    /// the change.
    pub fn remember(&mut self, earlier: Arc<Profile>) {
        self.cluster.earlier.insert(earlier.name.to_string(), earlier);
    }

    /// Keeps the previous revisions of profiles that changed since `last`, and those that `last` kept of the others.
    pub fn remember_changed(&mut self, last: &Self) {
        for (name, entry) in &self.cluster.entries {
            let earlier = match last.cluster.entries.get(name) {
                Some(ProfileEntry::Ready(known))
                    if known.mandatory && !entry.is_revision(&known.revision) =>
                {
                    Some(known)
                }
                _ => last.cluster.earlier.get(name),
            };
            if let Some(earlier) = earlier {
                self.cluster.earlier.insert(name.clone(), Arc::clone(earlier));
            }
        }
    }

    /// Returns a cluster profile at an earlier revision, if that is kept.
    pub fn earlier(&self, name: &str, revision: &str) -> Option<Arc<Profile>> {
        self.cluster.earlier.get(name).filter(|earlier| earlier.revision == revision).cloned()
    }

    /// Returns the profile with a name in a namespace.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&ProfileEntry> {
        let cluster = self.cluster.entries.get(name);
        if cluster.is_some_and(ProfileEntry::is_mandatory) {
            return cluster;
        }
        self.namespaced.get(namespace).and_then(|own| own.entries.get(name)).or(cluster)
    }

    /// Returns the profile with a name in one scope only.
    pub fn find_in(&self, scope: Scope, namespace: &str, name: &str) -> Option<&ProfileEntry> {
        let scoped = match scope {
            Scope::Cluster => Some(&self.cluster),
            Scope::Namespace => self.namespaced.get(namespace),
        };
        scoped?.entries.get(name)
    }

    /// Returns the profiles whose `match` selects a pod, sorted by name. Profiles that are shadowed in the namespace are
    /// excluded.
    pub fn selecting<'a>(
        &'a self,
        namespace: &'a str,
        namespace_labels: &Labels<'a>,
        pod_labels: &Labels<'a>,
    ) -> BTreeMap<&'a str, &'a ProfileEntry> {
        let own = self.namespaced.get(namespace);
        let labels = || namespace_labels.iter().chain(pod_labels).copied();
        let cluster = self.cluster.candidates(labels());
        let own_candidates = own.into_iter().flat_map(|own| own.candidates(labels()));
        let shadowed = |name: &str| own.is_some_and(|own| own.entries.contains_key(name));
        let visible = cluster.filter(|(name, entry)| entry.is_mandatory() || !shadowed(name)).chain(
            own_candidates.filter(|(name, _)| {
                self.cluster.entries.get(*name).is_none_or(|cluster| !cluster.is_mandatory())
            }),
        );
        visible
            .filter(|(_, entry)| {
                entry.matching().is_some_and(|matching| matching.selects(namespace_labels, pod_labels))
            })
            .collect()
    }

    /// Returns the profile names of a namespace; a shadowed one is repeated.
    pub fn names<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a str> {
        let own = self.namespaced.get(namespace).into_iter().flat_map(|own| own.entries.keys());
        self.cluster.entries.keys().chain(own).map(String::as_str)
    }

    /// Returns all profiles, those of the cluster first; their namespace is `None`.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &str, &ProfileEntry)> {
        let cluster = self.cluster.entries.iter().map(|(name, entry)| (None, name.as_str(), entry));
        let namespaced = self.namespaced.iter().flat_map(|(namespace, own)| {
            own.entries.iter().map(|(name, entry)| (Some(namespace.as_str()), name.as_str(), entry))
        });
        cluster.chain(namespaced)
    }
}
