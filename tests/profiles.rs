//! What holds for every profile in `profiles/`: it can be injected without a warning, its containers are bounded and
//! confined, and its README says what a user has to know.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use outrigger::api::{ClusterSidecarProfile, Scope};
use serde_json::{Value, json};

/// Containers that cannot pass the `restricted` Pod Security level, by profile; the README says why.
const NOT_RESTRICTED: [(&str, &str); 1] = [("mesh-proxy", "mesh-init")];

/// What a README tells, in this order.
const SECTIONS: [&str; 6] =
    ["## Use", "## What the app must do", "## Parameters", "## Cost", "## Limits", "## What was tested"];

struct Read {
    name: String,
    profile: ClusterSidecarProfile,
    readme: String,
}

impl Read {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut folders: Vec<PathBuf> =
            fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path()).collect();
        folders.sort();
        assert!(!folders.is_empty(), "there is no profile");
        folders
            .iter()
            .map(|folder| Self {
                name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
                profile: serde_saphyr::from_str(&fs::read_to_string(folder.join("profile.yaml")).unwrap())
                    .unwrap(),
                readme: fs::read_to_string(folder.join("README.md")).unwrap(),
            })
            .collect()
    }

    /// All containers that the profile injects: the name, and whether it is a native sidecar.
    fn containers(&self) -> Vec<(&str, bool, &Value)> {
        let spec = &self.profile.spec.profile.template["spec"];
        let lists = [&spec["initContainers"], &spec["containers"]];
        let all = lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
        all.map(|container| {
            (container["name"].as_str().unwrap(), container["restartPolicy"] == "Always", container)
        })
        .collect()
    }
}

#[test]
fn every_profile_is_accepted_without_a_warning() {
    for read in Read::all() {
        let Read { name, profile, .. } = &read;
        assert_eq!(profile.metadata.name.as_ref(), Some(name), "a profile is named as its folder");
        let spec = &profile.spec.profile;
        assert!(spec.description.is_some(), "{name} has no description");
        let (_, warnings) = outrigger::profiles::compile(name, Scope::Cluster, spec).unwrap();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
    }
}

#[test]
fn every_container_is_bounded_and_starts_before_the_app() {
    for read in Read::all() {
        for (container, is_sidecar, is) in read.containers() {
            let who = format!("{}/{container}", read.name);
            for field in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"]
            {
                assert!(is.pointer(field).is_some(), "{who} has no {field}");
            }
            assert!(!is_sidecar || is["startupProbe"].is_object(), "{who} has no startupProbe");
        }
    }
}

#[test]
fn every_native_sidecar_has_its_place_beside_the_mesh() {
    for read in
        Read::all().iter().filter(|read| !["cert-rotator", "mesh-proxy"].contains(&read.name.as_str()))
    {
        let order = serde_json::to_value(&read.profile.spec.profile.order).unwrap();
        let named = order.to_string().contains("mesh-proxy");
        // Else the mesh could end first, and what the sidecar sends last would be lost.
        let has_sidecar = read.containers().iter().any(|(_, is_sidecar, _)| *is_sidecar);
        assert!(named || !has_sidecar, "{}: order does not name mesh-proxy", read.name);
    }
}

#[test]
fn every_container_is_confined_as_the_restricted_level_wants() {
    let wanted = json!({
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "seccompProfile": { "type": "RuntimeDefault" },
        "capabilities": { "drop": ["ALL"] },
    });
    for read in Read::all() {
        for (container, _, is) in read.containers() {
            if NOT_RESTRICTED.contains(&(&read.name, container)) {
                assert!(
                    read.readme.contains("`restricted`"),
                    "{}: the README does not say why not",
                    read.name
                );
                continue;
            }
            for (key, value) in wanted.as_object().unwrap() {
                assert_eq!(&is["securityContext"][key], value, "{}/{container}: {key}", read.name);
            }
        }
    }
}

#[test]
fn every_image_is_a_parameter_with_a_pinned_default() {
    for read in Read::all() {
        let parameters = &read.profile.spec.profile.parameters;
        for (container, _, is) in read.containers() {
            let who = format!("{}/{container}", read.name);
            let image = is["image"].as_str().unwrap();
            let parameter = image.strip_prefix("$[[ params.").and_then(|rest| rest.strip_suffix(" ]]"));
            let parameter = parameter.unwrap_or_else(|| panic!("{who}: {image} is no parameter"));
            let found = parameters.iter().find(|known| known.name == parameter).unwrap();
            let default = serde_json::to_value(found).unwrap()["default"].as_str().unwrap().to_owned();
            let tag = default.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
            assert!(
                tag.is_some_and(|tag| tag.contains(|letter: char| letter.is_ascii_digit())),
                "{who}: {default}"
            );
        }
    }
}

#[test]
fn every_readme_tells_what_a_user_has_to_know() {
    for Read { name, profile, readme } in Read::all() {
        assert!(readme.starts_with(&format!("# {name}\n")), "{name}");
        let mut after = 0;
        for section in SECTIONS {
            let at = readme.find(&format!("\n{section}\n")).unwrap_or_else(|| panic!("{name}: no {section}"));
            assert!(at > after, "{name}: {section} is not where other READMEs have it");
            after = at;
        }
        for parameter in &profile.spec.profile.parameters {
            let row = format!("| `{}` |", parameter.name);
            assert!(readme.contains(&row), "{name}: the README has no row for {}", parameter.name);
        }
    }
}
