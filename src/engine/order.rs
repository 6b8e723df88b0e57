//! Start order of several profiles: step 7 of a decision.
//!
//! Profiles are sorted by side (before or after the pod's own init containers), then `before` and `after`, then name. The
//! order does not depend on the order in which profiles were loaded or chosen.
//!
//! A protected profile (Mandatory, or required by a Mandatory one) starts before all others, unless its own `after`,
//! `requires` or side says otherwise. An Optional profile then cannot run a container before the protected one has
//! started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reason::Reason;
use super::trace::Trace;
use crate::api::Position;
use crate::profiles::Profile;

/// For each waiting profile, the waiting profiles that start before it.
type Predecessors<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Sorts the profiles by their start order.
///
/// # Errors
/// [`Reason::OrderCycle`] if the profiles' rules form a cycle.
pub(super) fn order(
    profiles: Vec<Arc<Profile>>,
    is_protected: impl Fn(&Profile) -> bool,
    trace: &mut Trace,
) -> Result<Vec<Arc<Profile>>, Reason> {
    if profiles.len() < 2 {
        return Ok(profiles);
    }
    let by_name: BTreeMap<String, Arc<Profile>> =
        profiles.into_iter().map(|profile| (profile.name.to_string(), profile)).collect();
    let protected: BTreeSet<&str> = by_name
        .values()
        .filter(|profile| is_protected(profile))
        .map(|profile| profile.name.as_str())
        .collect();
    let mut waiting = predecessors(&by_name, &protected, trace);
    let mut ordered = Vec::with_capacity(by_name.len());
    while !waiting.is_empty() {
        let position =
            |name: &str| by_name.get(name).map_or(Position::First, |profile| profile.order.position);
        let Some(name) = next(&waiting, &protected, position) else {
            return Err(Reason::OrderCycle { path: cycle(&waiting) });
        };
        waiting.remove(name);
        for before in waiting.values_mut() {
            before.remove(name);
        }
        ordered.extend(by_name.get(name).cloned());
    }
    Ok(ordered)
}

/// Returns the next profile to start. While a protected profile waits, only the profiles that it waits for may precede it.
/// Returns `None` if the profiles form a cycle.
fn next<'a>(
    waiting: &Predecessors<'a>,
    protected: &BTreeSet<&'a str>,
    position: impl Fn(&str) -> Position,
) -> Option<&'a str> {
    let needs = protected
        .iter()
        .filter(|name| waiting.contains_key(*name))
        .map(|&name| (name, ancestors(waiting, name)));
    let first =
        needs.min_by_key(|(name, needs)| (position(name), needs.difference(protected).count(), *name));
    let may_start = |name: &str| first.as_ref().is_none_or(|(_, needs)| needs.contains(name));
    let ready = waiting.iter().filter(|(name, before)| before.is_empty() && may_start(name));
    ready.map(|(name, _)| *name).min_by_key(|name| (position(name), !protected.contains(name), *name))
}

/// Returns a profile and all profiles that start before it.
fn ancestors<'a>(waiting: &Predecessors<'a>, name: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut pending = vec![name];
    while let Some(name) = pending.pop() {
        if found.insert(name) {
            pending.extend(waiting.get(name).into_iter().flatten());
        }
    }
    found
}

/// Returns the trace line with the order.
pub(super) fn describe(ordered: &[Arc<Profile>]) -> Reason {
    Reason::Ordered { profiles: ordered.iter().map(|profile| profile.name.to_string()).collect() }
}

/// Returns, for each profile, those that start before it. Profiles that are not injected are ignored, and so is the `before`
/// of an Optional profile that names a protected one.
fn predecessors<'a>(
    profiles: &'a BTreeMap<String, Arc<Profile>>,
    protected: &BTreeSet<&str>,
    trace: &mut Trace,
) -> Predecessors<'a> {
    let mut edges: Predecessors<'a> = profiles.keys().map(|name| (name.as_str(), BTreeSet::new())).collect();
    let mut edge = |from: &str, to: &str| {
        if let (Some((from, _)), Some((to, _))) = (profiles.get_key_value(from), profiles.get_key_value(to)) {
            edges.entry(to.as_str()).or_default().insert(from.as_str());
        }
    };
    for (name, profile) in profiles {
        for other in &profile.order.before {
            match profiles.get(other) {
                Some(other)
                    if protected.contains(other.name.as_str()) && !protected.contains(name.as_str()) =>
                {
                    if !lets_start_first(other, profile) {
                        let (profile, mandatory) = (name.clone(), other.name.to_string());
                        trace.add(Reason::OrderOverruled { profile, mandatory });
                    }
                }
                _ => edge(name, other),
            }
        }
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

/// Checks whether a protected profile's own rules let another profile start before it.
fn lets_start_first(protected: &Profile, other: &Profile) -> bool {
    protected.order.after.iter().any(|name| *name == other.name.as_str())
        || (other.order.position, protected.order.position) == (Position::First, Position::Last)
}

/// Follows the waiting profiles from one to its predecessor until a name repeats.
fn cycle(waiting: &Predecessors<'_>) -> Vec<String> {
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
        ordered_with(profiles, &[])
    }

    fn ordered_with(profiles: Vec<Arc<Profile>>, protected: &[&str]) -> Result<Vec<String>, String> {
        order(profiles, |profile| protected.contains(&profile.name.as_str()), &mut Trace::default())
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

    #[test]
    fn a_protected_profile_starts_first_whatever_optional_ones_ask_for() {
        let profiles = || {
            vec![
                profile("a", Position::First, &["audit"], &[]),
                profile("b", Position::First, &["a"], &[]),
                profile("audit", Position::First, &[], &[]),
            ]
        };
        assert_eq!(ordered_with(profiles(), &["audit"]).unwrap(), ["audit", "b", "a"]);
        assert_eq!(ordered(profiles()).unwrap(), ["b", "a", "audit"]);
    }

    #[test]
    fn what_a_protected_profile_asks_for_itself_starts_before_it_and_nothing_else() {
        let profiles = vec![
            profile("a", Position::First, &["c"], &[]),
            profile("b", Position::First, &[], &[]),
            profile("c", Position::First, &[], &[]),
            profile("audit", Position::First, &[], &["c"]),
            profile("guard", Position::First, &[], &[]),
        ];
        let order = ordered_with(profiles, &["audit", "guard"]).unwrap();
        assert_eq!(order, ["guard", "a", "c", "audit", "b"]);
    }

    #[test]
    fn a_protected_profile_of_the_last_side_is_the_first_there() {
        let profiles = vec![
            profile("a", Position::First, &[], &[]),
            profile("b", Position::Last, &["audit"], &[]),
            profile("audit", Position::Last, &[], &[]),
        ];
        assert_eq!(ordered_with(profiles, &["audit"]).unwrap(), ["a", "audit", "b"]);
    }
}
