//! Injection with a real API server and a real kubelet. The tests run in parallel, each in its own namespace.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, companion, deployment, eventually, image, pod};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

fn manifests(objects: &[&Value]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// Creates a profile, and a namespace that has it as the default.
async fn set_up(cluster: &Cluster, profile: &str) -> TestNamespace {
    cluster.apply("default", &companion(profile).to_string()).expect();
    TestNamespace::enabled(cluster, profile).await
}

fn delete_profile(cluster: &Cluster, profile: &str) {
    cluster.kubectl(&["delete", "clustersidecarprofile", profile]).expect();
}

#[tokio::test]
async fn pods_of_a_deployment_get_the_native_sidecar() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-deployment").await;
    cluster.apply(&space.name, &deployment("web", 2).to_string()).expect();
    for pod in cluster.ready_pods(&space.name, "app=web", 2).await {
        let spec = &pod["spec"];
        assert_eq!(names(&spec["initContainers"]), ["e2e-deployment"]);
        assert_eq!(spec["initContainers"][0]["restartPolicy"], "Always");
        assert_eq!(names(&spec["containers"]), ["app"]);
        assert_eq!(spec["containers"][0]["env"], json!([{ "name": "COMPANION", "value": "127.0.0.1:6400" }]));
        assert_eq!(pod["metadata"]["labels"]["outrigger.dev/injected"], "true");
        assert_eq!(pod["metadata"]["labels"]["companion"], "e2e-deployment");
        let status: Value =
            serde_json::from_str(pod["metadata"]["annotations"]["outrigger.dev/status"].as_str().unwrap())
                .unwrap();
        assert_eq!(status["profiles"][0]["name"], "e2e-deployment");
        let sidecar = &pod["status"]["initContainerStatuses"][0];
        assert!(sidecar["state"]["running"].is_object() && sidecar["started"] == true, "{sidecar}");
        let output = cluster.kubectl(&[
            "exec",
            "--namespace",
            &space.name,
            pod["metadata"]["name"].as_str().unwrap(),
            "--container",
            "app",
            "--",
            "redis-cli",
            "-p",
            "6400",
            "ping",
        ]);
        assert!(output.expect().contains("PONG"), "the app cannot reach its sidecar");
    }
    let template = cluster.kubectl(&[
        "get",
        "deployment",
        "web",
        "--namespace",
        &space.name,
        "--output",
        "jsonpath={.spec.template}",
    ]);
    assert!(!template.expect().contains("e2e-deployment"), "the Deployment's template was changed");
    delete_profile(&cluster, "e2e-deployment");
}

/// Image volumes are enabled by default since Kubernetes 1.35.
#[tokio::test]
async fn a_sidecar_mounts_an_image_as_a_volume() {
    let cluster = Cluster::installed().await;
    let mut profile = companion("e2e-image-volume");
    let added = &mut profile["spec"]["template"]["spec"];
    let tools = json!({ "name": "tools", "image": { "reference": image("outrigger.dev/toolbox:1.0.0") } });
    added["volumes"].as_array_mut().unwrap().push(tools);
    let mount = json!({ "name": "tools", "mountPath": "/tools", "readOnly": true });
    added["initContainers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    cluster.apply("default", &profile.to_string()).expect();
    let space = TestNamespace::enabled(&cluster, "e2e-image-volume").await;
    cluster.apply(&space.name, &pod("app").to_string()).expect();
    let created = cluster.ready_pod(&space.name, "app").await;
    let has_volume = names(&created["spec"]["volumes"]).contains(&"tools");
    if cluster.minor_version().await < 35 {
        assert!(
            !has_volume,
            "an API server without image volumes must drop them: {}",
            created["spec"]["volumes"]
        );
        delete_profile(&cluster, "e2e-image-volume");
        return;
    }
    assert!(has_volume, "{}", created["spec"]["volumes"]);
    let listed = cluster.kubectl(&[
        "exec",
        "--namespace",
        &space.name,
        "app",
        "--container",
        "e2e-image-volume",
        "--",
        "ls",
        "/tools/bin/busybox",
    ]);
    assert!(listed.expect().contains("/tools/bin/busybox"), "the image's files are not mounted");
    delete_profile(&cluster, "e2e-image-volume");
}

#[tokio::test]
async fn a_job_with_an_injected_sidecar_completes() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-job").await;
    let mut container = pod("x")["spec"]["containers"][0].clone();
    container["args"] = json!(["redis-cli", "-p", "6400", "incr", "jobs"]);
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "count" }, "spec": {
        "backoffLimit": 0,
        "template": { "spec": { "restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container] } },
    } });
    cluster.apply(&space.name, &job.to_string()).expect();
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Complete",
            "job/count",
            "--namespace",
            &space.name,
            "--timeout=120s",
        ])
        .expect();
    let pods = cluster.pods(&space.name, "job-name=count").await;
    assert_eq!(names(&pods[0]["spec"]["initContainers"]), ["e2e-job"]);
    delete_profile(&cluster, "e2e-job");
}

#[tokio::test]
async fn a_pod_selects_adds_and_removes_profiles_and_opts_out() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-choice-a").await;
    cluster.apply("default", &companion("e2e-choice-b").to_string().replace("6400", "6401")).expect();
    let select = |choice: &str| {
        let mut pod = pod("selecting");
        pod["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": choice });
        pod
    };
    for (choice, wanted) in [("e2e-choice-b", vec!["e2e-choice-b"]), ("", vec![]), ("-e2e-choice-a", vec![])]
    {
        let made = eventually("both profiles taking effect", || async {
            cluster.dry_run_pod(&space.name, &select(choice)).await
        })
        .await;
        assert_eq!(names(&made["spec"]["initContainers"]), wanted, "{choice}");
    }
    // Both profiles declare the same volume "scratch", and set the same variable to different values.
    let conflict = cluster.dry_run_pod(&space.name, &select("+e2e-choice-b")).await.unwrap_err();
    assert!(conflict.contains("[ValueConflict]"), "{conflict}");
    let mut out = pod("out");
    out["metadata"]["labels"] = json!({ "outrigger.dev/inject": "disabled" });
    let made = cluster.create_pod(&space.name, &out).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new());
    delete_profile(&cluster, "e2e-choice-a");
    delete_profile(&cluster, "e2e-choice-b");
}

#[tokio::test]
async fn the_denial_of_a_misspelled_profile_suggests_the_right_name() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-spelling").await;
    let mut wrong = pod("wrong");
    wrong["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-speling" });
    let message = cluster.create_pod(&space.name, &wrong).await.unwrap_err();
    assert_eq!(
        message,
        format!(
            "admission webhook \"pods.outrigger.dev\" denied the request: profile \"e2e-speling\" (annotation outrigger.dev/profiles on the pod) does not exist in namespace \"{}\"; did you mean \"e2e-spelling\"? [ProfileNotFound]",
            space.name
        )
    );
    wrong["metadata"] = json!({ "name": "wrong", "labels": { "outrigger.dev/inject": "yes" } });
    let message = cluster.create_pod(&space.name, &wrong).await.unwrap_err();
    assert!(message.contains("must be \"enabled\" or \"disabled\" [InvalidInjectLabel]"), "{message}");
    delete_profile(&cluster, "e2e-spelling");
}

#[tokio::test]
async fn a_pod_opts_in_in_a_namespace_that_is_not_enabled() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-self").to_string()).expect();
    let space = TestNamespace::plain(&cluster).await;
    let mut own = pod("own");
    own["metadata"]["labels"] = json!({ "outrigger.dev/inject": "enabled" });
    own["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-self" });
    cluster.create_pod(&space.name, &own).await.unwrap();
    let made = cluster.ready_pod(&space.name, "own").await;
    assert_eq!(names(&made["spec"]["initContainers"]), ["e2e-self"]);
    let made = cluster.create_pod(&space.name, &pod("other")).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new());
    delete_profile(&cluster, "e2e-self");
}

#[tokio::test]
async fn enabling_a_namespace_does_not_change_its_existing_pods() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-late").to_string()).expect();
    let space = TestNamespace::plain(&cluster).await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    let before = cluster.ready_pods(&space.name, "app=web", 1).await.remove(0);
    cluster.kubectl(&["annotate", "namespace", &space.name, "outrigger.dev/profiles=e2e-late"]).expect();
    cluster.kubectl(&["label", "namespace", &space.name, "outrigger.dev/inject=enabled"]).expect();
    let same = cluster.ready_pods(&space.name, "app=web", 1).await.remove(0);
    assert_eq!(same["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(names(&same["spec"]["initContainers"]), Vec::<&str>::new());
    cluster.kubectl(&["rollout", "restart", "deployment/web", "--namespace", &space.name]).expect();
    cluster
        .kubectl(&["rollout", "status", "deployment/web", "--namespace", &space.name, "--timeout=120s"])
        .expect();
    let after = cluster.ready_pods(&space.name, "app=web", 1).await.remove(0);
    assert_eq!(names(&after["spec"]["initContainers"]), ["e2e-late"]);
    delete_profile(&cluster, "e2e-late");
}

#[tokio::test]
async fn a_namespace_with_injected_pods_can_be_deleted() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-deleted").await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    cluster.ready_pods(&space.name, "app=web", 1).await;
    cluster.kubectl(&["delete", "namespace", &space.name, "--timeout=120s"]).expect();
    delete_profile(&cluster, "e2e-deleted");
}

#[tokio::test]
async fn a_namespace_a_profile_and_a_deployment_are_applied_from_one_file() {
    let cluster = Cluster::installed().await;
    for round in 0..5 {
        let name = format!("e2e-race-{}-{round}", std::process::id());
        let space = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name,
            "labels": { "outrigger.dev/inject": "enabled" },
            "annotations": { "outrigger.dev/profiles": name },
        } });
        let mut workload = deployment("web", 1);
        workload["metadata"]["namespace"] = json!(name);
        cluster.apply_as_it_is(&manifests(&[&space, &companion(&name), &workload])).expect();
        let pods = eventually("the Deployment's pod", || async {
            let pods = cluster.pods(&name, "app=web").await;
            if pods.is_empty() { Err("there is no pod".to_owned()) } else { Ok(pods) }
        })
        .await;
        assert_eq!(names(&pods[0]["spec"]["initContainers"]), [name.as_str()], "round {round}");
        cluster.kubectl(&["delete", "namespace", &name, "--wait=false"]).expect();
        delete_profile(&cluster, &name);
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_injection_and_creates_nothing() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-dry-run").await;
    let shown = cluster.dry_run_pod(&space.name, &pod("dry-run")).await.unwrap();
    assert_eq!(names(&shown["spec"]["initContainers"]), ["e2e-dry-run"]);
    assert!(
        cluster
            .kubectl(&["get", "pod", "dry-run", "--namespace", &space.name])
            .expect_failure()
            .contains("NotFound")
    );
    delete_profile(&cluster, "e2e-dry-run");
}

/// The API server sets defaults, mounts a token and normalizes quantities. None of this causes a second injection.
#[tokio::test]
async fn an_exported_pod_is_not_changed_when_it_is_created_again() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-again").await;
    let mut first = pod("again");
    first["spec"]["initContainers"] = json!([{ "name": "own", "image": first["spec"]["containers"][0]["image"], "args": ["redis-cli", "--version"] }]);
    let first = cluster.create_pod(&space.name, &first).await.unwrap();
    assert_eq!(names(&first["spec"]["initContainers"]), ["e2e-again", "own"]);
    cluster.kubectl(&["delete", "pod", "again", "--namespace", &space.name, "--timeout=60s"]).expect();
    let exported = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "again", "labels": first["metadata"]["labels"], "annotations": first["metadata"]["annotations"],
    }, "spec": first["spec"] });
    let second = cluster.create_pod(&space.name, &exported).await.unwrap();
    assert_eq!(second["spec"], first["spec"]);
    assert_eq!(second["metadata"]["annotations"], first["metadata"]["annotations"]);

    // The same pod with an opt-out: the injected fields are removed.
    cluster.kubectl(&["delete", "pod", "again", "--namespace", &space.name, "--timeout=60s"]).expect();
    let mut declined = exported.clone();
    declined["metadata"]["labels"]["outrigger.dev/inject"] = json!("disabled");
    let third = cluster.create_pod(&space.name, &declined).await.unwrap();
    assert_eq!(names(&third["spec"]["initContainers"]), ["own"]);
    assert!(third["metadata"]["annotations"].get("outrigger.dev/status").is_none());
    delete_profile(&cluster, "e2e-again");
}

#[tokio::test]
async fn pods_in_system_namespaces_are_not_changed() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-system").to_string()).expect();
    for space in ["kube-system", "kube-node-lease", Cluster::SYSTEM] {
        let mut own = pod("e2e-untouched");
        own["metadata"]["labels"] = json!({ "outrigger.dev/inject": "enabled" });
        own["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "no-such-profile" });
        let made = cluster.dry_run_pod(space, &own).await.unwrap();
        assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new(), "{space}");
    }
    delete_profile(&cluster, "e2e-system");
}

#[tokio::test]
async fn outriggers_own_pods_are_never_injected() {
    let cluster = Cluster::installed().await;
    cluster
        .kubectl(&["label", "namespace", Cluster::SYSTEM, "outrigger.dev/inject=enabled", "--overwrite"])
        .expect();
    let rolled =
        cluster.kubectl(&["rollout", "restart", "deployment/outrigger", "--namespace", Cluster::SYSTEM]);
    let status = cluster.kubectl(&[
        "rollout",
        "status",
        "deployment/outrigger",
        "--namespace",
        Cluster::SYSTEM,
        "--timeout=180s",
    ]);
    cluster.kubectl(&["label", "namespace", Cluster::SYSTEM, "outrigger.dev/inject-"]).expect();
    rolled.expect();
    status.expect();
    for pod in cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await {
        assert_eq!(names(&pod["spec"]["initContainers"]), Vec::<&str>::new());
        assert!(pod["metadata"]["labels"].get("outrigger.dev/injected").is_none());
    }
}

#[tokio::test]
async fn an_injected_pod_meets_the_restricted_pod_security_standard() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-restricted").await;
    cluster
        .kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"])
        .expect();
    let made = cluster.create_pod(&space.name, &pod("strict")).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), ["e2e-restricted"]);
    delete_profile(&cluster, "e2e-restricted");
}

#[tokio::test]
async fn mirror_pods_are_not_changed() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-mirror").await;
    let node = cluster.kubectl(&["get", "nodes", "--output", "jsonpath={.items[0].metadata.name}"]).expect();
    let mut mirror = pod("mirror");
    mirror["spec"]["nodeName"] = json!(node);
    mirror["metadata"]["annotations"] =
        json!({ "kubernetes.io/config.mirror": "x", "outrigger.dev/profiles": "no-such-profile" });
    let made = cluster.dry_run_pod(&space.name, &mirror).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new());
    delete_profile(&cluster, "e2e-mirror");
}

#[tokio::test]
async fn a_namespaced_profile_takes_precedence_over_a_cluster_profile() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-shadow").await;
    let mut own = companion("e2e-shadow");
    own["kind"] = json!("SidecarProfile");
    own["metadata"]["namespace"] = json!(space.name);
    own["spec"]["template"]["spec"]["initContainers"][0]["name"] = json!("shadow");
    cluster.apply(&space.name, &own.to_string()).expect();
    eventually("the namespace's profile taking precedence", || async {
        let made = cluster.dry_run_pod(&space.name, &pod("shadowed")).await?;
        if names(&made["spec"]["initContainers"]) == ["shadow"] { Ok(()) } else { Err(made.to_string()) }
    })
    .await;
    delete_profile(&cluster, "e2e-shadow");
}

#[tokio::test]
async fn the_rejection_of_a_profile_lists_all_its_errors() {
    let cluster = Cluster::installed().await;
    let mut wrong = companion("e2e-wrong");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["imagePulPolicy"] = json!("Never");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"][0]["name"] = json!("scrath");
    wrong["spec"]["template"]["spec"]["affinity"] = json!({});
    let output = cluster.apply("default", &wrong.to_string()).expect_failure();
    for part in [
        "The ClusterSidecarProfile \"e2e-wrong\" is invalid",
        "* spec.template.spec.initContainers[0].imagePulPolicy: Kubernetes has no such field here",
        "did you mean \"scratch\"?",
        "* spec.template.spec.affinity: this field cannot be injected",
    ] {
        assert!(output.contains(part), "{part}\nis missing in\n{output}");
    }
    // Rejections by the CRD's validation rules.
    let mut dotted = companion("e2e.dotted");
    dotted["spec"]["template"]["spec"]["initContainers"][0]["name"] = json!("dotted");
    let output = cluster.apply("default", &dotted.to_string()).expect_failure();
    assert!(output.contains("a profile's name is a DNS label"), "{output}");
    let mut parameter = companion("e2e-parameter");
    parameter["spec"]["parameters"] = json!([{ "name": "Bad-Name", "type": "string" }]);
    let output = cluster.apply("default", &parameter.to_string()).expect_failure();
    assert!(output.contains("a parameter's name is a camelCase identifier"), "{output}");
}

#[tokio::test]
async fn a_profiles_status_summarizes_what_it_adds() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-shown").to_string()).expect();
    eventually("the profile's status", || async {
        let listed = cluster.kubectl(&["get", "csp", "e2e-shown"]).expect();
        let row = "1 native sidecar, 1 volume, 1 label, 1 app env, 1 app mount   True";
        if listed.contains(row) { Ok(()) } else { Err(listed) }
    })
    .await;
    cluster
        .kubectl(&["wait", "--for=condition=Accepted", "clustersidecarprofile/e2e-shown", "--timeout=10s"])
        .expect();
    let explained = cluster.kubectl(&["explain", "clustersidecarprofile.spec"]).expect();
    for part in [
        "template",
        "A partial pod, with the field names of a pod",
        "appContainers",
        "onConflict",
        "enum: Fail, Skip",
    ] {
        assert!(explained.contains(part), "{part}\nis missing in\n{explained}");
    }
    assert!(cluster.kubectl(&["get", "outrigger", "--all-namespaces"]).expect().contains("e2e-shown"));
    delete_profile(&cluster, "e2e-shown");
}

#[tokio::test]
async fn a_profile_matches_namespaces_by_their_labels() {
    let cluster = Cluster::installed().await;
    let mut matching = companion("e2e-match");
    matching["spec"]["match"] = json!({ "namespaceSelector": { "matchLabels": { "e2e-match": "on" } } });
    cluster.apply("default", &matching.to_string()).expect();
    let space = TestNamespace::enabled(&cluster, "").await;
    let injected = || async {
        let made = cluster.dry_run_pod(&space.name, &pod("matched")).await?;
        Ok::<_, String>(names(&made["spec"]["initContainers"]) == ["e2e-match"])
    };
    assert!(!injected().await.unwrap());
    cluster.kubectl(&["label", "namespace", &space.name, "e2e-match=on"]).expect();
    eventually("the namespace's new label taking effect", || async {
        if injected().await? { Ok(()) } else { Err("the pod is not injected".to_owned()) }
    })
    .await;
    delete_profile(&cluster, "e2e-match");
}

#[tokio::test]
async fn explain_and_inject_use_the_clusters_profiles() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-explain").await;
    let manifest = deployment("web", 1).to_string();
    let explained =
        cluster.outrigger(&["explain", "--filename", "-", "--namespace", &space.name], &manifest).expect();
    assert!(
        explained.starts_with(&format!("{}/web: 1 profile would be injected", space.name)),
        "{explained}"
    );
    assert!(explained.contains("using the profiles and namespaces of context"), "{explained}");

    // The output of `inject` is what the webhook would have made, so the webhook adds nothing.
    let injected =
        cluster.outrigger(&["inject", "--filename", "-", "--namespace", &space.name], &manifest).expect();
    let manifest = injected.split("using the profiles").next().unwrap();
    cluster.apply(&space.name, manifest).expect();
    let pods = cluster.ready_pods(&space.name, "app=web", 1).await;
    assert_eq!(names(&pods[0]["spec"]["initContainers"]), ["e2e-explain"]);
    delete_profile(&cluster, "e2e-explain");
}

#[tokio::test]
async fn explain_accepts_live_objects() {
    let cluster = Cluster::installed().await;
    let space = set_up(&cluster, "e2e-live").await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    let pods = cluster.ready_pods(&space.name, "app=web", 1).await;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    let words = ["explain", "deploy/web", &format!("pod/{pod}"), "--namespace", &space.name];
    let explained = cluster.outrigger(&words, "").expect();
    let template = format!("{}/web: 1 profile would be injected", space.name);
    // The API server has set defaults and mounted a token. Neither counts as a difference.
    let live = format!("{}/{pod}: 1 profile injected already; nothing would change", space.name);
    assert!(explained.contains(&template) && explained.contains(&live), "{explained}");
    assert!(explained.contains("before     injected with e2e-live"), "{explained}");
    delete_profile(&cluster, "e2e-live");
}

#[tokio::test]
async fn a_cyclic_start_order_is_a_warning_when_a_profile_is_applied() {
    let cluster = Cluster::installed().await;
    let mut first = companion("e2e-cycle-a");
    first["spec"]["order"] = json!({ "before": ["e2e-cycle-b"] });
    let mut second = companion("e2e-cycle-b");
    second["spec"]["order"] = json!({ "before": ["e2e-cycle-a"] });
    cluster.apply("default", &first.to_string()).expect();
    eventually("the first profile taking effect", || async {
        // kubectl does not send an object that is applied unchanged.
        cluster.kubectl(&["delete", "--ignore-not-found", "clustersidecarprofile", "e2e-cycle-b"]).expect();
        let output = cluster.apply("default", &second.to_string()).expect();
        let cycle = "the start order is a cycle: e2e-cycle-b → e2e-cycle-a → e2e-cycle-b";
        if output.contains(cycle) { Ok(()) } else { Err(output) }
    })
    .await;
    delete_profile(&cluster, "e2e-cycle-a");
    delete_profile(&cluster, "e2e-cycle-b");
}
