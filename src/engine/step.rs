//! Steps of a decision, in their order.

/// A step of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads the pod: its shape and the elements of an earlier injection.
    Read,
    /// Checks for namespaces and pods that are never injected.
    Exclude,
    /// Checks whether the namespace or the pod enables injection.
    Enable,
    /// Selects the profiles.
    Choose,
    /// Resolves their parameters.
    Parameters,
    /// Finds their start order.
    Order,
    /// Merges them into the pod.
    Merge,
    /// Computes the patch.
    Patch,
    /// Verifies finished pods and changes of live pods.
    Verify,
}
