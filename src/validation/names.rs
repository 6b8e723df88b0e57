//! The formats of names and paths, as in `apimachinery/pkg/util/validation`.

use std::net::Ipv6Addr;

use crate::api::is_dns_label;

/// Rules of the formats, for messages.
pub(super) const DNS_LABEL: &str = "is not a DNS label; use at most 63 lowercase letters, digits and '-', with a letter or digit at both ends";
pub(super) const SUBDOMAIN: &str = "is not a DNS subdomain; use at most 253 lowercase letters, digits, '-' and '.', with a letter or digit at both ends of each part";
pub(super) const QUALIFIED: &str = "is not a qualified name; use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, after an optional domain and '/'";
pub(super) const LABEL_VALUE: &str = "is not a label value; use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub(super) const PORT_NAME: &str = "is not a port name; use at most 15 lowercase letters, digits and single '-', with at least one letter and no '-' at the ends";
pub(super) const VARIABLE: &str = "is not a variable name; use printable ASCII characters other than '='";
pub(super) const CONFIG_KEY: &str = "is not a key of a ConfigMap or Secret; use at most 253 letters, digits, '-', '_' and '.', and not '..' at the start";
pub(super) const RELATIVE_PATH: &str = "is not a path inside the volume; write a relative path without '..'";
pub(super) const IP: &str = "is not an IP address; write one such as 10.9.8.7 or 2001:db8::1";

pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_subdomain_part)
}

/// Checks whether a text is a part of a DNS subdomain; only the length of the whole subdomain is limited.
fn is_subdomain_part(part: &str) -> bool {
    let is_edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = part.as_bytes();
    bytes.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
        && is_edge(bytes.first())
        && is_edge(bytes.last())
}

/// Checks for a search domain: a subdomain whose parts may start with an underscore and contain more characters.
pub(super) fn is_search_domain(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    let domain = text.strip_suffix('.').unwrap_or(text);
    text == "."
        || (domain.len() <= 253
            && domain.split('.').all(|part| {
                let bytes = part.strip_prefix('_').unwrap_or(part).as_bytes();
                let is_edge = |c: Option<&u8>| c.is_some_and(|c| !matches!(c, b'-' | b'_'));
                bytes.iter().copied().all(is_inner) && is_edge(bytes.first()) && is_edge(bytes.last())
            }))
}

/// Checks for a name of at most 63 characters, after an optional subdomain and a slash.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        None => is_simple_name(text),
        Some((domain, name)) => is_subdomain(domain) && is_simple_name(name),
    }
}

fn is_simple_name(text: &str) -> bool {
    !text.is_empty() && is_label_value(text)
}

/// Checks for a valid label value.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
pub(crate) fn is_label_value(text: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && is_edge(text.chars().next())
        && is_edge(text.chars().last())
}

/// Checks for an IANA service name, as used for ports (RFC 6335).
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label(text)
        && text.chars().any(|c| c.is_ascii_lowercase())
        && !text.contains("--")
}

pub(super) fn is_variable_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=')
}

pub(super) fn is_config_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text != "."
        && !text.starts_with("..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

pub(super) fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Checks for an IP address. The API server accepts leading zeros in a part of an IPv4 address.
pub(super) fn is_ip(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let is_part = |part: &&str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|number| number <= 255)
    };
    (parts.len() == 4 && parts.iter().all(is_part)) || text.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn is_sysctl(text: &str) -> bool {
    let is_edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 253
        && text.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            bytes.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'))
                && is_edge(bytes.first())
                && is_edge(bytes.last())
        })
}

pub(super) fn has_backstep(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Checks whether a path is relative and stays inside its directory.
pub(super) fn is_descending(path: &str) -> bool {
    !path.starts_with('/') && !has_backstep(path)
}

/// Checks for the path of a file in a volume of files. Names that begin with two dots are reserved for the kubelet.
pub(super) fn is_file_path(path: &str) -> bool {
    is_descending(path) && !path.starts_with("..")
}
