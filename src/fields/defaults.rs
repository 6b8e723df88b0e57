//! Defaults that the API server sets for missing fields of containers and volumes.
//!
//! Source: `pkg/apis/core/v1/defaults.go` and `zz_generated.defaults.go` (`SetObjectDefaults_Pod`) of Kubernetes v1.35.4.
//! Defaults that depend on other fields are in code beside the table: [`pull_policy`], `requests` that are set from `limits`
//! and `hostPort` on the node's network.

use crate::json::Json;

/// Default value.
#[derive(Clone, Copy, Debug)]
enum Default {
    Text(&'static str),
    Number(i64),
    Bool(bool),
    /// Empty object, which the API server writes for a structure that is always present.
    Empty,
}

use self::Default::{Bool, Empty, Number, Text};

/// Name of the object's own field, the field with the default, and the default. An element of a list has the name of the list;
/// a container and a volume have [`CONTAINER`] and [`VOLUME`].
const DEFAULTS: [(&str, &str, Default); 43] = [
    // SetDefaults_Container
    (CONTAINER, "terminationMessagePath", Text("/dev/termination-log")),
    (CONTAINER, "terminationMessagePolicy", Text("File")),
    // Structures without `omitempty`, which the API server always writes.
    (CONTAINER, "resources", Empty),
    ("spec", "resources", Empty),
    ("resourceFieldRef", "divisor", Text("0")),
    // SetObjectDefaults_Pod
    ("ports", "protocol", Text("TCP")),
    ("fileKeyRef", "optional", Bool(false)),
    ("grpc", "service", Text("")),
    // SetDefaults_ObjectFieldSelector
    ("fieldRef", "apiVersion", Text("v1")),
    // SetDefaults_Probe
    ("livenessProbe", "timeoutSeconds", Number(1)),
    ("livenessProbe", "periodSeconds", Number(10)),
    ("livenessProbe", "successThreshold", Number(1)),
    ("livenessProbe", "failureThreshold", Number(3)),
    ("readinessProbe", "timeoutSeconds", Number(1)),
    ("readinessProbe", "periodSeconds", Number(10)),
    ("readinessProbe", "successThreshold", Number(1)),
    ("readinessProbe", "failureThreshold", Number(3)),
    ("startupProbe", "timeoutSeconds", Number(1)),
    ("startupProbe", "periodSeconds", Number(10)),
    ("startupProbe", "successThreshold", Number(1)),
    ("startupProbe", "failureThreshold", Number(3)),
    // SetDefaults_HTTPGetAction
    ("httpGet", "path", Text("/")),
    ("httpGet", "scheme", Text("HTTP")),
    // SetDefaults_SecretVolumeSource, and the same for the other volumes of files
    ("secret", "defaultMode", Number(0o644)),
    ("configMap", "defaultMode", Number(0o644)),
    ("downwardAPI", "defaultMode", Number(0o644)),
    ("projected", "defaultMode", Number(0o644)),
    // SetDefaults_ServiceAccountTokenProjection
    ("serviceAccountToken", "expirationSeconds", Number(3600)),
    // SetDefaults_HostPathVolumeSource
    ("hostPath", "type", Text("")),
    // SetDefaults_PersistentVolumeClaimSpec, for an ephemeral volume
    ("spec", "volumeMode", Text("Filesystem")),
    // SetDefaults_Volume
    (VOLUME, "emptyDir", Empty),
    // SetObjectDefaults_Pod
    ("iscsi", "iscsiInterface", Text("default")),
    ("rbd", "pool", Text("rbd")),
    ("rbd", "user", Text("admin")),
    ("rbd", "keyring", Text("/etc/ceph/keyring")),
    ("azureDisk", "cachingMode", Text("ReadWrite")),
    ("azureDisk", "fsType", Text("ext4")),
    ("azureDisk", "readOnly", Bool(false)),
    ("azureDisk", "kind", Text("Shared")),
    ("scaleIO", "storageMode", Text("ThinProvisioned")),
    ("scaleIO", "fsType", Text("xfs")),
    // Also without `omitempty`
    ("iscsi", "lun", Number(0)),
    ("volumeClaimTemplate", "metadata", Empty),
];

/// Name of a container in the table.
pub(crate) const CONTAINER: &str = "containers";
/// Name of a volume in the table.
pub(crate) const VOLUME: &str = "volumes";

/// Checks whether a value is the API server's default for a field of the object.
pub(crate) fn is_default(object: &str, field: &str, value: &Json<'_>) -> bool {
    DEFAULTS.iter().filter(|(of, name, _)| *of == object && *name == field).any(|(.., default)| match default
    {
        Text(text) => value.as_str() == Some(text),
        Number(number) => value.as_i64() == Some(*number),
        Bool(flag) => value.as_bool() == Some(*flag),
        Empty => value.as_object().is_some_and(|fields| fields.iter().all(|(_, value)| value.is_null())),
    })
}

/// Returns the fields of an object that have a default, with the default.
#[cfg(feature = "server")]
pub(crate) fn of(object: &str) -> impl Iterator<Item = (&'static str, serde_json::Value)> {
    DEFAULTS.iter().filter(move |(of, ..)| *of == object).map(|(_, name, default)| {
        let value = match default {
            Text(text) => (*text).into(),
            Number(number) => (*number).into(),
            Bool(flag) => (*flag).into(),
            Empty => serde_json::Value::Object(serde_json::Map::new()),
        };
        (*name, value)
    })
}

/// Returns the `imagePullPolicy` of an image (`SetDefaults_Container`): Always for the tag `latest`, which also is the tag
/// of an image without tag and digest, else `IfNotPresent`.
pub(crate) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // The port of a registry also follows a colon, but precedes the last slash.
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

/// Checks whether the API server omits the value when it serializes the object. Pointers keep their zero: `runAsUser: 0` and
/// `allowPrivilegeEscalation: false` are values.
pub(crate) fn is_left_out(field: &str, value: &Json<'_>) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(flag) => !flag && matches!(field, "readOnly" | "stdin" | "stdinOnce" | "tty"),
        Json::Number(number) => {
            number.as_f64() == Some(0.0)
                && (matches!(field, "initialDelaySeconds" | "hostPort" | "partition")
                    || field.ends_with("Threshold")
                    || matches!(field, "timeoutSeconds" | "periodSeconds"))
        }
        Json::Str(text) => {
            text.is_empty() && !matches!(field, "storageClassName" | "volumeAttributesClassName")
        }
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty() && (super::lists::is_map(field) || field == "resources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pull_policy_depends_on_the_tag() {
        for image in ["redis", "redis:latest", "registry:5000/redis", "registry:5000/a/redis:latest"] {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in ["redis:7", "registry:5000/redis:7", "redis@sha256:00", "redis:7@sha256:00"] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }

    #[test]
    fn defaults_are_compared_exactly() {
        let is = |object, field, value: serde_json::Value| is_default(object, field, &Json::from(&value));
        assert!(is("secret", "defaultMode", json!(420)));
        assert!(!is("secret", "defaultMode", json!(0)));
        assert!(is(CONTAINER, "resources", json!({})));
        assert!(!is(CONTAINER, "resources", json!({ "claims": [] })));
        assert!(!is("containers", "initialDelaySeconds", json!(0)));
    }
}
