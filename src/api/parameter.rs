#![allow(unreachable_pub, reason = "the KubeSchema derive repeats each type inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value that pods and namespaces may set by annotation.
#[derive(Clone, Debug, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name.matches('^[a-z][a-zA-Z0-9]*$')")
        .message("a parameter's name is a camelCase identifier: a small letter, then letters and digits")
        .field_path(".name"),
    validation = Rule::new("!(self.name in ['in', 'as', 'break', 'const', 'continue', 'else', 'false', 'for', \
        'function', 'if', 'import', 'let', 'loop', 'package', 'namespace', 'null', 'return', 'true', 'var', \
        'void', 'while'])")
        .message("a parameter's name must not be a reserved word of CEL")
        .field_path(".name"),
    validation = Rule::new("self.type != 'enum' || (has(self.values) && self.values.size() > 0)")
        .message("a parameter of type enum lists its values"),
    validation = Rule::new("!has(self.allowedPrefixes) || self.allowedPrefixes.size() == 0 || self.type == 'path'")
        .message("only a parameter of type path has allowedPrefixes")
)]
pub struct Parameter {
    /// The name: a camelCase CEL identifier. Pods set it by the annotation
    /// `<profile>.outrigger.dev/<name>`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The type that a value is checked against.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What the value means, for the person who sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The value where neither pod nor namespace sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub default: Option<Value>,
    /// Whether pod or namespace must set a value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The values of a parameter of type enum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
    /// A regular expression that a string or a path must match somewhere (use `^` and `$` to bind it). `\d`, `\s`, `\w` and
    /// `\b` are of ASCII only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub pattern: Option<String>,
    /// The rule of the pattern in words, for the person whose value does not match: "must be a host name".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
    /// The directories that a parameter of type path must be or be in; any where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub allowed_prefixes: Vec<String>,
    /// The smallest value of an integer, quantity or duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub minimum: Option<Value>,
    /// The largest value of an integer, quantity or duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub maximum: Option<Value>,
    /// Places that may set it: Pod, Namespace. Default: both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub settable_by: Vec<Source>,
    /// Whether a value may contain `$(`, which the kubelet expands from the container's environment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_expansion: bool,
}

/// Words that CEL keeps for itself.
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
    /// The longest pattern, in bytes. The schema above says the same.
    pub const LONGEST_PATTERN: usize = 1024;

    /// Why the name cannot be one. The schema above says the same, but a file on a disk has not met it.
    pub fn name_problem(&self) -> Option<&'static str> {
        let is_identifier = self.name.starts_with(|first: char| first.is_ascii_lowercase())
            && self.name.chars().all(|other| other.is_ascii_alphanumeric());
        match (is_identifier, RESERVED.contains(&self.name.as_str())) {
            (false, _) => Some("is no camelCase identifier: a small letter, then letters and digits"),
            (_, true) => Some("is a reserved word of CEL"),
            _ => None,
        }
    }
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A Kubernetes quantity, such as `64Mi` or `100m`.
    Quantity,
    /// A duration, such as `1m30s`.
    Duration,
    /// One of `values`.
    Enum,
    /// An absolute path without `..`, colons and control characters, in its shortest form.
    Path,
    /// Strings with commas between, or a JSON array of strings.
    StringList,
}

/// Where a parameter's value may come from.
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
