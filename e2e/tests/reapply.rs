//! Injected pods and kubectl: `apply` of the original manifest, `diff`, and `debug --copy-to`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, companion, image, pod};
use serde_json::{Value, json};

/// Returns a profile that changes existing fields of the pod: the grace period, atomic lists, and the order of
/// variables.
fn profile(name: &str) -> Value {
    let mut profile = companion(name);
    let spec = &mut profile["spec"]["template"]["spec"];
    spec["initContainers"][0]["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 3 } } });
    spec["terminationGracePeriodSeconds"] = json!(7);
    spec["tolerations"] = json!([{ "key": "companion", "operator": "Exists" }]);
    spec["dnsConfig"] =
        json!({ "searches": ["companion.test"], "options": [{ "name": "ndots", "value": "2" }] });
    spec["hostAliases"] = json!([{ "ip": "10.1.2.3", "hostnames": ["companion"] }]);
    profile
}

/// Returns a pod that sets the same fields.
fn own(name: &str) -> Value {
    let mut pod = pod(name);
    let spec = &mut pod["spec"];
    spec["tolerations"] = json!([{ "key": "own", "operator": "Exists" }]);
    spec["dnsConfig"] = json!({ "searches": ["own.test"], "options": [{ "name": "timeout", "value": "3" }] });
    spec["hostAliases"] = json!([{ "ip": "10.1.2.4", "hostnames": ["own"] }]);
    spec["containers"][0]["env"] =
        json!([{ "name": "URL", "value": "redis://$(COMPANION)" }, { "name": "OTHER", "value": "1" }]);
    spec["initContainers"] = json!([{
        "name": "init", "image": image("redis:7.0"), "command": ["true"],
        "securityContext": spec["containers"][0]["securityContext"],
    }]);
    pod
}

/// Returns a pod with an overlay of the injected sidecar.
fn overlaid(name: &str, sidecar: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["initContainers"] = json!([{
        "name": sidecar, "image": "auto", "restartPolicy": "Always", "env": [{ "name": "A", "value": "a" }],
    }]);
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_manifest_can_be_applied_again() {
    let cluster = Cluster::installed().await;
    let name = "e2e-reapply";
    cluster.apply("default", &profile(name).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, name).await;
    for side in [&[][..], &["--server-side"]] {
        let suffix = if side.is_empty() { "client" } else { "server" };
        for manifest in [own(&format!("own-{suffix}")), overlaid(&format!("overlaid-{suffix}"), name)] {
            let text = manifest.to_string();
            let pod_name = manifest["metadata"]["name"].as_str().unwrap();
            let words = |verb| [&[verb, "--namespace", &space.name, "--filename", "-"][..], side].concat();
            cluster.kubectl_with(&words("apply"), &text).expect();
            let before = cluster.ready_pod(&space.name, pod_name).await;
            assert_eq!(before["spec"]["terminationGracePeriodSeconds"], 7, "{before}");

            let difference = cluster.kubectl_with(&words("diff"), &text);
            assert!(difference.success && difference.text.is_empty(), "{pod_name}: {}", difference.text);
            // kubectl prints "configured" because it sends the manifest's values. Nothing changes.
            cluster.kubectl_with(&words("apply"), &text).expect();
            let after = cluster.ready_pod(&space.name, pod_name).await;
            assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
            assert_eq!(after["spec"], before["spec"], "{pod_name}");
        }
    }
    cluster.kubectl(&["delete", "clustersidecarprofile", name]).expect();
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_debug_copies_injected_pods() {
    let cluster = Cluster::installed().await;
    let name = "e2e-debug-copy";
    cluster.apply("default", &profile(name).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, name).await;
    cluster.apply(&space.name, &own("web").to_string()).expect();
    cluster.ready_pod(&space.name, "web").await;
    for debug in ["general", "baseline", "restricted", "sysadmin", "netadmin"] {
        let copy = format!("web-{debug}");
        let image = image("redis:7.0");
        let words = [
            "debug",
            "web",
            "--namespace",
            &space.name,
            "--copy-to",
            &copy,
            "--profile",
            debug,
            "--image",
            &image,
            "--container",
            "debugger",
            "--attach=false",
            "--",
            "redis-server",
            "--port",
            "6500",
            "--dir",
            "/tmp",
        ];
        cluster.kubectl(&words).expect();
        let output =
            cluster.kubectl(&["get", "pod", &copy, "--namespace", &space.name, "--output", "json"]).expect();
        let copied: Value = serde_json::from_str(&output).unwrap();
        let containers = copied["spec"]["initContainers"].as_array().unwrap();
        let sidecars = containers.iter().filter(|container| container["name"] == name).count();
        assert_eq!(sidecars, 1, "{debug}: {copied}");
        assert_eq!(copied["metadata"]["labels"]["outrigger.dev/injected"], "true", "{debug}: {copied}");
        assert!(copied["spec"]["containers"].as_array().unwrap().iter().any(|one| one["name"] == "debugger"));
    }
    cluster.kubectl(&["delete", "clustersidecarprofile", name]).expect();
}
