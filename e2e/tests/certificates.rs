//! Renewal, replacement, deletion and expiry of certificates while pods are created. These tests change shared state,
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

use e2e::{Cluster, PodStream, eventually, exclusive, image, injects};
use outrigger::certificates::{Lifetimes, Material};
use serde_json::json;
use time::OffsetDateTime;

const SHORT: [&str; 2] =
    ["certificates.selfManaged.caLifetime=45s", "certificates.selfManaged.certificateLifetime=20s"];

/// Returns an encoded field of a Secret.
fn secret(cluster: &Cluster, name: &str, key: &str) -> Result<String, String> {
    let path = format!("jsonpath={{.data.{}}}", key.replace('.', "\\."));
    let output = cluster.kubectl(&["get", "secret", name, "--namespace", Cluster::SYSTEM, "--output", &path]);
    if output.success && output.text.len() > 100 { Ok(output.text) } else { Err(output.text) }
}

/// Returns the `caBundle` of every entry.
fn bundles(cluster: &Cluster) -> Vec<String> {
    let kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
    let path = "jsonpath={range .items[*].webhooks[*]}{.clientConfig.caBundle}{\"\\n\"}{end}";
    let labels = "app.kubernetes.io/instance=outrigger";
    let output = cluster.kubectl(&["get", kinds, "--selector", labels, "--output", path]).expect();
    output.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Number of the release's entries: three for pods, two for profiles, two for workloads.
const WEBHOOKS: usize = 7;

/// Returns the `caBundle` of every entry, as PEM.
fn pem_bundles(cluster: &Cluster) -> Vec<String> {
    let kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
    let template = "go-template={{range .items}}{{range .webhooks}}{{.clientConfig.caBundle | base64decode}}=====\n{{end}}{{end}}";
    let labels = "app.kubernetes.io/instance=outrigger";
    let output = cluster.kubectl(&["get", kinds, "--selector", labels, "--output", template]).expect();
    let parts = output.split("=====\n").filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

async fn replicas(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.ready_pods(Cluster::SYSTEM, "app.kubernetes.io/name=outrigger", 2).await;
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Returns the leader. Between two leaders, there is none for a moment.
fn leader(cluster: &Cluster) -> String {
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
    panic!("the Lease has no holder");
}

/// Requests a path of a replica's port without TLS.
fn request(cluster: &Cluster, replica: &str, path: &str) -> String {
    let address = format!("/api/v1/namespaces/{}/pods/{replica}:8080/proxy{path}", Cluster::SYSTEM);
    cluster.kubectl(&["get", "--raw", &address]).text
}

fn metric(cluster: &Cluster, replica: &str, name: &str) -> String {
    let text = request(cluster, replica, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(text.clone(), |value| value.trim().to_owned())
}

/// Returns how often a text occurs in a replica's log.
fn log_count(cluster: &Cluster, replica: &str, text: &str) -> usize {
    cluster.kubectl(&["logs", replica, "--namespace", Cluster::SYSTEM]).expect().matches(text).count()
}

#[test]
fn a_rotation_of_cas_and_certificates_rejects_no_pod() {
    exclusive("e2e-rotation", |cluster, space| async move {
        cluster.install(&SHORT);
        injects(&cluster, &space, "e2e-rotation").await;
        let stream = PodStream::start(&cluster, &space.name, "e2e-rotation");
        let (mut authorities, mut certificates) = (BTreeSet::new(), BTreeSet::new());
        let (began, mut restarted) = (Instant::now(), false);
        while authorities.len() < 3 || certificates.len() < 5 {
            assert!(began.elapsed() < Duration::from_mins(5), "{} CAs", authorities.len());
            authorities.extend(secret(&cluster, "outrigger-certificates", "ca.crt"));
            certificates.extend(secret(&cluster, "outrigger-certificates", "tls.crt"));
            if authorities.len() == 2 && !restarted {
                let leader = leader(&cluster);
                cluster
                    .kubectl(&["delete", "pod", &leader, "--namespace", Cluster::SYSTEM, "--wait=false"])
                    .expect();
                restarted = true;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let counts = stream.stop().await;
        eprintln!(
            "{} pods, {} CAs and {} certificates in {:?}",
            counts.attempts,
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
fn deleted_certificate_data_is_restored() {
    exclusive("e2e-certificates", |cluster, space| async move {
        injects(&cluster, &space, "e2e-certificates").await;
        let replicas = replicas(&cluster).await;
        let leader = leader(&cluster);
        let other =
            replicas.iter().find(|replica| **replica != leader).expect("a replica that is not the leader");
        let wrote = "wrote the CAs to a caBundle";
        let before = (log_count(&cluster, &leader, wrote), log_count(&cluster, other, wrote));
        assert_eq!(metric(&cluster, &leader, "outrigger_writer "), "1");
        assert_eq!(metric(&cluster, other, "outrigger_writer "), "0");

        let stream = PodStream::start(&cluster, &space.name, "e2e-certificates");
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
        eventually("the repair of the caBundle", || async {
            let found = bundles(&cluster);
            if found.len() == WEBHOOKS { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        // The change reaches the API server's cache with a delay.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let counts = stream.stop().await;
        let last = counts.rejected.last().map(|(when, _)| when.duration_since(began));
        eprintln!(
            "caBundle emptied: {} of {} pods rejected, the last after {last:?}",
            counts.rejected.len(),
            counts.attempts
        );
        assert_eq!(counts.not_injected, 0);
        for (_, message) in &counts.rejected {
            assert!(message.contains("certificate signed by unknown authority"), "{message}");
        }
        assert!(log_count(&cluster, &leader, wrote) > before.0);

        let stream = PodStream::start(&cluster, &space.name, "e2e-certificates");
        let old = secret(&cluster, "outrigger-certificates", "ca.crt").unwrap();
        let delete = ["delete", "secret", "outrigger-certificates", "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&delete).expect();
        let new = eventually("the repair of the Secret", || async {
            secret(&cluster, "outrigger-certificates", "ca.crt")
        })
        .await;
        assert_ne!(old, new);
        eventually("the removal of the old CA", || async {
            let found: BTreeSet<String> = bundles(&cluster).into_iter().collect();
            if found == BTreeSet::from([new.clone()]) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        let counts = stream.stop().await;
        eprintln!("Secret deleted: {} of {} pods rejected", counts.rejected.len(), counts.attempts);
        counts.expect_none_failed();
        assert_eq!(log_count(&cluster, other, wrote), before.1, "only the leader repairs");
        // An upgrade keeps the bundle, because Helm does not render it.
        cluster.install(&[]);
        assert_eq!(bundles(&cluster), vec![new; WEBHOOKS]);
        injects(&cluster, &space, "e2e-certificates").await;
    });
}

/// Writes a certificate into the Secret that the pods mount.
fn put(cluster: &Cluster, material: &Material) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "of-our-own", "namespace": Cluster::SYSTEM },
        "stringData": { "tls.crt": material.certificate, "tls.key": material.key },
    });
    cluster.apply_as_it_is(&secret.to_string()).expect();
}

/// Waits until all replicas serve a certificate with another expiry, and it is trusted.
async fn renewed(cluster: &Cluster, replicas: &[String], before: &str) {
    const END: &str = "outrigger_certificate_expiry_timestamp_seconds{certificate=\"serving\"} ";
    for replica in replicas {
        // The kubelet updates the volumes of a changed pod immediately; otherwise, this takes a minute.
        let now = format!("looked-at={}", OffsetDateTime::now_utc().unix_timestamp());
        let annotate = ["annotate", "pod", replica, "--overwrite", &now, "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&annotate).expect();
        eventually("the new certificate to be served", || async {
            let (end, ready) = (metric(cluster, replica, END), request(cluster, replica, "/readyz"));
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
fn a_user_provided_secret_is_replaced_without_a_rejected_pod_and_not_served_after_its_expiry() {
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

        let stream = PodStream::start(&cluster, &space.name, "e2e-files");
        let before = end(&cluster, &pods[0]);
        let later = OffsetDateTime::now_utc() + time::Duration::seconds(10);
        put(&cluster, &made.renewed(&names, Lifetimes::DEFAULT, later).unwrap());
        renewed(&cluster, &pods, &before).await;
        stream.stop().await.expect_none_failed();

        // Simulates the expiry with an old certificate.
        let before = end(&cluster, &pods[0]);
        let past = OffsetDateTime::now_utc() - time::Duration::days(91);
        put(&cluster, &made.renewed(&names, Lifetimes::DEFAULT, past).unwrap());
        for replica in &pods {
            let now = format!("looked-at={}", OffsetDateTime::now_utc().unix_timestamp());
            cluster
                .kubectl(&["annotate", "pod", replica, "--overwrite", &now, "--namespace", Cluster::SYSTEM])
                .expect();
            eventually("the replica becoming unready", || async {
                // kubectl does not print the body of an error response; the log has the reason.
                let answer = request(&cluster, replica, "/readyz");
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

        // Back to self-managed certificates.
        cluster.install(&[]);
        injects(&cluster, &space, "e2e-files").await;
        cluster.kubectl(&["delete", "secret", "of-our-own", "--namespace", Cluster::SYSTEM]).expect();
    });
}

/// Installs cert-manager in its own namespace, with administrator permissions.
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

/// Triggers the renewal of a certificate by cert-manager, as `cmctl renew` does.
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
fn cert_manager_issues_and_renews_the_certificate_without_a_rejected_pod() {
    exclusive("e2e-cert-manager", |cluster, space| async move {
        cert_manager(&cluster);
        cluster.install(&["certificates.source=CertManager"]);
        injects(&cluster, &space, "e2e-cert-manager").await;
        let pods = replicas(&cluster).await;

        let stream = PodStream::start(&cluster, &space.name, "e2e-cert-manager");
        let before = end(&cluster, &pods[0]);
        renew(&cluster, "outrigger");
        let first = secret(&cluster, "outrigger-tls", "ca.crt").unwrap();
        renewed(&cluster, &pods, &before).await;
        // The new CA has the same key, so each of the two verifies certificates of the other.
        let authority = secret(&cluster, "outrigger-ca", "tls.crt").unwrap();
        renew(&cluster, "outrigger-ca");
        eventually("the renewal of the CA", || async {
            let found = secret(&cluster, "outrigger-ca", "tls.crt")?;
            if found == authority { Err(found) } else { Ok(()) }
        })
        .await;
        let before = end(&cluster, &pods[0]);
        renew(&cluster, "outrigger");
        eventually("the new CA in the caBundle", || async {
            // The cainjector keeps the previous CA until it expires.
            let found = pem_bundles(&cluster);
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
        let counts = stream.stop().await;
        eprintln!("cert-manager: {} of {} pods rejected", counts.rejected.len(), counts.attempts);
        counts.expect_none_failed();

        cluster.install(&[]);
        injects(&cluster, &space, "e2e-cert-manager").await;
        cluster.kubectl(&["delete", "namespace", "e2e-cert-manager", "--timeout=120s"]).expect();
        cluster.kubectl(&["delete", "clusterrolebinding", "e2e-cert-manager"]).expect();
        let left = ["delete", "secret", "outrigger-tls", "outrigger-ca", "--namespace", Cluster::SYSTEM];
        cluster.kubectl(&left).expect();
    });
}
