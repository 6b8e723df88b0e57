//! Resources of a container: `validateResourceRequirements`. [`crate::resources`] checks requests against limits.

use std::collections::BTreeSet;

use super::names::{self, is_qualified_name};
use super::node::{FieldNode, Report, quoted};
use crate::api::is_dns_label;
use crate::json::Json;
use crate::quantity::Quantity;
use crate::resources::{ContainerDemand, ContainerRole, ResourceList, ResourceProblem, problems};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";
const QUOTA: &str = "requests.";
/// Domain of Kubernetes' own resources; names without a domain belong to it as well.
const NATIVE: &str = "kubernetes.io/";
const NANOS: i128 = 1_000_000_000;

pub(super) fn check(container: FieldNode<'_, '_>, report: &mut Report) {
    container.with("resources", |resources| {
        let (mut has_huge_pages, mut has_standard) = (false, false);
        for list in ["limits", "requests"] {
            resources.entries(list, |name, value| {
                has_huge_pages |= name.starts_with(HUGE_PAGES);
                has_standard |= matches!(name, "cpu" | "memory");
                resource(name, value, report);
            });
        }
        if let Some(problem) = contradiction(container.text("name"), resources) {
            report.relation_in(container, resources, problem);
        }
        if has_huge_pages && !has_standard {
            report.invalid(resources, "huge pages need cpu or memory beside them; request one of the two");
        }
        claims(resources, report);
    });
}

/// Returns the first request that contradicts its limit.
fn contradiction(name: &str, resources: FieldNode<'_, '_>) -> Option<ResourceProblem> {
    let list = |list: &str| {
        let mut amounts = ResourceList::new();
        resources.entries(list, |resource, value| {
            if let Some(amount) = quantity(value.value) {
                amounts.set_if_absent(resource, amount);
            }
        });
        amounts
    };
    let container = ContainerDemand::new(name, ContainerRole::App, list("requests"), list("limits"));
    problems(&[container], None).into_iter().next()
}

/// Returns the quantity, from text or a number.
pub(crate) fn quantity(value: &Json<'_>) -> Option<Quantity> {
    match value {
        Json::Number(number) => number.to_string().parse().ok(),
        _ => value.as_str()?.parse().ok(),
    }
}

fn resource(name: &str, value: FieldNode<'_, '_>, report: &mut Report) {
    if !is_resource(name) {
        let message = format_args!(
            "{} is not a container's resource; write cpu, memory, ephemeral-storage, hugepages-<size> or a device as example.com/name",
            quoted(name)
        );
        report.invalid(value, message);
    }
    let Some(amount) = quantity(value.value) else { return };
    if amount.is_negative() {
        report.invalid(value, format_args!("{amount} is negative; write 0 or more"));
    }
    if is_extended(name) && amount.nanos() % NANOS != 0 {
        report.invalid(value, format_args!("{amount} is not whole; a device is counted in whole numbers"));
    }
    if let Some(size) = name.strip_prefix(HUGE_PAGES) {
        let page = size.parse::<Quantity>().map_or(0, Quantity::nanos);
        if page <= 0 || amount.nanos() % page != 0 {
            report.invalid(value, format_args!("{amount} is not a multiple of the page size {size}"));
        }
    }
}

fn is_resource(name: &str) -> bool {
    let is_huge_pages = name.starts_with(HUGE_PAGES);
    is_qualified_name(name)
        && if name.contains('/') {
            name.contains(NATIVE) || is_extended(name)
        } else {
            STANDARD.contains(&name) || is_huge_pages
        }
}

/// Checks whether the resource is a vendor's device.
fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.contains(NATIVE)
        && !name.starts_with(QUOTA)
        && is_qualified_name(&format!("{QUOTA}{name}"))
}

fn claims(resources: FieldNode<'_, '_>, report: &mut Report) {
    let mut known = BTreeSet::new();
    resources.each("claims", |claim| {
        let (name, request) = (claim.text("name"), claim.text("request"));
        report.require(claim, &["name"]);
        if !request.is_empty() && !is_dns_label(request) {
            report.field(claim, "request", format_args!("{} {}", quoted(request), names::DNS_LABEL));
        }
        let is_covered = known.contains(&(name, ""))
            || (request.is_empty() && known.iter().any(|(other, _)| *other == name));
        if !known.insert((name, request)) || is_covered {
            report.field(claim, "name", format_args!("{} is claimed twice; keep one", quoted(name)));
        }
    });
}
