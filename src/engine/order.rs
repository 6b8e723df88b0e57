//! The start order of several profiles: step 7 of a decision.
//!
//! First the side of the pod's own init containers, then `before` and `after`, then the name. It does not
//! depend on the order in which profiles were loaded or chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Reason;
use crate::api::Position;
use crate::profiles::Profile;

type Node<'a> = (Position, &'a str);

/// # Errors
/// [`Reason::OrderCycle`] where the profiles ask for what cannot be.
pub(super) fn order(profiles: Vec<Arc<Profile>>) -> Result<Vec<Arc<Profile>>, Reason> {
    if profiles.len() < 2 {
        return Ok(profiles);
    }
    let by_name: BTreeMap<String, Arc<Profile>> =
        profiles.into_iter().map(|profile| (profile.name.to_string(), profile)).collect();
    let mut waiting = predecessors(&by_name);
    let mut ordered = Vec::with_capacity(by_name.len());
    while !waiting.is_empty() {
        let ready: Option<Node<'_>> = waiting
            .iter()
            .filter(|(_, before)| before.is_empty())
            .map(|(name, _)| (by_name.get(*name).map_or(Position::First, |p| p.order.position), *name))
            .min();
        let Some((_, name)) = ready else { return Err(Reason::OrderCycle { path: cycle(&waiting) }) };
        waiting.remove(name);
        for before in waiting.values_mut() {
            before.remove(name);
        }
        ordered.extend(by_name.get(name).cloned());
    }
    Ok(ordered)
}

/// The line that shows the order.
pub(super) fn describe(ordered: &[Arc<Profile>]) -> Reason {
    Reason::Ordered { profiles: ordered.iter().map(|profile| profile.name.to_string()).collect() }
}

/// For every profile those that start before it. A profile that is not there is ignored.
fn predecessors(profiles: &BTreeMap<String, Arc<Profile>>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> =
        profiles.keys().map(|name| (name.as_str(), BTreeSet::new())).collect();
    let mut edge = |from: &str, to: &str| {
        if let (Some((from, _)), Some((to, _))) = (profiles.get_key_value(from), profiles.get_key_value(to)) {
            edges.entry(to.as_str()).or_default().insert(from.as_str());
        }
    };
    for (name, profile) in profiles {
        profile.order.before.iter().for_each(|other| edge(name, other));
        profile.order.after.iter().for_each(|other| edge(other, name));
        profile.requires.iter().for_each(|other| edge(other, name));
        for (other, last) in profiles {
            if profile.order.position == Position::First && last.order.position == Position::Last {
                edge(name, other);
            }
        }
    }
    edges
}

/// Walks from one waiting profile to what it waits for until a name comes again.
fn cycle(waiting: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut next = waiting.keys().next().copied();
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            path.drain(..start);
            path.push(name);
            break;
        }
        path.push(name);
        next = waiting.get(name).and_then(|before| before.iter().next().copied());
    }
    path.reverse();
    path.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Order, ProfileSpec, Scope};

    fn profile(name: &str, position: Position, before: &[&str], after: &[&str]) -> Arc<Profile> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let order = Order { position, before: words(before), after: words(after) };
        let spec = ProfileSpec { order, ..ProfileSpec::default() };
        Arc::new(crate::profiles::compile(name, Scope::Cluster, &spec).unwrap().0)
    }

    fn ordered(profiles: Vec<Arc<Profile>>) -> Result<Vec<String>, String> {
        order(profiles)
            .map(|ordered| ordered.iter().map(|p| p.name.to_string()).collect())
            .map_err(|reason| reason.to_string())
    }

    #[test]
    fn side_then_constraints_then_name_whatever_the_loading_order() {
        let profiles = vec![
            profile("a", Position::Last, &[], &[]),
            profile("b", Position::First, &[], &["d"]),
            profile("c", Position::First, &[], &[]),
            profile("d", Position::First, &["c"], &["absent"]),
        ];
        let mut reversed = profiles.clone();
        reversed.reverse();
        assert_eq!(ordered(profiles).unwrap(), ["d", "b", "c", "a"]);
        assert_eq!(ordered(reversed).unwrap(), ["d", "b", "c", "a"]);
    }

    #[test]
    fn a_cycle_is_printed_as_a_path() {
        let profiles = vec![
            profile("a", Position::First, &["b"], &[]),
            profile("b", Position::First, &["c"], &[]),
            profile("c", Position::First, &["a"], &[]),
            profile("z", Position::First, &[], &[]),
        ];
        assert_eq!(ordered(profiles).unwrap_err(), "the profiles' order is a cycle: a → b → c → a");
    }

    #[test]
    fn a_constraint_against_the_sides_is_a_cycle() {
        let profiles =
            vec![profile("a", Position::First, &[], &["b"]), profile("b", Position::Last, &[], &[])];
        assert_eq!(ordered(profiles).unwrap_err(), "the profiles' order is a cycle: a → b → a");
    }
}
