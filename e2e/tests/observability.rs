//! Observability: the API server's audit log, the server's log, warnings on workloads, events and metrics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use e2e::{Cluster, TestNamespace, companion, deployment, eventually, injects, pod};
use serde_json::{Value, json};

/// Returns the latest successful entry of the audit log with this verb and resource.
fn audited(cluster: &Cluster, namespace: &str, verb: &str, resource: &str) -> Result<Value, String> {
    let all = cluster.audited(namespace);
    let found = all
        .iter()
        .rfind(|entry| entry["verb"] == verb && entry["objectRef"]["resource"] == resource)
        .filter(|entry| entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300));
    found.cloned().ok_or_else(|| format!("no {verb} of {resource} among {} entries", all.len()))
}

#[tokio::test]
async fn the_uid_in_the_audit_log_identifies_the_line_in_the_servers_log() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-audited").to_string()).expect();
    let space = TestNamespace::enabled(&cluster, "e2e-audited").await;
    injects(&cluster, &space, "e2e-audited").await;
    cluster.create_pod(&space.name, &pod("seen")).await.unwrap();
    let uid = eventually("the audit log's entry", || async {
        let entry = audited(&cluster, &space.name, "create", "pods")?;
        let annotation = |key: &str| entry["annotations"][format!("pods.outrigger.dev/{key}")].as_str();
        match (annotation("outcome"), annotation("reason"), annotation("uid")) {
            (Some("injected"), Some("Injected"), Some(uid)) => Ok(uid.to_owned()),
            _ => Err(entry.to_string()),
        }
    })
    .await;
    let line = eventually("the line in the server's log", || async {
        let logs = ["logs", "--selector", "app.kubernetes.io/name=outrigger", "--tail=-1", "--namespace"];
        let output = cluster.kubectl(&[&logs[..], &[Cluster::SYSTEM]].concat()).expect();
        output.lines().find(|line| line.contains(&uid)).map(str::to_owned).ok_or_else(|| format!("no {uid}"))
    })
    .await;
    assert!(line.contains("decided") && line.contains(&space.name) && line.contains("injected"), "{line}");
    cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-audited"]).expect();
}

#[tokio::test]
async fn a_workload_whose_sidecar_exceeds_a_quota_gets_a_warning() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::enabled(&cluster, "").await;
    cluster.apply("default", &companion("e2e-bounded").to_string()).expect();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "team" },
        "spec": { "hard": { "limits.cpu": "1" }, "scopes": ["NotTerminating"] },
    });
    cluster.apply(&space.name, &quota.to_string()).expect();
    let mut web = deployment("web", 1);
    web["spec"]["template"]["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-bounded" });
    let limits = json!({ "limits": { "cpu": "100m" } });
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = limits;
    let warning = "of profile \"e2e-bounded\": there is no limit of cpu, which ResourceQuota \"team\" demands [ResourceQuota]";
    eventually("the warning", || async {
        let output = cluster.apply(&space.name, &web.to_string()).expect();
        if output.contains(warning) {
            return Ok(());
        }
        cluster.kubectl(&["delete", "deployment", "web", "--namespace", &space.name]).expect();
        Err(output)
    })
    .await;
    // The API server rejects the pods for the same reason.
    eventually("the rejection", || async {
        let path = "jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        let get = ["get", "deployment", "web", "--output", path, "--namespace", &space.name];
        let output = cluster.kubectl(&get).expect();
        if output.contains("must specify limits.cpu for: e2e-bounded") { Ok(()) } else { Err(output) }
    })
    .await;
    cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-bounded"]).expect();
}

#[tokio::test]
async fn a_workload_whose_pods_will_be_rejected_gets_a_warning() {
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion("e2e-advised").to_string()).expect();
    let space = TestNamespace::enabled(&cluster, "").await;
    let misspelled = |mut workload: Value, template: &str| {
        let template = workload.pointer_mut(template).unwrap();
        template["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-advisd" });
        workload
    };
    let warning = |kind: &str| {
        format!(
            "Warning: pods of this {kind} will be refused: profile \"e2e-advisd\" (annotation outrigger.dev/profiles on the pod) does not exist in namespace {:?}; did you mean \"e2e-advised\"? [ProfileNotFound]",
            space.name
        )
    };
    let web = misspelled(deployment("web", 0), "/spec/template");
    eventually("the warning", || async {
        let output = cluster.apply(&space.name, &web.to_string()).expect();
        if output.contains(&warning("Deployment")) {
            return Ok(());
        }
        cluster.kubectl(&["delete", "deployment", "web", "--namespace", &space.name]).expect();
        Err(output)
    })
    .await;
    eventually("the audit log's entry", || async {
        let entry = audited(&cluster, &space.name, "create", "deployments")?;
        let reason = &entry["annotations"]["workloads.outrigger.dev/reason"];
        if reason == "ProfileNotFound" { Ok(()) } else { Err(entry.to_string()) }
    })
    .await;

    // With an unchanged template, the webhook is not called.
    let mut more = web.clone();
    more["metadata"]["labels"] = json!({ "changed": "yes" });
    assert!(!cluster.apply(&space.name, &more.to_string()).expect().contains("Warning"));
    let entry = eventually("the audit log's entry of the change", || async {
        audited(&cluster, &space.name, "patch", "deployments")
    })
    .await;
    assert!(entry["annotations"].get("workloads.outrigger.dev/reason").is_none(), "{entry}");
    more["spec"]["template"]["metadata"]["labels"]["more"] = json!("yes");
    assert!(cluster.apply(&space.name, &more.to_string()).expect().contains(&warning("Deployment")));
    more["spec"]["template"]["metadata"]["annotations"]["outrigger.dev/profiles"] = json!("e2e-advised");
    assert!(!cluster.apply(&space.name, &more.to_string()).expect().contains("Warning"));

    let job =
        json!({ "template": { "metadata": {}, "spec": web["spec"]["template"]["spec"] }, "suspend": true });
    let with = |kind: &str, spec: Value| json!({ "apiVersion": "batch/v1", "kind": kind, "metadata": { "name": "web" }, "spec": spec });
    let mut once = misspelled(with("Job", job.clone()), "/spec/template");
    once["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    let mut daily = with("CronJob", json!({ "schedule": "0 0 * * *", "jobTemplate": { "spec": job } }));
    daily = misspelled(daily, "/spec/jobTemplate/spec/template");
    daily["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    for (kind, workload) in [("Job", &once), ("CronJob", &daily)] {
        let output = cluster.apply(&space.name, &workload.to_string()).expect();
        assert!(output.contains(&warning(kind)), "{output}");
    }

    // In a namespace that is not enabled, the template's own label decides.
    let elsewhere = TestNamespace::plain(&cluster).await;
    for workload in [&web, &once, &daily] {
        let output = cluster.apply(&elsewhere.name, &workload.to_string()).expect();
        assert!(!output.contains("Warning"), "{output}");
    }
    let labelled = |workload: &Value, template: &str| {
        let mut workload = workload.clone();
        workload["metadata"]["name"] = json!("labelled");
        workload.pointer_mut(template).unwrap()["metadata"]["labels"] =
            json!({ "app": "web", "outrigger.dev/inject": "enabled" });
        workload
    };
    for workload in [
        labelled(&web, "/spec/template"),
        labelled(&once, "/spec/template"),
        labelled(&daily, "/spec/jobTemplate/spec/template"),
    ] {
        let output = cluster.apply(&elsewhere.name, &workload.to_string()).expect();
        assert!(output.contains("will be refused: profile \"e2e-advisd\""), "{output}");
    }
    cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-advised"]).expect();
}

#[tokio::test]
async fn one_event_reports_a_skipped_profile_for_all_pods_of_an_owner() {
    let cluster = Cluster::installed().await;
    let mut needy = companion("e2e-needy");
    needy["spec"]["onError"] = json!("Ignore");
    needy["spec"]["parameters"] = json!([{ "name": "to", "type": "string", "required": true }]);
    needy["spec"]["template"]["spec"]["initContainers"][0]["env"] =
        json!([{ "name": "TO", "value": "$[[ params.to ]]" }]);
    cluster.apply("default", &needy.to_string()).expect();
    let space = TestNamespace::enabled(&cluster, "e2e-needy").await;
    // A pod that names a profile is rejected until the servers have received the profile.
    eventually("the profile taking effect", || async {
        cluster.dry_run_pod(&space.name, &pod("probe")).await.map(drop)
    })
    .await;
    cluster.apply(&space.name, &deployment("web", 3).to_string()).expect();
    let pods = cluster.ready_pods(&space.name, "app=web", 3).await;
    assert!(pods.iter().all(|pod| pod["spec"].get("initContainers").is_none()), "{pods:?}");
    let events = || {
        let all = ["get", "events", "--field-selector", "reason=ProfileLeftOut", "--output", "json"];
        let output = cluster.kubectl(&[&all[..], &["--namespace", &space.name]].concat()).expect();
        serde_json::from_str::<Value>(&output).unwrap()["items"].as_array().unwrap().clone()
    };
    let event = eventually("the event", || async { events().pop().ok_or_else(|| "none".to_owned()) }).await;
    assert_eq!(event["involvedObject"]["kind"], "ReplicaSet", "{event}");
    assert_eq!(event["type"], "Warning", "{event}");
    let message = event["message"].as_str().unwrap();
    assert!(message.starts_with("profile \"e2e-needy\" was left out of a pod: "), "{message}");
    assert!(message.ends_with("[ParameterMissing]"), "{message}");
    let output =
        cluster.kubectl(&["describe", "replicaset", "--selector", "app=web", "--namespace", &space.name]);
    assert!(output.expect().contains("ProfileLeftOut"));

    let counted = eventually("the count of every pod", || async {
        let count = sum(
            &cluster,
            "outrigger_profile_left_out_total{profile=\"e2e-needy\",reason=\"ParameterMissing\"}",
        )
        .await;
        if count >= 3 { Ok(count) } else { Err(format!("{count}")) }
    })
    .await;
    assert_eq!((counted, events().len()), (3, 1), "three pods, no dry run, and one event");
    cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-needy"]).expect();
}

/// Returns the sum of a counter over all servers.
async fn sum(cluster: &Cluster, series: &str) -> u64 {
    let mut sum = 0;
    for server in cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await {
        let name = server["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", Cluster::SYSTEM);
        let output = cluster.kubectl(&["get", "--raw", &path]).text;
        let value = output.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<u64>().ok());
        sum += value.unwrap_or_default();
    }
    sum
}
