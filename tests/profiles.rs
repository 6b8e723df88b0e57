//! Rules for every profile in `profiles/`: it is accepted without a warning, its containers have resource limits and a
//! restricted security context, and its README has all sections.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger::api::{ClusterSidecarProfile, Scope};
use outrigger::engine::{Namespace, Outcome, Settings};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
use serde_json::{Value, json};

/// Containers, by profile, that cannot meet the `restricted` Pod Security Standard. The README explains the reason.
const NOT_RESTRICTED: [(&str, &str); 1] = [("mesh-proxy", "mesh-init")];

/// Sections of a README, in this order.
const SECTIONS: [&str; 6] =
    ["## Use", "## What the app must do", "## Parameters", "## Cost", "## Limits", "## What was tested"];

struct CatalogueProfile {
    name: String,
    profile: ClusterSidecarProfile,
    readme: String,
}

impl CatalogueProfile {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut folders: Vec<PathBuf> =
            fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path()).collect();
        folders.sort();
        assert!(!folders.is_empty(), "no profile was found");
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

    /// Returns each injected container with its name and whether it is a native sidecar.
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
    for read in CatalogueProfile::all() {
        let CatalogueProfile { name, profile, .. } = &read;
        assert_eq!(profile.metadata.name.as_ref(), Some(name), "a profile must have the name of its folder");
        let spec = &profile.spec.profile;
        assert!(spec.description.is_some(), "{name} has no description");
        let (_, warnings) = outrigger::profiles::compile(name, Scope::Cluster, spec).unwrap();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
    }
}

#[test]
fn every_container_has_resource_limits_and_sidecars_start_before_the_app() {
    for read in CatalogueProfile::all() {
        for (container, is_sidecar, is) in read.containers() {
            let id = format!("{}/{container}", read.name);
            for field in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"]
            {
                assert!(is.pointer(field).is_some(), "{id} has no {field}");
            }
            assert!(!is_sidecar || is["startupProbe"].is_object(), "{id} has no startupProbe");
        }
    }
}

#[test]
fn every_native_sidecar_is_ordered_relative_to_the_mesh() {
    for read in CatalogueProfile::all()
        .iter()
        .filter(|read| !["cert-rotator", "mesh-proxy"].contains(&read.name.as_str()))
    {
        let order = serde_json::to_value(&read.profile.spec.profile.order).unwrap();
        let named = order.to_string().contains("mesh-proxy");
        // Without an order, the mesh could stop first, and the last data of the sidecar would be lost.
        let has_sidecar = read.containers().iter().any(|(_, is_sidecar, _)| *is_sidecar);
        assert!(named || !has_sidecar, "{}: order does not name mesh-proxy", read.name);
    }
}

#[test]
fn every_container_meets_the_restricted_level() {
    let wanted = json!({
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "seccompProfile": { "type": "RuntimeDefault" },
        "capabilities": { "drop": ["ALL"] },
    });
    for read in CatalogueProfile::all() {
        for (container, _, is) in read.containers() {
            if NOT_RESTRICTED.contains(&(&read.name, container)) {
                assert!(
                    read.readme.contains("`restricted`"),
                    "{}: the README does not explain the exception",
                    read.name
                );
                continue;
            }
            for (key, value) in wanted.as_object().unwrap() {
                let given = &is["securityContext"][key];
                // The `restricted` level allows a writable root file system, which a parameter enables here.
                if key == "readOnlyRootFilesystem" && given == "$[[ params.scratchVolume ]]" {
                    continue;
                }
                assert_eq!(given, value, "{}/{container}: {key}", read.name);
            }
        }
    }
}

/// Parameters of the profiles that inject an `emptyDir` only for their own containers.
const WITHOUT_SCRATCH: [(&str, &[(&str, &str)]); 6] = [
    ("ambassador-breaker", &[("host", "orders")]),
    ("ambassador-redis", &[("passwordSecret", "redis")]),
    ("debug-tools", &[]),
    ("health-checker", &[("script", "true")]),
    ("mesh-proxy", &[("certificates", "Secret")]),
    ("schema-migration", &[("configMap", "migrations"), ("secret", "database")]),
];

/// Returns a pod with the profile injected with these parameters.
fn injected(read: &CatalogueProfile, parameters: &[(&str, &str)]) -> Value {
    let CatalogueProfile { name, profile, .. } = read;
    let mut profiles = ProfileSet::default();
    profiles.insert(None, name, ProfileEntry::new(name, Scope::Cluster, &profile.spec.profile).0);
    let key = |parameter: &str| format!("{name}.outrigger.dev/{parameter}");
    // Some parameters can be set only by namespaces.
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: [("outrigger.dev/inject".to_owned(), "enabled".to_owned())].into_iter().collect(),
        annotations: [(key("seeds"), "redis".to_owned())]
            .into_iter()
            .filter(|_| name == "ambassador-redis")
            .collect(),
    };
    let annotations: BTreeMap<String, &str> = [("outrigger.dev/profiles".to_owned(), name.as_str())]
        .into_iter()
        .chain(parameters.iter().map(|(parameter, value)| (key(parameter), *value)))
        .collect();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "web", "namespace": "shop", "annotations": annotations },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    });
    let decision = outrigger::engine::inject(&Json::from(&pod), &namespace, &profiles, &Settings::default());
    assert_eq!(decision.outcome, Outcome::Injected, "{name}: {}", decision.reason);
    let mut patched = pod;
    json_patch::patch(&mut patched, &decision.patch.operations()).unwrap();
    patched
}

#[test]
fn scratch_volumes_can_be_disabled() {
    let has_empty_dir = |pod: &Value| {
        pod["spec"]["volumes"].as_array().unwrap().iter().any(|volume| volume.get("emptyDir").is_some())
    };
    let all = CatalogueProfile::all();
    for (name, parameters) in WITHOUT_SCRATCH {
        let read = all.iter().find(|read| read.name == name).unwrap();
        assert!(has_empty_dir(&injected(read, parameters)), "{name}");
        let without = injected(read, &[parameters, &[("scratchVolume", "false")]].concat());
        assert!(!has_empty_dir(&without), "{name}: {without}");
        let containers = without["spec"]["initContainers"].as_array().unwrap();
        let mounts = containers.iter().flat_map(|container| container["volumeMounts"].as_array().unwrap());
        assert!(mounts.clone().all(Value::is_object), "{name}: {without}");
    }
    let has_parameter = |read: &&CatalogueProfile| {
        read.profile.spec.profile.parameters.iter().any(|parameter| parameter.name == "scratchVolume")
    };
    assert_eq!(all.iter().filter(has_parameter).count(), WITHOUT_SCRATCH.len());
}

#[test]
fn the_readme_of_a_profile_with_an_empty_dir_describes_draining() {
    for CatalogueProfile { name, profile, readme } in CatalogueProfile::all() {
        let volumes = &profile.spec.profile.template["spec"]["volumes"];
        let has_empty_dir =
            volumes.as_array().into_iter().flatten().any(|volume| volume.get("emptyDir").is_some());
        let (_, limits) = readme.split_once("\n## Limits\n").unwrap();
        assert_eq!(limits.contains("--delete-emptydir-data"), has_empty_dir, "{name}");
    }
}

#[test]
fn every_image_is_a_parameter_with_a_pinned_default() {
    for read in CatalogueProfile::all() {
        let parameters = &read.profile.spec.profile.parameters;
        for (container, _, is) in read.containers() {
            let id = format!("{}/{container}", read.name);
            let image = is["image"].as_str().unwrap();
            let parameter = image.strip_prefix("$[[ params.").and_then(|rest| rest.strip_suffix(" ]]"));
            let parameter = parameter.unwrap_or_else(|| panic!("{id}: {image} is not a parameter"));
            let found = parameters.iter().find(|known| known.name == parameter).unwrap();
            let default = serde_json::to_value(found).unwrap()["default"].as_str().unwrap().to_owned();
            let tag = default.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
            assert!(
                tag.is_some_and(|tag| tag.contains(|letter: char| letter.is_ascii_digit())),
                "{id}: {default}"
            );
        }
    }
}

#[test]
fn every_readme_has_all_sections_and_parameters() {
    for CatalogueProfile { name, profile, readme } in CatalogueProfile::all() {
        assert!(readme.starts_with(&format!("# {name}\n")), "{name}");
        let mut after = 0;
        for section in SECTIONS {
            let at = readme.find(&format!("\n{section}\n")).unwrap_or_else(|| panic!("{name}: no {section}"));
            assert!(at > after, "{name}: {section} is not in the usual order");
            after = at;
        }
        for parameter in &profile.spec.profile.parameters {
            let row = format!("| `{}` |", parameter.name);
            assert!(readme.contains(&row), "{name}: the README has no row for {}", parameter.name);
        }
    }
}
