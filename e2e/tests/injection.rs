//! What becomes of pods, seen on a real API server and a real kubelet. These tests run in parallel, each in a
//! namespace of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{Cluster, TestNamespace, companion, deployment, eventually, image, pod};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

fn manifests(objects: &[&Value]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// A profile of its own for a test, and a namespace whose default it is.
async fn scene(cluster: &Cluster, profile: &str) -> TestNamespace {
    cluster.apply("default", &companion(profile).to_string()).expect();
    TestNamespace::enabled(cluster, profile).await
}

fn gone(cluster: &Cluster, profile: &str) {
    cluster.kubectl(&["delete", "clustersidecarprofile", profile]).expect();
}

#[tokio::test]
async fn an_unchanged_deployment_gets_its_native_sidecar() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-deployment").await;
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
        let asked = cluster.kubectl(&[
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
        assert!(asked.expect().contains("PONG"), "the app does not reach its sidecar");
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
    assert!(!template.expect().contains("e2e-deployment"), "the Deployment itself was changed");
    gone(&cluster, "e2e-deployment");
}

/// Kubernetes mounts images as volumes by default since 1.35.
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
            "an API server without image volumes drops them: {}",
            created["spec"]["volumes"]
        );
        gone(&cluster, "e2e-image-volume");
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
    assert!(listed.expect().contains("/tools/bin/busybox"), "the image's files are not there");
    gone(&cluster, "e2e-image-volume");
}

#[tokio::test]
async fn a_job_completes_although_its_sidecar_never_exits() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-job").await;
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
    gone(&cluster, "e2e-job");
}

#[tokio::test]
async fn a_pod_chooses_adds_takes_away_and_opts_out() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-choice-a").await;
    cluster.apply("default", &companion("e2e-choice-b").to_string().replace("6400", "6401")).expect();
    let choose = |choice: &str| {
        let mut pod = pod("chooser");
        pod["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": choice });
        pod
    };
    for (choice, wanted) in [("e2e-choice-b", vec!["e2e-choice-b"]), ("", vec![]), ("-e2e-choice-a", vec![])]
    {
        let made = eventually("both profiles being known", || async {
            cluster.dry_run_pod(&space.name, &choose(choice)).await
        })
        .await;
        assert_eq!(names(&made["spec"]["initContainers"]), wanted, "{choice}");
    }
    // Both declare a volume "scratch", which is the same, and set one variable to different values.
    let conflict = cluster.dry_run_pod(&space.name, &choose("+e2e-choice-b")).await.unwrap_err();
    assert!(conflict.contains("[ValueConflict]"), "{conflict}");
    let mut out = pod("out");
    out["metadata"]["labels"] = json!({ "outrigger.dev/inject": "disabled" });
    let made = cluster.create_pod(&space.name, &out).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new());
    gone(&cluster, "e2e-choice-a");
    gone(&cluster, "e2e-choice-b");
}

#[tokio::test]
async fn a_misspelt_profile_is_a_denial_that_says_what_was_meant() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-spelling").await;
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
    gone(&cluster, "e2e-spelling");
}

#[tokio::test]
async fn a_pod_enables_itself_in_a_namespace_that_is_not() {
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
    gone(&cluster, "e2e-self");
}

#[tokio::test]
async fn a_namespace_enabled_after_its_pods_exist_leaves_them_alone() {
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
    gone(&cluster, "e2e-late");
}

#[tokio::test]
async fn a_namespace_is_deleted_with_its_injected_pods() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-deleted").await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    cluster.ready_pods(&space.name, "app=web", 1).await;
    cluster.kubectl(&["delete", "namespace", &space.name, "--timeout=120s"]).expect();
    gone(&cluster, "e2e-deleted");
}

#[tokio::test]
async fn namespace_profile_and_deployment_in_one_file() {
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
            if pods.is_empty() { Err("there is none".to_owned()) } else { Ok(pods) }
        })
        .await;
        assert_eq!(names(&pods[0]["spec"]["initContainers"]), [name.as_str()], "round {round}");
        cluster.kubectl(&["delete", "namespace", &name, "--wait=false"]).expect();
        gone(&cluster, &name);
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_injection_and_leaves_nothing() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-dry-run").await;
    let shown = cluster.dry_run_pod(&space.name, &pod("ghost")).await.unwrap();
    assert_eq!(names(&shown["spec"]["initContainers"]), ["e2e-dry-run"]);
    assert!(
        cluster
            .kubectl(&["get", "pod", "ghost", "--namespace", &space.name])
            .expect_failure()
            .contains("NotFound")
    );
    gone(&cluster, "e2e-dry-run");
}

/// The API server defaults the pod, mounts a token and rewrites quantities; none of it is another injection.
#[tokio::test]
async fn an_exported_pod_comes_back_as_it_was() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-again").await;
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

    // And the same one with its author's no: what was injected is taken away again.
    cluster.kubectl(&["delete", "pod", "again", "--namespace", &space.name, "--timeout=60s"]).expect();
    let mut declined = exported.clone();
    declined["metadata"]["labels"]["outrigger.dev/inject"] = json!("disabled");
    let third = cluster.create_pod(&space.name, &declined).await.unwrap();
    assert_eq!(names(&third["spec"]["initContainers"]), ["own"]);
    assert!(third["metadata"]["annotations"].get("outrigger.dev/status").is_none());
    gone(&cluster, "e2e-again");
}

#[tokio::test]
async fn a_pod_in_kube_system_is_untouched() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-system").to_string()).expect();
    for space in ["kube-system", "kube-node-lease", Cluster::SYSTEM] {
        let mut own = pod("e2e-untouched");
        own["metadata"]["labels"] = json!({ "outrigger.dev/inject": "enabled" });
        own["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "no-such-profile" });
        let made = cluster.dry_run_pod(space, &own).await.unwrap();
        assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new(), "{space}");
    }
    gone(&cluster, "e2e-system");
}

#[tokio::test]
async fn the_webhook_never_injects_itself() {
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
async fn a_pod_of_the_restricted_level_stays_restricted() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-restricted").await;
    cluster
        .kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"])
        .expect();
    let made = cluster.create_pod(&space.name, &pod("strict")).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), ["e2e-restricted"]);
    gone(&cluster, "e2e-restricted");
}

#[tokio::test]
async fn a_mirror_pod_is_never_touched() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-mirror").await;
    let node = cluster.kubectl(&["get", "nodes", "--output", "jsonpath={.items[0].metadata.name}"]).expect();
    let mut mirror = pod("mirror");
    mirror["spec"]["nodeName"] = json!(node);
    mirror["metadata"]["annotations"] =
        json!({ "kubernetes.io/config.mirror": "x", "outrigger.dev/profiles": "no-such-profile" });
    let made = cluster.dry_run_pod(&space.name, &mirror).await.unwrap();
    assert_eq!(names(&made["spec"]["initContainers"]), Vec::<&str>::new());
    gone(&cluster, "e2e-mirror");
}

#[tokio::test]
async fn a_namespaces_own_profile_shadows_the_clusters() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-shadow").await;
    let mut own = companion("e2e-shadow");
    own["kind"] = json!("SidecarProfile");
    own["metadata"]["namespace"] = json!(space.name);
    own["spec"]["template"]["spec"]["initContainers"][0]["name"] = json!("shadow");
    cluster.apply(&space.name, &own.to_string()).expect();
    eventually("the namespace's profile taking over", || async {
        let made = cluster.dry_run_pod(&space.name, &pod("shadowed")).await?;
        if names(&made["spec"]["initContainers"]) == ["shadow"] { Ok(()) } else { Err(made.to_string()) }
    })
    .await;
    gone(&cluster, "e2e-shadow");
}

#[tokio::test]
async fn a_wrong_profile_is_refused_with_everything_that_is_wrong() {
    let cluster = Cluster::installed().await;
    let mut wrong = companion("e2e-wrong");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["imagePulPolicy"] = json!("Never");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"][0]["name"] = json!("scrath");
    wrong["spec"]["template"]["spec"]["affinity"] = json!({});
    let said = cluster.apply("default", &wrong.to_string()).expect_failure();
    for part in [
        "The ClusterSidecarProfile \"e2e-wrong\" is invalid",
        "* spec.template.spec.initContainers[0].imagePulPolicy: Kubernetes has no such field here",
        "did you mean \"scratch\"?",
        "* spec.template.spec.affinity: this field cannot be injected",
    ] {
        assert!(said.contains(part), "{part}\nis missing in\n{said}");
    }
    // What the schema itself refuses, by its own rules.
    let mut dotted = companion("e2e.dotted");
    dotted["spec"]["template"]["spec"]["initContainers"][0]["name"] = json!("dotted");
    let said = cluster.apply("default", &dotted.to_string()).expect_failure();
    assert!(said.contains("a profile's name is a DNS label"), "{said}");
    let mut parameter = companion("e2e-parameter");
    parameter["spec"]["parameters"] = json!([{ "name": "Bad-Name", "type": "string" }]);
    let said = cluster.apply("default", &parameter.to_string()).expect_failure();
    assert!(said.contains("a parameter's name is a camelCase identifier"), "{said}");
}

#[tokio::test]
async fn a_profile_shows_what_it_adds() {
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
    gone(&cluster, "e2e-shown");
}

#[tokio::test]
async fn a_profile_matches_by_the_namespaces_labels() {
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
    eventually("the namespace's new label being seen", || async {
        if injected().await? { Ok(()) } else { Err("the pod is not injected".to_owned()) }
    })
    .await;
    gone(&cluster, "e2e-match");
}

#[tokio::test]
async fn explain_and_inject_look_at_the_cluster() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-explain").await;
    let manifest = deployment("web", 1).to_string();
    let explained =
        cluster.outrigger(&["explain", "--filename", "-", "--namespace", &space.name], &manifest).expect();
    assert!(
        explained.starts_with(&format!("{}/web: 1 profile would be injected", space.name)),
        "{explained}"
    );
    assert!(explained.contains("using the profiles and namespaces of context"), "{explained}");

    // What inject writes is what the cluster would have made, so the cluster has nothing to add.
    let injected =
        cluster.outrigger(&["inject", "--filename", "-", "--namespace", &space.name], &manifest).expect();
    let manifest = injected.split("using the profiles").next().unwrap();
    cluster.apply(&space.name, manifest).expect();
    let pods = cluster.ready_pods(&space.name, "app=web", 1).await;
    assert_eq!(names(&pods[0]["spec"]["initContainers"]), ["e2e-explain"]);
    gone(&cluster, "e2e-explain");
}

#[tokio::test]
async fn live_objects_are_explained() {
    let cluster = Cluster::installed().await;
    let space = scene(&cluster, "e2e-live").await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    let pods = cluster.ready_pods(&space.name, "app=web", 1).await;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    let words = ["explain", "deploy/web", &format!("pod/{pod}"), "--namespace", &space.name];
    let explained = cluster.outrigger(&words, "").expect();
    let would = format!("{}/web: 1 profile would be injected", space.name);
    // The API server has defaulted the pod and mounted its token, and still it is as it would be made now.
    let is = format!("{}/{pod}: 1 profile injected already; nothing would change", space.name);
    assert!(explained.contains(&would) && explained.contains(&is), "{explained}");
    assert!(explained.contains("before     injected with e2e-live"), "{explained}");
    gone(&cluster, "e2e-live");
}

#[tokio::test]
async fn an_order_that_cannot_be_is_a_warning_when_it_is_applied() {
    let cluster = Cluster::installed().await;
    let mut first = companion("e2e-cycle-a");
    first["spec"]["order"] = json!({ "before": ["e2e-cycle-b"] });
    let mut second = companion("e2e-cycle-b");
    second["spec"]["order"] = json!({ "before": ["e2e-cycle-a"] });
    cluster.apply("default", &first.to_string()).expect();
    eventually("the first profile being seen", || async {
        // An object that is applied unchanged is not sent again.
        cluster.kubectl(&["delete", "--ignore-not-found", "clustersidecarprofile", "e2e-cycle-b"]).expect();
        let said = cluster.apply("default", &second.to_string()).expect();
        let cycle = "the start order is a cycle: e2e-cycle-b → e2e-cycle-a → e2e-cycle-b";
        if said.contains(cycle) { Ok(()) } else { Err(said) }
    })
    .await;
    gone(&cluster, "e2e-cycle-a");
    gone(&cluster, "e2e-cycle-b");
}
