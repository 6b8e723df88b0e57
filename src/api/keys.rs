//! Labels and annotations under `outrigger.dev`, and those of Kubernetes that a decision reads.

/// The API group of the profile kinds, and the domain of every label and annotation.
pub const GROUP: &str = "outrigger.dev";

/// Label on a namespace or a pod: whether pods are considered. Its values are [`ENABLED`] and [`DISABLED`].
pub const INJECT: &str = "outrigger.dev/inject";
/// Value of [`INJECT`]: consider the pod.
pub const ENABLED: &str = "enabled";
/// Value of [`INJECT`]: leave the pod alone.
pub const DISABLED: &str = "disabled";

/// Annotation on a pod (its choice) or a namespace (the default choice): names of profiles, with commas between.
pub const PROFILES: &str = "outrigger.dev/profiles";

/// Annotation that Outrigger sets on a pod: what was injected, as compact JSON ([`super::InjectionStatus`]).
pub const STATUS: &str = "outrigger.dev/status";
/// Label that Outrigger sets to `"true"` on a pod that it injected.
pub const INJECTED: &str = "outrigger.dev/injected";

/// The domain of the annotations that hold a profile's files: `files.outrigger.dev/<volume>.<file>`.
pub const FILES: &str = "files.outrigger.dev";
/// A name that no profile can have, since [`FILES`] would be the domain of its parameters.
pub const RESERVED_PROFILE: &str = "files";

/// Kubernetes' annotation that names the container which `kubectl logs` and `kubectl exec` mean.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container>
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Kubernetes' annotation on a mirror pod, the API server's image of a kubelet's static pod.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// The autoscaler's annotation that lists volumes whose data may be lost when a pod is evicted.
/// <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-types-of-pods-can-prevent-ca-from-removing-a-node>
pub const SAFE_TO_EVICT_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// The annotations by which many Prometheus configurations find a pod's metrics.
pub const SCRAPE_ANNOTATIONS: &str = "prometheus.io/*";

/// Kubernetes' labels on a node, used in a pod's node selector and affinity: the node's operating system. The second is the
/// old name, which the kubelet still sets.
pub const NODE_OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// The match condition that no object meets, by which a webhook is out of the way. A condition is a field of its own in
/// server-side apply, so an upgrade of the release neither ends it nor meets a conflict.
/// <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions>
pub const DISARMED: &str = "outrigger.dev/disarmed";

/// Annotation on the `MutatingWebhookConfiguration`: the values that profiles read as `cluster`, as JSON, for the command line.
pub const CLUSTER_VALUES: &str = "outrigger.dev/cluster-values";

/// Namespaces that are never injected, whatever the configuration says.
pub const ALWAYS_EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

/// Returns whether a label's or annotation's key is in the domain of Outrigger, known or not.
pub fn is_ours(key: &str) -> bool {
    key.split_once('/')
        .and_then(|(domain, _)| domain.strip_suffix(GROUP))
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
