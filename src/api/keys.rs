//! Labels and annotations of the domain `outrigger.dev`, and those of Kubernetes that a decision reads.

/// The API group of the profile kinds, and the domain of every label and annotation.
pub const GROUP: &str = "outrigger.dev";

/// Label on a namespace or a pod that turns injection on or off. Its values are [`ENABLED`] and [`DISABLED`].
pub const INJECT: &str = "outrigger.dev/inject";
/// Value of [`INJECT`] that enables injection.
pub const ENABLED: &str = "enabled";
/// Value of [`INJECT`] that disables injection.
pub const DISABLED: &str = "disabled";

/// Annotation on a pod (its choice) or a namespace (the default choice): comma-separated names of profiles.
pub const PROFILES: &str = "outrigger.dev/profiles";

/// Annotation that Outrigger sets on an injected pod: the record of the injection, as compact JSON
/// ([`super::InjectionStatus`]).
pub const STATUS: &str = "outrigger.dev/status";
/// Label that Outrigger sets to `"true"` on a pod that it injected.
pub const INJECTED: &str = "outrigger.dev/injected";

/// Domain of the annotations that contain a profile's files: `files.outrigger.dev/<volume>.<file>`.
pub const FILES: &str = "files.outrigger.dev";
/// Reserved name: the parameters of a profile of this name would have the domain [`FILES`].
pub const RESERVED_PROFILE: &str = "files";

/// Kubernetes' annotation with the default container of `kubectl logs` and `kubectl exec`.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container>
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Kubernetes' annotation on a mirror pod, the API server's copy of a static pod.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// Cluster Autoscaler's annotation that lists volumes whose data may be lost when a pod is evicted.
/// <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-types-of-pods-can-prevent-ca-from-removing-a-node>
pub const SAFE_TO_EVICT_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// Glob of the annotations with which many Prometheus configurations discover a pod's metrics.
pub const SCRAPE_ANNOTATIONS: &str = "prometheus.io/*";

/// Kubernetes' node labels for the operating system, used in node selectors and affinities. The second is the
/// deprecated name, which the kubelet still sets.
pub const NODE_OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// Name of the match condition that is false for every object, which disables a webhook. In server-side apply, each
/// match condition is a field of its own, so an upgrade of the release neither removes it nor conflicts with it.
/// <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions>
pub const DISARMED: &str = "outrigger.dev/disarmed";

/// Annotation on the `MutatingWebhookConfiguration`: the values of the variable `cluster`, as JSON. The command line
/// reads it.
pub const CLUSTER_VALUES: &str = "outrigger.dev/cluster-values";

/// Namespaces that are excluded in every configuration.
pub const ALWAYS_EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

/// Returns whether the key of a label or annotation is in Outrigger's domain or a subdomain of it. The key may be
/// unknown.
pub fn is_ours(key: &str) -> bool {
    key.split_once('/')
        .and_then(|(domain, _)| domain.strip_suffix(GROUP))
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
