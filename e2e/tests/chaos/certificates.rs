//! Faults of certificates, `caBundle` and Lease.

use std::time::{Duration, Instant};

use e2e::{Cluster, Output, TestNamespace, eventually, exclusive, scale};
use serde_json::{Value, json};

use crate::SERVERS;
use crate::load::Load;

#[test]
fn the_ca_bundle_is_emptied() {
    exclusive("e2e-bundle", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-bundle").await;
        let before = bundle(&cluster);
        load.fault();
        for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
            let emptied = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
            cluster.kubectl(&["patch", kind, "outrigger", "--type=json", "--patch", emptied]).expect();
        }
        eventually("the repair of the caBundle", || async {
            let now = bundle(&cluster);
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        load.repaired();
        load.end("caBundle emptied").await;
    });
}

#[test]
fn the_ca_bundle_is_replaced_with_a_foreign_ca() {
    exclusive("e2e-forged", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-forged").await;
        let before = bundle(&cluster);
        load.fault();
        let other = other_authority();
        let forged = format!(
            r#"[{{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "{other}"}}]"#
        );
        let words = ["patch", "mutatingwebhookconfiguration", "outrigger", "--type=json", "--patch", &forged];
        cluster.kubectl(&words).expect();
        eventually("the repair of the caBundle", || async {
            let now = bundle(&cluster);
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        load.repaired();
        load.end("caBundle replaced by another CA").await;
    });
}

#[test]
fn the_secret_is_deleted() {
    exclusive("e2e-secret", |cluster, space| async move {
        lose_secret(&cluster, &space, "e2e-secret", "certificate Secret deleted", || {
            cluster.kubectl(&["delete", "secret", SECRET, "--namespace", Cluster::SYSTEM])
        })
        .await;
    });
}

#[test]
fn the_certificate_is_deleted_from_its_secret() {
    exclusive("e2e-leaf", |cluster, space| async move {
        lose_secret(&cluster, &space, "e2e-leaf", "certificate deleted from its Secret", || {
            let patch = r#"[{"op": "remove", "path": "/data/tls.crt"}]"#;
            let words =
                ["patch", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--type=json", "--patch", patch];
            cluster.kubectl(&words)
        })
        .await;
    });
}

#[test]
fn the_secret_is_overwritten_with_invalid_data() {
    exclusive("e2e-garbage", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-garbage").await;
        load.fault();
        overwrite(&cluster, &["ca.crt", "ca.key", "tls.crt", "tls.key"]).expect();
        is_complete(&cluster).await;
        load.repaired();
        let seen = load.end("certificate Secret overwritten with invalid data").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
        for line in bundle(&cluster).lines() {
            assert!(line.split(' ').all(is_pem), "not PEM: {line}");
        }
    });
}

#[test]
fn the_certificate_is_invalid_when_all_servers_start() {
    exclusive("e2e-unreadable", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-unreadable").await;
        load.fault();
        scale(&cluster, 0);
        overwrite(&cluster, &["tls.crt"]).expect();
        scale(&cluster, 2);
        is_complete(&cluster).await;
        load.repaired();
        load.end("certificate overwritten with invalid data while no server ran").await;
    });
}

#[test]
fn a_foreign_lease_and_an_untrusted_advisory_entry_keep_servers_ready() {
    exclusive("e2e-stranger", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-stranger").await;
        let before = bundle(&cluster);
        load.fault();
        steal_lease(&cluster).expect();
        // The leader detects this at its next renewal of the Lease.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let output = "jsonpath={.webhooks[*].name}";
        let names =
            cluster.kubectl(&["get", "validatingwebhookconfiguration", "outrigger", "--output", output]);
        let names = names.expect();
        let index = names.split(' ').position(|name| name == "workloads.outrigger.dev").unwrap();
        let other = other_authority();
        let forged = format!(
            r#"[{{"op": "replace", "path": "/webhooks/{index}/clientConfig/caBundle", "value": "{other}"}}]"#
        );
        let patch = ["patch", "validatingwebhookconfiguration", "outrigger", "--type=json", "--patch"];
        cluster.kubectl(&[&patch[..], &[&forged]].concat()).expect();
        let began = Instant::now();
        // There is no leader, so the entry is not repaired. The kubelet probes readiness several times meanwhile.
        while began.elapsed() < Duration::from_secs(15) {
            let pods = cluster.pods(Cluster::SYSTEM, SERVERS).await;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            assert_eq!(ready, 2, "servers must stay ready with an untrusted advisory entry");
            assert_ne!(bundle(&cluster), before, "no replica may repair the entry without the Lease");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        eventually("the repair of the caBundle", || async {
            let now = bundle(&cluster);
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        assert!(began.elapsed() < Duration::from_mins(1), "repaired after {:?}", began.elapsed());
        load.repaired();
        let seen =
            load.end("a foreign Lease for 68 years; an advisory webhook entry with a foreign caBundle").await;
        assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    });
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub(crate) const SECRET: &str = "outrigger-certificates";

/// Overwrites keys of the certificate Secret with invalid data.
pub(crate) fn overwrite(cluster: &Cluster, keys: &[&str]) -> Output {
    let data: serde_json::Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), "Z2FyYmFnZQ==".into())).collect();
    let patch = json!({ "data": data }).to_string();
    let words =
        ["patch", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--type=merge", "--patch", &patch];
    cluster.kubectl(&words)
}

/// Writes a foreign holder and a duration of 68 years into the Lease.
pub(crate) fn steal_lease(cluster: &Cluster) -> Output {
    let patch = r#"{"spec": {"holderIdentity": "stranger", "leaseDurationSeconds": 2147483647}}"#;
    let words =
        ["patch", "lease", "outrigger", "--namespace", Cluster::SYSTEM, "--type=merge", "--patch", patch];
    cluster.kubectl(&words)
}

/// Waits until the Secret holds certificates and keys again. Returns the certificate, in base64.
async fn is_complete(cluster: &Cluster) -> String {
    eventually("the repair of the Secret", || async {
        let path = "jsonpath={.data.ca\\.crt} {.data.ca\\.key} {.data.tls\\.crt} {.data.tls\\.key}";
        let words = ["get", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--output", path];
        let output = cluster.kubectl(&words);
        let values: Vec<&str> = output.text.split(' ').collect();
        match values.as_slice() {
            [_, _, certificate, _] if output.success && values.iter().all(|value| is_pem(value)) => {
                Ok((*certificate).to_owned())
            }
            _ => Err(output.text),
        }
    })
    .await
}

/// Returns whether a value of the Secret begins like PEM.
fn is_pem(value: &str) -> bool {
    value.starts_with("LS0tLS1CRUdJTi")
}

/// Loses the Secret or a part of it. The Secret must be complete again, with a new certificate, and the webhook
/// configurations must trust its CA.
async fn lose_secret(
    cluster: &Cluster,
    space: &TestNamespace,
    profile: &str,
    fault: &str,
    lose: impl FnOnce() -> Output,
) {
    let mut load = Load::start(cluster, space, profile).await;
    let before = is_complete(cluster).await;
    load.fault();
    lose().expect();
    let after = is_complete(cluster).await;
    assert_ne!(after, before, "{fault}: the lost certificate cannot come back");
    eventually("every caBundle having the CA of the Secret", || async {
        let path = "jsonpath={.data.ca\\.crt}";
        let words = ["get", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--output", path];
        let authority = pem_of(&cluster.kubectl(&words).expect());
        let bundles = bundle(cluster);
        let bundles: Vec<String> = bundles.split_whitespace().map(pem_of).collect();
        let trust = bundles.iter().filter(|bundle| bundle.contains(&authority)).count();
        if trust == bundles.len() && trust > 0 {
            Ok(())
        } else {
            Err(format!("{trust} of {}", bundles.len()))
        }
    })
    .await;
    load.repaired();
    let seen = load.end(fault).await;
    assert!(seen.failed.is_empty(), "{fault}: {:?}", seen.failed);
}

/// Decodes a value of a Secret or of a configuration; without white space, which does not matter in PEM.
fn pem_of(base64: &str) -> String {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(json!(base64)).unwrap();
    String::from_utf8(bytes.0).unwrap().split_whitespace().collect()
}

/// Returns the `caBundle` of all entries of both configurations.
fn bundle(cluster: &Cluster) -> String {
    let kinds = "mutatingwebhookconfiguration/outrigger,validatingwebhookconfiguration/outrigger";
    let mut bundles = String::new();
    for kind in kinds.split(',') {
        let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
        bundles += &cluster.kubectl(&["get", kind, "--output", path]).expect();
        bundles.push('\n');
    }
    bundles
}

/// Returns a CA that signed none of the certificates, encoded as in a webhook configuration.
pub(crate) fn other_authority() -> String {
    let names = ["elsewhere".to_owned()];
    let now = time::OffsetDateTime::now_utc();
    let material =
        outrigger::certificates::Material::new(&names, outrigger::certificates::Lifetimes::DEFAULT, now)
            .unwrap();
    let secret = material.to_secret();
    serde_json::to_value(&secret["ca.crt"]).unwrap().as_str().unwrap().to_owned()
}
