//! Several profiles on one pod: start and stop order, and the update of a single sidecar.

use e2e::{Cluster, TestNamespace, eventually};
use serde_json::{Value, json};

/// Containers of the three profiles in start order. The native sidecars stop in reverse order.
const STARTED: [&str; 5] = ["cert-init", "cert-rotator", "mesh-init", "mesh-proxy", "log-shipper"];
/// Finalizer that keeps a deleted pod until the test has inspected it.
const FINALIZER: &str = "e2e.outrigger.dev/inspect";

/// Creates a namespace with certificates, mesh and logs, and one for their servers. The apps do not mention the
/// profiles.
async fn shop(cluster: &Cluster) -> (TestNamespace, TestNamespace) {
    let back_ends = TestNamespace::plain(cluster).await;
    cluster.apply_file(&back_ends.name, "cert-rotator/authority.yaml").expect();
    cluster.apply_file(&back_ends.name, "composition/archive.yaml").expect();
    let authority = back_ends.ready("app=step-ca").await;
    back_ends.ready("app=archive").await;
    let output = cluster.logs(&back_ends.name, &authority, "setup");
    let fingerprint = output.lines().last().unwrap();
    let url = format!("https://step-ca.{}.svc", back_ends.name);
    let receiver = format!("archive.{}.svc", back_ends.name);
    let profiles = ["cert-rotator", "mesh-proxy", "log-shipper"];
    let annotations = [
        ("cert-rotator.outrigger.dev/url", url.as_str()),
        ("cert-rotator.outrigger.dev/fingerprint", fingerprint),
        ("mesh-proxy.outrigger.dev/certificates", "Volume"),
        ("mesh-proxy.outrigger.dev/upstreams", "storefront:80"),
        ("log-shipper.outrigger.dev/receiver", receiver.as_str()),
    ];
    (TestNamespace::with_profiles(cluster, &profiles, &annotations, false).await, back_ends)
}

fn statuses(pod: &Value) -> Vec<&Value> {
    let lists = [&pod["status"]["initContainerStatuses"], &pod["status"]["containerStatuses"]];
    lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten()).collect()
}

/// Returns the start or end time of a container.
fn time<'a>(pod: &'a Value, container: &str, which: &str) -> &'a str {
    let status = statuses(pod).into_iter().find(|status| status["name"] == container);
    let state = &status.unwrap_or_else(|| panic!("no {container}: {pod}"))["state"];
    ["running", "terminated"]
        .iter()
        .find_map(|name| state[name][which].as_str())
        .unwrap_or_else(|| panic!("{container} has no {which}: {state}"))
}

/// Checks that the profiles' containers started in order, before the app's. The times have whole seconds.
fn started_in_order(pod: &Value, app: &str) {
    let names: Vec<_> =
        pod["spec"]["initContainers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, STARTED, "{pod}");
    let times: Vec<&str> =
        STARTED.iter().chain([&app]).map(|container| time(pod, container, "startedAt")).collect();
    assert!(times.is_sorted(), "{times:?}");
    for first in ["cert-init", "mesh-init"] {
        assert!(time(pod, first, "finishedAt") <= time(pod, "mesh-proxy", "startedAt"), "{first}");
    }
}

/// Checks that the containers ended in order: app, shipper, proxy, certificates.
fn ended_in_order(pod: &Value, app: &str) {
    let order = [app, "log-shipper", "mesh-proxy", "cert-rotator"];
    let times: Vec<&str> = order.iter().map(|container| time(pod, container, "finishedAt")).collect();
    assert!(times.is_sorted(), "{order:?} ended at {times:?}");
    // The shipper lingers for the last lines, so these two differ by seconds.
    assert!(times[0] < times[1], "{order:?} ended at {times:?}");
}

/// Deletes a pod, and returns its state after all of its containers have ended.
async fn end_of(space: &TestNamespace, cluster: &Cluster, pod: &str) -> Value {
    let keep = json!({ "metadata": { "finalizers": [FINALIZER] } }).to_string();
    let patch = |patch: &str| {
        cluster
            .kubectl(&["patch", "pod", pod, "--namespace", &space.name, "--type=merge", "--patch", patch])
            .expect()
    };
    patch(&keep);
    cluster.kubectl(&["delete", "pod", pod, "--namespace", &space.name, "--wait=false"]).expect();
    let ended = eventually("all containers having ended", || async {
        let output =
            cluster.kubectl(&["get", "pod", pod, "--namespace", &space.name, "--output", "json"]).expect();
        let pod: Value = serde_json::from_str(&output).unwrap();
        let all = statuses(&pod).iter().all(|status| status["state"]["terminated"].is_object());
        if all { Ok(pod) } else { Err(pod["status"].to_string()) }
    })
    .await;
    patch(r#"{"metadata":{"finalizers":null}}"#);
    ended
}

/// Waits until the archive has printed this number of lines that contain all of these words.
async fn arrived(cluster: &Cluster, back_ends: &TestNamespace, words: &[&str], count: usize) {
    let archive = back_ends.ready("app=archive").await;
    eventually(&format!("{count} lines with {words:?} in the archive"), || async {
        let output = cluster.logs(&back_ends.name, &archive, "rsyslog");
        let found = output.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        if found == count { Ok(()) } else { Err(format!("{found} lines")) }
    })
    .await;
}

#[tokio::test]
async fn sidecars_start_and_stop_in_order_in_every_kind_of_workload() {
    let cluster = Cluster::installed().await;
    let (space, back_ends) = shop(&cluster).await;
    for file in ["deployment", "statefulset", "job", "cronjob"] {
        cluster.apply_file(&space.name, &format!("../workloads/{file}.yaml")).expect();
    }
    cluster.apply_file(&space.name, "composition/daemonset.yaml").expect();

    // The Job completes: its sidecars end after the app, and its last lines are sent before.
    let job = cluster.kubectl(&[
        "wait",
        "--for=condition=complete",
        "job/price-import",
        "--namespace",
        &space.name,
        "--timeout=180s",
    ]);
    job.expect();
    let done = cluster.pods(&space.name, "app=price-import").await.remove(0);
    started_in_order(&done, "import");
    ended_in_order(&done, "import");
    arrived(&cluster, &back_ends, &["import.log", "200 http://storefront/items/"], 100).await;

    for (labels, count, app) in
        [("app=storefront", 2, "nginx"), ("app=sessions", 2, "redis"), ("app=watch", 1, "watch")]
    {
        let pods = cluster.ready_pods(&space.name, labels, count).await;
        for pod in &pods {
            started_in_order(pod, app);
        }
        let name = pods[0]["metadata"]["name"].as_str().unwrap();
        ended_in_order(&end_of(&space, &cluster, name).await, app);
        if app == "watch" {
            arrived(&cluster, &back_ends, &[name, "goodbye"], 1).await;
        }
    }

    let report = eventually("a pod of the CronJob having ended", || async {
        let pods = cluster.pods(&space.name, "app=sales-report").await;
        let done = pods.into_iter().find(|pod| pod["status"]["phase"] == "Succeeded");
        done.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    started_in_order(&report, "report");
    ended_in_order(&report, "report");
}

#[tokio::test]
async fn a_sidecars_image_changes_without_a_restart_of_the_app() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["statsd"], &[], true).await;
    let old = e2e::image("docker.io/prom/statsd-exporter:v0.30.0");
    let new = e2e::image("docker.io/prom/statsd-exporter:v0.31.0");
    cluster
        .kubectl(&["annotate", "namespace", &space.name, &format!("statsd.outrigger.dev/image={old}")])
        .expect();
    let mut app = e2e::pod("app");
    eventually("the image parameter of the namespace", || async {
        let probe = cluster.dry_run_pod(&space.name, &app).await?;
        let image = probe["spec"]["initContainers"][0]["image"].clone();
        if image == old.as_str() { Ok(()) } else { Err(image.to_string()) }
    })
    .await;
    app["metadata"]["labels"] = json!({ "app": "app" });
    cluster.create_pod(&space.name, &app).await.unwrap();
    let before = cluster.ready_pod(&space.name, "app").await;

    let image = format!("statsd={new}");
    cluster.kubectl(&["set", "image", "pod/app", &image, "--namespace", &space.name]).expect();
    let after = eventually("the sidecar restarting with the new image", || async {
        let pod = cluster.ready_pod(&space.name, "app").await;
        let sidecar = &pod["status"]["initContainerStatuses"][0];
        let is_new = sidecar["image"].as_str().is_some_and(|image| image.ends_with(":v0.31.0"));
        if is_new && sidecar["ready"] == true { Ok(pod) } else { Err(sidecar.to_string()) }
    })
    .await;
    let (was, is) = (&before["status"], &after["status"]);
    assert_eq!(was["containerStatuses"][0]["containerID"], is["containerStatuses"][0]["containerID"]);
    assert_eq!(is["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(was["podIP"], is["podIP"]);
    assert_ne!(was["initContainerStatuses"][0]["containerID"], is["initContainerStatuses"][0]["containerID"]);
    assert_ne!(was["initContainerStatuses"][0]["imageID"], is["initContainerStatuses"][0]["imageID"]);
    // The sidecar works: its metrics are served.
    let url = format!("/api/v1/namespaces/{}/pods/app:9102/proxy/metrics", space.name);
    let metrics = cluster.kubectl(&["get", "--raw", &url]).expect();
    assert!(metrics.contains("statsd_exporter_build_info"), "{metrics}");
}
