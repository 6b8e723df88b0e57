//! Certificates that are renewed, replaced, taken away and ended while pods are created. These tests change what all share,
//! so they run one at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Cluster, Steady, eventually, exclusive, image, injects};
use outrigger::certificates::{Lifetimes, Material};
use serde_json::json;
use time::OffsetDateTime;

const SHORT: [&str; 2] =
    ["certificates.selfManaged.caLifetime=45s", "certificates.selfManaged.certificateLifetime=20s"];

/// A field of the Secret, as it is encoded.
fn secret(cluster: &Cluster, name: &str, key: &str) -> Result<String, String> {
    let path = format!("jsonpath={{.data.{}}}", key.replace('.', "\\."));
    let said = cluster.kubectl(&["get", "secret", name, "--namespace", Cluster::SYSTEM, "--output", &path]);
    if said.success && said.text.len() > 100 { Ok(said.text) } else { Err(said.text) }
}

/// The `caBundle` of every entry.
fn bundles(cluster: &Cluster) -> Vec<String> {
    let kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
    let path = "jsonpath={range .items[*].webhooks[*]}{.clientConfig.caBundle}{\"\\n\"}{end}";
    let labels = "app.kubernetes.io/instance=outrigger";
    let said = cluster.kubectl(&["get", kinds, "--selector", labels, "--output", path]).expect();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Those of the release: three for pods, two for profiles, two for workloads.
const WEBHOOKS: usize = 7;

/// The `caBundle` of every entry, as PEM.
fn believed(cluster: &Cluster) -> Vec<String> {
    let kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
    let template = "go-template={{range .items}}{{range .webhooks}}{{.clientConfig.caBundle | base64decode}}=====\n{{end}}{{end}}";
    let labels = "app.kubernetes.io/instance=outrigger";
    let said = cluster.kubectl(&["get", kinds, "--selector", labels, "--output", template]).expect();
    let parts = said.split("=====\n").filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

async fn replicas(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.ready_pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger", 2).await;
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The replica that holds the Lease; between two holders, for a moment, nobody does.
fn writer(cluster: &Cluster) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let get = ["get", "lease", "outrigger", "--namespace", Cluster::SYSTEM, "--output", path];
    for _ in 0..60 {
        let holder = cluster.kubectl(&get).expect();
        let pod = ["get", "pod", &holder, "--namespace", Cluster::SYSTEM];
        if !holder.is_empty() && cluster.kubectl(&pod).success {
            return holder;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("nobody holds the Lease");
}

/// What a replica answers on its port without TLS.
fn asked(cluster: &Cluster, replica: &str, path: &str) -> String {
    let address = format!("/api/v1/namespaces/{}/pods/{replica}:8080/proxy{path}", Cluster::SYSTEM);
    cluster.kubectl(&["get", "--raw", &address]).text
}

fn metric(cluster: &Cluster, replica: &str, name: &str) -> String {
    let text = asked(cluster, replica, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(text.clone(), |value| value.trim().to_owned())
}

/// How often a replica's log says this.
fn said(cluster: &Cluster, replica: &str, text: &str) -> usize {
    cluster.kubectl(&["logs", replica, "--namespace", Cluster::SYSTEM]).expect().matches(text).count()
}

#[test]
fn no_pod_is_refused_while_authorities_and_certificates_are_replaced() {
    exclusive("e2e-rotation", |cluster, space| async move {
        cluster.install(&SHORT);
        injects(&cluster, &space, "e2e-rotation").await;
        let steady = Steady::start(&cluster, &space.name, "e2e-rotation");
        let (mut authorities, mut certificates) = (BTreeSet::new(), BTreeSet::new());
        let (began, mut restarted) = (Instant::now(), false);
        while authorities.len() < 3 || certificates.len() < 5 {
            assert!(began.elapsed() < Duration::from_mins(5), "{} authorities", authorities.len());
            authorities.extend(secret(&cluster, "outrigger-certificates", "ca.crt"));
            certificates.extend(secret(&cluster, "outrigger-certificates", "tls.crt"));
            if authorities.len() == 2 && !restarted {
                let writer = writer(&cluster);
                cluster
                    .kubectl(&["delete", "pod", &writer, "--namespace", Cluster::SYSTEM, "--wait=false"])
                    .expect();
                restarted = true;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let counts = steady.stop().await;
        eprintln!(
            "{} pods, {} authorities and {} certificates in {:?}",
            counts.asked,
            authorities.len(),
            certificates.len(),
            began.elapsed()
        );
        assert!(restarted);
        counts.expect_none_failed();
        for replica in replicas(&cluster).await {
            assert_eq!(metric(&cluster, &replica, "outrigger_certificate_trusted "), "1");
        }
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-rotation").await;
    });
}

#[test]
fn what_is_taken_from_the_certificates_comes_back() {
    exclusive("e2e-certificates", |cluster, space| async move {
        injects(&cluster, &space, "e2e-certificates").await;
        let replicas = replicas(&cluster).await;
        let writer = writer(&cluster);
        let other =
            replicas.iter().find(|replica| **replica != writer).expect("a replica that does not write");
        let wrote = "wrote the CAs to a caBundle";
        let before = (said(&cluster, &writer, wrote), said(&cluster, other, wrote));
        assert_eq!(metric(&cluster, &writer, "outrigger_writer "), "1");
        assert_eq!(metric(&cluster, other, "outrigger_writer "), "0");

        let steady = Steady::start(&cluster, &space.name, "e2e-certificates");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        let emptied = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
        cluster
            .kubectl(&[
                "patch",
                "mutatingwebhookconfiguration",
                "outrigger",
                "--type=json",
                "--patch",
                emptied,
            ])
            .expect();
        eventually("the caBundle coming back", || async {
            let found = bundles(&cluster);
            if found.len() == WEBHOOKS { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        // The API server sees the change a moment after it was made.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let counts = steady.stop().await;
        let last = counts.refused.last().map(|(when, _)| when.duration_since(began));
        eprintln!(
            "caBundle emptied: {} of {} pods refused, the last after {last:?}",
            counts.refused.len(),
            counts.asked
        );
        assert_eq!(counts.bare, 0);
        for (_, refused) in &counts.refused {
            assert!(refused.contains("certificate signed by unknown authority"), "{refused}");
        }
        assert!(said(&cluster, &writer, wrote) > before.0);

        let steady = Steady::start(&cluster, &space.name, "e2e-certificates");
        let old = secret(&cluster, "outrigger-certificates", "ca.crt").unwrap();
        let delete = ["delete", "secret", "outrigger-certificates", "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&delete).expect();
        let new = eventually("the Secret coming back", || async {
            secret(&cluster, "outrigger-certificates", "ca.crt")
        })
        .await;
        assert_ne!(old, new);
        eventually("the old authority going", || async {
            let found: BTreeSet<String> = bundles(&cluster).into_iter().collect();
            if found == BTreeSet::from([new.clone()]) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        let counts = steady.stop().await;
        eprintln!("Secret deleted: {} of {} pods refused", counts.refused.len(), counts.asked);
        counts.expect_none_failed();
        assert_eq!(said(&cluster, other, wrote), before.1, "only the writer repairs");
        // Helm did not render the bundle, so it does not take it away either.
        cluster.install(&[]);
        assert_eq!(bundles(&cluster), vec![new; WEBHOOKS]);
        injects(&cluster, &space, "e2e-certificates").await;
    });
}

/// Puts a certificate into the Secret that the pods mount.
fn put(cluster: &Cluster, material: &Material) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "of-our-own", "namespace": Cluster::SYSTEM },
        "stringData": { "tls.crt": material.certificate, "tls.key": material.key },
    });
    cluster.apply_as_it_is(&secret.to_string()).expect();
}

/// Waits until all replicas serve another certificate than the one that ends then, and are well.
async fn renewed(cluster: &Cluster, replicas: &[String], before: &str) {
    const END: &str = "outrigger_certificate_expiry_timestamp_seconds{certificate=\"serving\"} ";
    for replica in replicas {
        // A pod that changes is looked at by its kubelet at once, and its volumes with it; otherwise it takes a minute.
        let now = format!("looked-at={}", OffsetDateTime::now_utc().unix_timestamp());
        let annotate = ["annotate", "pod", replica, "--overwrite", &now, "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&annotate).expect();
        eventually("the other certificate being served", || async {
            let (end, ready) = (metric(cluster, replica, END), asked(cluster, replica, "/readyz"));
            let trusted = metric(cluster, replica, "outrigger_certificate_trusted ");
            if end != before && trusted == "1" { Ok(()) } else { Err(format!("{end} {trusted} {ready}")) }
        })
        .await;
    }
}

fn end(cluster: &Cluster, replica: &str) -> String {
    metric(cluster, replica, "outrigger_certificate_expiry_timestamp_seconds{certificate=\"serving\"} ")
}

#[test]
fn a_secret_of_ones_own_is_replaced_while_pods_are_created_and_one_that_has_ended_is_not_served() {
    exclusive("e2e-files", |cluster, space| async move {
        let names = [format!("outrigger.{}.svc", Cluster::SYSTEM)];
        let made = Material::new(&names, Lifetimes::DEFAULT, OffsetDateTime::now_utc()).unwrap();
        put(&cluster, &made);
        let values = json!({ "certificates": {
            "source": "Files",
            "files": { "secretName": "of-our-own", "caBundle": made.authority.certificate },
        } });
        cluster.install_over(&values.to_string()).expect();
        injects(&cluster, &space, "e2e-files").await;
        let pods = replicas(&cluster).await;

        let steady = Steady::start(&cluster, &space.name, "e2e-files");
        let before = end(&cluster, &pods[0]);
        let later = OffsetDateTime::now_utc() + time::Duration::seconds(10);
        put(&cluster, &made.renewed(&names, Lifetimes::DEFAULT, later).unwrap());
        renewed(&cluster, &pods, &before).await;
        steady.stop().await.expect_none_failed();

        // As if the clock had gone past its end.
        let before = end(&cluster, &pods[0]);
        let past = OffsetDateTime::now_utc() - time::Duration::days(91);
        put(&cluster, &made.renewed(&names, Lifetimes::DEFAULT, past).unwrap());
        for replica in &pods {
            let now = format!("looked-at={}", OffsetDateTime::now_utc().unix_timestamp());
            cluster
                .kubectl(&["annotate", "pod", replica, "--overwrite", &now, "--namespace", Cluster::SYSTEM])
                .expect();
            eventually("the replica saying that it is not ready", || async {
                // kubectl keeps the answer's text to itself when it is an error; the log has the same.
                let answer = asked(&cluster, replica, "/readyz");
                let log = cluster.kubectl(&["logs", replica, "--namespace", Cluster::SYSTEM]).expect();
                let reason =
                    log.lines().rfind(|line| line.contains("does not believe the serving certificate"));
                let is_expired = reason.is_some_and(|line| line.contains("expired"));
                if answer.contains("ServiceUnavailable") && is_expired { Ok(()) } else { Err(answer) }
            })
            .await;
            assert_eq!(metric(&cluster, replica, "outrigger_certificate_trusted "), "0");
        }
        put(&cluster, &made);
        renewed(&cluster, &pods, &end(&cluster, &pods[0])).await;
        assert_ne!(end(&cluster, &pods[0]), before);
        replicas(&cluster).await;
        injects(&cluster, &space, "e2e-files").await;

        // The servers make their own again.
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-files").await;
        cluster.kubectl(&["delete", "secret", "of-our-own", "--namespace", Cluster::SYSTEM]).expect();
    });
}

/// cert-manager in a namespace of its own, as an administrator of the cluster.
fn cert_manager(cluster: &Cluster) {
    let folder = std::env::var("OUTRIGGER_CERT_MANAGER_CRDS").unwrap();
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder]).expect();
    let labels = json!({ "app": "cert-manager" });
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "e2e-cert-manager" } },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "e2e-cert-manager" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": "e2e-cert-manager" }],
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "cert-manager", "namespace": "e2e-cert-manager" },
            "spec": { "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [
                    { "name": "cert-manager", "image": image("outrigger.dev/cert-manager:1.21.2"), "imagePullPolicy": "IfNotPresent" },
                ] },
            } },
        },
    ] });
    cluster.apply_as_it_is(&objects.to_string()).expect();
}

/// Has cert-manager renew a certificate now, as `cmctl renew` does.
fn renew(cluster: &Cluster, certificate: &str) {
    let condition = json!({ "status": { "conditions": [{
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] } });
    let patch = condition.to_string();
    let words = ["patch", "certificate.cert-manager.io", certificate, "--namespace", Cluster::SYSTEM];
    let more = ["--subresource=status", "--type=merge", "--patch", &patch];
    cluster.kubectl(&[&words[..], &more[..]].concat()).expect();
}

#[test]
fn cert_manager_makes_and_renews_the_certificate_while_pods_are_created() {
    exclusive("e2e-cert-manager", |cluster, space| async move {
        cert_manager(&cluster);
        cluster.install(&["certificates.source=CertManager"]);
        injects(&cluster, &space, "e2e-cert-manager").await;
        let pods = replicas(&cluster).await;

        let steady = Steady::start(&cluster, &space.name, "e2e-cert-manager");
        let before = end(&cluster, &pods[0]);
        renew(&cluster, "outrigger");
        let first = secret(&cluster, "outrigger-tls", "ca.crt").unwrap();
        renewed(&cluster, &pods, &before).await;
        // Another authority with the same key: whoever believes one believes the other.
        let authority = secret(&cluster, "outrigger-ca", "tls.crt").unwrap();
        renew(&cluster, "outrigger-ca");
        eventually("another authority", || async {
            let found = secret(&cluster, "outrigger-ca", "tls.crt")?;
            if found == authority { Err(found) } else { Ok(()) }
        })
        .await;
        let before = end(&cluster, &pods[0]);
        renew(&cluster, "outrigger");
        eventually("the authority in the caBundle", || async {
            // The cainjector keeps what was there before until that ends.
            let found = believed(&cluster);
            let template = "go-template={{index .data \"ca.crt\" | base64decode}}";
            let get =
                ["get", "secret", "outrigger-tls", "--namespace", Cluster::SYSTEM, "--output", template];
            let new = cluster.kubectl(&get).expect();
            let all = found.iter().all(|bundle| bundle.contains(new.trim()));
            let changed = secret(&cluster, "outrigger-tls", "ca.crt")? != first;
            if changed && found.len() == WEBHOOKS && all {
                Ok(())
            } else {
                Err(format!("{new} in {found:?}"))
            }
        })
        .await;
        renewed(&cluster, &pods, &before).await;
        let counts = steady.stop().await;
        eprintln!("cert-manager: {} of {} pods refused", counts.refused.len(), counts.asked);
        counts.expect_none_failed();

        cluster.install(&[]);
        injects(&cluster, &space, "e2e-cert-manager").await;
        cluster.kubectl(&["delete", "namespace", "e2e-cert-manager", "--timeout=120s"]).expect();
        cluster.kubectl(&["delete", "clusterrolebinding", "e2e-cert-manager"]).expect();
        let left = ["delete", "secret", "outrigger-tls", "outrigger-ca", "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&left).expect();
    });
}
