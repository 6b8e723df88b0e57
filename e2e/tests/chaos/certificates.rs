//! What the API server's trust hangs on is taken away.

use e2e::{Cluster, TestNamespace, alone, eventually};

use crate::load::Load;

#[test]
fn the_ca_bundle_is_emptied() {
    alone("e2e-bundle", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-bundle").await;
        let before = bundle(&cluster);
        load.fault();
        for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
            let emptied = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
            cluster.kubectl(&["patch", kind, "outrigger", "--type=json", "--patch", emptied]).expect();
        }
        eventually("the caBundle coming back", || async {
            let now = bundle(&cluster);
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        load.repaired();
        load.end("caBundle emptied").await;
    });
}

#[test]
fn the_ca_bundle_is_somebody_elses() {
    alone("e2e-forged", |cluster, space| async move {
        let mut load = Load::start(&cluster, &space, "e2e-forged").await;
        let before = bundle(&cluster);
        load.fault();
        let other = other_authority();
        let forged = format!(
            r#"[{{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "{other}"}}]"#
        );
        let words = ["patch", "mutatingwebhookconfiguration", "outrigger", "--type=json", "--patch", &forged];
        cluster.kubectl(&words).expect();
        eventually("the caBundle coming back", || async {
            let now = bundle(&cluster);
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        load.repaired();
        load.end("caBundle replaced by another authority").await;
    });
}

#[test]
fn the_secret_is_deleted() {
    alone("e2e-secret", |cluster, space| async move {
        secret_is_lost(&cluster, &space, "e2e-secret", "Secret of the certificates deleted", || {
            cluster.kubectl(&["delete", "secret", SECRET, "--namespace", Cluster::SYSTEM])
        })
        .await;
    });
}

#[test]
fn the_certificate_is_deleted_from_its_secret() {
    alone("e2e-leaf", |cluster, space| async move {
        secret_is_lost(&cluster, &space, "e2e-leaf", "certificate deleted from its Secret", || {
            let patch = r#"[{"op": "remove", "path": "/data/tls.crt"}]"#;
            let words =
                ["patch", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--type=json", "--patch", patch];
            cluster.kubectl(&words)
        })
        .await;
    });
}

const SECRET: &str = "outrigger-certificates";

async fn secret_is_lost(
    cluster: &Cluster,
    space: &TestNamespace,
    profile: &str,
    fault: &str,
    lose: impl FnOnce() -> e2e::Output,
) {
    let mut load = Load::start(cluster, space, profile).await;
    load.fault();
    lose().expect();
    eventually("the certificate coming back", || async {
        let path = "jsonpath={.data.tls\\.crt}";
        let words = ["get", "secret", SECRET, "--namespace", Cluster::SYSTEM, "--output", path];
        let said = cluster.kubectl(&words);
        if said.success && said.text.len() > 100 { Ok(()) } else { Err(said.text) }
    })
    .await;
    load.repaired();
    load.end(fault).await;
}

/// What both configurations believe, webhook by webhook.
fn bundle(cluster: &Cluster) -> String {
    let kinds = "mutatingwebhookconfiguration/outrigger,validatingwebhookconfiguration/outrigger";
    let mut said = String::new();
    for kind in kinds.split(',') {
        let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
        said += &cluster.kubectl(&["get", kind, "--output", path]).expect();
        said.push('\n');
    }
    said
}

/// An authority that signed nothing of ours, as a configuration holds it.
fn other_authority() -> String {
    let names = ["elsewhere".to_owned()];
    let now = time::OffsetDateTime::now_utc();
    let material =
        outrigger::certificates::Material::new(&names, outrigger::certificates::Lifetimes::DEFAULT, now)
            .unwrap();
    let secret = material.to_secret();
    serde_json::to_value(&secret["ca.crt"]).unwrap().as_str().unwrap().to_owned()
}
