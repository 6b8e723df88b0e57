//! What happens when parts of Outrigger go away and come back. These tests change what all share, so they run
//! one at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{Cluster, Steady, TestNamespace, companion, eventually, exclusive, injected, injects, pod, scale};
use serde_json::{Value, json};

#[test]
fn a_replica_is_killed_and_comes_back() {
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
fn with_fail_no_pod_slips_in_while_the_webhook_is_down() {
    exclusive("e2e-fail", |cluster, space| async move {
        scale(&cluster, 0);
        let refused = cluster.create_pod(&space.name, &pod("refused")).await.unwrap_err();
        assert!(refused.contains("failed calling webhook \"pods.outrigger.dev\""), "{refused}");
        // Nobody else is held up: no pod elsewhere is asked about, and nothing is in the way of the server itself.
        let elsewhere = TestNamespace::plain(&cluster).await;
        cluster.create_pod(&elsewhere.name, &pod("free")).await.unwrap();
        scale(&cluster, 2);
        injects(&cluster, &space, "e2e-fail").await;
    });
}

#[test]
fn with_ignore_pods_start_without_their_sidecars_while_the_webhook_is_down() {
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
fn pods_are_created_all_through_an_uninstall() {
    exclusive("e2e-uninstall", |cluster, space| async move {
        injects(&cluster, &space, "e2e-uninstall").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-uninstall-guard").await;
        let streams = [(&space, "e2e-uninstall"), (&guarded, "e2e-uninstall-guard")]
            .map(|(space, sidecar)| Steady::start(&cluster, &space.name, sidecar));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let uninstall = ["uninstall", Cluster::RELEASE, "--wait", "--timeout", "3m", "--namespace"];
        cluster.helm(&[&uninstall[..], &[Cluster::SYSTEM]].concat()).expect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for stream in streams {
            let counts = stream.stop().await;
            counts.expect_none_refused();
            assert!(0 < counts.bare && counts.bare < counts.asked, "these are no test of it: {counts:?}");
        }
        // Kubernetes collects what belonged to deleted objects a moment later.
        eventually("nothing being left but what the chart's README says", || async {
            let left = everything_of_ours(&cluster);
            if left == DOCUMENTED { Ok(()) } else { Err(format!("{left:#?}")) }
        })
        .await;
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-uninstall").await;
        injects(&cluster, &guarded, "e2e-uninstall-guard").await;
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-uninstall-guard"]).expect();
    });
}

/// What an uninstall leaves: the definitions, without which the users' profiles would go, and the namespace.
const DOCUMENTED: [&str; 4] = [
    "apiservice.apiregistration.k8s.io/v1alpha1.outrigger.dev",
    "customresourcedefinition.apiextensions.k8s.io/clustersidecarprofiles.outrigger.dev",
    "customresourcedefinition.apiextensions.k8s.io/sidecarprofiles.outrigger.dev",
    "namespace/outrigger-system",
];

/// Every object of the cluster that has our label or our name, but the events about them.
fn everything_of_ours(cluster: &Cluster) -> Vec<String> {
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
        let said = cluster
            .helm(&["test", Cluster::RELEASE, "--namespace", Cluster::SYSTEM, "--timeout", "3m"])
            .expect();
        assert!(said.contains("Succeeded"), "{said}");
    });
}

#[test]
fn the_plain_manifests_install_it_as_well() {
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
        // As the chart's README says it.
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
fn a_stuck_cluster_is_freed_by_disarm_and_injects_again_after_rearm() {
    exclusive("e2e-disarmed", |cluster, space| async move {
        injects(&cluster, &space, "e2e-disarmed").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-disarmed-guard").await;
        cluster.create_pod(&guarded.name, &pod("kept")).await.unwrap();
        scale(&cluster, 0);
        for space in [&space, &guarded] {
            cluster.create_pod(&space.name, &pod("stuck")).await.unwrap_err();
        }
        // Neither the server nor its image is there: only the API server answers.
        let said = cluster.outrigger(&["disarm"], "").expect();
        for line in [
            "MutatingWebhookConfiguration outrigger: 3 webhooks disarmed",
            "MutatingWebhookConfiguration outrigger-mandatory: ",
            "ValidatingWebhookConfiguration outrigger: 4 webhooks disarmed",
            "ValidatingWebhookConfiguration outrigger-mandatory: ",
        ] {
            assert!(said.contains(line), "{said}");
        }
        let is_bare = async |name| {
            for (space, sidecar) in [(&space, "e2e-disarmed"), (&guarded, "e2e-disarmed-guard")] {
                let made = cluster.create_pod(&space.name, &pod(name)).await.unwrap();
                assert!(!injected(&made, sidecar), "{made}");
            }
        };
        is_bare("freed").await;
        let profile = companion("e2e-disarmed").to_string();
        cluster.apply("default", &profile.replace("A Redis beside", "Another Redis beside")).expect();
        assert!(cluster.outrigger(&["disarm"], "").expect().contains("was disarmed already"));

        // A server that comes back does not rearm by itself.
        scale(&cluster, 2);
        is_enforced(&cluster, "e2e-disarmed-guard", "False Disarmed").await;
        is_bare("bare").await;
        let change = ["label", "pod", "kept", "outrigger.dev/injected-", "--dry-run=server", "--namespace"];
        let change = [&change[..], &[&guarded.name]].concat();
        cluster.kubectl(&change).expect();
        assert!(cluster.outrigger(&["rearm"], "").expect().contains("3 webhooks armed"));
        injects(&cluster, &space, "e2e-disarmed").await;
        injects(&cluster, &guarded, "e2e-disarmed-guard").await;
        is_enforced(&cluster, "e2e-disarmed-guard", "True WebhooksInForce").await;
        eventually("changes of what is mandatory being refused", || async {
            let said = cluster.kubectl(&change);
            if said.text.contains("[MandatoryChanged]") { Ok(()) } else { Err(said.text) }
        })
        .await;

        // What an admin switched off stays off over an upgrade.
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

/// Waits until this is what the condition `Enforced` says: its status and its reason.
async fn is_enforced(cluster: &Cluster, profile: &str, wanted: &str) {
    eventually(&format!("Enforced being {wanted}"), || async {
        let enforced = r#"{.status.conditions[?(@.type=="Enforced")]"#;
        let path = format!("jsonpath={enforced}.status}} {enforced}.reason}}");
        let said = cluster.kubectl(&["get", "clustersidecarprofile", profile, "--output", &path]).expect();
        if said == wanted { Ok(()) } else { Err(said) }
    })
    .await;
}

/// The kinds of the webhook configurations that an admin's commands replaced, in their order.
fn configurations_written(cluster: &Cluster) -> Vec<String> {
    let all = cluster.audited_by("admin").into_iter().filter(|entry| {
        entry["verb"] == "update" && entry["objectRef"]["apiGroup"] == "admissionregistration.k8s.io"
    });
    all.map(|entry| entry["objectRef"]["resource"].as_str().unwrap().to_owned()).collect()
}

/// Nothing insists on what nobody injects any more, or not yet.
#[test]
fn no_pod_is_refused_while_servers_that_run_are_disarmed_and_rearmed() {
    exclusive("e2e-turned", |cluster, space| async move {
        injects(&cluster, &space, "e2e-turned").await;
        let guarded = TestNamespace::guarded(&cluster, "e2e-turned-guard").await;
        for _ in 0..3 {
            let before = configurations_written(&cluster).len();
            let stream = Steady::start(&cluster, &guarded.name, "e2e-turned-guard");
            cluster.outrigger(&["disarm"], "").expect();
            is_enforced(&cluster, "e2e-turned-guard", "False Disarmed").await;
            cluster.outrigger(&["rearm"], "").expect();
            is_enforced(&cluster, "e2e-turned-guard", "True WebhooksInForce").await;
            injects(&cluster, &guarded, "e2e-turned-guard").await;
            let counts = stream.stop().await;
            counts.expect_none_refused();
            assert!(counts.bare > 0, "{} pods are no test of it", counts.asked);
            // What verifies goes first and comes last.
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

/// The lines of all servers' logs that report a webhook configuration.
fn reports(cluster: &Cluster) -> Vec<String> {
    let logs = ["logs", "--selector", "app.kubernetes.io/name=outrigger", "--tail=-1", "--namespace"];
    let said = cluster.kubectl(&[&logs[..], &[Cluster::SYSTEM]].concat()).expect();
    said.lines()
        .filter(|line| line.contains("webhook configuration is") && line.contains("the release installed it"))
        .map(str::to_owned)
        .collect()
}

/// Waits until the problem is reported by log, metric and Event.
async fn is_reported(cluster: &Cluster, problem: &str, detail: &str) {
    let metric = format!(
        "outrigger_webhook_configuration_drift{{configuration=\"outrigger\",kind=\"MutatingWebhookConfiguration\",problem=\"{problem}\"}} 1"
    );
    eventually(&format!("{problem} being reported"), || async {
        let servers = cluster.pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger").await;
        for server in servers {
            let name = server["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", Cluster::SYSTEM);
            let said = cluster.kubectl(&["get", "--raw", &path]).text;
            if !said.lines().any(|line| line == metric) {
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
        let said = events.expect();
        if said.contains("mutatingwebhookconfiguration/outrigger") { Ok(()) } else { Err(said) }
    })
    .await;
}

/// Only the servers can report it: they are no longer called.
#[test]
fn what_keeps_the_webhook_from_being_called_is_reported() {
    exclusive("e2e-drift", |cluster, space| async move {
        injects(&cluster, &space, "e2e-drift").await;
        cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "outrigger"]).expect();
        is_reported(&cluster, "Missing", "it does not exist").await;
        let said = cluster.outrigger(&["rearm"], "").expect_failure();
        assert!(
            said.contains("MutatingWebhookConfiguration \"outrigger\" does not exist")
                && said.contains("helm upgrade"),
            "{said}"
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
        // As the runbook has it.
        let refused = cluster.try_install(&[]).expect_failure();
        assert!(refused.contains("conflict with \"kubectl-patch\""), "{refused}");
        cluster.try_install(&["--force-conflicts"]).expect();
        assert_eq!(cluster.kubectl(&policy).expect(), "Fail");

        cluster.outrigger(&["disarm"], "").expect();
        is_reported(&cluster, "Disarmed", "outrigger rearm").await;
        cluster.outrigger(&["rearm"], "").expect();
        eventually("the end being reported", || async {
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
        // What other tests applied is not the release's.
        let delete: Vec<&str> = ["delete", "--ignore-not-found"].into_iter().chain(all()).collect();
        cluster.kubectl(&delete).expect();

        // On the same day: with the first install, when no server is there yet that could check them.
        cluster.helm(&["uninstall", Cluster::RELEASE, "--namespace", Cluster::SYSTEM, "--wait"]).expect();
        let enabled = |defaults: &Value| {
            let entries = names.iter().map(|name| (name.clone(), json!({ "enabled": true })));
            let mut entries: serde_json::Map<String, Value> = entries.collect();
            entries["log-shipper"]["defaults"] = defaults.clone();
            json!({ "catalogue": entries }).to_string()
        };
        cluster.install_with(&enabled(&json!({ "memory": "96Mi" }))).expect();
        eventually("every profile being accepted", || async {
            let path = "jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type==\"Accepted\")].status} {end}";
            let said = cluster.kubectl(&["get", "clustersidecarprofiles", "--output", path]).expect();
            let missing = names.iter().find(|name| !said.contains(&format!("{name}=True ")));
            missing.map_or(Ok(()), |name| Err(format!("{name} is not accepted: {said}")))
        })
        .await;
        injects(&cluster, &space, "e2e-catalogue").await;
        let mut asking = pod("asking");
        asking["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "log-shipper" });
        asking["spec"]["terminationGracePeriodSeconds"] = json!(30);
        let made = cluster.dry_run_pod(&space.name, &asking).await.unwrap();
        assert_eq!(made["spec"]["initContainers"][0]["resources"]["limits"]["memory"], "96Mi", "{made}");

        // A server that runs checks what an upgrade changes.
        let refused = cluster.install_with(&enabled(&json!({ "memory": "64Gi" }))).expect_failure();
        assert!(refused.contains("64Gi"), "{refused}");
        let unknown = cluster.install_with("catalogue: {log-shiper: {enabled: true}}").expect_failure();
        assert!(unknown.contains("catalogue.log-shiper: there is no such profile"), "{unknown}");

        cluster.install(&[]);
        let left = cluster.kubectl(&["get", "clustersidecarprofile", "log-shipper"]).expect_failure();
        assert!(left.contains("NotFound"), "{left}");
    });
}
