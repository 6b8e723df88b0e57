//! Outages, uninstallation and disarming of Outrigger. These tests change shared state, so they run one at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{
    Cluster, PodStream, TestNamespace, companion, eventually, exclusive, injected, injects, pod, scale,
};
use serde_json::{Value, json};

#[test]
fn killed_replicas_are_replaced() {
    exclusive("e2e-killed", |cluster, space| async move {
        injects(&cluster, &space, "e2e-killed").await;
        cluster
            .kubectl(&[
                "delete",
                "pod",
                "--namespace",
                Cluster::SYSTEM,
                "--selector",
                "app.kubernetes.io/name=outrigger",
                "--grace-period=0",
                "--force",
                "--wait=false",
            ])
            .expect();
        scale(&cluster, 2);
        injects(&cluster, &space, "e2e-killed").await;
    });
}

#[test]
fn with_failure_policy_fail_pods_are_rejected_while_the_webhook_is_down() {
    exclusive("e2e-fail", |cluster, space| async move {
        scale(&cluster, 0);
        let message = cluster.create_pod(&space.name, &pod("rejected")).await.unwrap_err();
        assert!(message.contains("failed calling webhook \"pods.outrigger.dev\""), "{message}");
        // Pods of other namespaces and of Outrigger itself are admitted without a call.
        let elsewhere = TestNamespace::plain(&cluster).await;
        cluster.create_pod(&elsewhere.name, &pod("free")).await.unwrap();
        scale(&cluster, 2);
        injects(&cluster, &space, "e2e-fail").await;
    });
}

#[test]
fn with_failure_policy_ignore_pods_start_without_sidecars_while_the_webhook_is_down() {
    exclusive("e2e-ignore", |cluster, space| async move {
        cluster.install(&["webhook.failurePolicy=Ignore"]);
        injects(&cluster, &space, "e2e-ignore").await;
        scale(&cluster, 0);
        let made = cluster.create_pod(&space.name, &pod("bare")).await.unwrap();
        assert!(!injected(&made, "e2e-ignore"));
        cluster.install(&[]);
        scale(&cluster, 2);
        injects(&cluster, &space, "e2e-ignore").await;
    });
}

#[test]
fn pods_are_created_throughout_an_uninstall() {
    exclusive("e2e-uninstall", |cluster, space| async move {
        injects(&cluster, &space, "e2e-uninstall").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-uninstall-guard").await;
        let streams = [(&space, "e2e-uninstall"), (&guarded, "e2e-uninstall-guard")]
            .map(|(space, sidecar)| PodStream::start(&cluster, &space.name, sidecar));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let uninstall = ["uninstall", Cluster::RELEASE, "--wait", "--timeout", "3m", "--namespace"];
        cluster.helm(&[&uninstall[..], &[Cluster::SYSTEM]].concat()).expect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for stream in streams {
            let counts = stream.stop().await;
            counts.expect_none_rejected();
            assert!(
                0 < counts.not_injected && counts.not_injected < counts.attempts,
                "pods must be created before and after the uninstall: {counts:?}"
            );
        }
        // Kubernetes deletes dependent objects with a delay.
        eventually("only the documented objects to be left", || async {
            let left = objects_of_outrigger(&cluster);
            if left == DOCUMENTED { Ok(()) } else { Err(format!("{left:#?}")) }
        })
        .await;
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-uninstall").await;
        injects(&cluster, &guarded, "e2e-uninstall-guard").await;
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-uninstall-guard"]).expect();
    });
}

/// Objects that an uninstall keeps: the CRDs, whose deletion would delete the users' profiles, and the namespace.
const DOCUMENTED: [&str; 4] = [
    "apiservice.apiregistration.k8s.io/v1alpha1.outrigger.dev",
    "customresourcedefinition.apiextensions.k8s.io/clustersidecarprofiles.outrigger.dev",
    "customresourcedefinition.apiextensions.k8s.io/sidecarprofiles.outrigger.dev",
    "namespace/outrigger-system",
];

/// Returns every object of the cluster with Outrigger's label or name, except events.
fn objects_of_outrigger(cluster: &Cluster) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list,get", "--output=name"]).expect();
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.contains("outrigger.dev")).collect();
    let kinds = kinds.join(",");
    let get = ["get", &kinds, "--all-namespaces", "--ignore-not-found", "--output=name"];
    let labelled = cluster
        .kubectl(&[&get[..], &["--selector", "app.kubernetes.io/part-of=outrigger"]].concat())
        .expect();
    let all = cluster.kubectl(&get).expect();
    let named = all.lines().filter(|name| name.contains("outrigger"));
    let found = labelled.lines().chain(named).filter(|line| !line.starts_with("Warning:"));
    let found: std::collections::BTreeSet<String> = found.map(str::to_owned).collect();
    found.into_iter().collect()
}

#[test]
fn the_charts_own_test_passes() {
    exclusive("e2e-helm-test", |cluster, _space| async move {
        let output = cluster
            .helm(&["test", Cluster::RELEASE, "--namespace", Cluster::SYSTEM, "--timeout", "3m"])
            .expect();
        assert!(output.contains("Succeeded"), "{output}");
    });
}

#[test]
fn the_plain_manifests_can_be_installed() {
    exclusive("e2e-plain", |cluster, space| async move {
        cluster
            .helm(&[
                "uninstall",
                Cluster::RELEASE,
                "--namespace",
                Cluster::SYSTEM,
                "--wait",
                "--timeout",
                "3m",
            ])
            .expect();
        cluster.kubectl(&["delete", "namespace", Cluster::SYSTEM, "--timeout=120s"]).expect();
        cluster.kubectl(&["apply", "-k", "manifests"]).expect();
        let image = format!(
            "outrigger={}:{}",
            std::env::var("OUTRIGGER_IMAGE_REPOSITORY").unwrap(),
            std::env::var("OUTRIGGER_IMAGE_TAG").unwrap()
        );
        cluster
            .kubectl(&["set", "image", "deployment/outrigger", &image, "--namespace", Cluster::SYSTEM])
            .expect();
        let status =
            ["rollout", "status", "deployment/outrigger", "--namespace", Cluster::SYSTEM, "--timeout=180s"];
        cluster.kubectl(&status).expect();
        injects(&cluster, &space, "e2e-plain").await;
        // The uninstallation as in the chart's README.
        for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
            cluster.kubectl(&["delete", kind, "outrigger", "outrigger-mandatory"]).expect();
        }
        cluster.kubectl(&["delete", "-k", "manifests", "--ignore-not-found", "--timeout=120s"]).expect();
        cluster.install(&[]);
        cluster.apply("default", &companion("e2e-plain").to_string()).expect();
        injects(&cluster, &space, "e2e-plain").await;
    });
}

#[test]
fn disarm_admits_pods_without_servers_and_rearm_injects_again() {
    exclusive("e2e-disarmed", |cluster, space| async move {
        injects(&cluster, &space, "e2e-disarmed").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-disarmed-guard").await;
        cluster.create_pod(&guarded.name, &pod("kept")).await.unwrap();
        scale(&cluster, 0);
        for space in [&space, &guarded] {
            cluster.create_pod(&space.name, &pod("stuck")).await.unwrap_err();
        }
        // Neither a server nor its image is available, only the API server.
        let output = cluster.outrigger(&["disarm"], "").expect();
        for line in [
            "MutatingWebhookConfiguration outrigger: 3 webhooks disarmed",
            "MutatingWebhookConfiguration outrigger-mandatory: ",
            "ValidatingWebhookConfiguration outrigger: 4 webhooks disarmed",
            "ValidatingWebhookConfiguration outrigger-mandatory: ",
        ] {
            assert!(output.contains(line), "{output}");
        }
        let is_not_injected = async |name| {
            for (space, sidecar) in [(&space, "e2e-disarmed"), (&guarded, "e2e-disarmed-guard")] {
                let made = cluster.create_pod(&space.name, &pod(name)).await.unwrap();
                assert!(!injected(&made, sidecar), "{made}");
            }
        };
        is_not_injected("freed").await;
        let profile = companion("e2e-disarmed").to_string();
        cluster.apply("default", &profile.replace("A Redis beside", "Another Redis beside")).expect();
        assert!(cluster.outrigger(&["disarm"], "").expect().contains("was disarmed already"));

        // A restarted server does not rearm by itself.
        scale(&cluster, 2);
        is_enforced(&cluster, "e2e-disarmed-guard", "False Disarmed").await;
        is_not_injected("bare").await;
        let change = ["label", "pod", "kept", "outrigger.dev/injected-", "--dry-run=server", "--namespace"];
        let change = [&change[..], &[&guarded.name]].concat();
        cluster.kubectl(&change).expect();
        assert!(cluster.outrigger(&["rearm"], "").expect().contains("3 webhooks armed"));
        injects(&cluster, &space, "e2e-disarmed").await;
        injects(&cluster, &guarded, "e2e-disarmed-guard").await;
        is_enforced(&cluster, "e2e-disarmed-guard", "True WebhooksInForce").await;
        eventually("the rejection of changes of Mandatory containers", || async {
            let output = cluster.kubectl(&change);
            if output.text.contains("[MandatoryChanged]") { Ok(()) } else { Err(output.text) }
        })
        .await;

        // An upgrade does not rearm.
        cluster.outrigger(&["disarm"], "").expect();
        cluster.install(&["podAnnotations.after=disarm"]);
        assert!(cluster.outrigger(&["disarm"], "").expect().contains("was disarmed already"));
        cluster.install(&[]);
        cluster.outrigger(&["rearm"], "").expect();
        injects(&cluster, &space, "e2e-disarmed").await;
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-disarmed-guard"]).expect();
        let missing = cluster.outrigger(&["disarm", "--configuration", "no-such"], "").expect_failure();
        assert!(missing.contains("has no webhook configuration \"no-such\""), "{missing}");
    });
}

/// Waits until the condition `Enforced` has this status and reason.
async fn is_enforced(cluster: &Cluster, profile: &str, wanted: &str) {
    eventually(&format!("Enforced being {wanted}"), || async {
        let enforced = r#"{.status.conditions[?(@.type=="Enforced")]"#;
        let path = format!("jsonpath={enforced}.status}} {enforced}.reason}}");
        let output = cluster.kubectl(&["get", "clustersidecarprofile", profile, "--output", &path]).expect();
        if output == wanted { Ok(()) } else { Err(output) }
    })
    .await;
}

/// Returns the kinds of the webhook configurations that the commands of an administrator wrote, in order.
fn configurations_written(cluster: &Cluster) -> Vec<String> {
    let all = cluster.audited_by("admin").into_iter().filter(|entry| {
        entry["verb"] == "update" && entry["objectRef"]["apiGroup"] == "admissionregistration.k8s.io"
    });
    all.map(|entry| entry["objectRef"]["resource"].as_str().unwrap().to_owned()).collect()
}

/// While the servers run, pods are never required to have a sidecar that is not injected.
#[test]
fn disarm_and_rearm_reject_no_pod_while_the_servers_run() {
    exclusive("e2e-turned", |cluster, space| async move {
        injects(&cluster, &space, "e2e-turned").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-turned-guard").await;
        for _ in 0..3 {
            let before = configurations_written(&cluster).len();
            let stream = PodStream::start(&cluster, &guarded.name, "e2e-turned-guard");
            cluster.outrigger(&["disarm"], "").expect();
            is_enforced(&cluster, "e2e-turned-guard", "False Disarmed").await;
            cluster.outrigger(&["rearm"], "").expect();
            is_enforced(&cluster, "e2e-turned-guard", "True WebhooksInForce").await;
            injects(&cluster, &guarded, "e2e-turned-guard").await;
            let counts = stream.stop().await;
            counts.expect_none_rejected();
            assert!(counts.not_injected > 0, "of {} pods, none was created while disarmed", counts.attempts);
            // The verifying webhooks are disarmed first and rearmed last.
            let mut written = configurations_written(&cluster).split_off(before);
            written.dedup();
            assert_eq!(
                written,
                [
                    "validatingwebhookconfigurations",
                    "mutatingwebhookconfigurations",
                    "validatingwebhookconfigurations"
                ]
            );
        }
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-turned-guard"]).expect();
    });
}

/// Returns the lines of all servers' logs that report a webhook configuration.
fn reports(cluster: &Cluster) -> Vec<String> {
    let logs = ["logs", "--selector", "app.kubernetes.io/name=outrigger", "--tail=-1", "--namespace"];
    let output = cluster.kubectl(&[&logs[..], &[Cluster::SYSTEM]].concat()).expect();
    output
        .lines()
        .filter(|line| line.contains("webhook configuration is") && line.contains("the release installed it"))
        .map(str::to_owned)
        .collect()
}

/// Waits until the problem is reported by log, metric and Event.
async fn is_reported(cluster: &Cluster, problem: &str, detail: &str) {
    let metric = format!(
        "outrigger_webhook_configuration_drift{{configuration=\"outrigger\",kind=\"MutatingWebhookConfiguration\",problem=\"{problem}\"}} 1"
    );
    eventually(&format!("the report of {problem}"), || async {
        let servers = cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await;
        for server in servers {
            let name = server["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", Cluster::SYSTEM);
            let output = cluster.kubectl(&["get", "--raw", &path]).text;
            if !output.lines().any(|line| line == metric) {
                return Err(format!("{name} has no {metric}"));
            }
        }
        let lines = reports(cluster);
        if !lines.iter().any(|line| line.contains(&format!("problem={problem:?}")) && line.contains(detail)) {
            return Err(format!("no line with {detail}: {lines:?}"));
        }
        let reason = format!("reason=WebhookConfiguration{problem}");
        let events =
            cluster.kubectl(&["get", "events", "--namespace", "default", "--field-selector", &reason]);
        let output = events.expect();
        if output.contains("mutatingwebhookconfiguration/outrigger") { Ok(()) } else { Err(output) }
    })
    .await;
}

/// Only the servers can report this, because they are no longer called.
#[test]
fn problems_of_webhook_configurations_are_reported() {
    exclusive("e2e-drift", |cluster, space| async move {
        injects(&cluster, &space, "e2e-drift").await;
        cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "outrigger"]).expect();
        is_reported(&cluster, "Missing", "it does not exist").await;
        let output = cluster.outrigger(&["rearm"], "").expect_failure();
        assert!(
            output.contains("MutatingWebhookConfiguration \"outrigger\" does not exist")
                && output.contains("helm upgrade"),
            "{output}"
        );
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-drift").await;
        assert!(cluster.outrigger(&["rearm"], "").expect().contains("was armed already"));

        let ignore = r#"[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]"#;
        let patch = ["patch", "mutatingwebhookconfiguration", "outrigger", "--type=json", "--patch"];
        cluster.kubectl(&[&patch[..], &[ignore]].concat()).expect();
        is_reported(&cluster, "Changed", "failurePolicy").await;
        let policy = ["get", "mutatingwebhookconfiguration", "outrigger", "--output"];
        let policy = [&policy[..], &["jsonpath={.webhooks[0].failurePolicy}"]].concat();
        assert_eq!(cluster.kubectl(&policy).expect(), "Ignore", "the servers do not revert the change");
        // The repair as in the runbook.
        let conflict = cluster.try_install(&[]).expect_failure();
        assert!(conflict.contains("conflict with \"kubectl-patch\""), "{conflict}");
        cluster.try_install(&["--force-conflicts"]).expect();
        assert_eq!(cluster.kubectl(&policy).expect(), "Fail");

        cluster.outrigger(&["disarm"], "").expect();
        is_reported(&cluster, "Disarmed", "outrigger rearm").await;
        cluster.outrigger(&["rearm"], "").expect();
        eventually("the report of the end", || async {
            let lines = reports(&cluster);
            let last = lines.last().cloned().unwrap_or_default();
            if lines.iter().any(|line| line.contains("installed it again")) { Ok(()) } else { Err(last) }
        })
        .await;
        injects(&cluster, &space, "e2e-drift").await;
    });
}

#[test]
fn the_chart_installs_the_catalogue_profile_by_profile() {
    exclusive("e2e-catalogue", |cluster, space| async move {
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles")).unwrap();
        let names: Vec<String> =
            folders.map(|folder| folder.unwrap().file_name().to_string_lossy().into_owned()).collect();
        let all = || ["clustersidecarprofile"].into_iter().chain(names.iter().map(String::as_str));
        // Other tests may have applied these profiles, which the release could not take over.
        let delete: Vec<&str> = ["delete", "--ignore-not-found"].into_iter().chain(all()).collect();
        cluster.kubectl(&delete).expect();

        // At the first install, no server exists yet that could validate the profiles.
        cluster.helm(&["uninstall", Cluster::RELEASE, "--namespace", Cluster::SYSTEM, "--wait"]).expect();
        let enabled = |defaults: &Value| {
            let entries = names.iter().map(|name| (name.clone(), json!({ "enabled": true })));
            let mut entries: serde_json::Map<String, Value> = entries.collect();
            entries["log-shipper"]["defaults"] = defaults.clone();
            json!({ "catalogue": entries }).to_string()
        };
        cluster.install_with(&enabled(&json!({ "memory": "96Mi" }))).expect();
        eventually("every profile to be accepted", || async {
            let path = "jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type==\"Accepted\")].status} {end}";
            let output = cluster.kubectl(&["get", "clustersidecarprofiles", "--output", path]).expect();
            let missing = names.iter().find(|name| !output.contains(&format!("{name}=True ")));
            missing.map_or(Ok(()), |name| Err(format!("{name} is not accepted: {output}")))
        })
        .await;
        injects(&cluster, &space, "e2e-catalogue").await;
        let mut asking = pod("asking");
        asking["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "log-shipper" });
        asking["spec"]["terminationGracePeriodSeconds"] = json!(30);
        let made = cluster.dry_run_pod(&space.name, &asking).await.unwrap();
        assert_eq!(made["spec"]["initContainers"][0]["resources"]["limits"]["memory"], "96Mi", "{made}");

        // At an upgrade, a running server validates the changes.
        let rejected = cluster.install_with(&enabled(&json!({ "memory": "64Gi" }))).expect_failure();
        assert!(rejected.contains("64Gi"), "{rejected}");
        let unknown = cluster.install_with("catalogue: {log-shiper: {enabled: true}}").expect_failure();
        assert!(unknown.contains("catalogue.log-shiper: there is no such profile"), "{unknown}");

        cluster.install(&[]);
        let left = cluster.kubectl(&["get", "clustersidecarprofile", "log-shipper"]).expect_failure();
        assert!(left.contains("NotFound"), "{left}");
    });
}
