//! A profile that pods ask for goes away, or goes bad.

use std::time::{Duration, Instant};

use e2e::{Answer, Cluster, Steady, TestNamespace, companion, eventually, exclusive, injected, pod};
use serde_json::json;

use crate::load::{Load, row};

/// Waits until every server refuses a pod for this reason; four answers in a row, since any of them may answer.
pub(crate) async fn refused(cluster: &Cluster, space: &TestNamespace, reason: &str) {
    let in_a_row = std::cell::Cell::new(0);
    eventually(reason, || async {
        let said = cluster.dry_run_pod(&space.name, &pod("asking")).await;
        let hit = said.as_ref().is_err_and(|said| said.contains(reason));
        in_a_row.set(if hit { in_a_row.get() + 1 } else { 0 });
        if in_a_row.get() == 4 { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

#[test]
fn a_profile_is_deleted_that_is_in_use() {
    exclusive("e2e-others", |cluster, space| async move {
        let manifest = companion("e2e-deleted").to_string();
        cluster.apply("default", &manifest).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-deleted").await;
        e2e::injects(&cluster, &users, "e2e-deleted").await;
        cluster.create_pod(&users.name, &pod("running")).await.unwrap();
        let running = cluster.ready_pod(&users.name, "running").await;

        // The stream is of pods that do not ask for it.
        let mut load = Load::start(&cluster, &space, "e2e-others").await;
        load.fault();
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-deleted"]).expect();
        refused(&cluster, &users, "[ProfileNotFound]").await;
        // A pod that runs keeps what it has.
        let still = cluster.ready_pod(&users.name, "running").await;
        assert_eq!(running["spec"], still["spec"]);
        cluster.apply("default", &manifest).expect();
        e2e::injects(&cluster, &users, "e2e-deleted").await;
        load.repaired();
        let seen = load.end("a profile deleted that is in use; pods of others").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-deleted"]).expect();
    });
}

#[test]
fn the_definitions_are_deleted_and_applied_again() {
    exclusive("e2e-defined", |cluster, _| async move {
        let mut profile = companion("e2e-matched");
        let selector = json!({ "matchLabels": { "e2e-matched": "yes" } });
        profile["spec"]["match"] = json!({ "namespaceSelector": selector });
        cluster.apply("default", &profile.to_string()).expect();
        let users = TestNamespace::plain(&cluster).await;
        let labels = ["label", "namespace", &users.name, "e2e-matched=yes", "outrigger.dev/inject=enabled"];
        cluster.kubectl(&labels).expect();
        e2e::injects(&cluster, &users, "e2e-matched").await;

        let stream = Steady::start(&cluster, &users.name, "e2e-matched");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        cluster.kubectl(&["delete", "-f", "charts/outrigger/crds", "--timeout=60s"]).expect();
        refused(&cluster, &users, "no current list").await;
        let missing = Instant::now();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = Instant::now();
        cluster.kubectl(&["apply", "--server-side", "-f", "charts/outrigger/crds"]).expect();
        eventually("the profile being applied", || async {
            let said = cluster.apply("default", &profile.to_string());
            if said.success { Ok(()) } else { Err(said.text) }
        })
        .await;
        let applied = Instant::now();
        e2e::injects(&cluster, &users, "e2e-matched").await;
        tokio::time::sleep(Duration::from_secs(3)).await;

        let all = stream.end().await;
        // Between deletion and definition, and before the profile exists, nothing selects the pods.
        let counts = |one: &&e2e::Asked| (one.at > missing && one.at < before) || one.at > applied;
        let (asked, lost) =
            (all.len(), all.iter().filter(counts).filter(|one| one.answer == Answer::Bare).count());
        let refused = all.iter().filter(|one| matches!(one.answer, Answer::Refused(_)));
        let ended = refused.clone().map(|one| one.answered).max().unwrap_or(applied).max(applied);
        let (failed, took) = (refused.count(), (ended - began).as_secs_f64());
        let late = ended.saturating_duration_since(applied);
        let failed_text = format!("{failed}: webhook reports an error (NotSynced)");
        row(
            "CRDs deleted and applied again; pods of a profile with `match`",
            "pods, a steady stream",
            asked,
            &failed_text,
            lost,
            &format!("{took:.1} s"),
        );
        assert_eq!(lost, 0, "pods were admitted without their sidecar");
        assert!(failed > 0 && late < Duration::from_secs(5), "{failed} refused, the last after {late:?}");
        // The release's own profiles, and what the other tests begin with.
        cluster.install(&[]);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-matched"]).expect();
    });
}

#[test]
fn a_profile_turns_invalid_that_is_in_use() {
    exclusive("e2e-sound", |cluster, space| async move {
        let good = companion("e2e-bad");
        cluster.apply("default", &good.to_string()).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-bad").await;
        e2e::injects(&cluster, &users, "e2e-bad").await;

        let mut load = Load::start(&cluster, &space, "e2e-sound").await;
        load.fault();
        // /validate refuses such a profile, so it has to be out of the way: an older version may have accepted it.
        let mut bad = good.clone();
        bad["spec"]["template"]["spec"]["affinity"] = json!({});
        let said = cluster.apply("default", &bad.to_string()).expect_failure();
        assert!(said.contains("affinity"), "{said}");
        cluster.kubectl(&["delete", "validatingwebhookconfiguration", "outrigger"]).expect();
        eventually("the API server applying it unseen", || async {
            let said = cluster.apply("default", &bad.to_string());
            if said.success { Ok(()) } else { Err(said.text) }
        })
        .await;
        refused(&cluster, &users, "[ProfileInvalid]").await;
        cluster.install(&[]);
        eventually("a change being refused that leaves it as bad as it was", || async {
            let said = ignore(&cluster, "e2e-bad");
            if !said.success && said.text.contains("affinity") { Ok(()) } else { Err(said.text) }
        })
        .await;
        // The way out: the last good version.
        cluster.apply("default", &good.to_string()).expect();
        e2e::injects(&cluster, &users, "e2e-bad").await;
        load.repaired();
        let seen = load.end("a profile turns invalid that is in use; pods of others").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-bad"]).expect();
    });
}

#[test]
fn a_bad_profile_is_ignored_or_taken_back() {
    exclusive("e2e-well", |cluster, space| async move {
        let good = companion("e2e-fails");
        cluster.apply("default", &good.to_string()).expect();
        let users = TestNamespace::enabled(&cluster, "e2e-fails").await;
        e2e::injects(&cluster, &users, "e2e-fails").await;

        let mut load = Load::start(&cluster, &space, "e2e-well").await;
        load.fault();
        // Nothing is wrong with it before a pod comes that lacks the label.
        let mut bad = good.clone();
        bad["spec"]["appContainers"][0]["env"][0]["value"] = json!("$[[ pod.metadata.labels['tier'] ]]");
        cluster.apply("default", &bad.to_string()).expect();
        refused(&cluster, &users, "\"e2e-fails\"").await;
        ignore(&cluster, "e2e-fails").expect();
        eventually("pods starting without it", || async {
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
        let seen = load.end("a profile fails for pods, is ignored, then taken back; pods of others").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        cluster.kubectl(&["delete", "clustersidecarprofile", "e2e-fails"]).expect();
    });
}

/// The way out that the runbook offers for a profile that fails.
fn ignore(cluster: &Cluster, profile: &str) -> e2e::Output {
    let ignore = r#"{"spec":{"onError":"Ignore"}}"#;
    cluster.kubectl(&["patch", "clustersidecarprofile", profile, "--type", "merge", "--patch", ignore])
}
