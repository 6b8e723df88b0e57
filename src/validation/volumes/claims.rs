//! Claim of an `ephemeral` volume: `ValidatePersistentVolumeClaimTemplate`.

use super::super::choices;
use super::super::names::{self, is_label_value, is_qualified_name, is_subdomain};
use super::super::node::{FieldNode, Report, quoted};
use super::super::resources::quantity;
use crate::api::is_dns_label;
use crate::json::{Json, field, is_empty};

const ACCESS_MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
const SINGLE_POD: &str = "ReadWriteOncePod";

pub(super) fn ephemeral(volume: FieldNode<'_, '_>, report: &mut Report) {
    if !volume.has("volumeClaimTemplate") {
        report.field(volume, "volumeClaimTemplate", "is required; write the claim's spec in it");
    }
    volume.with("volumeClaimTemplate", |template| {
        template.with("metadata", |metadata| metadata_of(metadata, report));
        if !template.has("spec") {
            report.field(template, "spec", "is required; set accessModes and resources.requests.storage");
        }
        template.with("spec", |spec| {
            access_modes(spec, report);
            storage(spec, report);
            spec.with("selector", |selector| label_selector(selector, report));
            report.choice_not_empty(spec, "volumeMode", &choices::VOLUME_MODES);
            for name in ["storageClassName", "volumeAttributesClassName"] {
                let class = spec.text(name);
                if !class.is_empty() && !is_subdomain(class) {
                    report.field(spec, name, format_args!("{} {}", quoted(class), names::SUBDOMAIN));
                }
            }
            for name in ["dataSource", "dataSourceRef"] {
                spec.with(name, |source| data_source(source, report));
            }
            source_pair(spec, report);
        });
    });
}

fn metadata_of(metadata: FieldNode<'_, '_>, report: &mut Report) {
    let is_set = |name: &&str| {
        let value = metadata.get(name);
        value.is_some_and(|value| !is_empty(value) && value.as_str() != Some("") && value.as_i64() != Some(0))
    };
    for name in metadata.sources(&["labels", "annotations"]).into_iter().filter(is_set) {
        report.field(metadata, name, "cannot be set here; only labels and annotations can");
    }
    labels(metadata, "labels", report);
    metadata.entries("annotations", |key, value| {
        if !is_qualified_name(&key.to_ascii_lowercase()) {
            report.invalid(value, format_args!("{} {}", quoted(key), names::QUALIFIED));
        }
    });
}

fn labels(parent: FieldNode<'_, '_>, name: &str, report: &mut Report) {
    parent.entries(name, |key, value| {
        if !is_qualified_name(key) {
            report.invalid(value, format_args!("{} {}", quoted(key), names::QUALIFIED));
        }
        if let Some(text) = value.value.as_str().filter(|text| !is_label_value(text)) {
            report.invalid(value, format_args!("{} {}", quoted(text), names::LABEL_VALUE));
        }
    });
}

fn access_modes(spec: FieldNode<'_, '_>, report: &mut Report) {
    let modes = spec.list("accessModes");
    if modes.is_empty() {
        report.field(spec, "accessModes", "is required; write one such as ReadWriteOnce");
    }
    for mode in modes.iter().filter_map(Json::as_str).filter(|mode| !ACCESS_MODES.contains(mode)) {
        let message =
            format_args!("{} is not supported; write one of {}", quoted(mode), ACCESS_MODES.join(", "));
        report.field(spec, "accessModes", message);
    }
    let is_known = |mode: &&Json<'_>| mode.as_str().is_some_and(|mode| ACCESS_MODES.contains(&mode));
    let singles = modes.iter().filter(|mode| mode.as_str() == Some(SINGLE_POD)).count();
    if singles > 0 && modes.iter().filter(is_known).count() > singles {
        report.field(spec, "accessModes", "ReadWriteOncePod cannot stand beside other modes; keep one");
    }
}

fn storage(spec: FieldNode<'_, '_>, report: &mut Report) {
    let requests = spec.get("resources").and_then(|resources| field(resources, "requests"));
    match requests.and_then(|requests| field(requests, "storage")) {
        None => report.field(spec, "resources.requests.storage", "is required; write a size such as 1Gi"),
        Some(value) => {
            if let Some(size) = quantity(value).filter(|size| size.nanos() <= 0) {
                let message = format_args!("{size} is not positive; write a size such as 1Gi");
                report.field(spec, "resources.requests.storage", message);
            }
        }
    }
}

/// Checks by `ValidateLabelSelector`.
fn label_selector(selector: FieldNode<'_, '_>, report: &mut Report) {
    labels(selector, "matchLabels", report);
    selector.each("matchExpressions", |rule| {
        let (key, operator) = (rule.text("key"), rule.text("operator"));
        let values = rule.list("values");
        if !is_qualified_name(key) {
            report.relation(rule, "key", format_args!("{} {}", quoted(key), names::QUALIFIED));
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                report.relation(rule, "values", "is required beside In and NotIn; write the values");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                report.relation(rule, "values", "cannot stand beside Exists and DoesNotExist; remove it");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let message = format_args!(
                    "{} is not supported; write In, NotIn, Exists or DoesNotExist",
                    quoted(other)
                );
                report.relation(rule, "operator", message);
            }
        }
        for text in values.iter().filter_map(Json::as_str).filter(|text| !is_label_value(text)) {
            report.field(rule, "values", format_args!("{} {}", quoted(text), names::LABEL_VALUE));
        }
    });
}

fn data_source(source: FieldNode<'_, '_>, report: &mut Report) {
    report.require(source, &["name", "kind"]);
    let (group, kind) = (source.text("apiGroup"), source.text("kind"));
    if group.is_empty() && !kind.is_empty() && kind != "PersistentVolumeClaim" {
        let message = format_args!(
            "{} needs an apiGroup; without one only PersistentVolumeClaim is supported",
            quoted(kind)
        );
        report.relation(source, "kind", message);
    }
    let namespace = source.text("namespace");
    if !namespace.is_empty() && !is_dns_label(namespace) {
        report.field(source, "namespace", format_args!("{} {}", quoted(namespace), names::DNS_LABEL));
    }
    if !group.is_empty() && !is_subdomain(group) {
        report.field(source, "apiGroup", format_args!("{} {}", quoted(group), names::SUBDOMAIN));
    }
}

/// Checks that `dataSource` and `dataSourceRef` name the same object, if both are set.
fn source_pair(spec: FieldNode<'_, '_>, report: &mut Report) {
    let (Some(one), Some(other)) = (spec.get("dataSource"), spec.get("dataSourceRef")) else { return };
    if field(other, "namespace").and_then(Json::as_str).is_some_and(|namespace| !namespace.is_empty()) {
        report.relation(spec, "dataSource", "cannot stand beside dataSourceRef.namespace; remove it");
        return;
    }
    let differs = |name| field(one, name).and_then(Json::as_str) != field(other, name).and_then(Json::as_str);
    if ["apiGroup", "kind", "name"].into_iter().any(differs) {
        report.relation(spec, "dataSource", "must be equal to dataSourceRef; remove one of the two");
    }
}
