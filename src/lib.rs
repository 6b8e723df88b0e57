//! Outrigger injects native sidecars, init containers, volumes and settings into pods at admission.
//!
//! The modules in reading order; each uses only those above it:
//!
//! 1. [`api`]: what users write, and every name that they touch.
//! 2. [`json`]: a pod's JSON as it came; [`quantity`] and [`duration`]: exact Kubernetes quantities, and
//!    durations as Go reads them; [`resources`]: what a pod requests, and its quality of service.
//! 3. [`expression`]: CEL in templates and conditions.
//! 4. [`profiles`]: a profile, checked and compiled; the set of all profiles, indexed.
//! 5. [`engine`]: [`engine::inject`], the one entry point of a decision.
//!
//! Up to here nothing does I/O, reads a clock or waits. The rest, behind the feature `server`, is the
//! shell around it: certificates, watches, the webhook, the command line.

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
pub mod controller;
#[cfg(feature = "server")]
pub(crate) mod polling;
#[cfg(feature = "server")]
pub mod supervise;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod webhook;
#[cfg(feature = "server")]
pub(crate) mod workload;
#[cfg(feature = "server")]
pub(crate) mod yaml;
