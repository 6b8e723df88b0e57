//! Volumes: `validateVolumeSource`.

mod claims;
mod disks;
mod files;

use super::choices;
use super::names::{self, has_backstep};
use super::node::{FieldNode, Report, quoted};

/// Checks a volume. A volume without a source becomes an `emptyDir`. An unknown field counts as a source.
pub(super) fn check(volume: FieldNode<'_, '_>, report: &mut Report) {
    let sources = volume.sources(&["name"]);
    if sources.len() > 1 {
        let message = format_args!(
            "a volume has exactly one source, and this one has {}; keep one",
            sources.join(" and ")
        );
        report.invalid(volume, message);
    }
    volume.with("emptyDir", |empty| {
        if let Some(limit) = empty.get("sizeLimit").and_then(super::resources::quantity)
            && limit.is_negative()
        {
            report.field(empty, "sizeLimit", format_args!("{limit} is negative; write 0 or more"));
        }
    });
    volume.with("hostPath", |host| {
        report.require(host, &["path"]);
        let path = host.text("path");
        if has_backstep(path) {
            report.field(host, "path", format_args!("{} holds '..'; remove it", quoted(path)));
        }
        report.choice(host, "type", &choices::HOST_PATH_TYPES);
    });
    volume.with("image", |image| {
        report.require(image, &["reference"]);
        report.choice(image, "pullPolicy", &choices::PULL_POLICIES);
    });
    for (source, name) in [("secret", "secretName"), ("configMap", "name")] {
        volume.with(source, |source| {
            report.require(source, &[name]);
            files::check(source, report);
        });
    }
    volume.with("downwardAPI", |downward| files::downward(downward, report));
    volume.with("projected", |projected| files::projected(projected, report));
    volume.with("persistentVolumeClaim", |claim| report.require(claim, &["claimName"]));
    volume.with("ephemeral", |ephemeral| claims::ephemeral(ephemeral, report));
    volume.with("csi", |csi| {
        let driver = csi.text("driver");
        let is_driver = driver.len() <= 63 && names::is_subdomain(&driver.to_ascii_lowercase());
        if !is_driver {
            let message = format_args!(
                "{} is not a driver's name; use at most 63 letters, digits, '-' and '.'",
                quoted(driver)
            );
            report.relation(csi, "driver", message);
        }
        csi.with("nodePublishSecretRef", |secret| {
            let name = secret.text("name");
            if !names::is_subdomain(name) {
                report.field(secret, "name", format_args!("{} {}", quoted(name), names::SUBDOMAIN));
            }
        });
    });
    disks::check(volume, report);
}
