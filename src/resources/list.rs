use std::borrow::Cow;

use super::{CPU, MEMORY};
use crate::quantity::Quantity;

/// Quantities by the name of their resource: `cpu` in cores, `memory` in bytes, `hugepages-2Mi`, `ephemeral-storage`,
/// `example.com/device` …
///
/// A sorted list, because a pod has few resources and every request computes with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceList(Vec<(Cow<'static, str>, Quantity)>);

impl ResourceList {
    /// Returns an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the quantity of a resource.
    pub fn get(&self, resource: &str) -> Option<Quantity> {
        self.position(resource).ok().and_then(|at| self.0.get(at)).map(|(_, quantity)| *quantity)
    }

    /// Returns the resources, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(resource, quantity)| (resource.as_ref(), *quantity))
    }

    /// Checks whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of resources.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sets the quantity of a resource to the result of `merged` for the existing and the new quantity.
    pub(super) fn merge(
        &mut self,
        resource: &str,
        quantity: Quantity,
        merged: impl FnOnce(Quantity, Quantity) -> Quantity,
    ) {
        match self.position(resource) {
            Ok(at) => {
                if let Some((_, there)) = self.0.get_mut(at) {
                    *there = merged(*there, quantity);
                }
            }
            Err(at) => self.0.insert(at, (named(resource), quantity)),
        }
    }

    /// Sets the quantity of a resource.
    pub(super) fn set(&mut self, resource: &str, quantity: Quantity) {
        self.merge(resource, quantity, |_, new| new);
    }

    /// Sets the quantity of a resource if it is not set.
    pub(crate) fn set_if_absent(&mut self, resource: &str, quantity: Quantity) {
        self.merge(resource, quantity, |there, _| there);
    }

    /// Changes all quantities.
    pub(super) fn change(&mut self, change: impl Fn(&str, Quantity) -> Quantity) {
        for (resource, quantity) in &mut self.0 {
            *quantity = change(resource, *quantity);
        }
    }

    fn position(&self, resource: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(resource))
    }
}

impl<S: AsRef<str>> FromIterator<(S, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (S, Quantity)>>(pairs: I) -> Self {
        let mut list = Self::new();
        for (resource, quantity) in pairs {
            list.set(resource.as_ref(), quantity);
        }
        list
    }
}

/// Returns the name without an allocation for the two resources that every pod has.
fn named(resource: &str) -> Cow<'static, str> {
    match resource {
        CPU => Cow::Borrowed(CPU),
        MEMORY => Cow::Borrowed(MEMORY),
        other => Cow::Owned(other.to_owned()),
    }
}
