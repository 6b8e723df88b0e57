//! Submitted pod of a workload: the pod that the API server sends to mutating webhooks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::admission::{self, Admission};
use super::canonical;
use super::controllers::{ANOTHER, Created, FIRST, Generated, create};
use super::facts::{Facts, Missing};
use super::resources::fill_pod_level;

/// Pod, with its parts that depend on a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Submitted {
    /// Pod without its status.
    pub(crate) pod: Value,
    /// Pod as its controller, or a user, sends it to the API server.
    pub(crate) created: Value,
    /// Unknown objects that would change the pod if they existed.
    pub(crate) missing: BTreeSet<Missing>,
    /// JSON pointers of values that a controller or the API server generates; the pod has placeholders there.
    pub(crate) placeholders: Vec<String>,
}

/// Returns the first pod that an object's controller would create, as a mutating webhook gets it.
///
/// It is computed in three steps: the controller of the kind, the API server's decoding and defaulting, and the mutating
/// admission plugins that are enabled by default and run before `MutatingAdmissionWebhook`. Source: Kubernetes v1.35.4,
/// `pkg/kubeapiserver/options/plugins.go` for the order of plugins.
///
/// `pointer` is the path of the pod template in the object. Returns `None` if there is no template with a spec.
pub(crate) fn submitted(object: &Value, pointer: &str, namespace: &str, facts: &Facts) -> Option<Submitted> {
    with(object, pointer, namespace, facts, &FIRST)
}

/// Returns another pod of the same object: its generated and counted values all differ from those of the first one.
pub(crate) fn another(object: &Value, pointer: &str, namespace: &str, facts: &Facts) -> Option<Submitted> {
    with(object, pointer, namespace, facts, &ANOTHER)
}

/// Checks whether a text may contain a generated value of the first pod.
pub(crate) fn may_be_generated(text: &str) -> bool {
    // In a name, a suffix follows a hyphen; other zeros are more likely a number.
    [FIRST.uid, FIRST.hash, "-00000"].iter().any(|value| text.contains(value))
}

/// Returns a pod after it was submitted again: with the API server's defaults and the changes of admission plugins.
pub(crate) fn settled(pod: &Value, namespace: &str, facts: &Facts) -> Value {
    let Some(Submitted { mut pod, .. }) = with(pod, "", namespace, facts, &FIRST) else { return pod.clone() };
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        fill_pod_level(spec);
    }
    pod
}

fn with(
    object: &Value,
    pointer: &str,
    namespace: &str,
    facts: &Facts,
    generated: &Generated,
) -> Option<Submitted> {
    let Created { mut pod, placeholders } = create(object, pointer, namespace, generated)?;
    let created = Value::Object(pod.clone());
    canonical::decode(&mut pod, facts.fills_pod_level_first());
    let mut admission = Admission { namespace, facts, generated, missing: BTreeSet::new(), placeholders };
    admission::admit(&mut pod, &mut admission);
    let Admission { missing, placeholders, .. } = admission;
    Some(Submitted { pod: Value::Object(pod), created, missing, placeholders })
}

#[cfg(test)]
mod tests;
