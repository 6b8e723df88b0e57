//! Outrigger injects native sidecars, init containers, volumes and settings into pods at admission.
//!
//! The modules in reading order; each uses only those above it:
//!
//! 1. [`api`]: what users write, and every name that they touch.
//! 2. [`json`]: a pod's JSON as it came; [`quantity`] and [`duration`]: exact Kubernetes quantities, and
//!    durations as Go reads them.
//! 3. [`profiles`]: a profile, checked and compiled; the set of all profiles, indexed.
//! 4. [`engine`]: [`engine::inject`], the one entry point of a decision.
//!
//! Up to here nothing does I/O, reads a clock or waits. The rest, behind the feature `server`, is the
//! shell around it: certificates, watches, the webhook, the command line.

pub mod api;
pub mod duration;
pub mod engine;
pub(crate) mod fields;
pub mod json;
pub mod profiles;
pub mod quantity;

#[cfg(feature = "server")]
pub mod certificates;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod controller;
#[cfg(feature = "server")]
pub mod supervise;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod webhook;
