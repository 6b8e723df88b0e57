//! Bounds of a namespace on the resources of pods: `LimitRange` and `ResourceQuota`.

mod limit_range;
mod quota;

use serde_json::Value;

pub(crate) use limit_range::limit_range;
pub(crate) use quota::quota;

use super::resources::{containers_of, level_of, list_of, quantity};
use crate::quantity::Quantity;
use crate::resources::{ContainerDemand, PodLevel, ResourceList, effective_limits, effective_requests};

/// Bound that a pod exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// ContainerDemand that is out of bounds; `None` for the pod as a whole.
    pub(crate) container: Option<String>,
    /// Cause, with the value and the bound.
    pub(crate) message: String,
}

/// Resources of a pod's spec.
struct PodResources {
    containers: Vec<ContainerDemand>,
    level: Option<PodLevel>,
    overhead: ResourceList,
}

impl PodResources {
    fn of(spec: &Value) -> Self {
        Self { containers: containers_of(spec), level: level_of(spec), overhead: list_of(spec, "overhead") }
    }

    /// Returns the requests and limits of the whole pod, with the overhead of its runtime class.
    fn totals(&self) -> (ResourceList, ResourceList) {
        let (containers, level) = (&self.containers, self.level.as_ref());
        (
            effective_requests(containers, level, &self.overhead),
            effective_limits(containers, level, &self.overhead),
        )
    }
}

/// Returns the quantities of a map in an object.
fn bounds(object: &Value, name: &str) -> Vec<(String, Quantity)> {
    let map = object.get(name).and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(resource, value)| Some((resource.clone(), quantity(value)?))).collect()
}
