//! Attacks on Mandatory profiles by a user, mallory, who has all rights in one namespace and none elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Cluster, Output, TestNamespace, companion, eventually, image, injected, mandatory, pod};
use serde_json::{Value, json};

/// Creates a namespace in which a profile is Mandatory and mallory has all rights. It has no label of Outrigger's.
async fn guarded(profile: &str) -> (Cluster, TestNamespace) {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::guarded(&cluster, profile).await;
    let all = ["create", "rolebinding", "mallory", "--clusterrole=admin", "--user=mallory", "--namespace"];
    cluster.kubectl(&[&all[..], &[&space.name]].concat()).expect();
    // Rights that the role `admin` lacks: writes to subresources of pods.
    let pods = [
        "create",
        "role",
        "debugger",
        "--verb=*",
        "--resource=pods/ephemeralcontainers,pods/resize,pods/status,pods/binding,bindings",
        "--namespace",
    ];
    cluster.kubectl(&[&pods[..], &[&space.name]].concat()).expect();
    let bound = ["create", "rolebinding", "debugger", "--role=debugger", "--user=mallory", "--namespace"];
    cluster.kubectl(&[&bound[..], &[&space.name]].concat()).expect();
    (cluster, space)
}

fn remove(cluster: &Cluster, profile: &str) {
    cluster.kubectl(&["delete", "clustersidecarprofile", profile]).expect();
}

/// Runs kubectl as mallory.
fn mallory(cluster: &Cluster, space: &TestNamespace, words: &[&str]) -> Output {
    let who = ["--as=mallory", "--namespace", &space.name];
    cluster.kubectl(&[&who[..], words].concat())
}

/// Returns the pod of a dry run, or the message of the rejection.
fn try_as_mallory(cluster: &Cluster, space: &TestNamespace, manifest: &Value) -> Result<Value, String> {
    let file = std::env::temp_dir().join(format!(
        "{}-{}.json",
        space.name,
        manifest["metadata"]["name"].as_str().unwrap()
    ));
    std::fs::write(&file, manifest.to_string()).unwrap();
    let path = file.to_string_lossy();
    let output =
        mallory(cluster, space, &["create", "--dry-run=server", "--output=json", "--filename", &path]);
    std::fs::remove_file(&file).unwrap();
    if output.success {
        let json = &output.text[output.text.find('{').unwrap()..=output.text.rfind('}').unwrap()];
        Ok(serde_json::from_str(json).unwrap())
    } else {
        Err(output.text)
    }
}

/// Checks that the pod has the sidecar as the profile defines it, before all init containers of its author.
fn is_genuine(pod: &Value, profile: &str) -> Result<(), String> {
    let wanted = &mandatory(profile)["spec"]["template"]["spec"]["initContainers"][0];
    let sidecar = &pod["spec"]["initContainers"][0];
    for field in ["name", "image", "restartPolicy", "args", "securityContext"] {
        if sidecar[field] != wanted[field] {
            return Err(format!("{field} is {} in {pod}", sidecar[field]));
        }
    }
    let extra = ["command", "env", "envFrom", "lifecycle", "livenessProbe"];
    if let Some(field) = extra.iter().find(|field| sidecar.get(**field).is_some()) {
        return Err(format!("{field} was added in {pod}"));
    }
    let app = pod["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|container| container["name"] == "app")
        .unwrap();
    if app["env"]
        .as_array()
        .is_none_or(|env| !env.contains(&json!({ "name": "COMPANION", "value": "127.0.0.1:6400" })))
    {
        return Err(format!("the app's variable is missing in {pod}"));
    }
    Ok(())
}

/// Pods that mallory creates in a guarded namespace, with the content of a genuinely injected pod at hand.
struct Attack {
    cluster: Cluster,
    space: TestNamespace,
    name: &'static str,
    /// The genuine sidecar.
    sidecar: Value,
    /// Labels and annotations that claim an injection.
    claims: Value,
}

impl Attack {
    async fn on(name: &'static str) -> Self {
        let (cluster, space) = guarded(name).await;
        let genuine = cluster.dry_run_pod(&space.name, &pod("genuine")).await.unwrap();
        is_genuine(&genuine, name).unwrap();
        let mut sidecar = genuine["spec"]["initContainers"][0].clone();
        let mounts = sidecar["volumeMounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["name"] == "scratch");
        let status = &genuine["metadata"]["annotations"]["outrigger.dev/status"];
        let claims = json!({
            "labels": { "outrigger.dev/injected": "true", "companion": name },
            "annotations": { "outrigger.dev/status": status },
        });
        Self { cluster, space, name, sidecar, claims }
    }

    fn write(&self, fields: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut made = pod("attack");
        fields(&mut made);
        try_as_mallory(&self.cluster, &self.space, &made)
    }

    fn write_metadata(&self, labels: &Value, annotations: &Value) -> Result<Value, String> {
        self.write(|made| {
            made["metadata"]["labels"] = labels.clone();
            made["metadata"]["annotations"] = annotations.clone();
        })
    }

    /// Creates a pod that claims to be injected, with these init containers.
    fn forge(&self, containers: Value) -> Result<Value, String> {
        self.write(|made| {
            made["metadata"]["labels"] = self.claims["labels"].clone();
            made["metadata"]["annotations"] = self.claims["annotations"].clone();
            made["spec"]["initContainers"] = containers;
            made["spec"]["volumes"] = json!([{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } }]);
        })
    }

    fn sidecar_with(&self, field: &str, value: Value) -> Value {
        let mut container = self.sidecar.clone();
        container[field] = value;
        container
    }

    fn must_be_genuine(&self, what: &str, made: Result<Value, String>) {
        let made = made.unwrap_or_else(|rejection| panic!("{what}: {rejection}"));
        is_genuine(&made, self.name).unwrap_or_else(|missing| panic!("{what}: {missing}"));
        // Compare everything except the token mount, whose volume has a different name in each pod.
        let mut sidecar = made["spec"]["initContainers"][0].clone();
        sidecar["volumeMounts"].as_array_mut().unwrap().retain(|mount| mount["name"] == "scratch");
        assert_eq!(sidecar, self.sidecar, "{what}");
        let scratch = json!({ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } });
        assert!(made["spec"]["volumes"].as_array().unwrap().contains(&scratch), "{what}: {made}");
    }

    /// Returns the genuine sidecar with an additional mount.
    fn sidecar_with_mount(&self, mount: Value) -> Value {
        let mut container = self.sidecar.clone();
        container["volumeMounts"].as_array_mut().unwrap().push(mount);
        container
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_annotations_and_status_cannot_prevent_a_mandatory_injection() {
    let attack = Attack::on("e2e-guard-labels").await;
    let enabled = json!({ "outrigger.dev/inject": "enabled" });
    let own = json!({ "name": "own", "image": image("redis:7.0"), "command": ["true"] });
    let removed = json!({ "outrigger.dev/profiles": format!("-{}", attack.name) });
    for (what, made) in [
        (
            "a label that opts out",
            attack.write_metadata(&json!({ "outrigger.dev/inject": "disabled" }), &json!({})),
        ),
        ("no profile chosen", attack.write_metadata(&enabled, &json!({ "outrigger.dev/profiles": "" }))),
        ("the profile removed", attack.write_metadata(&enabled, &removed)),
        (
            "a status that claims it",
            attack.write_metadata(&attack.claims["labels"], &attack.claims["annotations"]),
        ),
        ("an own init container", attack.write(|made| made["spec"]["initContainers"] = json!([own]))),
        ("a copy after an own init container", attack.forge(json!([own, attack.sidecar]))),
    ] {
        attack.must_be_genuine(what, made);
    }
    for (what, container) in [
        ("another image", attack.sidecar_with("image", json!("busybox"))),
        ("another command", attack.sidecar_with("command", json!(["sleep", "1d"]))),
        ("other arguments", attack.sidecar_with("args", json!(["--version"]))),
        ("a variable", attack.sidecar_with("env", json!([{ "name": "LD_PRELOAD", "value": "/x" }]))),
        (
            "a hook",
            attack
                .sidecar_with("lifecycle", json!({ "postStart": { "exec": { "command": ["kill", "1"] } } })),
        ),
    ] {
        attack.must_be_genuine(what, attack.forge(json!([container])));
    }
    remove(&attack.cluster, attack.name);
}

/// Regression test: each of these pods, a genuine status and a sidecar with one changed field, was once admitted.
#[tokio::test(flavor = "multi_thread")]
async fn a_modified_copy_of_a_mandatory_sidecar_is_replaced() {
    let attack = Attack::on("e2e-guard-copied").await;
    let probe = |field: &str, value: Value| {
        let mut probe = attack.sidecar["startupProbe"].clone();
        probe[field] = value;
        attack.sidecar_with("startupProbe", probe)
    };
    let resources = |pointer: &str, value: Value| {
        let mut resources = attack.sidecar["resources"].clone();
        match pointer.split_once('/') {
            Some((list, name)) => resources[list][name] = value,
            None => resources[pointer] = value,
        }
        attack.sidecar_with("resources", resources)
    };
    let mut less_secure = attack.sidecar["securityContext"].clone();
    less_secure.as_object_mut().unwrap().remove("allowPrivilegeEscalation");
    for (what, container) in [
        ("a file over the message path", attack.sidecar_with("terminationMessagePath", json!("/scratch/x"))),
        ("another message policy", attack.sidecar_with("terminationMessagePolicy", json!("FallbackToLogsOnError"))),
        ("another pull policy", attack.sidecar_with("imagePullPolicy", json!("Always"))),
        ("a slower probe", probe("periodSeconds", json!(300))),
        ("a later probe", probe("initialDelaySeconds", json!(300))),
        ("a probe that waits", probe("timeoutSeconds", json!(300))),
        ("a probe that gives up late", probe("failureThreshold", json!(1000))),
        ("a CPU limit", resources("limits/cpu", json!("1m"))),
        ("another CPU request", resources("requests/cpu", json!("1m"))),
        ("storage", resources("limits/ephemeral-storage", json!("1Mi"))),
        ("arguments twice", attack.sidecar_with("args", json!(["redis-server", "redis-server"]))),
        ("a port", attack.sidecar_with("ports", json!([{ "containerPort": 1 }]))),
        ("a terminal", attack.sidecar_with("tty", json!(true))),
        ("less security", attack.sidecar_with("securityContext", less_secure)),
        ("a mount", attack.sidecar_with_mount(json!({ "name": "scratch", "mountPath": "/usr" }))),
        (
            "a mount at the token's path",
            attack.sidecar_with_mount(json!({
                "name": "scratch", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            })),
        ),
    ] {
        attack.must_be_genuine(what, attack.forge(json!([container])));
    }
    // The sidecar's volume, with and without a forged status.
    let medium = json!([{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi", "medium": "Memory" } }]);
    let forged = attack.write(|made| {
        made["metadata"]["labels"] = attack.claims["labels"].clone();
        made["metadata"]["annotations"] = attack.claims["annotations"].clone();
        made["spec"]["initContainers"] = json!([attack.sidecar]);
        made["spec"]["volumes"] = medium.clone();
    });
    attack.must_be_genuine("another medium", forged);
    let rejection = attack.write(|made| made["spec"]["volumes"] = medium).unwrap_err();
    assert!(rejection.contains("[VolumeConflict]"), "{rejection}");
    remove(&attack.cluster, attack.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_conflicts_with_a_mandatory_profile_is_rejected() {
    let attack = Attack::on("e2e-guard-refused").await;
    let name = attack.name;
    let taken = json!([attack.sidecar_with("image", json!("busybox"))]);
    let overlay = json!([{ "name": name, "image": "auto", "command": ["sleep", "1d"] }]);
    let mount = json!([{ "name": "scratch", "mountPath": "/mine" }]);
    let variable = json!([{ "name": "COMPANION", "value": "evil:1" }]);
    for (what, code, made) in [
        (
            "a container of the same name",
            "ContainerNameTaken",
            attack.write(|made| {
                made["spec"]["initContainers"] = taken;
                made["spec"]["volumes"] = json!([{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } }]);
            }),
        ),
        ("an overlay", "OverlayRefused", attack.write(|made| made["spec"]["initContainers"] = overlay)),
        (
            "the node's network",
            "HostNetworkDenied",
            attack.write(|made| made["spec"]["hostNetwork"] = json!(true)),
        ),
        (
            "its volume",
            "VolumeProtected",
            attack.write(|made| {
                made["spec"]["containers"][0]["volumeMounts"] = mount;
                made["spec"]["volumes"] = json!([{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } }]);
            }),
        ),
        (
            "its variable",
            "ValueConflict",
            attack.write(|made| made["spec"]["containers"][0]["env"] = variable),
        ),
        (
            "its variable twice",
            "ValueConflict",
            attack.write(|made| {
                let genuine = json!({ "name": "COMPANION", "value": "127.0.0.1:6400" });
                let evil = json!({ "name": "COMPANION", "value": "evil:1" });
                made["spec"]["containers"][0]["env"] = json!([genuine, evil]);
            }),
        ),
        (
            "another volume at an equivalent path",
            "MountConflict",
            attack.write(|made| {
                made["spec"]["containers"][0]["volumeMounts"] =
                    json!([{ "name": "own", "mountPath": "//companion/./" }]);
                made["spec"]["volumes"] = json!([{ "name": "own", "emptyDir": {} }]);
            }),
        ),
        (
            "a false token volume",
            "MandatoryUndermined",
            attack.write(|made| {
                made["spec"]["volumes"] = json!([{ "name": "kube-api-access-mine", "emptyDir": {} }]);
            }),
        ),
        (
            "an AppArmor annotation",
            "MandatoryUndermined",
            attack.write_metadata(
                &json!({}),
                &json!({ format!("container.apparmor.security.beta.kubernetes.io/{name}"): "unconfined" }),
            ),
        ),
        (
            "a label with a typo",
            "InvalidInjectLabel",
            attack.write_metadata(&json!({ "outrigger.dev/inject": "off" }), &json!({})),
        ),
    ] {
        let rejection = made.expect_err(what);
        assert!(rejection.contains(&format!("[{code}]")), "{what}: {rejection}");
    }
    remove(&attack.cluster, name);
}

/// The webhook is not called for mirror pods, so a forged annotation must not start a pod without the sidecar.
#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_does_not_run_a_forged_mirror_pod() {
    let name = "e2e-guard-mirror";
    let (cluster, space) = guarded(name).await;
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] =
        json!({ "kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file" });
    if cluster.create_pod(&space.name, &mirror).await.is_ok() {
        let off = ["annotate", "pod", "mirror", "kubernetes.io/config.mirror-"];
        let stripped = mallory(&cluster, &space, &off);
        assert!(!stripped.success, "the annotation was removed: {}", stripped.text);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let path = "jsonpath={.status.containerStatuses}";
        let state =
            ["get", "pod", "mirror", "--ignore-not-found", "--output", path, "--namespace", &space.name];
        assert_eq!(cluster.kubectl(&state).expect(), "", "the kubelet started the pod");
    }
    remove(&cluster, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaced_profiles_and_namespace_labels_cannot_replace_a_mandatory_profile() {
    let name = "e2e-guard-shadowed";
    let (cluster, space) = guarded(name).await;
    // This also holds for a user with the right to write profiles, which the role `admin` does not have.
    let role = [
        "create",
        "role",
        "writer",
        "--verb=*",
        "--resource=sidecarprofiles.outrigger.dev",
        "--namespace",
        &space.name,
    ];
    cluster.kubectl(&role).expect();
    let binding =
        ["create", "rolebinding", "writer", "--role=writer", "--user=mallory", "--namespace", &space.name];
    cluster.kubectl(&binding).expect();
    cluster.kubectl(&["label", "namespace", &space.name, "outrigger.dev/inject=enabled"]).expect();
    let own = |own: &str, template: Value| {
        json!({ "apiVersion": "outrigger.dev/v1alpha1", "kind": "SidecarProfile", "metadata": { "name": own },
            "spec": { "onConflict": "Skip", "onError": "Ignore", "match": { "podSelector": {} }, "template": { "spec": template } } })
    };
    let apply = |manifest: &Value| {
        let file = std::env::temp_dir().join(format!("{}-profile.json", space.name));
        std::fs::write(&file, manifest.to_string()).unwrap();
        let output = mallory(&cluster, &space, &["apply", "--filename", &file.to_string_lossy()]);
        std::fs::remove_file(&file).unwrap();
        output
    };
    let harmless = json!({ "initContainers": [{ "name": "x", "image": image("redis:7.0"), "restartPolicy": "Always" }] });
    let shadow = apply(&own(name, harmless)).expect();
    assert!(shadow.contains("Mandatory"), "the shadowing profile gets a warning: {shadow}");
    let made = try_as_mallory(&cluster, &space, &pod("shadowed")).unwrap();
    is_genuine(&made, name).unwrap();

    // Another profile adds a container of the same name, or a mount of the sidecar's volume.
    let fake = json!({ "initContainers": [{ "name": name, "image": "busybox", "restartPolicy": "Always" }] });
    let thief = json!({ "initContainers": [{ "name": "thief", "image": image("redis:7.0"), "restartPolicy": "Always",
        "volumeMounts": [{ "name": "scratch", "mountPath": "/theirs" }] }], "volumes": [{ "name": "scratch", "emptyDir": { "sizeLimit": "16Mi" } }] });
    for template in [fake, thief] {
        apply(&own("other", template)).expect();
        eventually("the profile to be accepted", || async {
            let found = cluster.kubectl(&[
                "get",
                "sidecarprofile",
                "other",
                "--namespace",
                &space.name,
                "--output",
                "jsonpath={.status.conditions[0].status}",
            ]);
            if found.text == "True" { Ok(()) } else { Err(found.text) }
        })
        .await;
        match try_as_mallory(&cluster, &space, &pod("beside")) {
            Ok(made) => is_genuine(&made, name).unwrap(),
            Err(rejection) => assert!(rejection.contains("admission webhook"), "{rejection}"),
        }
        mallory(&cluster, &space, &["delete", "sidecarprofile", "other"]).expect();
    }

    // Mallory may not change the namespace's labels, and Outrigger's label has no effect on a Mandatory profile.
    let label =
        mallory(&cluster, &space, &["label", "namespace", &space.name, "e2e-guard-"]).expect_failure();
    assert!(label.contains("orbidden"), "{label}");
    for value in ["outrigger.dev/inject=disabled", "outrigger.dev/inject-"] {
        cluster.kubectl(&["label", "--overwrite", "namespace", &space.name, value]).expect();
        for _ in 0..5 {
            is_genuine(&try_as_mallory(&cluster, &space, &pod("labels")).unwrap(), name).unwrap();
        }
    }
    remove(&cluster, name);
}

/// Returns resources below the sidecar's own. Kubernetes 1.33 itself rejects a lower memory limit in place.
async fn fewer_resources(cluster: &Cluster) -> Value {
    if cluster.minor_version().await < 34 {
        json!({ "requests": { "cpu": "5m" } })
    } else {
        json!({ "limits": { "memory": "20Mi" } })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mandatory_sidecar_is_protected_in_a_running_pod() {
    let name = "e2e-guard-live";
    let (cluster, space) = guarded(name).await;
    cluster.create_pod(&space.name, &pod("live")).await.unwrap();
    cluster.ready_pod(&space.name, "live").await;
    let rejected = |words: &[&str], code: &str| {
        let output = mallory(&cluster, &space, words).expect_failure();
        assert!(output.contains(&format!("[{code}]")), "{words:?}: {output}");
    };
    let curl = image("outrigger.dev/echo:1.0");
    rejected(&["set", "image", "pod/live", &format!("{name}={curl}")], "MandatoryChanged");
    rejected(&["annotate", "--overwrite", "pod", "live", "outrigger.dev/status={}"], "MandatoryChanged");
    rejected(&["annotate", "pod", "live", "outrigger.dev/status-"], "MandatoryChanged");
    rejected(&["label", "pod", "live", "outrigger.dev/injected-"], "MandatoryChanged");
    rejected(&["label", "--overwrite", "pod", "live", "companion=other"], "MandatoryChanged");
    let less = fewer_resources(&cluster).await;
    let less = json!({ "spec": { "initContainers": [{ "name": name, "resources": less }] } });
    rejected(
        &["patch", "pod", "live", "--subresource=resize", "--patch", &less.to_string()],
        "MandatoryChanged",
    );
    let debug = ["debug", "pod/live", "--quiet", "--profile=general", "--attach=false", "--image", &curl];
    rejected(&[&debug[..], &["--target", name]].concat(), "MandatoryEntered");
    let thief = json!({ "spec": { "ephemeralContainers": [{ "name": "thief", "image": curl,
        "volumeMounts": [{ "name": "scratch", "mountPath": "/theirs" }] }] } });
    rejected(
        &["patch", "pod", "live", "--subresource=ephemeralcontainers", "--patch", &thief.to_string()],
        "MandatoryEntered",
    );
    rejected(
        &["exec", "live", "--container", name, "--", "redis-cli", "-p", "6400", "shutdown"],
        "MandatoryEntered",
    );
    rejected(&["attach", "live", "--container", name], "MandatoryEntered");

    // The same changes through the pod's status, and through a binding.
    let body = |metadata: Value| json!({ "metadata": metadata }).to_string();
    for metadata in [
        json!({ "annotations": { "outrigger.dev/status": null } }),
        json!({ "annotations": { "outrigger.dev/status": "{}" } }),
        json!({ "labels": { "outrigger.dev/injected": null } }),
        json!({ "labels": { "companion": "other" } }),
    ] {
        let patch = body(metadata);
        rejected(&["patch", "pod", "live", "--subresource=status", "--patch", &patch], "MandatoryChanged");
    }
    let file = std::env::temp_dir().join(format!("{}-binding.json", space.name));
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "target": { "kind": "Node", "name": "nowhere" },
        "metadata": { "name": "live", "annotations": { "outrigger.dev/status": "{}" } },
    });
    std::fs::write(&file, binding.to_string()).unwrap();
    for path in ["pods/live/binding", "bindings"] {
        let path = format!("/api/v1/namespaces/{}/{path}", space.name);
        rejected(&["create", "--raw", &path, "--filename", &file.to_string_lossy()], "MandatoryChanged");
    }
    std::fs::remove_file(&file).unwrap();

    // Mallory's own containers stay accessible, and administrators may enter the sidecar.
    mallory(&cluster, &space, &["exec", "live", "--container", "app", "--", "redis-cli", "ping"]).expect();
    mallory(&cluster, &space, &[&debug[..], &["--target", "app"]].concat()).expect();
    mallory(&cluster, &space, &["label", "pod", "live", "team=a"]).expect();
    let inside = [
        "exec",
        "live",
        "--namespace",
        &space.name,
        "--container",
        name,
        "--",
        "redis-cli",
        "-p",
        "6400",
        "ping",
    ];
    assert!(cluster.kubectl(&inside).expect().contains("PONG"));
    let denied = ["set", "image", "pod/live", &format!("{name}={curl}"), "--namespace", &space.name];
    assert!(
        cluster.kubectl(&denied).expect_failure().contains("[MandatoryChanged]"),
        "administrators may not change the sidecar either"
    );
    let live = cluster.ready_pod(&space.name, "live").await;
    is_genuine(&live, name).unwrap();
    mallory(&cluster, &space, &["delete", "pod", "live", "--wait=false"]).expect();
    remove(&cluster, name);
}

/// Sends a POST to `exec` without kubectl, which would set the container's name itself.
fn enter(cluster: &Cluster, space: &TestNamespace, query: &str) -> String {
    let path = format!("/api/v1/namespaces/{}/pods/live/exec?stdout=true&command=id{query}", space.name);
    mallory(cluster, space, &["create", "--raw", &path, "--filename", "/dev/null"]).expect_failure()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_without_a_container_name_cannot_enter_a_mandatory_container() {
    let name = "e2e-guard-only";
    let (cluster, space) = guarded(name).await;
    let mut scanner = mandatory(name);
    let ordinary = scanner["spec"]["template"]["spec"]["initContainers"][0].clone();
    scanner["spec"]["template"]["spec"]["containers"] = json!([{
        "name": "scanner", "image": ordinary["image"], "args": ordinary["args"], "resources": ordinary["resources"],
        "securityContext": ordinary["securityContext"], "volumeMounts": ordinary["volumeMounts"],
    }]);
    scanner["spec"]["template"]["spec"]["initContainers"] = json!([]);
    cluster.apply("default", &scanner.to_string()).expect();
    // In a pod without containers of its own, the profile's container is the only one, and thus the default.
    let mut empty = pod("live");
    empty["spec"]["containers"] = json!([]);
    eventually("a pod with only the profile's container", || async {
        match try_as_mallory(&cluster, &space, &empty) {
            Ok(made) if made["spec"]["containers"][0]["name"] == "scanner" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.create_pod(&space.name, &empty).await.unwrap();
    cluster.ready_pod(&space.name, "live").await;
    let output = enter(&cluster, &space, "");
    assert!(
        output.contains("exec without a container's name") && output.contains("[MandatoryEntered]"),
        "{output}"
    );
    let output = enter(&cluster, &space, "&container=scanner");
    assert!(output.contains("[MandatoryEntered]"), "{output}");
    remove(&cluster, name);
    eventually("exec without a Mandatory profile", || async {
        let output = enter(&cluster, &space, "");
        if output.contains("pgrade") { Ok(()) } else { Err(output) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_profile_cannot_start_before_a_mandatory_one() {
    let name = "e2e-guard-first";
    let (cluster, space) = guarded(name).await;
    let mut early = companion("early");
    early["kind"] = json!("SidecarProfile");
    early["metadata"]["namespace"] = json!(space.name);
    early["spec"]["order"] = json!({ "before": [name] });
    early["spec"]["template"]["metadata"] = json!({});
    early["spec"]["appContainers"] = json!([]);
    let container = &mut early["spec"]["template"]["spec"]["initContainers"][0];
    container["volumeMounts"] = json!([]);
    container["args"] = json!(["redis-server", "--port", "6500", "--dir", "/tmp"]);
    container["startupProbe"] = json!({ "tcpSocket": { "port": 6500 }, "periodSeconds": 1 });
    early["spec"]["template"]["spec"]["volumes"] = json!([]);
    let applied = cluster.apply(&space.name, &early.to_string()).expect();
    assert!(applied.contains("order.before[0]") && applied.contains("starts first"), "no warning: {applied}");
    let mut chosen = pod("attack");
    chosen["metadata"]["labels"] = json!({ "outrigger.dev/inject": "enabled" });
    chosen["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "early" });
    eventually("the namespace's own profile taking effect", || async {
        let made = try_as_mallory(&cluster, &space, &chosen)?;
        is_genuine(&made, name)?;
        let second = &made["spec"]["initContainers"][1]["name"];
        if second == "early" { Ok(()) } else { Err(format!("{second} is second")) }
    })
    .await;
    remove(&cluster, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_the_author_set_to_the_mandatory_value_are_protected_too() {
    let name = "e2e-guard-shared";
    let (cluster, space) = guarded(name).await;
    let mut own = pod("live");
    own["metadata"]["labels"] = json!({ "companion": name });
    own["spec"]["containers"][0]["env"] = json!([{ "name": "COMPANION", "value": "127.0.0.1:6400" }]);
    cluster.create_pod(&space.name, &own).await.unwrap();
    for change in ["companion=other", "companion-"] {
        let output =
            mallory(&cluster, &space, &["label", "--overwrite", "pod", "live", change]).expect_failure();
        assert!(output.contains("[MandatoryChanged]"), "{output}");
    }
    mallory(&cluster, &space, &["delete", "pod", "live", "--wait=false"]).expect();
    remove(&cluster, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_webhook_cannot_remove_or_change_a_mandatory_sidecar() {
    let name = "e2e-guard-meddled";
    let (cluster, space) = guarded(name).await;
    let home = TestNamespace::plain(&cluster).await;
    let server = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "meddler", "labels": { "app": "meddler" } },
        "spec": { "containers": [{ "name": "meddler", "image": image("outrigger.dev/meddler:1.0"),
            "args": [":8443", format!("meddler.{}.svc", home.name)], "ports": [{ "containerPort": 8443 }] }] },
    });
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "meddler" },
        "spec": { "selector": { "app": "meddler" }, "ports": [{ "port": 443, "targetPort": 8443 }] } });
    cluster
        .apply(
            &home.name,
            &json!({ "apiVersion": "v1", "kind": "List", "items": [server, service] }).to_string(),
        )
        .expect();
    cluster.ready_pod(&home.name, "meddler").await;
    let authority = cluster.kubectl(&["logs", "meddler", "--namespace", &home.name]).expect();
    let authority = authority.lines().next().unwrap().to_owned();
    let meddle = |path: &str| {
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "zz-meddler" },
            "webhooks": [{
                "name": "meddler.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "namespaceSelector": { "matchLabels": { "e2e-guard": name } },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
                "clientConfig": { "caBundle": authority, "service": { "name": "meddler", "namespace": home.name, "path": path } },
            }],
        });
        cluster.apply_as_it_is(&webhook.to_string()).expect();
    };
    meddle("/remove");
    eventually("the rejection of the pod", || async {
        match cluster.dry_run_pod(&space.name, &pod("changed")).await {
            Err(message) if message.contains("[MandatoryIncomplete]") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // The sidecar must be exactly as in the profile: also a changed registry or an agent's variable is rejected.
    for (path, what) in [("/replace-image", "initContainers"), ("/add-variable", "initContainers")] {
        meddle(path);
        // The API server loads a changed configuration within one or two seconds.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let rejection = cluster.dry_run_pod(&space.name, &pod("rewritten")).await.unwrap_err();
        assert!(
            rejection.contains("[MandatoryIncomplete]") && rejection.contains(what),
            "{path}: {rejection}"
        );
    }
    cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "zz-meddler"]).expect();
    remove(&cluster, name);
}

/// Number of pods that are created after each change of the profile, before the next one.
const PODS_PER_CHANGE: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_mandatory_profile_rejects_no_pod_and_leaves_none_out() {
    let name = "e2e-guard-changed";
    let (cluster, space) = guarded(name).await;
    let (done, created) = (AtomicBool::new(false), AtomicUsize::new(0));
    let creating = async {
        while !done.load(Ordering::Relaxed) {
            let made = cluster.dry_run_pod(&space.name, &pod("steady")).await.expect("no pod is rejected");
            assert!(injected(&made, name), "{made}");
            created.fetch_add(1, Ordering::Relaxed);
        }
    };
    let changing = async {
        for round in 0..8 {
            let mut profile = mandatory(name);
            profile["spec"]["template"]["spec"]["initContainers"][0]["resources"]["requests"]["memory"] =
                json!(format!("{}Mi", 16 + round));
            cluster.apply("default", &profile.to_string()).expect();
            let wanted = created.load(Ordering::Relaxed) + PODS_PER_CHANGE;
            eventually("the creation of pods after a change", || async {
                let created = created.load(Ordering::Relaxed);
                if created >= wanted { Ok(()) } else { Err(format!("{created} of {wanted} pods")) }
            })
            .await;
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(creating, changing);

    // When the profile becomes optional, its webhook entries are removed.
    cluster.apply("default", &companion(name).to_string()).expect();
    eventually("the removal of the webhook entries", || async {
        let path = "jsonpath={.webhooks[*].name}";
        let mut left = String::new();
        for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
            left += &cluster.kubectl(&["get", kind, "outrigger-mandatory", "--output", path]).expect();
        }
        if left.contains(name) { Err(left) } else { Ok(()) }
    })
    .await;
    let free = cluster.dry_run_pod(&space.name, &pod("free")).await.unwrap();
    assert!(!injected(&free, name), "{free}");
    remove(&cluster, name);
}
