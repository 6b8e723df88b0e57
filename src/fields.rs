//! Names of the parts of a pod, and the keys of list elements, as in Kubernetes.

pub(crate) mod defaults;
pub(crate) mod lists;
pub(crate) mod mount_path;
pub(crate) mod place;

pub(crate) use place::{ContainerField, ContainerKind, DnsList, Map, Place, SpecList};
