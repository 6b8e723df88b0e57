#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};

mod mutations;

use super::*;
use crate::engine::{Outcome, inject};

/// Returns a profile with a native sidecar, a volume, a file, and elements for app containers.
fn guard() -> Value {
    json!({
        "enforcement": "Mandatory",
        "match": { "namespaceSelector": { "matchLabels": { "guarded": "yes" } } },
        "template": {
            "metadata": { "labels": { "guard": "on" } },
            "spec": {
                "initContainers": [{
                    "name": "guard", "image": "registry.example/guard:1", "restartPolicy": "Always", "args": ["--strict"],
                    "resources": { "limits": { "memory": "64Mi" } },
                    "volumeMounts": [{ "name": "guard-state", "mountPath": "/state" }],
                }],
                "volumes": [{ "name": "guard-state", "emptyDir": {} }],
                "terminationGracePeriodSeconds": 40,
            },
        },
        "appContainers": [{ "containers": ["*"], "env": [{ "name": "GUARD", "value": "127.0.0.1:1" }] }],
        "files": [{ "volume": "guard-rules", "items": { "rules.txt": "deny" } }],
    })
}

fn profiles(guard: &Value) -> ProfileSet {
    let mut set = ProfileSet::default();
    for (name, spec) in [("guard", guard.clone()), ("other", other())] {
        let (entry, findings) =
            ProfileEntry::new(name, Scope::Cluster, &serde_json::from_value(spec).unwrap());
        assert!(matches!(entry, ProfileEntry::Ready(_)), "{findings:?}");
        set.insert(None, name, entry);
    }
    set
}

fn other() -> Value {
    json!({ "template": { "spec": { "initContainers": [
        { "name": "other", "image": "registry.example/other:1", "restartPolicy": "Always" },
    ] } } })
}

fn namespace() -> Namespace {
    Namespace { name: "shop".to_owned(), labels: [("guarded", "yes")].into(), ..Namespace::default() }
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "app", "annotations": { "outrigger.dev/profiles": "other" }, "labels": { "outrigger.dev/inject": "enabled" } },
        "spec": { "containers": [{ "name": "app", "image": "registry.example/app:1" }] },
    })
}

/// Returns the pod with its patch applied.
fn injected(pod: &Value, profiles: &ProfileSet) -> Value {
    let decision = inject(&Json::from(pod), &namespace(), profiles, &Settings::default());
    assert_eq!(decision.outcome, Outcome::Injected, "{}", decision.reason);
    let mut pod = pod.clone();
    if !decision.patch.is_empty() {
        let patch: json_patch::Patch = serde_json::from_slice(decision.patch.json()).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    pod
}

fn check(pod: &Value, profiles: &ProfileSet) -> Result<(), Reason> {
    verify(&Json::from(pod), &namespace(), profiles, &Settings::default())
}

/// Removal of a part of a pod.
type Take = fn(&mut Value);

fn sidecar<'p>(pod: &'p mut Value, name: &str) -> &'p mut Value {
    pod["spec"]["initContainers"].as_array_mut().unwrap().iter_mut().find(|c| c["name"] == name).unwrap()
}

#[test]
fn what_was_injected_is_accepted_with_all_that_others_may_do_to_it() {
    let profiles = profiles(&guard());
    let mut pod = injected(&pod(), &profiles);
    check(&pod, &profiles).unwrap();
    sidecar(&mut pod, "guard")["imagePullPolicy"] = json!("IfNotPresent");
    check(&pod, &profiles).unwrap();
    // Additions of AlwaysPullImages and a LimitRange.
    sidecar(&mut pod, "guard")["imagePullPolicy"] = json!("Always");
    sidecar(&mut pod, "guard")["resources"] =
        json!({ "limits": { "memory": "64Mi", "cpu": "1" }, "requests": { "memory": "64Mi", "cpu": "10m" } });
    check(&pod, &profiles).unwrap();
    pod["spec"]["initContainers"].as_array_mut().unwrap().insert(0, json!({ "name": "first", "image": "x" }));
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    check(&pod, &profiles).unwrap();
    // Changes to another webhook's container are not verified.
    pod["spec"]["initContainers"].as_array_mut().unwrap().retain(|container| container["name"] != "other");
    pod["metadata"]["labels"]["outrigger.dev/inject"] = json!("nonsense");
    check(&pod, &profiles).unwrap();
}

#[test]
fn a_pod_that_lost_a_part_is_refused() {
    let profiles = profiles(&guard());
    let whole = injected(&pod(), &profiles);
    let lost: [(&str, Take); 11] = [
        ("its image", |pod| sidecar(pod, "guard")["image"] = json!("mirror.example/guard:1")),
        ("its environment", |pod| {
            sidecar(pod, "guard")["env"] = json!([{ "name": "DD_AGENT_HOST", "value": "1.2.3.4" }]);
        }),
        ("the sidecar", |pod| {
            pod["spec"]["initContainers"]
                .as_array_mut()
                .unwrap()
                .retain(|container| container["name"] != "guard");
        }),
        ("its arguments", |pod| sidecar(pod, "guard")["args"] = json!(["--lax"])),
        ("its mount", |pod| sidecar(pod, "guard")["volumeMounts"] = json!([])),
        ("its restart policy", |pod| {
            sidecar(pod, "guard").as_object_mut().unwrap().remove("restartPolicy");
        }),
        ("the variable", |pod| pod["spec"]["containers"][0]["env"] = json!([])),
        ("the file", |pod| {
            pod["metadata"]["annotations"]["files.outrigger.dev/guard-rules.rules.txt"] = json!("allow");
        }),
        ("the label", |pod| pod["metadata"]["labels"]["guard"] = json!("off")),
        ("our label", |pod| pod["metadata"]["labels"]["outrigger.dev/injected"] = json!("false")),
        ("the status", |pod| {
            pod["metadata"]["annotations"].as_object_mut().unwrap().remove("outrigger.dev/status");
        }),
    ];
    for (what, take) in lost {
        let mut pod = whole.clone();
        take(&mut pod);
        assert!(check(&pod, &profiles).is_err(), "without {what}");
    }
    let bare = check(&pod(), &profiles).unwrap_err();
    assert_eq!(bare.code(), "MandatoryIncomplete", "{bare}");
}

#[test]
fn a_pod_that_the_profile_is_not_for_needs_nothing() {
    let profiles = profiles(&guard());
    let elsewhere = Namespace { name: "free".to_owned(), ..Namespace::default() };
    verify(&Json::from(&pod()), &elsewhere, &profiles, &Settings::default()).unwrap();
}

#[test]
fn a_pod_of_the_revision_before_is_accepted_where_that_is_remembered() {
    let before = profiles(&guard());
    let pod = injected(&pod(), &before);
    let mut changed = guard();
    changed["template"]["spec"]["initContainers"][0]["args"] = json!(["--stricter"]);
    let mut after = profiles(&changed);
    let refused = check(&pod, &after).unwrap_err();
    assert_eq!(refused.code(), "MandatoryIncomplete");
    after.remember_changed(&before);
    check(&pod, &after).unwrap();
    // A later snapshot remembers the earlier revision.
    let mut later = profiles(&changed);
    later.remember_changed(&after);
    check(&pod, &later).unwrap();
}

#[test]
fn nobody_else_mounts_a_protected_volume() {
    let profiles = profiles(&guard());
    for volumes in [json!([]), json!([{ "name": "guard-state", "emptyDir": {} }])] {
        let mut pod = pod();
        pod["spec"]["volumes"] = volumes;
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "guard-state", "mountPath": "/x" }]);
        let decision = inject(&Json::from(&pod), &namespace(), &profiles, &Settings::default());
        assert_eq!(decision.reason.code(), "VolumeProtected", "{}", decision.reason);
    }
}

#[test]
fn a_forged_status_does_not_put_the_authors_container_first() {
    let profiles = profiles(&guard());
    let mut pod = injected(&pod(), &profiles);
    pod["spec"]["initContainers"].as_array_mut().unwrap().insert(0, json!({ "name": "sneak", "image": "x" }));
    let again = injected(&pod, &profiles);
    assert_eq!(again["spec"]["initContainers"][0]["name"], "guard", "{again}");
    assert_eq!(injected(&again, &profiles), again);
}

#[test]
fn a_live_pod_keeps_what_is_mandatory() {
    let profiles = profiles(&guard());
    let old = injected(&pod(), &profiles);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        verify_change(&Json::from(&old), &Json::from(&new), &namespace(), &profiles)
            .map_err(|reason| reason.code())
    };
    refused(&|pod| pod["metadata"]["labels"]["team"] = json!("a")).unwrap();
    refused(&|pod| pod["spec"]["containers"][0]["image"] = json!("registry.example/app:2")).unwrap();
    refused(&|pod| sidecar(pod, "other")["image"] = json!("registry.example/other:2")).unwrap();
    refused(&|pod| sidecar(pod, "guard")["resources"]["limits"]["memory"] = json!("128Mi")).unwrap();
    let changes: [&dyn Fn(&mut Value); 7] = [
        &|pod| sidecar(pod, "guard")["image"] = json!("busybox"),
        &|pod| sidecar(pod, "guard")["resources"]["limits"]["memory"] = json!("8Mi"),
        &|pod| sidecar(pod, "guard")["resources"]["limits"]["cpu"] = json!("1m"),
        &|pod| pod["metadata"]["annotations"]["outrigger.dev/status"] = json!("{}"),
        &|pod| {
            pod["metadata"]["labels"].as_object_mut().unwrap().remove("outrigger.dev/injected");
        },
        &|pod| pod["metadata"]["labels"]["guard"] = json!("off"),
        &|pod| pod["metadata"]["annotations"]["files.outrigger.dev/guard-rules.rules.txt"] = json!("allow"),
    ];
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(refused(change), Err("MandatoryChanged"), "change {index}");
    }
    let debug = |fields: Value| {
        let mut container = json!({ "name": "debug", "image": "busybox" });
        for (name, value) in fields.as_object().unwrap() {
            container[name] = value.clone();
        }
        refused(&move |pod| pod["spec"]["ephemeralContainers"] = json!([container]))
    };
    debug(json!({ "targetContainerName": "app" })).unwrap();
    assert_eq!(debug(json!({ "targetContainerName": "guard" })), Err("MandatoryEntered"));
    let mount = json!({ "volumeMounts": [{ "name": "guard-state", "mountPath": "/s" }] });
    assert_eq!(debug(mount), Err("MandatoryEntered"));
}

#[test]
fn the_pods_own_spec_tells_what_is_protected_where_the_status_does_not() {
    let profiles = profiles(&guard());
    let mut old = injected(&pod(), &profiles);
    old["metadata"]["annotations"].as_object_mut().unwrap().remove("outrigger.dev/status");
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        verify_change(&Json::from(&old), &Json::from(&new), &namespace(), &profiles)
            .map_err(|reason| reason.code())
    };
    refused(&|pod| pod["metadata"]["labels"]["team"] = json!("a")).unwrap();
    let changes: [&dyn Fn(&mut Value); 5] = [
        &|pod| sidecar(pod, "guard")["image"] = json!("busybox"),
        &|pod| pod["metadata"]["annotations"]["outrigger.dev/status"] = json!("{}"),
        &|pod| pod["metadata"]["labels"]["guard"] = json!("off"),
        &|pod| pod["metadata"]["annotations"]["files.outrigger.dev/guard-rules.rules.txt"] = json!("allow"),
        &|pod| {
            let key = "container.apparmor.security.beta.kubernetes.io/guard";
            pod["metadata"]["annotations"][key] = json!("unconfined");
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(refused(change), Err("MandatoryChanged"), "change {index}");
    }
    // A pod that is older than the profile is not protected.
    let before = pod();
    let mut after = before.clone();
    after["metadata"]["labels"]["guard"] = json!("off");
    verify_change(&Json::from(&before), &Json::from(&after), &namespace(), &profiles).unwrap();
}

#[test]
fn what_the_author_wrote_first_is_protected_no_less() {
    let profiles = profiles(&guard());
    let mut written = pod();
    written["metadata"]["labels"]["guard"] = json!("on");
    written["metadata"]["annotations"]["files.outrigger.dev/guard-rules.rules.txt"] = json!("deny");
    written["spec"]["containers"][0]["env"] = json!([{ "name": "GUARD", "value": "127.0.0.1:1" }]);
    let old = injected(&written, &profiles);
    check(&old, &profiles).unwrap();
    let status: Value =
        serde_json::from_str(old["metadata"]["annotations"]["outrigger.dev/status"].as_str().unwrap())
            .unwrap();
    let guard = status["profiles"].as_array().unwrap().iter().find(|one| one["name"] == "guard").unwrap();
    assert_eq!(guard["shared"]["metadata.labels"], json!(["guard"]), "{status}");
    // The pod stays protected after the profile was changed.
    let mut changed = super::tests::guard();
    changed["template"]["metadata"] = json!({});
    changed["files"] = json!([]);
    let later = super::tests::profiles(&changed);
    for (map, key) in [("labels", "guard"), ("annotations", "files.outrigger.dev/guard-rules.rules.txt")] {
        let mut new = old.clone();
        new["metadata"][map].as_object_mut().unwrap().remove(key);
        for profiles in [&profiles, &later] {
            let refused =
                verify_change(&Json::from(&old), &Json::from(&new), &namespace(), profiles).unwrap_err();
            assert_eq!(refused.code(), "MandatoryChanged", "{key}");
        }
    }
    assert_eq!(injected(&old, &profiles), old);
}

#[test]
fn a_binding_brings_nothing_of_a_mandatory_profiles() {
    let profiles = profiles(&guard());
    let bind = |metadata: Value| {
        let binding = json!({ "metadata": metadata, "target": { "kind": "Node", "name": "n" } });
        verify_binding(&Json::from(&binding), &namespace(), &profiles).map_err(|reason| reason.code())
    };
    bind(json!({ "name": "app" })).unwrap();
    bind(json!({ "name": "app", "annotations": { "team": "a" } })).unwrap();
    for (map, key) in [
        ("annotations", "outrigger.dev/status"),
        ("annotations", "files.outrigger.dev/guard-rules.rules.txt"),
        ("annotations", "container.apparmor.security.beta.kubernetes.io/guard"),
        ("labels", "outrigger.dev/injected"),
        ("labels", "guard"),
    ] {
        assert_eq!(bind(json!({ "name": "app", map: { key: "x" } })), Err("MandatoryChanged"), "{key}");
    }
}

#[test]
fn exec_does_not_lead_into_a_mandatory_container() {
    let profiles = profiles(&guard());
    let enter = |container| verify_entry(container, "exec", &namespace(), &profiles);
    let refused = enter("guard").unwrap_err();
    assert!(refused.to_string().starts_with("exec into container \"guard\" is refused"), "{refused}");
    enter("app").unwrap();
    enter("other").unwrap();
    let elsewhere = Namespace { name: "free".to_owned(), ..Namespace::default() };
    verify_entry("guard", "exec", &elsewhere, &profiles).unwrap();
}

#[test]
fn exec_without_a_name_does_not_lead_into_an_ordinary_mandatory_container() {
    let enter = |guard: &Value| verify_entry("", "exec", &namespace(), &profiles(guard));
    enter(&guard()).unwrap();
    let mut ordinary = guard();
    ordinary["template"]["spec"]["containers"] =
        json!([{ "name": "scanner", "image": "registry.example/scanner:1" }]);
    let mut classic = guard();
    classic["sidecarMode"] = json!("Classic");
    for guard in [ordinary, classic] {
        let refused = enter(&guard).unwrap_err();
        assert_eq!(refused.code(), "MandatoryEntered");
        assert!(refused.to_string().starts_with("exec without a container's name, "), "{refused}");
    }
}
