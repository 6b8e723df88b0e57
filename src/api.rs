//! User-facing API: the two kinds of profile, and the labels and annotations.
//!
//! Every name that users write or read is defined here, and in no other module.

mod crd;
pub mod keys;
mod names;
mod parameter;
mod profile;
mod status;

pub use crd::crds;
pub use names::{InvalidProfileName, ProfileName, is_dns_label, nearest};
pub use parameter::{Parameter, ParameterType, Source};
pub use profile::{
    AnnotationMerge, ClusterSidecarProfile, ClusterSidecarProfileSpec, Enforcement, Files, HostNetwork,
    Match, MergeAnnotations, NamedExpression, OnConflict, OnError, Order, Position, ProfileSpec,
    ProfileStatus, SidecarMode, SidecarProfile, SidecarProfileSpec,
};
pub use status::{InjectedProfile, InjectionStatus, Replaced, Scope};
