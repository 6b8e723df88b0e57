//! Profiles in use that are deleted or become invalid.

use std::time::{Duration, Instant};

use e2e::{Answer, Cluster, PodStream, TestNamespace, companion, eventually, exclusive, injected, pod};
use serde_json::json;

use crate::load::{Load, row};

/// Waits until a pod is rejected for this reason four times in a row, because each request can reach another server.
pub(crate) async fn rejected(cluster: &Cluster, space: &TestNamespace, reason: &str) {
    let in_a_row = std::cell::Cell::new(0);
    eventually(reason, || async {
        let output = cluster.dry_run_pod(&space.name, &pod("asking")).await;
        let hit = output.as_ref().is_err_and(|message| message.contains(reason));
        in_a_row.set(if hit { in_a_row.get() + 1 } else { 0 });
        if in_a_row.get() == 4 { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
}

#[test]
fn a_profile_in_use_is_deleted() {
    exclusive("e2e-others", |cluster, space| async move {
        let manifest = companion("e2e-deleted").to_string();
        cluster.apply("default", &manifest).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-deleted").await;
        e2e::injects(&cluster, &users, "e2e-deleted").await;
        cluster.create_pod(&users.name, &pod("running")).await.unwrap();
        let running = cluster.ready_pod(&users.name, "running").await;

        // The stream has pods that choose another profile.
        let mut load = Load::start(&cluster, &space, "e2e-others").await;
        load.fault();
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-deleted"]).expect();
        rejected(&cluster, &users, "[ProfileNotFound]").await;
        // Running pods are not changed.
        let still = cluster.ready_pod(&users.name, "running").await;
        assert_eq!(running["spec"], still["spec"]);
        cluster.apply("default", &manifest).expect();
        e2e::injects(&cluster, &users, "e2e-deleted").await;
        load.repaired();
        let seen = load.end("a profile in use deleted; pods of other profiles").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-deleted"]).expect();
    });
}

#[test]
fn the_crds_are_deleted_and_applied_again() {
    exclusive("e2e-defined", |cluster, _| async move {
        let mut profile = companion("e2e-matched");
        let selector = json!({ "matchLabels": { "e2e-matched": "yes" } });
        profile["spec"]["match"] = json!({ "namespaceSelector": selector });
        cluster.apply("default", &profile.to_string()).expect();
        let users = TestNamespace::plain(&cluster).await;
        let labels = ["label", "namespace", &users.name, "e2e-matched=yes", "outrigger.dev/inject=enabled"];
        cluster.kubectl(&labels).expect();
        e2e::injects(&cluster, &users, "e2e-matched").await;

        let stream = PodStream::start(&cluster, &users.name, "e2e-matched");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        cluster.kubectl(&["delete", "-f", "charts/outrigger/crds", "--timeout=60s"]).expect();
        rejected(&cluster, &users, "no current list").await;
        let missing = Instant::now();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = Instant::now();
        cluster.kubectl(&["apply", "--server-side", "-f", "charts/outrigger/crds"]).expect();
        eventually("the profile to be applied", || async {
            let output = cluster.apply("default", &profile.to_string());
            if output.success { Ok(()) } else { Err(output.text) }
        })
        .await;
        let applied = Instant::now();
        e2e::injects(&cluster, &users, "e2e-matched").await;
        tokio::time::sleep(Duration::from_secs(3)).await;

        let all = stream.end().await;
        // While the CRDs or the profile are missing, no profile selects the pods.
        let counts = |one: &&e2e::Attempt| (one.at > missing && one.at < before) || one.at > applied;
        let (asked, lost) =
            (all.len(), all.iter().filter(counts).filter(|one| one.answer == Answer::NotInjected).count());
        let rejections = all.iter().filter(|one| matches!(one.answer, Answer::Rejected(_)));
        let ended = rejections.clone().map(|one| one.answered).max().unwrap_or(applied).max(applied);
        let (failed, took) = (rejections.count(), (ended - began).as_secs_f64());
        let late = ended.saturating_duration_since(applied);
        let failed_text = format!("{failed}: `NotSynced`");
        row(
            "CRDs deleted and applied again; pods of a profile with `match`",
            "pods, a continuous stream",
            asked,
            &failed_text,
            lost,
            &format!("{took:.1} s"),
        );
        assert_eq!(lost, 0, "pods were admitted without their sidecar");
        assert!(failed > 0 && late < Duration::from_secs(5), "{failed} rejected, the last after {late:?}");
        // Restores the release's own profiles and the state that other tests expect.
        cluster.install(&[]);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-matched"]).expect();
    });
}

#[test]
fn a_profile_in_use_becomes_invalid() {
    exclusive("e2e-sound", |cluster, space| async move {
        let good = companion("e2e-bad");
        cluster.apply("default", &good.to_string()).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-bad").await;
        e2e::injects(&cluster, &users, "e2e-bad").await;

        let mut load = Load::start(&cluster, &space, "e2e-sound").await;
        load.fault();
        // /validate rejects such a profile, so its webhook is deleted. An older version could have accepted the
        // profile.
        let mut bad = good.clone();
        bad["spec"]["template"]["spec"]["affinity"] = json!({});
        let output = cluster.apply("default", &bad.to_string()).expect_failure();
        assert!(output.contains("affinity"), "{output}");
        cluster.kubectl(&["delete", "validatingwebhookconfiguration", "outrigger"]).expect();
        eventually("the API server accepting it without validation", || async {
            let output = cluster.apply("default", &bad.to_string());
            if output.success { Ok(()) } else { Err(output.text) }
        })
        .await;
        rejected(&cluster, &users, "[ProfileInvalid]").await;
        cluster.install(&[]);
        eventually("the rejection of a change that leaves the error", || async {
            let output = ignore(&cluster, "e2e-bad");
            if !output.success && output.text.contains("affinity") { Ok(()) } else { Err(output.text) }
        })
        .await;
        // Recovery: apply the last good version.
        cluster.apply("default", &good.to_string()).expect();
        e2e::injects(&cluster, &users, "e2e-bad").await;
        load.repaired();
        let seen = load.end("a profile in use becomes invalid; pods of other profiles").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-bad"]).expect();
    });
}

#[test]
fn a_failing_profile_is_ignored_or_rolled_back() {
    exclusive("e2e-well", |cluster, space| async move {
        let good = companion("e2e-fails");
        cluster.apply("default", &good.to_string()).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-fails").await;
        e2e::injects(&cluster, &users, "e2e-fails").await;

        let mut load = Load::start(&cluster, &space, "e2e-well").await;
        load.fault();
        // The profile is valid, and fails only for pods without the label.
        let mut bad = good.clone();
        bad["spec"]["appContainers"][0]["env"][0]["value"] = json!("$[[ pod.metadata.labels['tier'] ]]");
        cluster.apply("default", &bad.to_string()).expect();
        rejected(&cluster, &users, "\"e2e-fails\"").await;
        ignore(&cluster, "e2e-fails").expect();
        eventually("pods without the profile", || async {
            let made = cluster.dry_run_pod(&users.name, &pod("without")).await?;
            if injected(&made, "e2e-fails") { Err(made.to_string()) } else { Ok(()) }
        })
        .await;
        cluster.apply("default", &good.to_string()).expect();
        let back = r#"{"spec":{"onError":"Fail"}}"#;
        let words = ["patch", "clustersidecarprofile", "e2e-fails", "--type", "merge", "--patch", back];
        cluster.kubectl(&words).expect();
        e2e::injects(&cluster, &users, "e2e-fails").await;
        load.repaired();
        let seen =
            load.end("a profile fails for pods, is ignored, then rolled back; pods of other profiles").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-fails"]).expect();
    });
}

/// Sets `onError: Ignore`, which the runbook recommends for a failing profile.
fn ignore(cluster: &Cluster, profile: &str) -> e2e::Output {
    let ignore = r#"{"spec":{"onError":"Ignore"}}"#;
    cluster.kubectl(&["patch", "clustersidecarprofile", profile, "--type", "merge", "--patch", ignore])
}
