//! Rules that select pods without a choice.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Expression, Selector};

use super::Failed;
use super::condition::Condition;
use super::finding::Findings;
use crate::api::Match;
use crate::expression::{Budget, ExpressionScope, Reads, Variables};

/// Selectors and conditions for pods that get a profile without a choice.
#[derive(Clone, Debug)]
pub struct Matching {
    namespace: LabelRequirements,
    pod: LabelRequirements,
    conditions: Vec<(String, Condition)>,
    anchors: Vec<Anchor>,
}

/// Requirements of a selector on labels; all must be met.
#[derive(Clone, Debug)]
struct LabelRequirements(Box<[Expression]>);

/// Labels as borrowed pairs, from a pod's review or a stored namespace.
pub type Labels<'l> = [(&'l str, &'l str)];

/// Label that every matching pod, or its namespace, has with one of these values. It is the index key that finds the few
/// profiles among many that can match at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

impl Matching {
    /// Checks whether the selectors select a pod with these labels, in a namespace with those labels.
    pub fn selects(&self, namespace: &Labels<'_>, pod: &Labels<'_>) -> bool {
        self.namespace.hold(namespace) && self.pod.hold(pod)
    }

    /// Checks whether the namespace selector selects a namespace with these labels.
    pub fn selects_namespace(&self, labels: &Labels<'_>) -> bool {
        self.namespace.hold(labels)
    }

    /// Returns the namespace selector in the form of a Kubernetes object.
    pub fn namespace_selector(&self) -> LabelSelector {
        self.namespace.selector().into()
    }

    /// Returns the name of a condition that is false; `None` if all are true. A false condition takes precedence over errors
    /// of others.
    ///
    /// # Errors
    /// The first condition that cannot be evaluated, with its name, if none is false.
    pub fn false_condition(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
    ) -> Result<Option<&str>, (String, Failed)> {
        let mut first_error = None;
        for (name, condition) in &self.conditions {
            match condition.is_true(variables, budget) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(name)),
                Err(failed) => {
                    first_error.get_or_insert((name.clone(), failed));
                }
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// Checks whether there are conditions.
    pub fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Returns a copy without conditions.
    pub(super) fn selectors_only(&self) -> Self {
        Self { conditions: Vec::new(), ..self.clone() }
    }

    /// Checks whether both can select the same pod; conditions are ignored.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        !are_apart(&self.namespace, &other.namespace) && !are_apart(&self.pod, &other.pod)
    }

    /// Checks whether the result depends on the pod itself.
    pub(super) fn reads_pod(&self) -> bool {
        !self.pod.0.is_empty() || self.conditions.iter().any(|(_, c)| Reads::is_from_pod(&c.reads()))
    }

    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    pub(super) fn read(matching: &Match, findings: &mut Findings) -> Self {
        let (namespace, pod) = (matching.namespace_selector.as_ref(), matching.pod_selector.as_ref());
        let mut conditions = Vec::new();
        for (index, given) in matching.conditions.iter().enumerate() {
            let path = format!("spec.match.conditions[{index}].expression");
            let scope = ExpressionScope::default();
            if let Some(condition) = Condition::compile(&given.expression, path, &scope, findings) {
                conditions.push((given.name.clone(), condition));
            }
        }
        Self {
            namespace: selector("spec.match.namespaceSelector", namespace, findings),
            pod: selector("spec.match.podSelector", pod, findings),
            conditions,
            anchors: namespace.into_iter().chain(pod).flat_map(anchors).collect(),
        }
    }
}

impl std::fmt::Display for Matching {
    /// Formats the rules that matched: `namespaceSelector mesh=on, podSelector app, conditions has-containers`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        for (name, requirements) in [("namespaceSelector", &self.namespace), ("podSelector", &self.pod)] {
            if !requirements.0.is_empty() {
                parts.push(format!("{name} {}", requirements.selector()));
            }
        }
        if !self.conditions.is_empty() {
            let names: Vec<&str> = self.conditions.iter().map(|(name, _)| name.as_str()).collect();
            parts.push(format!("conditions {}", names.join(", ")));
        }
        f.write_str(&if parts.is_empty() { "every pod".to_owned() } else { parts.join(", ") })
    }
}

/// Checks whether two selectors require different values of the same label.
fn are_apart(one: &LabelRequirements, other: &LabelRequirements) -> bool {
    let wanted = |requirements: &LabelRequirements| -> Vec<(String, BTreeSet<String>)> {
        let labels = requirements.0.iter().cloned().filter_map(|expression| match expression {
            Expression::Equal(key, value) => Some((key, [value].into())),
            Expression::In(key, values) => Some((key, values)),
            _ => None,
        });
        labels.collect()
    };
    let others = wanted(other);
    wanted(one).iter().any(|(key, values)| {
        others.iter().any(|(other, allowed)| other == key && allowed.is_disjoint(values))
    })
}

fn anchors(selector: &LabelSelector) -> impl Iterator<Item = Anchor> {
    let labels = selector.match_labels.iter().flatten();
    let equal = labels.map(|(key, value)| Anchor { key: key.clone(), values: vec![value.clone()] });
    let requirements = selector.match_expressions.iter().flatten();
    let one_of = requirements.filter(|requirement| requirement.operator == "In").filter_map(|requirement| {
        Some(Anchor { key: requirement.key.clone(), values: requirement.values.clone()? })
    });
    equal.chain(one_of)
}

/// Parses a selector. A missing one selects everything, like an empty one.
fn selector(path: &str, given: Option<&LabelSelector>, findings: &mut Findings) -> LabelRequirements {
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
    // Parse errors are reported above.
    let selector: Selector = read.ok().flatten().unwrap_or_default();
    LabelRequirements(selector.into_iter().collect())
}

impl LabelRequirements {
    fn selector(&self) -> Selector {
        self.0.iter().cloned().collect()
    }

    /// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
    fn hold(&self, labels: &Labels<'_>) -> bool {
        let get = |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        self.0.iter().all(|required| match required {
            Expression::In(key, values) => get(key).is_some_and(|value| values.contains(value)),
            Expression::NotIn(key, values) => get(key).is_none_or(|value| !values.contains(value)),
            Expression::Exists(key) => get(key).is_some(),
            Expression::DoesNotExist(key) => get(key).is_none(),
            Expression::Equal(key, value) => get(key) == Some(value),
            Expression::NotEqual(key, value) => get(key) != Some(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use kube::core::SelectorExt as _;

    #[test]
    fn requirements_match_as_in_the_client_library() {
        let text = |text: &str| text.to_owned();
        let values = || BTreeSet::from([text("a"), text("b")]);
        let requirements = [
            Expression::In(text("key"), values()),
            Expression::NotIn(text("key"), values()),
            Expression::Exists(text("key")),
            Expression::DoesNotExist(text("key")),
            Expression::Equal(text("key"), text("a")),
            Expression::NotEqual(text("key"), text("a")),
        ];
        for required in requirements {
            for value in [None, Some("a"), Some("b"), Some("c"), Some("")] {
                let labels: BTreeMap<String, String> =
                    value.map(|value| (text("key"), text(value))).into_iter().collect();
                let ours = LabelRequirements(Box::new([required.clone()]));
                let pairs: Vec<_> =
                    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                assert_eq!(ours.hold(&pairs), required.matches(&labels), "{required} of {value:?}");
            }
        }
    }
}
