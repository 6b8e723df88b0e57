use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use super::finding::Findings;
use crate::api::Match;

/// The pods that get a profile without asking for it.
#[derive(Clone, Debug)]
pub struct Matching {
    namespace: Selector,
    pod: Selector,
}

impl Matching {
    /// Whether a pod with these labels, in a namespace with those, gets the profile.
    pub fn matches(&self, namespace: &BTreeMap<String, String>, pod: &BTreeMap<String, String>) -> bool {
        self.namespace.matches(namespace) && self.pod.matches(pod)
    }

    pub(super) fn read(matching: &Match, findings: &mut Findings) -> Self {
        Self {
            namespace: selector(
                "spec.match.namespaceSelector",
                matching.namespace_selector.as_ref(),
                findings,
            ),
            pod: selector("spec.match.podSelector", matching.pod_selector.as_ref(), findings),
        }
    }
}

impl std::fmt::Display for Matching {
    /// What matched, for people: `namespaceSelector mesh=on, podSelector app`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.namespace.selects_all(), self.pod.selects_all()) {
            (true, true) => f.write_str("every pod"),
            (false, true) => write!(f, "namespaceSelector {}", self.namespace),
            (true, false) => write!(f, "podSelector {}", self.pod),
            (false, false) => write!(f, "namespaceSelector {}, podSelector {}", self.namespace, self.pod),
        }
    }
}

/// An absent selector selects everything, as an empty one does.
fn selector(path: &str, given: Option<&LabelSelector>, findings: &mut Findings) -> Selector {
    let requirements = given.and_then(|given| given.match_expressions.as_deref()).unwrap_or_default();
    for (index, requirement) in requirements.iter().enumerate() {
        let has_values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
        let problem = match (requirement.operator.as_str(), has_values) {
            ("In" | "NotIn", true) | ("Exists" | "DoesNotExist", false) => continue,
            ("In" | "NotIn", false) => "In and NotIn need values",
            ("Exists" | "DoesNotExist", true) => "Exists and DoesNotExist take no values",
            _ => "the operator must be In, NotIn, Exists or DoesNotExist",
        };
        findings.error(format!("{path}.matchExpressions[{index}]"), problem);
    }
    let read = given.cloned().map(Selector::try_from).transpose();
    // What cannot be read is reported above.
    read.ok().flatten().unwrap_or_default()
}
