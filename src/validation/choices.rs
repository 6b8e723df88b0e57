//! Allowed values of a pod's fields with a fixed set of them, for the validation and for the JSON Schema of profiles.

pub(super) const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
pub(super) const CACHING_MODES: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
pub(super) const DISK_KINDS: [&str; 3] = ["Shared", "Dedicated", "Managed"];
pub(super) const EXIT_CODE_OPERATORS: [&str; 2] = ["In", "NotIn"];
pub(super) const HOST_PATH_TYPES: [&str; 7] =
    ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
pub(super) const PROC_MOUNTS: [&str; 2] = ["Default", "Unmasked"];
pub(super) const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
pub(super) const PROPAGATIONS: [&str; 3] = ["None", "HostToContainer", "Bidirectional"];
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
pub(super) const RECURSIVE_READ_ONLY: [&str; 3] = ["Disabled", "IfPossible", "Enabled"];
pub(super) const RESIZED_RESOURCES: [&str; 2] = ["cpu", "memory"];
pub(super) const RESIZE_RESTARTS: [&str; 2] = ["NotRequired", "RestartContainer"];
pub(super) const RULE_ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
pub(super) const SCHEMES: [&str; 2] = ["HTTP", "HTTPS"];
pub(super) const TERMINATION_MESSAGES: [&str; 2] = ["File", "FallbackToLogsOnError"];
pub(super) const TOLERATION_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
pub(super) const TOLERATION_OPERATORS: [&str; 4] = ["Equal", "Exists", "Lt", "Gt"];
pub(super) const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

/// Kubernetes type, one of its fields, and the field's allowed values.
type AllowedValues = (&'static str, &'static str, &'static [&'static str]);

/// Fields with a fixed set of values. Most have the empty text as their default.
pub(crate) const CHOICES: [AllowedValues; 20] = [
    ("AppArmorProfile", "type", &PROFILE_TYPES),
    ("AzureDiskVolumeSource", "cachingMode", &CACHING_MODES),
    ("AzureDiskVolumeSource", "kind", &DISK_KINDS),
    ("Container", "imagePullPolicy", &PULL_POLICIES),
    ("Container", "terminationMessagePolicy", &TERMINATION_MESSAGES),
    ("ContainerPort", "protocol", &PROTOCOLS),
    ("ContainerResizePolicy", "resourceName", &RESIZED_RESOURCES),
    ("ContainerResizePolicy", "restartPolicy", &RESIZE_RESTARTS),
    ("ContainerRestartRule", "action", &RULE_ACTIONS),
    ("ContainerRestartRuleOnExitCodes", "operator", &EXIT_CODE_OPERATORS),
    ("HTTPGetAction", "scheme", &SCHEMES),
    ("HostPathVolumeSource", "type", &HOST_PATH_TYPES),
    ("ImageVolumeSource", "pullPolicy", &PULL_POLICIES),
    ("PersistentVolumeClaimSpec", "volumeMode", &VOLUME_MODES),
    ("SeccompProfile", "type", &PROFILE_TYPES),
    ("SecurityContext", "procMount", &PROC_MOUNTS),
    ("Toleration", "effect", &TOLERATION_EFFECTS),
    ("Toleration", "operator", &TOLERATION_OPERATORS),
    ("VolumeMount", "mountPropagation", &PROPAGATIONS),
    ("VolumeMount", "recursiveReadOnly", &RECURSIVE_READ_ONLY),
];
