//! Init containers that fill volumes or wait for dependencies, and health checks.

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// Returns a pod with the toolbox image and annotations.
fn app(name: &str, command: &[&str], annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name }, "annotations": annotations },
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "app",
                "image": image("outrigger.dev/toolbox:1.0.0"),
                "command": command,
                "resources": { "requests": { "cpu": "10m" } },
                "securityContext": confined(1000),
            }],
        },
    })
}

fn confined(user: u32) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// Returns an init container of the pod's own.
fn own(command: &[&str]) -> Value {
    json!({
        "name": "own",
        "image": image("outrigger.dev/toolbox:1.0.0"),
        "command": command,
        "securityContext": confined(1000),
    })
}

/// Runs a shell script in the container next to the web server.
fn edit(cluster: &Cluster, space: &TestNamespace, script: &str) -> String {
    cluster.exec(&space.name, "files", "editor", &["sh", "-c", script]).expect()
}

/// Waits until an init container has failed, and returns its message.
async fn failure(cluster: &Cluster, space: &TestNamespace, pod: &str, container: &str) -> String {
    eventually(&format!("{container} of {pod} failing"), || async {
        let pods = cluster.pods(&space.name, &format!("app={pod}")).await;
        let statuses = pods[0]["status"]["initContainerStatuses"].as_array().cloned().unwrap_or_default();
        let status = statuses.iter().find(|status| status["name"] == container).cloned().unwrap_or_default();
        let ends = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        let message = ends.iter().find(|end| end["exitCode"] == 1).and_then(|end| end["message"].as_str());
        message.map(str::to_owned).ok_or(status.to_string())
    })
    .await
}

#[tokio::test]
async fn an_app_starts_after_its_dependencies_answer() {
    let cluster = Cluster::installed().await;
    let targets = "wait-for.outrigger.dev/targets";
    let all = "tcp://store:6379,http://pages/ready,dns://kubernetes.default";
    let space = TestNamespace::with_profiles(&cluster, &["wait-for"], &[(targets, all)], true).await;
    let late = json!({
        targets: "tcp://127.0.0.1:7,http://pages/missing",
        "wait-for.outrigger.dev/timeout": "1s",
        "wait-for.outrigger.dev/attempt": "1s",
    });
    let waits = app("waits", &["sleep", "infinity"], &json!({}));
    cluster.apply(&space.name, &waits.to_string()).expect();
    cluster.apply(&space.name, &app("late", &["sleep", "infinity"], &late).to_string()).expect();
    eventually("the first attempt", || async {
        let log = cluster.logs(&space.name, "waits", "wait-for");
        let missing = log.contains("no answer yet") && log.contains("tcp://store:6379: ");
        if missing && log.contains("dns://kubernetes.default answers") { Ok(()) } else { Err(log) }
    })
    .await;
    let pod = cluster.pods(&space.name, "app=waits").await.remove(0);
    assert_eq!(pod["status"]["containerStatuses"][0]["started"], false);

    let message = failure(&cluster, &space, "late", "wait-for").await;
    assert!(
        message.starts_with("waited ") && message.contains("s (at most 1s), still no answer from"),
        "{message}"
    );
    assert!(message.contains("tcp://127.0.0.1:7: ") && message.contains("refused"), "{message}");
    assert!(message.contains("http://pages/missing: "), "{message}");

    // A TCP server, and an HTTP server that is not ready at first, behind two Services.
    cluster.apply_file(&space.name, "wait-for/back-ends.yaml").expect();
    cluster.ready_pod(&space.name, "back-ends").await;
    eventually("the status of the page", || async {
        let log = cluster.logs(&space.name, "waits", "wait-for");
        let all = ["tcp://store:6379 answers", "http://pages/ready: HTTP status 404"];
        if all.iter().all(|line| log.contains(line)) { Ok(()) } else { Err(log) }
    })
    .await;
    let pod = cluster.pods(&space.name, "app=waits").await.remove(0);
    assert_eq!(pod["status"]["containerStatuses"][0]["started"], false);
    cluster.exec(&space.name, "back-ends", "pages", &["touch", "/www/ready"]).expect();
    cluster.ready_pod(&space.name, "waits").await;

    let wrong = json!({ targets: "tcp://store" });
    let denial = cluster.dry_run_pod(&space.name, &app("wrong", &["true"], &wrong)).await.unwrap_err();
    assert!(denial.contains("[ParameterNotAllowed]"), "{denial}");
    space.measure("wait-for", &waits).await;
}

/// Returns the metrics of the refreshing sidecar.
async fn metrics(cluster: &Cluster, space: &TestNamespace, pod: &str) -> String {
    let running = cluster.ready_pod(&space.name, pod).await;
    let url = format!("http://{}:9181/metrics", running["status"]["podIP"].as_str().unwrap());
    cluster.exec(&space.name, "files", "editor", &["curl", "-sS", &url]).text
}

/// Checks that the pod `url` sees only complete versions of its file, keeps the last one while the server is
/// unreachable, and is not restarted.
async fn changes_are_atomic_and_outages_keep_the_content(cluster: &Cluster, space: &TestNamespace) {
    let app_sees = |pod: &str, path: &str| cluster.exec(&space.name, pod, "app", &["cat", path]).text;
    for version in 1..=5 {
        edit(
            cluster,
            space,
            &format!("yes version {version} | head -n 2000 >/site/next && mv /site/next /site/app.conf"),
        );
        eventually("the changed file", || async {
            let seen = app_sees("url", "/etc/loaded/app.conf");
            if seen.starts_with(&format!("version {version}\n")) {
                Ok(())
            } else {
                Err(seen.chars().take(40).collect())
            }
        })
        .await;
    }
    assert_eq!(cluster.logs(&space.name, "url", "app"), "");

    // The Service first selects no pod, and later the server again.
    let select = |label: &str| {
        let patch = format!(r#"{{"spec":{{"selector":{{"app":"{label}"}}}}}}"#);
        cluster
            .kubectl(&["patch", "service", "files", "--namespace", &space.name, "--patch", &patch])
            .expect();
    };
    select("none");
    eventually("the metric of the failure", || async {
        let shown = metrics(cluster, space, "url").await;
        let is_reported = shown.contains("config_loader_ok 0\n")
            && shown.contains("config_loader_failure_info{reason=\"curl: ");
        if is_reported { Ok(()) } else { Err(shown) }
    })
    .await;
    assert!(cluster.logs(&space.name, "url", "config-refresh").contains("; the old content stays"));
    assert!(app_sees("url", "/etc/loaded/app.conf").starts_with("version 5\n"));
    select("files");
    eventually("the metric of success", || async {
        let shown = metrics(cluster, space, "url").await;
        let all = ["config_loader_ok 1\n", "config_loader_changes_total 5\n"];
        if all.iter().all(|line| shown.contains(line)) && !shown.contains("reason=") {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await;
    let pod = cluster.ready_pod(&space.name, "url").await;
    let restarts = pod["status"].to_string().matches("\"restartCount\":0").count();
    assert_eq!(restarts, 4, "something restarted: {}", pod["status"]);
}

#[tokio::test]
async fn configuration_is_loaded_before_the_app_and_refreshed() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(
        &cluster,
        &["config-loader"],
        &[("config-loader.outrigger.dev/location", "http://files/app.conf")],
        true,
    )
    .await;
    cluster.apply_file(&space.name, "config-loader/server.yaml").expect();
    cluster.apply_file(&space.name, "config-loader/sources.yaml").expect();
    cluster.ready_pod(&space.name, "files").await;
    let set = |pairs: &[(&str, &str)]| -> Value {
        let all =
            pairs.iter().map(|(name, value)| (format!("config-loader.outrigger.dev/{name}"), json!(value)));
        Value::Object(all.collect())
    };
    // Each version has two thousand equal lines, so two different lines mean a mix of versions.
    let reader =
        "while sleep 0.02; do test $(sort -u /etc/loaded/app.conf | wc -l) = 1 || echo half a file; done";
    let mut url = app("url", &["bash", "-c", reader], &set(&[("refresh", "1s")]));
    url["spec"]["initContainers"] = json!([own(&["cat", "/etc/loaded/app.conf"])]);
    let wrong = set(&[("sha256", &"0".repeat(64))]);
    let git = set(&[
        ("source", "git"),
        ("location", "http://files/private/settings.git"),
        ("credentials", "user"),
        ("ref", "main"),
        ("folder", "shop"),
        ("directory", "/srv/settings"),
        ("refresh", "1s"),
    ]);
    let map = set(&[("source", "configMap"), ("location", "settings")]);
    let private = set(&[
        ("location", "http://files/private/app.conf?version=1"),
        ("file", "settings.toml"),
        ("credentials", "user"),
    ]);
    let sleep = ["sleep", "infinity"];
    cluster.apply(&space.name, &url.to_string()).expect();
    for (name, annotations) in [("wrong", &wrong), ("git", &git), ("map", &map), ("private", &private)] {
        cluster.apply(&space.name, &app(name, &sleep, annotations).to_string()).expect();
    }
    let app_sees = |pod: &str, path: &str| cluster.exec(&space.name, pod, "app", &["cat", path]).text;

    cluster.ready_pod(&space.name, "url").await;
    assert_eq!(cluster.logs(&space.name, "url", "own"), "greeting = \"hello\"\n");
    let message = failure(&cluster, &space, "wrong", "config-loader").await;
    assert!(message.contains("its sha256 is ") && message.contains(", and should be 0000"), "{message}");
    cluster.ready_pod(&space.name, "map").await;
    assert_eq!(app_sees("map", "/etc/loaded/colour") + &app_sees("map", "/etc/loaded/size"), "bluelarge");
    cluster.ready_pod(&space.name, "private").await;
    assert_eq!(app_sees("private", "/etc/loaded/settings.toml"), "greeting = \"hello\"\n");

    // The server serves the repository as static files.
    cluster.ready_pod(&space.name, "git").await;
    let listed = |path: &str| cluster.exec(&space.name, "git", "app", &["ls", path]).text;
    assert_eq!(
        (listed("/srv/settings"), app_sees("git", "/srv/settings/nested/second")),
        ("first\nnested\n".to_owned(), "two\n".to_owned())
    );
    edit(&cluster, &space, "sh /etc/nginx-files/push.sh");
    eventually("the second commit", || async {
        let now = (listed("/srv/settings"), app_sees("git", "/srv/settings/nested/second"));
        if now == ("nested\nthird\n".to_owned(), "2\n".to_owned()) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;

    changes_are_atomic_and_outages_keep_the_content(&cluster, &space).await;
    space.measure("config-loader", &app("measured", &sleep, &set(&[("refresh", "1m")]))).await;
}

#[tokio::test]
async fn a_volume_is_filled_from_an_archive_or_an_image() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["volume-populate"], &[], true).await;
    cluster.apply_file(&space.name, "config-loader/server.yaml").expect();
    cluster.ready_pod(&space.name, "files").await;
    let pack = "cd /site && mkdir -p shop-1.0/static/css && echo body >shop-1.0/static/css/page.css \
                && ln -s css/page.css shop-1.0/static/link && tar -czf shop.tgz shop-1.0 \
                && sha256sum shop.tgz | cut -c 1-64";
    let sum = edit(&cluster, &space, pack);
    let set = |pairs: &[(&str, &str)]| -> Value {
        let all =
            pairs.iter().map(|(name, value)| (format!("volume-populate.outrigger.dev/{name}"), json!(value)));
        Value::Object(all.collect())
    };
    let sleep = ["sleep", "infinity"];
    let good = set(&[
        ("url", "http://files/shop.tgz"),
        ("sha256", sum.trim()),
        ("path", "/shop-1.0/static"),
        ("directory", "/srv/www"),
    ]);
    let mut archive = app("archive", &sleep, &good);
    archive["spec"]["initContainers"] = json!([own(&["cat", "/srv/www/link"])]);
    cluster.apply(&space.name, &archive.to_string()).expect();
    let bad = set(&[("url", "http://files/shop.tgz"), ("sha256", &"0".repeat(64))]);
    cluster.apply(&space.name, &app("bad", &sleep, &bad).to_string()).expect();
    // An image with a single program and without a shell.
    let from = image("docker.io/migrate/migrate:v4.19.1");
    let copy = set(&[
        ("source", "image"),
        ("sourceImage", &from),
        ("path", "/usr/local/bin"),
        ("writable", "true"),
        ("user", "1000"),
    ]);
    cluster.apply(&space.name, &app("copied", &sleep, &copy).to_string()).expect();
    let absent = set(&[("source", "image"), ("sourceImage", &from), ("path", "/srv/none")]);
    cluster.apply(&space.name, &app("absent", &sleep, &absent).to_string()).expect();
    let run = |pod: &str, words: &[&str]| cluster.exec(&space.name, pod, "app", words);

    cluster.ready_pod(&space.name, "archive").await;
    assert_eq!(cluster.logs(&space.name, "archive", "own"), "body\n");
    assert_eq!(run("archive", &["ls", "/srv/www"]).expect(), "css\nlink\n");
    assert!(run("archive", &["touch", "/srv/www/x"]).expect_failure().contains("Read-only"));
    let message = failure(&cluster, &space, "bad", "volume-populate").await;
    assert!(message.contains("its sha256 is ") && message.contains(sum.trim()), "{message}");

    cluster.ready_pod(&space.name, "copied").await;
    assert!(run("copied", &["/data/migrate", "-version"]).expect().contains("dev"));
    run("copied", &["sh", "-c", "echo mine >/data/own && rm /data/migrate"]).expect();
    let message = failure(&cluster, &space, "absent", "volume-populate-copy").await;
    assert!(message.contains("there is no folder /srv/none in it"), "{message}");
    space.measure("volume-populate", &app("measured", &sleep, &good)).await;
}

#[tokio::test]
async fn a_pod_is_ready_only_while_its_health_checks_succeed() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["health-checker"], &[], true).await;
    cluster.apply_file(&space.name, "health-checker/shop.yaml").expect();
    let run = |container: &str, words: &[&str]| cluster.exec(&space.name, "shop", container, words);
    let scraped = || run("health-checker", &["curl", "-sS", "http://127.0.0.1:9182/metrics"]).text;
    let shows = |all: &'static [&'static str]| async move {
        let text = scraped();
        if all.iter().all(|line| text.contains(&format!("{line}\n"))) { Ok(()) } else { Err(text) }
    };
    let unready = |reason: &'static str| {
        let (cluster, space) = (&cluster, &space);
        async move {
            eventually(&format!("the pod not being ready: {reason}"), || async {
                let pod = cluster.pods(&space.name, "").await.remove(0);
                let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let not = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "False");
                let names = ["get", "events", "--namespace", &space.name, "--output", "yaml"];
                let is_reported = cluster.kubectl(&names).text.contains(reason);
                if not && is_reported {
                    Ok(())
                } else {
                    Err(format!("reported: {is_reported}; {}", pod["status"]))
                }
            })
            .await;
        }
    };

    unready("stock: nobody knows the stock").await;
    run("app", &["redis-cli", "set", "stock", "3"]).expect();
    let pod = cluster.ready_pod(&space.name, "shop").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    let all_is_well: &[&str] = &[
        "health_check_ok{check=\"ping\"} 1",
        "health_check_ok{check=\"stock\"} 1",
        "health_check_ok{check=\"script\"} 1",
    ];
    eventually("metrics of success", || shows(all_is_well)).await;
    assert!(!scraped().contains("reason="), "{}", scraped());

    // A check fails.
    run("app", &["redis-cli", "del", "stock"]).expect();
    eventually("the metric with the reason", || {
        shows(&[
            "health_check_ok{check=\"ping\"} 1",
            "health_check_ok{check=\"stock\"} 0",
            "health_check_failure_info{check=\"stock\",reason=\"nobody knows the stock\"} 1",
        ])
    })
    .await;
    eventually("the pod not being ready", || async {
        let pod = cluster.pods(&space.name, "").await.remove(0);
        let conditions = pod["status"]["conditions"].to_string();
        if conditions.contains("containers with unready status: [health-checker]") {
            Ok(())
        } else {
            Err(conditions)
        }
    })
    .await;
    let pod = cluster.pods(&space.name, "").await.remove(0);
    assert_eq!(pod["status"]["containerStatuses"][0]["ready"], true, "the app container is ready");
    run("app", &["redis-cli", "set", "stock", "3"]).expect();
    cluster.ready_pod(&space.name, "shop").await;

    // The app does not respond. Quotes in the reason do not break the metric, and a check that hangs does not block
    // others.
    run("app", &["redis-cli", "client", "pause", "20000", "all"]).expect();
    eventually("the metrics of a failed and a timed-out check", || {
        shows(&[
            "health_check_failure_info{check=\"ping\",reason=\"redis gives no PONG\"} 1",
            "health_check_failure_info{check=\"stock\",reason=\"no result within 4 s\"} 1",
        ])
    })
    .await;
    unready("ping: redis gives no PONG;stock: ").await;
    cluster.ready_pod(&space.name, "shop").await;
    eventually("metrics of success again", || shows(all_is_well)).await;
    let log = cluster.logs(&space.name, "shop", "health-checker");
    assert!(
        log.contains("stock: nobody knows the stock\n") && log.contains("ping: redis gives no PONG\n"),
        "{log}"
    );

    let mut measured = e2e::pod("measured");
    measured["metadata"]["annotations"] = json!({ "health-checker.outrigger.dev/script": "true" });
    space.measure("health-checker", &measured).await;
}
