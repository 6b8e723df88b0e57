//! What holds for every profile in `profiles/`: it can be injected without a warning, its containers are bounded and
//! confined, and its README says what a user has to know.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger::api::{ClusterSidecarProfile, Scope};
use outrigger::engine::{Namespace, Outcome, Settings};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet};
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
                let given = &is["securityContext"][key];
                // The `restricted` level allows a writable root file system, which a pod has to ask for here.
                if key == "readOnlyRootFilesystem" && given == "$[[ params.scratchVolume ]]" {
                    continue;
                }
                assert_eq!(given, value, "{}/{container}: {key}", read.name);
            }
        }
    }
}

/// Parameters without which a profile injects an `emptyDir` that is only its own.
const WITHOUT_SCRATCH: [(&str, &[(&str, &str)]); 6] = [
    ("ambassador-breaker", &[("host", "orders")]),
    ("ambassador-redis", &[("passwordSecret", "redis")]),
    ("debug-tools", &[]),
    ("health-checker", &[("script", "true")]),
    ("mesh-proxy", &[("certificates", "Secret")]),
    ("schema-migration", &[("configMap", "migrations"), ("secret", "database")]),
];

/// Returns the pod that a profile gives, with these parameters.
fn injected(read: &Read, parameters: &[(&str, &str)]) -> Value {
    let Read { name, profile, .. } = read;
    let mut profiles = ProfileSet::default();
    profiles.insert(None, name, ProfileEntry::new(name, Scope::Cluster, &profile.spec.profile).0);
    let key = |parameter: &str| format!("{name}.outrigger.dev/{parameter}");
    // Some parameters are set by namespaces only.
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
fn scratch_volumes_can_be_left_out() {
    let has_empty_dir = |pod: &Value| {
        pod["spec"]["volumes"].as_array().unwrap().iter().any(|volume| volume.get("emptyDir").is_some())
    };
    let all = Read::all();
    for (name, parameters) in WITHOUT_SCRATCH {
        let read = all.iter().find(|read| read.name == name).unwrap();
        assert!(has_empty_dir(&injected(read, parameters)), "{name}");
        let without = injected(read, &[parameters, &[("scratchVolume", "false")]].concat());
        assert!(!has_empty_dir(&without), "{name}: {without}");
        let containers = without["spec"]["initContainers"].as_array().unwrap();
        let mounts = containers.iter().flat_map(|container| container["volumeMounts"].as_array().unwrap());
        assert!(mounts.clone().all(Value::is_object), "{name}: {without}");
    }
    let has_parameter = |read: &&Read| {
        read.profile.spec.profile.parameters.iter().any(|parameter| parameter.name == "scratchVolume")
    };
    assert_eq!(all.iter().filter(has_parameter).count(), WITHOUT_SCRATCH.len());
}

#[test]
fn every_readme_of_a_profile_with_an_empty_dir_speaks_of_draining() {
    for Read { name, profile, readme } in Read::all() {
        let volumes = &profile.spec.profile.template["spec"]["volumes"];
        let has_empty_dir =
            volumes.as_array().into_iter().flatten().any(|volume| volume.get("emptyDir").is_some());
        let (_, limits) = readme.split_once("\n## Limits\n").unwrap();
        assert_eq!(limits.contains("--delete-emptydir-data"), has_empty_dir, "{name}");
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
