//! Outrigger injects native sidecars, init containers, volumes and settings into pods at admission.
//!
//! Modules in reading order; each uses only those above it:
//!
//! 1. [`api`]: resources of users, and all public names.
//! 2. [`json`]: borrowed JSON of a pod; [`quantity`] and [`duration`]: exact Kubernetes quantities, and durations in Go's
//!    format; [`resources`]: requests, limits and quality of service.
//! 3. [`expression`]: CEL in templates and conditions.
//! 4. [`profiles`]: checked and compiled profiles, and the indexed set of them.
//! 5. [`engine`]: [`engine::inject`], the entry point of a decision.
//!
//! These modules do no I/O, read no clock and do not wait. The others, behind the feature `server`, connect them to the
//! cluster: certificates, watches, the webhook, the command line.

pub mod api;
pub mod duration;
pub mod engine;
pub mod expression;
pub(crate) mod fields;
pub mod json;
pub mod profiles;
pub mod quantity;
pub mod resources;
pub mod string_map;
pub(crate) mod validation;

#[cfg(feature = "server")]
pub mod certificates;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub(crate) mod controller;
#[cfg(feature = "server")]
pub(crate) mod polling;
#[cfg(feature = "server")]
pub mod supervise;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
#[cfg(test)]
pub(crate) mod testing;
#[cfg(feature = "server")]
pub mod webhook;
#[cfg(feature = "server")]
pub(crate) mod workload;
#[cfg(feature = "server")]
pub(crate) mod yaml;
