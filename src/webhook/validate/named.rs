//! References by name that a new profile shadows, or that a deleted profile leaves dangling.

use serde_json::value::RawValue;

use crate::api::{Scope, keys};
use crate::cluster::Snapshot;
use crate::engine::Namespace;
use crate::profiles::{Finding, ProfileEntry, ProfileSet, Severity};
use crate::webhook::review::Request;

/// Warns about a namespaced profile that shadows a cluster profile of the same name.
pub(super) fn shadowing(profiles: &ProfileSet, namespace: Option<&str>, name: &str) -> Option<Finding> {
    let namespace = namespace?;
    profiles.find_in(Scope::Cluster, namespace, name)?;
    Some(warning(format!(
        "it takes the place of ClusterSidecarProfile {name:?} for new pods in namespace {namespace:?}, unless that one is Mandatory"
    )))
}

/// Warns about a deleted profile that namespaces or other profiles still name. Names in pods are not known to the server.
pub(super) fn still_named(
    snapshot: &Snapshot,
    request: &Request<'_, &RawValue>,
    scope: Scope,
) -> Vec<Finding> {
    let name: &str = &request.name;
    let in_reach = |namespace: &str| scope == Scope::Cluster || namespace == request.namespace;
    // If the other kind has a profile of that name, the reference resolves to it.
    let is_lost = |namespace: &str| match scope {
        Scope::Cluster => snapshot.profiles.find_in(Scope::Namespace, namespace, name).is_none(),
        Scope::Namespace => snapshot.profiles.find_in(Scope::Cluster, namespace, name).is_none(),
    };
    let names_it = |namespace: &Namespace| {
        let choice = namespace.annotations.get(keys::PROFILES).unwrap_or_default();
        choice.split(',').any(|part| part.trim().trim_start_matches(['+', '-']) == name)
    };
    let all =
        snapshot.namespaces.values().filter(|namespace| in_reach(&namespace.name) && names_it(namespace));
    let mut namespaces: Vec<&str> =
        all.map(|namespace| namespace.name.as_str()).filter(|namespace| is_lost(namespace)).collect();
    namespaces.sort_unstable();
    let requiring = snapshot.profiles.all().filter_map(|(owner, other, entry)| match entry {
        ProfileEntry::Ready(profile)
            if owner.is_none_or(in_reach) && profile.requires.iter().any(|required| required == name) =>
        {
            Some(other)
        }
        _ => None,
    });
    let requiring: Vec<&str> = requiring.collect();
    let mut findings = Vec::new();
    if !namespaces.is_empty() {
        findings.push(warning(format!(
            "{} still name profile {name:?} in the annotation {}, and their new pods will be denied [ProfileNotFound]: {}",
            counted(namespaces.len(), "namespace"),
            keys::PROFILES,
            listed(&namespaces)
        )));
    }
    if !requiring.is_empty() {
        findings.push(warning(format!(
            "{} still require profile {name:?}: {}",
            counted(requiring.len(), "profile"),
            listed(&requiring)
        )));
    }
    findings
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns the first names, and the number of further ones.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 5;
    let first = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn warning(message: String) -> Finding {
    Finding { severity: Severity::Warning, path: "metadata.name".to_owned(), message }
}
