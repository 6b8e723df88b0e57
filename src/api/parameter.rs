#![allow(unreachable_pub, reason = "the KubeSchema derive repeats each type inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A typed value that pods and namespaces can set with an annotation.
#[derive(Clone, Debug, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name.matches('^[a-z][a-zA-Z0-9]*$')")
        .message("a parameter's name is a camelCase identifier: a lowercase letter, then letters and digits")
        .field_path(".name"),
    validation = Rule::new("!(self.name in ['in', 'as', 'break', 'const', 'continue', 'else', 'false', 'for', \
        'function', 'if', 'import', 'let', 'loop', 'package', 'namespace', 'null', 'return', 'true', 'var', \
        'void', 'while'])")
        .message("a parameter's name must not be a reserved word of CEL; choose another name")
        .field_path(".name"),
    validation = Rule::new("self.type != 'enum' || (has(self.values) && self.values.size() > 0)")
        .message("a parameter of type enum must list its values in `values`"),
    validation = Rule::new("!has(self.allowedPrefixes) || self.allowedPrefixes.size() == 0 || self.type == 'path'")
        .message("allowedPrefixes is allowed only for type path; remove it, or set type: path")
)]
pub struct Parameter {
    /// Name of the parameter: camelCase, at most 63 letters and digits, not a reserved word of CEL. Pods and namespaces
    /// set the value with the annotation `<profile>.outrigger.dev/<name>`. Expressions read it as `params.<name>`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Type of the value: string, integer, boolean, quantity, duration, enum, path or stringList. A value of a
    /// different type rejects the pod.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Meaning of the value, in one sentence for users who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Value if neither the pod nor its namespace sets one. It must satisfy the rules of the parameter. For stringList,
    /// it can be a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub default: Option<Value>,
    /// Requires the pod or its namespace to set a value. Without one, the profile cannot be applied, and onError
    /// decides about the pod. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Allowed values of a parameter of type enum, at most 64. Required for that type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
    /// Regular expression that a string, a path, or each item of a stringList must match, at most 1024 bytes. It can
    /// match any part of the value; anchor it with `^` and `$`. `\d`, `\s`, `\w` and `\b` match only ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub pattern: Option<String>,
    /// Rule of the pattern in words, for the error message: "must be a host name".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
    /// Allowed directories for a parameter of type path, at most 16. The value must be one of them, or below one of
    /// them. Default: every directory is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub allowed_prefixes: Vec<String>,
    /// Smallest allowed value of an integer, quantity or duration, in the format of the type: 1, 64Mi or 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub minimum: Option<Value>,
    /// Largest allowed value of an integer, quantity or duration, in the format of the type: 16, 512Mi or 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub maximum: Option<Value>,
    /// Sources of the value: Pod, Namespace, or both. Default: both; for a Mandatory profile, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub settable_by: Vec<Source>,
    /// Allows `$(` in values. Default: false, because the kubelet expands `$(NAME)` from the environment of the
    /// container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_expansion: bool,
}

/// Reserved words of CEL, which cannot be identifiers.
/// <https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

impl Parameter {
    /// Maximum length of a pattern, in bytes. The schema above has the same limit.
    pub const LONGEST_PATTERN: usize = 1024;

    /// Returns why the name is not valid. The schema above has the same rule, but profiles from files are not checked
    /// against the schema.
    pub fn name_problem(&self) -> Option<&'static str> {
        let is_identifier = self.name.starts_with(|first: char| first.is_ascii_lowercase())
            && self.name.chars().all(|other| other.is_ascii_alphanumeric());
        match (is_identifier, RESERVED.contains(&self.name.as_str())) {
            (false, _) => Some("is not a camelCase identifier: a lowercase letter, then letters and digits"),
            (_, true) => Some("is a reserved word of CEL"),
            _ => None,
        }
    }
}

/// Type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ParameterType {
    /// Any text.
    String,
    /// A 64-bit integer, such as `8080`.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A Kubernetes quantity, such as `64Mi` or `100m`.
    Quantity,
    /// A duration with units, such as `90s` or `1m30s`.
    Duration,
    /// One of `values`.
    Enum,
    /// An absolute path without `..`, colons and control characters. It is normalized: `/var//log/` becomes `/var/log`.
    Path,
    /// Comma-separated strings, or a JSON array of strings.
    StringList,
}

/// Source of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub enum Source {
    /// An annotation on the pod.
    Pod,
    /// An annotation on the namespace.
    Namespace,
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

fn int_or_string(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-int-or-string": true })
}
