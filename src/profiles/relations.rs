//! Static checks between profiles: order cycles, unknown names, and containers with the same name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Findings;
use super::{Finding, Profile, ProfileEntry, ProfileSet};
use crate::api::{Position, Scope, nearest};
use crate::fields::Place;

/// Profiles that a pod of one namespace may have together, and their references to each other.
pub struct Relations<'a> {
    set: &'a ProfileSet,
    namespace: Option<&'a str>,
    /// `true` if an order may name a profile that is not installed.
    in_a_cluster: bool,
    visible: BTreeMap<&'a str, &'a ProfileEntry>,
    /// Mandatory profiles and those that they require: neither a pod nor another profile changes their position.
    protected: BTreeSet<&'a str>,
    /// For each profile, those that start after it.
    next: BTreeMap<&'a str, Vec<Edge<'a>>>,
    /// Profiles with a `match`, by the names of their containers.
    matching: BTreeMap<&'a str, Vec<&'a Profile>>,
}

/// Rule by which one profile starts before another.
#[derive(Clone, Copy)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    /// Profile with the rule, and its field.
    by: &'a str,
    field: Field,
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Before,
    After,
    Requires,
}

impl Field {
    fn path(self, index: usize) -> String {
        let field = match self {
            Self::Before => "order.before",
            Self::After => "order.after",
            Self::Requires => "requires",
        };
        format!("spec.{field}[{index}]")
    }
}

impl<'a> Relations<'a> {
    /// Reads the profiles of a namespace; without one, those of the cluster.
    pub fn new(set: &'a ProfileSet, namespace: Option<&'a str>) -> Self {
        let own = namespace.unwrap_or_default();
        let visible: BTreeMap<&str, &ProfileEntry> =
            set.names(own).filter_map(|name| Some((name, set.find(own, name)?))).collect();
        let protected = protected(&visible);
        let mut next: BTreeMap<&str, Vec<Edge<'_>>> = BTreeMap::new();
        let mut matching: BTreeMap<&str, Vec<&Profile>> = BTreeMap::new();
        for profile in visible.values().filter_map(|entry| ready(entry)) {
            for edge in edges(profile).filter(|edge| !edge.is_overruled(&protected)) {
                next.entry(edge.from).or_default().push(edge);
            }
            for (_, container) in containers(profile).filter(|_| profile.matching.is_some()) {
                matching.entry(container).or_default().push(profile);
            }
        }
        Self { set, namespace, in_a_cluster: false, visible, protected, next, matching }
    }

    /// Relaxes the checks for a cluster: an order may name a profile that is not installed, so an unknown name is reported
    /// only if it looks misspelled.
    #[must_use]
    pub fn in_a_cluster(self) -> Self {
        Self { in_a_cluster: true, ..self }
    }

    /// Returns the findings between a profile and the others. An order cycle is an error; all others are warnings. Profiles
    /// that cannot be injected have no findings.
    pub fn of(&self, name: &str) -> Vec<Finding> {
        let mut findings = Findings::default();
        if self.is_beaten(name) {
            findings.warning(
                "metadata.name",
                format!("the Mandatory ClusterSidecarProfile {name:?} beats it, so it is never injected"),
            );
        } else if let Some(profile) = self.visible.get(name).and_then(|entry| ready(entry)) {
            self.absent(profile, &mut findings);
            self.overruled(profile, &mut findings);
            self.against_sides(profile, &mut findings);
            self.cycle(profile, &mut findings);
            self.same_containers(profile, &mut findings);
        }
        findings.into_vec()
    }

    /// Checks whether a namespace's profile has the name of a cluster profile that it cannot shadow.
    fn is_beaten(&self, name: &str) -> bool {
        let scope = self.visible.get(name).map(|entry| match entry {
            ProfileEntry::Ready(profile) => profile.scope,
            ProfileEntry::Invalid(invalid) => invalid.scope,
        });
        self.namespace.is_some() && scope == Some(Scope::Cluster)
    }

    fn absent(&self, profile: &Profile, findings: &mut Findings) {
        for edge in edges(profile) {
            let other = edge.other();
            if self.visible.contains_key(other) || self.is_somewhere(other) {
                continue;
            }
            let hint = nearest(other, self.visible.keys().copied().filter(|near| *near != edge.by))
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            if self.in_a_cluster && hint.is_empty() && edge.field != Field::Requires {
                continue;
            }
            let effect = match edge.field {
                Field::Requires => "and without it this one cannot be injected",
                Field::Before | Field::After => "so this orders nothing",
            };
            let message = format!("there is no profile {other:?} here, {effect}{hint}");
            findings.warning(edge.field.path(edge.index), message);
        }
    }

    /// Checks whether a name exists anywhere: a cluster profile may name a profile of the pod's namespace.
    fn is_somewhere(&self, name: &str) -> bool {
        self.namespace.is_none() && self.set.all().any(|(_, known, _)| known == name)
    }

    /// Warns about an `order.before` without effect, because a protected profile starts first.
    fn overruled(&self, profile: &Profile, findings: &mut Findings) {
        for edge in edges(profile).filter(|edge| edge.is_overruled(&self.protected)) {
            let Some(other) = self.visible.get(edge.to).and_then(|entry| ready(entry)) else { continue };
            if !other.order.after.iter().any(|name| name == edge.by) {
                let message = format!(
                    "{to:?} is Mandatory, or required by a Mandatory profile, and starts first; remove it here, or let {to:?} say order.after {by:?}",
                    to = edge.to,
                    by = edge.by,
                );
                findings.warning(edge.field.path(edge.index), message);
            }
        }
    }

    fn against_sides(&self, profile: &Profile, findings: &mut Findings) {
        let position = |name| Some(ready(self.visible.get(name)?)?.order.position);
        for edge in edges(profile).filter(|edge| !edge.is_overruled(&self.protected)) {
            let Edge { from, to, .. } = edge;
            if (position(from), position(to)) == (Some(Position::Last), Some(Position::First)) {
                findings.error(
                    edge.field.path(edge.index),
                    format!(
                        "the start order is a cycle: {from} → {to} → {from}; {from} has position Last and {to} First, which starts earlier"
                    ),
                );
            }
        }
    }

    /// Reports a cycle for each profile with a rule in it.
    fn cycle(&self, profile: &Profile, findings: &mut Findings) {
        let cycle = self.shortest_cycle(profile.name.as_str());
        let Some(mine) = cycle.iter().find(|edge| edge.by == profile.name.as_str()) else { return };
        let mut names: Vec<&str> = cycle.iter().map(|edge| edge.from).collect();
        names.push(profile.name.as_str());
        let what = if cycle.iter().all(|edge| edge.field == Field::Requires) {
            names.reverse();
            "the profiles require each other in a circle"
        } else {
            "the start order is a cycle"
        };
        findings.error(mine.field.path(mine.index), format!("{what}: {}", names.join(" → ")));
    }

    /// Returns the edges of a shortest path from a profile back to itself; none if there is no such path.
    fn shortest_cycle(&self, start: &str) -> Vec<Edge<'a>> {
        let mut reached: BTreeMap<&str, Edge<'a>> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(name) = waiting.pop_front() {
            for edge in self.next.get(name).into_iter().flatten() {
                if !reached.contains_key(edge.to) {
                    reached.insert(edge.to, *edge);
                    waiting.push_back(edge.to);
                }
            }
        }
        let mut cycle = Vec::new();
        let mut at = start;
        while let Some(edge) = reached.get(at) {
            cycle.push(*edge);
            at = edge.from;
            if at == start {
                break;
            }
        }
        cycle.reverse();
        cycle
    }

    fn same_containers(&self, profile: &Profile, findings: &mut Findings) {
        let Some(own) = &profile.matching else { return };
        for (path, container) in containers(profile) {
            for other in self.matching.get(container).into_iter().flatten() {
                let meets = other.matching.as_ref().is_some_and(|other| own.may_meet(other));
                if other.name != profile.name && meets {
                    findings.warning(
                        path.clone(),
                        format!(
                            "profile \"{}\" has a container {container:?}, too, and both match by themselves; a pod that both match can have only one of them",
                            other.name
                        ),
                    );
                }
            }
        }
    }
}

impl<'a> Edge<'a> {
    /// Checks whether the rule has no effect: an Optional profile cannot start before a protected one.
    fn is_overruled(&self, protected: &BTreeSet<&str>) -> bool {
        self.field == Field::Before && protected.contains(self.to) && !protected.contains(self.by)
    }

    /// Returns the named profile.
    fn other(&self) -> &'a str {
        if self.from == self.by { self.to } else { self.from }
    }
}

/// Returns the Mandatory profiles and the cluster profiles that they require.
fn protected<'a>(visible: &BTreeMap<&'a str, &'a ProfileEntry>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&str> =
        visible.iter().filter(|(_, entry)| entry.is_mandatory()).map(|(name, _)| *name).collect();
    while let Some(name) = waiting.pop() {
        let Some((&name, profile)) =
            visible.get_key_value(name).and_then(|(name, entry)| Some((name, ready(entry)?)))
        else {
            continue;
        };
        if profile.scope == Scope::Cluster && found.insert(name) {
            waiting.extend(profile.requires.iter().map(String::as_str));
        }
    }
    found
}

fn ready(entry: &ProfileEntry) -> Option<&Profile> {
    match entry {
        ProfileEntry::Ready(profile) => Some(profile),
        ProfileEntry::Invalid(_) => None,
    }
}

fn edges(profile: &Profile) -> impl Iterator<Item = Edge<'_>> {
    let by = profile.name.as_str();
    let before = profile.order.before.iter().enumerate().map(move |(index, to)| Edge {
        from: by,
        to,
        by,
        field: Field::Before,
        index,
    });
    let earlier = [(Field::After, &profile.order.after), (Field::Requires, &profile.requires)]
        .into_iter()
        .flat_map(move |(field, names)| {
            names.iter().enumerate().map(move |(index, from)| Edge { from, to: by, by, field, index })
        });
    before.chain(earlier)
}

/// Returns the names of a profile's containers with their fields.
fn containers(profile: &Profile) -> impl Iterator<Item = (String, &str)> {
    [Place::INIT_CONTAINERS, Place::CONTAINERS].into_iter().flat_map(|place| {
        let list = profile.template.list(&place).iter().enumerate();
        list.map(move |(index, element)| {
            (format!("spec.template.spec.{}[{index}].name", place.field()), element.name.as_str())
        })
    })
}

#[cfg(test)]
mod tests;
