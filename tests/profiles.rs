//! Every profile in `profiles/` is one that can be injected, without a warning.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use outrigger::api::{ClusterSidecarProfile, Scope};

#[test]
fn every_profile_of_the_catalogue_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut count = 0;
    for folder in fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(folder.join("profile.yaml")).unwrap();
        let profile: ClusterSidecarProfile = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(profile.metadata.name.as_deref(), Some(name.as_str()), "a profile is named as its folder");
        assert!(profile.spec.profile.description.is_some(), "{name} has no description");
        assert!(folder.join("README.md").exists(), "{name} has no README.md");
        let spec = &profile.spec.profile;
        let (_, warnings) = outrigger::profiles::compile(&name, Scope::Cluster, spec).unwrap();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        let init = spec.template["spec"]["initContainers"].as_array().unwrap();
        for sidecar in init.iter().filter(|container| container["restartPolicy"] == "Always") {
            assert!(
                sidecar["resources"]["limits"]["memory"].is_string(),
                "{name}: without a memory limit a leak takes the whole pod down"
            );
        }
        count += 1;
    }
    assert!(count > 0, "there is no profile");
}
