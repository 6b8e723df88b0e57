#![allow(unreachable_pub, reason = "the KubeSchema derive repeats each type inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Parameter;

/// What a cluster's profile injects, and what happens where it does not fit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "ClusterSidecarProfile",
    doc = "What can be injected into the pods of every namespace: a partial pod (sidecars, init containers, \
           volumes), what the pod's own containers get, and the rules for both.",
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
        .message("a profile's name is a DNS label: at most 63 small letters, digits and hyphens, no dots")
)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct ClusterSidecarProfileSpec {
    /// The profile.
    pub profile: ProfileSpec,
}

/// What a namespace's profile injects, and what happens where it does not fit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "SidecarProfile",
    namespaced,
    doc = "What can be injected into the pods of this namespace: as ClusterSidecarProfile, and in its \
           namespace it takes the place of a cluster profile of the same name.",
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
        .message("a profile's name is a DNS label: at most 63 small letters, digits and hyphens, no dots")
)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct SidecarProfileSpec {
    /// The profile.
    pub profile: ProfileSpec,
}

/// What a profile injects, into which pods, and what happens where it does not fit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// What the profile is for, in a sentence, for the person who chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// Optional: pods choose the profile, or it matches and can be taken away. Mandatory: every pod that it
    /// matches has it, whatever pod and namespace say; only a `ClusterSidecarProfile` with a
    /// namespaceSelector can be.
    #[serde(default)]
    pub enforcement: Enforcement,

    /// The pods that get the profile without asking for it, where injection is enabled. Absent: only pods
    /// that ask by name.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,

    /// Values that pods and namespaces may set, by the annotation `<profile>.outrigger.dev/<parameter>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,

    /// A partial pod, with a pod's own field names. It takes: metadata.labels, metadata.annotations and, of
    /// spec, initContainers (a native sidecar is one with restartPolicy: Always), containers, volumes,
    /// imagePullSecrets, hostAliases, dnsConfig, tolerations, securityContext, shareProcessNamespace,
    /// terminationGracePeriodSeconds (raised, never lowered), readinessGates, resourceClaims and os.name
    /// (default: linux). Labels, annotations and keys of securityContext are set where the pod does not
    /// have them. A string may hold CEL between $[[ and ]]; a container or volume may carry `when`, a
    /// condition in CEL, and a container `serviceAccountToken: None`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "open_object")]
    pub template: Map<String, Value>,

    /// What the pod's own containers get. Each item takes: containers (names or globs such as "*"; required),
    /// initContainers (true includes the pod's own init containers), when (a condition in CEL, which may
    /// read `container`), env, envFrom and volumeMounts. What a container sets itself stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "open_objects")]
    pub app_containers: Vec<Map<String, Value>>,

    /// Rules for annotations of the template that the pod has already. Default: each for itself, and the pod's stays;
    /// `prometheus.io/*` is a Group, and `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes` a List.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub merge_annotations: Vec<MergeAnnotations>,

    /// Text that becomes files in the pod, without a ConfigMap in every namespace: annotations of the pod
    /// (256 KiB is Kubernetes' limit for all of them), and a volume that shows them as files. A change of
    /// the annotation on a live pod changes the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub files: Vec<Files>,

    /// Where the profile's init containers and sidecars stand among the others.
    #[serde(default)]
    pub order: Order,

    /// Profiles that come along and start before this one. Where one of them cannot be applied, this one
    /// cannot either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub requires: Vec<String>,

    /// What happens to a pod on the node's own network, whose ports and packet filter rules the profile would
    /// share. Default: Skip; Deny for a Mandatory profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<HostNetwork>,

    /// How native sidecars are injected: as what they are, or, for kubelets before 1.29, as ordinary
    /// containers placed first. Classic ones never let a Job end, so they are refused for pods whose
    /// restartPolicy is not Always.
    #[serde(default, skip_serializing_if = "is_native")]
    pub sidecar_mode: SidecarMode,

    /// What happens where the pod has something else under a name that the profile wants to use.
    #[serde(default)]
    pub on_conflict: OnConflict,

    /// What happens to the pod when the profile cannot be applied to it.
    #[serde(default)]
    pub on_error: OnError,
}

/// Whether pods may do without the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Enforcement {
    /// Pods choose it, or it matches by itself and can be taken away.
    #[default]
    Optional,
    /// No pod that it matches can do without it.
    Mandatory,
}

/// Selects pods. All parts that are given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Match {
    /// Selects by the labels of the pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Selects by the pod's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub pod_selector: Option<LabelSelector>,
    /// CEL expressions over pod, namespaceObject and cluster; all must be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conditions: Vec<NamedExpression>,
}

/// A CEL expression with a name for messages.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct NamedExpression {
    /// The name that messages use.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The expression; it gives true or false.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// Rule for some annotations that the pod may have already.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct MergeAnnotations {
    /// The annotations' key, or a glob such as `example.com/*`.
    #[schemars(length(min = 1, max = 317))]
    pub keys: String,
    /// Group or List.
    pub merge: AnnotationMerge,
}

/// Ways in which annotations of a profile meet those that the pod has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum AnnotationMerge {
    /// Belong together: the profile's are set only where the pod has none of them.
    Group,
    /// Hold a list with commas: the profile's items are added to the pod's.
    List,
}

/// Files in one volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Files {
    /// The volume's name; containers mount it by that name.
    #[schemars(length(min = 1, max = 63))]
    pub volume: String,
    /// The text of each file, by its name.
    pub items: BTreeMap<String, String>,
}

/// Where a profile's init containers stand.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Order {
    /// The side of the pod's own init containers: First starts before them, Last after.
    #[serde(default)]
    pub position: Position,
    /// Profiles that start after this one, where they are injected too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub before: Vec<String>,
    /// Profiles that start before this one, where they are injected too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub after: Vec<String>,
}

/// The side of the pod's own init containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Position {
    /// Before the pod's own init containers.
    #[default]
    First,
    /// After the pod's own init containers.
    Last,
}

/// What happens to a pod with `hostNetwork: true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum HostNetwork {
    /// The pod is admitted without this profile.
    #[default]
    Skip,
    /// The profile is injected all the same.
    Allow,
    /// The pod is denied.
    Deny,
}

/// How native sidecars are injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum SidecarMode {
    /// As init containers with `restartPolicy: Always`.
    #[default]
    Native,
    /// As ordinary containers before the pod's own.
    Classic,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_native(mode: &SidecarMode) -> bool {
    *mode == SidecarMode::Native
}

/// What happens where the pod has something else under a name that the profile uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum OnConflict {
    /// The profile cannot be applied; onError decides what happens to the pod.
    #[default]
    Fail,
    /// The pod's own element stays, and the rest of the profile is applied.
    Skip,
}

/// What happens to a pod when a profile cannot be applied to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum OnError {
    /// The pod is denied, with the reason.
    #[default]
    Fail,
    /// The pod is admitted without this profile, with a warning.
    Ignore,
}

/// What Outrigger has seen of a profile.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ProfileStatus {
    /// The metadata.generation that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A hash of the spec, as it stands in the annotation outrigger.dev/status of pods that got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What the profile adds to a pod, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adds: Option<String>,
    /// Accepted: whether the profile can be injected; its message says what is wrong.
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
                "description": "Labels that must be there with exactly these values.",
                "type": "object",
                "additionalProperties": { "type": "string" }
            },
            "matchExpressions": {
                "description": "Requirements on labels; all must hold.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "description": "The label's key.", "type": "string" },
                        "operator": {
                            "description": "How values are compared.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"]
                        },
                        "values": {
                            "description": "The values for In and NotIn.",
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
                "type": { "description": "The condition's type.", "type": "string", "maxLength": 316 },
                "status": {
                    "description": "Whether it holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "description": "The metadata.generation that the condition speaks of.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0
                },
                "lastTransitionTime": {
                    "description": "When the status changed last.",
                    "type": "string",
                    "format": "date-time"
                },
                "reason": { "description": "A CamelCase code.", "type": "string", "maxLength": 1024 },
                "message": { "description": "The reason, for a person.", "type": "string", "maxLength": 32768 }
            }
        }
    })
}
