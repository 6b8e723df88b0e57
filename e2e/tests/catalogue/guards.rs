//! Authentication in front of an app, and debugging tools.

use e2e::{Cluster, TestNamespace, eventually};
use serde_json::{Value, json};

/// Sends a request to the guard from another pod, and returns the body followed by the status.
fn call(cluster: &Cluster, space: &TestNamespace, path: &str, headers: &[&str]) -> String {
    let pod = cluster.kubectl(&[
        "get",
        "pod",
        "app",
        "--namespace",
        &space.name,
        "--output",
        "jsonpath={.status.podIP}",
    ]);
    let url = format!("http://{}:15140{path}", pod.expect());
    let mut words = vec!["curl", "-sS", "--path-as-is", "--write-out", "\nstatus %{http_code}", &url];
    for header in headers {
        words.extend(["-H", header]);
    }
    cluster.exec(&space.name, "client", "client", &words).text
}

async fn only_the_open_path_is_open(cluster: &Cluster, space: &TestNamespace) {
    // The open path needs no token and has no claims. Similar paths are not open.
    let answer = call(cluster, space, "/healthz", &["x-jwt-payload: forged"]);
    assert!(answer.contains("path /healthz\nclaims \n") && answer.ends_with("status 200"), "{answer}");
    for path in ["/healthz/", "/healthz/../stock", "/healthz%2f..%2fstock", "//healthz/../stock", "/HEALTHZ"]
    {
        let answer = call(cluster, space, path, &[]);
        assert!(answer.ends_with("status 401") || answer.ends_with("status 400"), "{path}: {answer}");
    }
    // The app's own port cannot be reached from outside the pod, because the app listens on localhost.
    let address = cluster.ready_pod(&space.name, "app").await["status"]["podIP"].as_str().unwrap().to_owned();
    let direct = format!("http://{address}:8080/stock");
    let tried = cluster.exec(&space.name, "client", "client", &["curl", "-sS", &direct]);
    assert!(tried.expect_failure().contains("Couldn't connect"));
}

#[tokio::test]
async fn only_requests_with_a_valid_token_reach_the_app() {
    let cluster = Cluster::installed().await;
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let space = TestNamespace::with_profiles(
        &cluster,
        &["jwt-guard"],
        &[
            ("jwt-guard.outrigger.dev/issuer", issuer),
            ("jwt-guard.outrigger.dev/audiences", "stock,shop"),
            ("jwt-guard.outrigger.dev/open", "/healthz"),
        ],
        true,
    )
    .await;
    cluster.apply_file(&space.name, "jwt-guard/client.yaml").expect();
    cluster.ready_pod(&space.name, "client").await;
    let client = |words: &[&str]| cluster.exec(&space.name, "client", "client", words).expect();

    // The API server is the issuer. A second key of the test signs tokens that the API server would not issue.
    let own: Value = serde_json::from_str(&client(&["sh", "/signer/key.sh"])).unwrap();
    let mut keys: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]).expect()).unwrap();
    keys["keys"].as_array_mut().unwrap().push(own);
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "jwt-guard-keys" },
        "data": { "jwks.json": keys.to_string() },
    });
    cluster.apply(&space.name, &map.to_string()).expect();
    cluster.apply_file(&space.name, "jwt-guard/app.yaml").expect();
    cluster.ready_pod(&space.name, "app").await;

    let token = |audience: &str| {
        let words = ["create", "token", "default", "--namespace", &space.name, "--audience", audience];
        cluster.kubectl(&words).expect().trim().to_owned()
    };
    let with = |token: &str| call(&cluster, &space, "/stock", &[&format!("Authorization: Bearer {token}")]);
    let good = token("shop");
    let answer = with(&good);
    assert!(answer.contains("path /stock\n") && answer.ends_with("status 200"), "{answer}");
    // The app gets the claims, but not the token, which it could use to call others.
    let claims = answer.lines().find_map(|line| line.strip_prefix("claims ")).unwrap();
    let decode = format!("printf '%s===' '{claims}' | tr '_-' '/+' | base64 -d 2>/dev/null; true");
    let claims = client(&["sh", "-c", &decode]);
    assert!(
        claims.contains(&format!("\"sub\":\"system:serviceaccount:{}:default\"", space.name)),
        "{claims}"
    );
    assert!(answer.contains("\ntoken \n"), "{answer}");

    let rejected = |answer: &str, status: &str, why: &str| {
        assert!(answer.ends_with(status) && answer.contains(why), "not {status} {why}: {answer}");
    };
    rejected(&call(&cluster, &space, "/stock", &[]), "status 401", "Jwt is missing");
    rejected(&with(&token("others")), "status 403", "Audiences in Jwt are not allowed");
    // One changed character in the signature, and one in the signed part.
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = |text: &str, at: usize| {
        let letter = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{letter}{}", &text[..at], &text[at + 1..])
    };
    rejected(&with(&format!("{signed}.{}", other(signature, 20))), "status 401", "Jwt verification fails");
    rejected(&with("not.a.token"), "status 401", "Jwt");
    let sign = |changed: &Value| {
        let mut claims = json!({ "iss": issuer, "aud": ["shop"], "sub": "own", "exp": 4_000_000_000_u64 });
        let claims = claims.as_object_mut().unwrap();
        claims.extend(changed.as_object().unwrap().clone());
        claims.retain(|_, value| !value.is_null());
        let claims = Value::Object(claims.clone());
        client(&["sh", "/signer/sign.sh", &claims.to_string()])
    };
    // Control: without the changes below, the token is valid.
    let answer = with(&sign(&json!({})));
    assert!(answer.ends_with("status 200"), "{answer}");
    rejected(&with(&sign(&json!({ "exp": 1_700_000_000 }))), "status 401", "Jwt is expired");
    rejected(&with(&sign(&json!({ "exp": null }))), "status 401", "Jwt");
    rejected(
        &with(&sign(&json!({ "iss": "https://elsewhere" }))),
        "status 401",
        "Jwt issuer is not configured",
    );
    rejected(&with(&sign(&json!({ "aud": null }))), "status 403", "Audiences in Jwt are not allowed");

    only_the_open_path_is_open(&cluster, &space).await;
    let mut measured = e2e::pod("measured");
    measured["metadata"]["annotations"] = json!({ "jwt-guard.outrigger.dev/appPort": "6379" });
    space.measure("jwt-guard", &measured).await;
}

#[tokio::test]
async fn debug_tools_see_the_apps_processes_files_and_connections() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::with_profiles(&cluster, &["debug-tools"], &[], true).await;
    let app = e2e::pod("app");
    cluster.apply(&space.name, &app.to_string()).expect();
    cluster.ready_pod(&space.name, "app").await;
    let tools = |script: &str| cluster.exec(&space.name, "app", "debug-tools", &["bash", "-c", script]);
    // The app's image has no shell.
    assert!(!cluster.exec(&space.name, "app", "app", &["bash", "-c", "true"]).success);

    let process = tools("pgrep -x redis-server").expect().trim().to_owned();
    assert!(tools("ps -eo args").expect().contains("redis-server"));
    cluster.exec(&space.name, "app", "app", &["redis-cli", "set", "stock", "3"]).expect();
    cluster.exec(&space.name, "app", "app", &["redis-cli", "save"]).expect();
    // Files of the app's root file system and its open files. The tools' image has none of them.
    assert!(tools(&format!("ls -l /proc/{process}/root/tmp/dump.rdb")).expect().contains("dump.rdb"));
    assert!(tools("ls /usr/bin/redis-server").expect_failure().contains("No such file"));
    assert_eq!(tools(&format!("readlink /proc/{process}/cwd")).expect(), "/tmp\n");
    assert!(tools(&format!("lsof -p {process}")).expect().contains("/usr/bin/redis-check-rdb"));
    assert!(tools("ss -ltnp").expect().contains(&format!("pid={process}")));
    assert!(tools("printf 'GET stock\\r\\nQUIT\\r\\n' | nc 127.0.0.1 6379").expect().contains('3'));
    assert!(
        tools("drill kubernetes.default.svc.cluster.local && getent hosts kubernetes.default")
            .expect()
            .contains("NOERROR")
    );
    // The tools have no token, are not root, can write only to the scratch volume, and run only sleep.
    assert!(!tools("cat /var/run/secrets/kubernetes.io/serviceaccount/token").success);
    assert!(tools("touch /x").expect_failure().contains("Read-only"));
    assert!(
        tools("id -u; touch /tmp/x; grep CapEff /proc/self/status")
            .expect()
            .contains("999\nCapEff:\t0000000000000000")
    );
    let running = cluster.exec(&space.name, "app", "debug-tools", &["ps", "-eo", "comm="]).expect();
    let mut running: Vec<&str> = running.lines().map(str::trim).collect();
    running.sort_unstable();
    assert_eq!(running, ["pause", "ps", "redis-server", "sleep"]);

    // The sidecar ends with the app.
    let mut job = e2e::pod("job");
    job["spec"]["restartPolicy"] = json!("Never");
    job["spec"]["containers"][0]["args"] = json!(["redis-cli", "--version"]);
    cluster.apply(&space.name, &job.to_string()).expect();
    eventually("the job's end", || async {
        let pods = cluster.kubectl(&[
            "get",
            "pod",
            "job",
            "--namespace",
            &space.name,
            "--output",
            "jsonpath={.status.phase}",
        ]);
        if pods.text == "Succeeded" { Ok(()) } else { Err(pods.text) }
    })
    .await;
    space.measure("debug-tools", &app).await;
}
