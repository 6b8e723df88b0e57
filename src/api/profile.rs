#![allow(unreachable_pub, reason = "the KubeSchema derive repeats each type inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Parameter;

/// Spec of a profile for all namespaces.
#[derive(Clone, Debug, Default, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "ClusterSidecarProfile",
    doc = "ClusterSidecarProfile is a profile for the pods of all namespaces: a partial pod (sidecars, init \
           containers, volumes), changes to the pod's own containers, and the rules for both.",
    shortname = "csp",
    category = "outrigger",
    status = "ProfileStatus",
    printcolumn(name = "Adds", type_ = "string", json_path = ".status.adds"),
    printcolumn(name = "Accepted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].status"#),
    printcolumn(name = "Validated", type_ = "string", json_path = r#".status.conditions[?(@.type=="Validated")].status"#, priority = 1),
    printcolumn(name = "Enforced", type_ = "string", json_path = r#".status.conditions[?(@.type=="Enforced")].status"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision", priority = 1),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("a profile's name is a DNS label: at most 63 lowercase letters, digits and hyphens, no dots")
)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct ClusterSidecarProfileSpec {
    /// Spec of the profile.
    pub profile: ProfileSpec,
}

/// Spec of a profile for one namespace.
#[derive(Clone, Debug, Default, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "SidecarProfile",
    namespaced,
    doc = "SidecarProfile is a profile for the pods of its namespace, with the fields of a ClusterSidecarProfile. \
           In its namespace, it overrides the ClusterSidecarProfile of the same name, unless that one is Mandatory.",
    shortname = "sp",
    category = "outrigger",
    status = "ProfileStatus",
    printcolumn(name = "Adds", type_ = "string", json_path = ".status.adds"),
    printcolumn(name = "Accepted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].status"#),
    printcolumn(name = "Validated", type_ = "string", json_path = r#".status.conditions[?(@.type=="Validated")].status"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision", priority = 1),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("a profile's name is a DNS label: at most 63 lowercase letters, digits and hyphens, no dots")
)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct SidecarProfileSpec {
    /// Spec of the profile.
    pub profile: ProfileSpec,
}

/// Changes that a profile makes to pods, the pods that get them, and the handling of conflicts and errors.
#[derive(Clone, Debug, Default, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Purpose of the profile, in one sentence for users who choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// Optional (default): pods can choose the profile and remove it. Mandatory: every pod that it matches gets it,
    /// even if pod or namespace disable injection. Mandatory needs a ClusterSidecarProfile with
    /// match.namespaceSelector.
    #[serde(default)]
    pub enforcement: Enforcement,

    /// Pods that get the profile without choosing it by name, if injection is enabled for them. Absent: only pods that
    /// choose the profile by name get it.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,

    /// Values that pods and namespaces can set with the annotation `<profile>.outrigger.dev/<parameter>`, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,

    /// A partial pod, with the field names of a pod. Allowed fields: metadata.labels, metadata.annotations, and of
    /// spec: initContainers, containers, volumes, imagePullSecrets, hostAliases, dnsConfig, tolerations,
    /// securityContext, shareProcessNamespace, terminationGracePeriodSeconds, readinessGates, resourceClaims and
    /// os.name. Any other field is an error.
    ///
    /// A native sidecar is an init container with restartPolicy: Always. If the pod already has a label, an annotation
    /// or a field of securityContext, the pod's value stays. terminationGracePeriodSeconds is raised, never lowered.
    /// os.name is linux (default) or windows, and selects the pods of that operating system.
    ///
    /// Strings can contain CEL expressions between $[[ and ]]. Containers and volumes can have `when`, a CEL condition.
    /// Containers can have `serviceAccountToken: None`, so that the token of the app is not mounted into them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "open_object")]
    pub template: Map<String, Value>,

    /// Changes to the pod's own containers, at most 64 items. Fields of an item: containers (names or globs such as
    /// "*"; required), initContainers (true includes the pod's own init containers; default: false), when (a CEL
    /// condition that can read `container`), env, envFrom and volumeMounts. Variables that a container already has stay
    /// unchanged. A different mount at the same path is a conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "open_objects")]
    pub app_containers: Vec<Map<String, Value>>,

    /// Rules for annotations of the template that the pod already has, at most 32. The first rule whose keys match
    /// applies. Without a rule, the pod's value stays. Built-in rules: `prometheus.io/*` is a Group, and
    /// `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes` is a List.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub merge_annotations: Vec<MergeAnnotations>,

    /// Text that is mounted as files, without a ConfigMap in the namespace. Each file becomes an annotation of the pod,
    /// which a downwardAPI volume presents as a file. A change of the annotation on a live pod changes the file.
    /// Kubernetes limits all annotations of a pod together to 256 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub files: Vec<Files>,

    /// Position of the profile's init containers and native sidecars in the start order of the pod.
    #[serde(default)]
    pub order: Order,

    /// Names of profiles that are injected with this one and start before it, at most 32. If one of them does not exist
    /// or cannot be applied, this profile cannot be applied either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub requires: Vec<String>,

    /// Handling of pods on the host network, where the profile's ports and packet filter rules would be those of the
    /// node. Skip: admit the pod without the profile, with a warning. Allow: inject the profile. Deny: reject the pod.
    /// Default: Skip; Deny for a Mandatory profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<HostNetwork>,

    /// Native (default): native sidecars are injected as they are. Classic: they become ordinary containers before the
    /// pod's own, for kubelets before 1.29. A Classic sidecar prevents a Job from completing, so the profile cannot be
    /// applied to pods whose restartPolicy is not Always.
    #[serde(default, skip_serializing_if = "is_native")]
    pub sidecar_mode: SidecarMode,

    /// Handling of conflicts: the pod, or an earlier profile, has a different element with the same name. Fail
    /// (default): the profile cannot be applied. Skip: the existing element stays, with a warning, and the rest is
    /// applied.
    #[serde(default)]
    pub on_conflict: OnConflict,

    /// Handling of pods to which the profile cannot be applied. Fail (default): reject the pod. Ignore: admit the pod
    /// without the profile, with a warning.
    #[serde(default)]
    pub on_error: OnError,
}

/// Choice between a profile that pods can remove and one that they cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Enforcement {
    /// Pods can choose the profile by name, and remove it if it matches them.
    #[default]
    Optional,
    /// Every pod that the profile matches gets it.
    Mandatory,
}

/// Selector of pods. All specified parts must match; an empty one matches every pod.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Match {
    /// Selector on the labels of the pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Selector on the labels of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub pod_selector: Option<LabelSelector>,
    /// Conditions in CEL, at most 32; all must be true. They can read `pod`, `namespaceObject`, `profile` and
    /// `cluster`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conditions: Vec<NamedExpression>,
}

/// A CEL expression with a name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct NamedExpression {
    /// Name of the condition in messages, at most 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// CEL expression of at most 4096 characters. Its result must be true or false.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// Rule for annotations of a profile that the pod already has.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct MergeAnnotations {
    /// Key of the annotations, or a glob such as `example.com/*`.
    #[schemars(length(min = 1, max = 317))]
    pub keys: String,
    /// Group: the profile's annotations are set only if the pod has none of them. List: the profile's items are added
    /// to the pod's comma-separated list.
    pub merge: AnnotationMerge,
}

/// Ways to merge annotations of a profile with those that the pod already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum AnnotationMerge {
    /// The profile's annotations are set only if the pod has none of them.
    Group,
    /// The profile's items are added to the pod's comma-separated list.
    List,
}

/// Files in one volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Files {
    /// Name of the volume. Containers mount it with this name.
    #[schemars(length(min = 1, max = 63))]
    pub volume: String,
    /// Text of each file, by file name. The text can contain expressions.
    pub items: BTreeMap<String, String>,
}

/// Position of a profile's init containers in the start order.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Order {
    /// First (default): before the pod's own init containers. Last: after them.
    #[serde(default)]
    pub position: Position,
    /// Names of profiles that start after this one, if they are injected as well. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub before: Vec<String>,
    /// Names of profiles that start before this one, if they are injected as well. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub after: Vec<String>,
}

/// Position relative to the pod's own init containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Position {
    /// Before the pod's own init containers.
    #[default]
    First,
    /// After the pod's own init containers.
    Last,
}

/// Handling of pods with `hostNetwork: true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum HostNetwork {
    /// The pod is admitted without this profile, with a warning.
    #[default]
    Skip,
    /// The profile is injected.
    Allow,
    /// The pod is rejected.
    Deny,
}

/// Form in which native sidecars are injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum SidecarMode {
    /// As init containers with `restartPolicy: Always`.
    #[default]
    Native,
    /// As ordinary containers before the pod's own.
    Classic,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_native(mode: &SidecarMode) -> bool {
    *mode == SidecarMode::Native
}

/// Handling of conflicts: the pod, or an earlier profile, has a different element with the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum OnConflict {
    /// The profile cannot be applied; onError decides what happens to the pod.
    #[default]
    Fail,
    /// The existing element stays, with a warning, and the rest of the profile is applied.
    Skip,
}

/// Handling of pods to which a profile cannot be applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum OnError {
    /// The pod is rejected, with the reason.
    #[default]
    Fail,
    /// The pod is admitted without this profile, with a warning.
    Ignore,
}

/// Observed state of a profile.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ProfileStatus {
    /// The metadata.generation to which this status refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Hash of the spec. Injected pods have it in the annotation outrigger.dev/status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Number of elements of each kind that the profile adds to a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adds: Option<String>,
    /// Conditions of the profile. Accepted: the profile can be injected. Validated: the API server accepts the rendered
    /// profile. Enforced: the webhooks enforce the Mandatory profile. If the status is False, the message has the
    /// reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn open_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true }
    })
}

fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that the object must have, with these values.",
                "type": "object",
                "additionalProperties": { "type": "string" }
            },
            "matchExpressions": {
                "description": "Requirements on labels. All of them must be met.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "description": "Key of the label.", "type": "string" },
                        "operator": {
                            "description": "Relation of the label to the values.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"]
                        },
                        "values": {
                            "description": "Values for In and NotIn. Must be empty for Exists and DoesNotExist.",
                            "type": "array",
                            "items": { "type": "string" }
                        }
                    }
                }
            }
        },
        "x-kubernetes-map-type": "atomic"
    })
}

fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "Type of the condition: Accepted, Validated or Enforced.",
                    "type": "string",
                    "maxLength": 316
                },
                "status": {
                    "description": "Status of the condition: True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "description": "The metadata.generation to which the condition refers.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0
                },
                "lastTransitionTime": {
                    "description": "Time of the last change of the status.",
                    "type": "string",
                    "format": "date-time"
                },
                "reason": {
                    "description": "Reason of the last change, as a CamelCase code.",
                    "type": "string",
                    "maxLength": 1024
                },
                "message": {
                    "description": "Explanation of the reason in words.",
                    "type": "string",
                    "maxLength": 32768
                }
            }
        }
    })
}
