//! Volumes of files: `secret`, `configMap`, `downwardAPI` and `projected`.

use std::collections::BTreeSet;

use super::super::environment::{FIELDS_OF_FILES, field_ref, resource_ref};
use super::super::names::{self, is_file_path};
use super::super::node::{FieldNode, Report, quoted};

const GREATEST_MODE: i64 = 0o777;
/// Bounds of a token's lifetime in seconds: ten minutes and 2^32.
const TOKEN_LIFETIME: (i64, i64) = (600, 1 << 32);

/// Sources that the API server drops by default.
const GATED: [&str; 2] = ["clusterTrustBundle", "podCertificate"];

/// Checks the keys and modes of a Secret or ConfigMap.
pub(super) fn check(source: FieldNode<'_, '_>, report: &mut Report) {
    mode(source, "defaultMode", report);
    source.each("items", |item| key_to_path(item, report));
}

pub(super) fn downward(source: FieldNode<'_, '_>, report: &mut Report) {
    mode(source, "defaultMode", report);
    source.each("items", |item| downward_file(item, report));
}

pub(super) fn projected(volume: FieldNode<'_, '_>, report: &mut Report) {
    mode(volume, "defaultMode", report);
    let mut paths = BTreeSet::new();
    volume.each("sources", |source| {
        let kinds = source.sources(&GATED);
        if kinds.len() > 1 {
            let message =
                format_args!("has several sources, {}; write each as an element", kinds.join(" and "));
            report.invalid(source, message);
        }
        for kind in ["secret", "configMap", "downwardAPI"] {
            source.with(kind, |source| {
                if kind != "downwardAPI" {
                    report.require(source, &["name"]);
                }
                source.each("items", |item| {
                    if kind == "downwardAPI" {
                        downward_file(item, report);
                    } else {
                        key_to_path(item, report);
                    }
                    let path = item.text("path");
                    if !path.is_empty() && !paths.insert(path) {
                        let message =
                            format_args!("{} is written twice in the volume; rename one", quoted(path));
                        report.relation_in(volume, item, message);
                    }
                });
            });
        }
        source.with("serviceAccountToken", |token| {
            report.require(token, &["path"]);
            file_path(token, report);
            report.range(token, "expirationSeconds", TOKEN_LIFETIME.0, TOKEN_LIFETIME.1);
        });
    });
}

/// Checks by `validateKeyToPath`.
fn key_to_path(item: FieldNode<'_, '_>, report: &mut Report) {
    report.require(item, &["key", "path"]);
    file_path(item, report);
    mode(item, "mode", report);
}

/// Checks by `validateDownwardAPIVolumeFile`.
fn downward_file(item: FieldNode<'_, '_>, report: &mut Report) {
    report.require(item, &["path"]);
    file_path(item, report);
    mode(item, "mode", report);
    match item.sources(&["path", "mode", "user"]).as_slice() {
        [] => report.invalid(item, "has no source; set fieldRef or resourceFieldRef"),
        [_] => {}
        several => {
            report.invalid(item, format_args!("has several sources, {}; keep one", several.join(" and ")));
        }
    }
    item.with("fieldRef", |field| field_ref(field, &FIELDS_OF_FILES, report));
    item.with("resourceFieldRef", |field| resource_ref(field, true, report));
}

fn file_path(item: FieldNode<'_, '_>, report: &mut Report) {
    let path = item.text("path");
    if !is_file_path(path) {
        report.field(item, "path", format_args!("{} {}", quoted(path), names::RELATIVE_PATH));
    }
}

fn mode(node: FieldNode<'_, '_>, name: &str, report: &mut Report) {
    if let Some(mode) = node.number(name).filter(|mode| !(0..=GREATEST_MODE).contains(mode)) {
        let message = format_args!(
            "{mode} is not a file mode between 0 and 0777 (octal); in YAML write it with a leading zero, such as 0644"
        );
        report.field(node, name, message);
    }
}
