//! Pods of workloads: the path of the pod template in each kind, the pod as submitted to the webhook, and the injection
//! carried into the pod template.
//!
//! This module does no I/O. [`submitted`] is the only function that turns an object into the pod that the webhook gets; the
//! command line and the advice webhook both use it.

mod admission;
mod bounds;
mod canonical;
mod carry;
mod containers;
mod controllers;
mod facts;
mod foreseen;
mod json;
mod limits;
mod misplaced;
pub(crate) mod pod_security;
mod resources;
mod submitted;
mod tolerations;

pub(crate) use carry::carry;
pub(crate) use containers::{Container, Role, containers};
pub(crate) use facts::Facts;
pub(crate) use foreseen::foreseen;
pub(crate) use misplaced::{MisplacedKey, misplaced};
pub(crate) use submitted::{Submitted, another, may_be_generated, settled, submitted};

/// Returns the JSON pointer of the pod template in an object of a kind; `None` if the kind has no pod template.
pub(crate) fn pod_pointer(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some("/spec/template")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}
