//! Connection pool for `PostgreSQL`, and schema migrations.

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

/// Queries the database in the pod `postgres`, as its administrator and without a pooler.
fn ask(cluster: &Cluster, space: &TestNamespace, question: &str) -> String {
    let command = ["psql", "postgres://postgres:correct%20horse@127.0.0.1/postgres", "-Atc", question];
    cluster.exec(&space.name, "postgres", "postgres", &command).expect().trim().to_owned()
}

/// Returns the pod of an app with psql.
fn app(name: &str, script: &str, env: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name }, "annotations": annotations },
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 999, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "app",
                "image": image("docker.io/library/postgres:15"),
                "command": ["sh", "-ec", script],
                "env": env,
                "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    })
}

#[tokio::test]
async fn the_pooler_shares_few_connections_among_many_clients() {
    let cluster = Cluster::installed().await;
    let annotations = [
        ("ambassador-pooler.outrigger.dev/host", "postgres"),
        ("ambassador-pooler.outrigger.dev/secret", "postgres"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &["ambassador-pooler"], &annotations, true).await;
    cluster.apply_file(&space.name, "ambassador-pooler/postgres.yaml").expect();
    space.ready("app=postgres").await;
    let password = json!({ "secretKeyRef": { "name": "postgres", "key": "password" } });
    let env =
        json!([{ "name": "PGUSER", "value": "postgres" }, { "name": "PGPASSWORD", "valueFrom": password }]);
    let short =
        app("app", "exec sleep infinity", &env, &json!({ "ambassador-pooler.outrigger.dev/poolSize": "3" }));
    cluster.create_pod(&space.name, &short).await.unwrap();
    // A second pod keeps twenty connections open, uses them again after a signal file exists, and has no password.
    let keep = "for each in $(seq 20); do
        (echo 'SELECT 1;'; until [ -e /tmp/again ]; do sleep 1; done; echo 'SELECT 2;'; sleep 3600) |
            psql --no-align --tuples-only >> /tmp/output &
    done; wait";
    let settings = json!({
        "ambassador-pooler.outrigger.dev/mode": "transaction",
        "ambassador-pooler.outrigger.dev/poolSize": "2",
        "ambassador-pooler.outrigger.dev/login": "Trust",
        "ambassador-pooler.outrigger.dev/localPort": "6432",
    });
    let user = json!([{ "name": "PGUSER", "value": "postgres" }]);
    cluster.create_pod(&space.name, &app("holding", keep, &user, &settings)).await.unwrap();
    let address = cluster.ready_pod(&space.name, "app").await["status"]["podIP"].as_str().unwrap().to_owned();
    let run = |pod: &str, script: &str| cluster.exec(&space.name, pod, "app", &["sh", "-ec", script]);
    let connections = |address: &str| {
        let log = cluster.logs(&space.name, "postgres", "postgres");
        log.matches(&format!("connection received: host={address} ")).count()
    };

    // A hundred connections, twenty at a time. Without the pooler, PostgreSQL logs all of them, which validates the
    // count.
    let hundred =
        "for each in $(seq 100); do psql -Atc 'SELECT 1' & [ $((each % 20)) != 0 ] || wait; done; wait";
    assert_eq!(run("app", hundred).expect(), "1\n".repeat(100));
    let pooled = connections(&address);
    assert!((1..=3).contains(&pooled), "PostgreSQL saw {pooled} connections");
    run("app", &format!("export PGHOST=postgres; {hundred}")).expect();
    assert_eq!(connections(&address), pooled + 100);

    // Twenty connections that stay open share two.
    let holding = cluster.ready_pod(&space.name, "holding").await;
    let holding = holding["status"]["podIP"].as_str().unwrap();
    let all_answered = |line: &'static str| {
        eventually("responses on all connections", move || async move {
            let output = run("holding", "cat /tmp/output").text;
            if output.matches(line).count() == 20 { Ok(()) } else { Err(output) }
        })
    };
    all_answered("1\n").await;
    let held = connections(holding);
    assert!((1..=2).contains(&held), "PostgreSQL saw {held} connections");

    // A wrong password is rejected, and so is access to the console.
    let refused = run("app", "PGPASSWORD=wrong psql -c 'SELECT 1'").expect_failure();
    assert!(refused.contains("127.0.0.1") && refused.contains("SASL authentication failed"), "{refused}");
    let refused = run("holding", "psql pgbouncer -c 'SHOW CONFIG'").expect_failure();
    assert!(refused.contains("not allowed"), "{refused}");

    // PostgreSQL restarts: open connections stay open, and new ones are served again.
    cluster.exec(&space.name, "postgres", "postgres", &["pg_ctl", "stop", "--mode=fast", "--no-wait"]);
    eventually("the restart of the server", || async {
        let log = cluster.logs(&space.name, "postgres", "postgres");
        let answer = run("app", "psql -Atc 'SELECT 1'");
        // The log is that of the new container.
        if answer.success && !log.contains("shutting down") { Ok(()) } else { Err(answer.text + &log) }
    })
    .await;
    run("holding", "touch /tmp/again").expect();
    all_answered("2\n").await;
    for pod in ["app", "holding"] {
        let now = cluster.ready_pod(&space.name, pod).await;
        for list in ["initContainerStatuses", "containerStatuses"] {
            assert_eq!(now["status"][list][0]["restartCount"], 0, "{now}");
        }
    }
    space.measure("ambassador-pooler", &short).await;
}

#[tokio::test]
async fn the_pooler_connects_only_to_a_server_with_a_trusted_certificate() {
    let cluster = Cluster::installed().await;
    let annotations = [
        ("ambassador-pooler.outrigger.dev/host", "postgres"),
        ("ambassador-pooler.outrigger.dev/secret", "postgres"),
        ("ambassador-pooler.outrigger.dev/tls", "verify-full"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &["ambassador-pooler"], &annotations, true).await;
    cluster.apply_file(&space.name, "ambassador-pooler/postgres.yaml").expect();
    space.ready("app=postgres").await;
    let on_server =
        |script: &str| cluster.exec(&space.name, "postgres", "postgres", &["sh", "-ec", script]).expect();
    let certify = |name: &str| {
        let names = "-subj /CN=postgres -addext subjectAltName=DNS:postgres";
        let files = format!("-keyout $PGDATA/{name}.key -out $PGDATA/{name}.crt");
        on_server(&format!(
            "umask 077; openssl req -x509 -newkey rsa:2048 -nodes -days 2 {names} {files} 2> /tmp/err || cat /tmp/err"
        ));
        on_server(&format!("cat $PGDATA/{name}.crt"))
    };
    // The server presents the first certificate. Another one with the same name must not be trusted.
    for (name, certificate) in [("postgres", certify("server")), ("stranger", certify("other"))] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": {
                "password": "correct horse",
                "userlist.txt": "\"postgres\" \"correct horse\"\n",
                "ca.crt": certificate,
            },
        });
        cluster.apply(&space.name, &secret.to_string()).expect();
    }
    ask(&cluster, &space, "ALTER SYSTEM SET ssl = on");
    ask(&cluster, &space, "SELECT pg_reload_conf()");
    let password = json!({ "secretKeyRef": { "name": "postgres", "key": "password" } });
    let env =
        json!([{ "name": "PGUSER", "value": "postgres" }, { "name": "PGPASSWORD", "valueFrom": password }]);
    let misled = json!({
        "ambassador-pooler.outrigger.dev/secret": "stranger",
        "ambassador-pooler.outrigger.dev/wait": "1s",
    });
    for (name, annotations) in [("app", json!({})), ("misled", misled)] {
        let pod = app(name, "exec sleep infinity", &env, &annotations);
        cluster.create_pod(&space.name, &pod).await.unwrap();
    }
    let question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ask_in = |pod: &str| cluster.exec(&space.name, pod, "app", &["psql", "-Atc", question]);
    cluster.ready_pod(&space.name, "app").await;
    eventually("an encrypted connection", || async {
        let answer = ask_in("app").text;
        if answer == "t\n" { Ok(()) } else { Err(answer) }
    })
    .await;
    cluster.ready_pod(&space.name, "misled").await;
    ask_in("misled").expect_failure();
    let log = cluster.logs(&space.name, "misled", "ambassador-pooler");
    assert!(log.contains("certificate verify failed"), "{log}");
}

/// Script of an app that ends if the new column is missing, and adds a row when it starts.
const TRACE: &str = r#"psql "$URL" --set ON_ERROR_STOP=1 --command "INSERT INTO starts SELECT '$HOSTNAME' FROM orders WHERE price = 7"
    exec sleep infinity"#;

fn tracing(name: &str, annotations: &Value) -> Value {
    let key = json!({ "secretKeyRef": { "name": "database", "key": "url" } });
    app(name, TRACE, &json!([{ "name": "URL", "valueFrom": key }]), annotations)
}

/// Returns a Deployment of three such apps.
fn replicas(name: &str, annotations: &Value) -> String {
    let pod = tracing(name, annotations);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": pod["metadata"]["labels"], "annotations": annotations },
                "spec": pod["spec"],
            },
        },
    })
    .to_string()
}

/// Creates a namespace with migrations and without a database.
async fn migrating(cluster: &Cluster) -> TestNamespace {
    let annotations = [
        ("schema-migration.outrigger.dev/secret", "database"),
        ("schema-migration.outrigger.dev/configMap", "migrations"),
    ];
    let space = TestNamespace::with_profiles(cluster, &["schema-migration"], &annotations, true).await;
    cluster.apply_file(&space.name, "schema-migration/migrations.yaml").expect();
    space
}

/// Waits until this number of pods have added a row.
async fn traces(cluster: &Cluster, space: &TestNamespace, count: &str) {
    eventually("the rows of the apps", || async {
        let now = ask(cluster, space, "SELECT count(DISTINCT pod) FROM starts");
        if now == count { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test]
async fn replicas_that_start_together_migrate_once() {
    let cluster = Cluster::installed().await;
    let space = migrating(&cluster).await;
    // All pods wait for the database, so they connect at the same time.
    cluster.apply(&space.name, &replicas("app", &json!({}))).expect();
    eventually("three pods waiting for the database", || async {
        let pods = cluster.pods(&space.name, "app=app").await;
        let running =
            |pod: &&Value| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object();
        if pods.iter().filter(running).count() == 3 { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
    cluster.apply_file(&space.name, "ambassador-pooler/postgres.yaml").expect();
    let mut output = String::new();
    for pod in cluster.ready_pods(&space.name, "app=app", 3).await {
        assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 0, "{pod}");
        output += &cluster.logs(&space.name, pod["metadata"]["name"].as_str().unwrap(), "schema-migration");
    }
    for (line, times) in [("1/u orders", 1), ("2/u price", 1), ("no change", 2)] {
        assert_eq!(output.matches(line).count(), times, "{line}: {output}");
    }
    assert_eq!(ask(&cluster, &space, "SELECT item, price FROM orders"), "first|7");
    assert_eq!(ask(&cluster, &space, "SELECT * FROM schema_migrations"), "2|f");
    traces(&cluster, &space, "3").await;

    // A pod of the previous release, whose migrations end at version 1, starts unless `whenAhead` is `Fail`.
    let older = "schema-migration.outrigger.dev/configMap";
    let strict = json!({ older: "older", "schema-migration.outrigger.dev/whenAhead": "Fail" });
    // A URL that cannot be parsed is not printed, because it contains a password.
    let mistyped = json!({ "schema-migration.outrigger.dev/secret": "mistyped" });
    for (pod, annotations) in [("old", json!({ older: "older" })), ("strict", strict), ("mistyped", mistyped)]
    {
        cluster.create_pod(&space.name, &tracing(pod, &annotations)).await.unwrap();
    }
    cluster.ready_pod(&space.name, "old").await;
    for (pod, wanted) in [("strict", "is not among these migrations"), ("mistyped", "percent-encode")] {
        eventually("the failed attempt", || async {
            let status = cluster.kubectl(&[
                "get",
                "pod",
                pod,
                "--namespace",
                &space.name,
                "--output=jsonpath={.status}",
            ]);
            let status = status.expect();
            assert!(!status.contains("%secret"), "{status}");
            let ended = status.contains(wanted) && status.contains(r#""exitCode":1"#);
            if ended { Ok(()) } else { Err(status) }
        })
        .await;
    }
    space.measure("schema-migration", &tracing("measured", &json!({}))).await;
}

#[tokio::test]
async fn a_failed_migration_blocks_the_app_and_reports_the_error() {
    let cluster = Cluster::installed().await;
    let space = migrating(&cluster).await;
    cluster.apply_file(&space.name, "ambassador-pooler/postgres.yaml").expect();
    let broken = json!({ "schema-migration.outrigger.dev/configMap": "broken" });
    cluster.apply(&space.name, &replicas("app", &broken)).expect();
    let message = |pod: &Value| {
        let migration = &pod["status"]["initContainerStatuses"][0];
        let ends = [&migration["lastState"], &migration["state"]];
        let output = ends.map(|end| end["terminated"]["message"].to_string()).concat();
        if migration["restartCount"].as_u64() > Some(0) { output } else { String::new() }
    };
    eventually("the failure in the status of all pods after a second attempt", || async {
        let pods = cluster.pods(&space.name, "app=app").await;
        let output: Vec<_> = pods.iter().map(message).collect();
        let dirty = |output: &&String| output.contains("Dirty database version 2. Fix and force version.");
        let reason = |output: &&String| {
            output.contains(r#"pq: column \"prize\" of relation \"orders\" does not exist"#)
        };
        let (dirty, reasons) = (output.iter().filter(dirty).count(), output.iter().filter(reason).count());
        if (dirty, reasons) == (3, 1) { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
    for pod in &cluster.pods(&space.name, "app=app").await {
        let app = &pod["status"]["containerStatuses"][0];
        assert_eq!(app["state"]["waiting"]["reason"], "PodInitializing", "{pod}");
    }
    traces(&cluster, &space, "0").await;
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders'";
    assert_eq!(ask(&cluster, &space, columns), "2", "the failed migration left something behind");
    assert_eq!(ask(&cluster, &space, "SELECT * FROM schema_migrations"), "2|t");

    // With a corrected file and a forced version, the pods continue without a restart of the Deployment.
    let corrected = json!({ "data": { "000002_price.up.sql":
        "ALTER TABLE orders ADD COLUMN price integer; INSERT INTO orders (item, price) VALUES ('first', 7);" } });
    let corrected = corrected.to_string();
    let patch =
        ["patch", "configmap", "broken", "--namespace", &space.name, "--type=merge", "--patch", &corrected];
    cluster.kubectl(&patch).expect();
    cluster.kubectl(&["delete", "pods", "--namespace", &space.name, "--selector=app=app"]).expect();
    cluster.apply_file(&space.name, "schema-migration/force.yaml").expect();
    cluster.ready_pods(&space.name, "app=app", 3).await;
    traces(&cluster, &space, "3").await;
    assert_eq!(ask(&cluster, &space, "SELECT * FROM schema_migrations"), "2|f");
}
