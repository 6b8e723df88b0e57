//! How Kubernetes names the parts of a pod, and how it tells the elements of its lists apart.

pub(crate) mod defaults;
pub(crate) mod lists;
pub(crate) mod mount_path;
pub(crate) mod place;

pub(crate) use place::{ContainerField, ContainerKind, DnsList, Map, Place, SpecList};
