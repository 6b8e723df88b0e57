use base64::Engine as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::certificates::trust::{chain_of, verify};
use crate::certificates::webhook_configurations::{Configurations, watch_configurations};
use crate::certificates::{Clock, Lifetimes, keep_bundle, keep_trust};
use crate::testing::collections::{MUTATING, SECRETS, VALIDATING};
use crate::testing::{ApiServer, Fault};

const NAME: &str = "outrigger.system.svc";

struct Replica {
    serving: Arc<Serving>,
    holds: watch::Sender<bool>,
    health: Health,
    metrics: Arc<Metrics>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// The certificates that all replicas serve, read without a network.
struct Known(Vec<Arc<Serving>>, Clock);

impl Replicas for Known {
    fn all_serve<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        let one = |serving: &Arc<Serving>| {
            let served = serving.current().context("serves nothing")?;
            verify(&served.cert, authority.as_bytes(), NAME, (self.1)()).map_err(anyhow::Error::msg)
        };
        futures::future::ready(self.0.iter().try_for_each(one)).boxed()
    }
}

/// Returns a server with the two configurations, as the chart creates them.
fn installed() -> Arc<ApiServer> {
    let server = ApiServer::start();
    for collection in [MUTATING, VALIDATING] {
        let rules = json!([{ "resources": ["pods", "pods/exec"] }]);
        let entry = |name: &str, service: &str| json!({ "name": name, "rules": rules, "clientConfig": { "service": { "name": service, "namespace": "system" } } });
        let webhooks = json!([entry("ours", "outrigger"), entry("other", "other")]);
        server.put(collection, "outrigger", json!({ "webhooks": webhooks }));
    }
    server
}

/// Returns the number of writes by this replica.
fn writes(server: &ApiServer, replica: &str) -> usize {
    server.writes().iter().filter(|write| write.client == replica).count()
}

/// Returns a clock that follows the test's simulated time.
fn clock() -> Clock {
    let (start, since) = (OffsetDateTime::now_utc(), Instant::now());
    Arc::new(move || start + since.elapsed())
}

fn configurations() -> Configurations {
    Configurations {
        mutating: vec!["outrigger".to_owned(), "outrigger-mandatory".to_owned()],
        validating: vec!["outrigger".to_owned()],
        service: "outrigger".to_owned(),
        namespace: "system".to_owned(),
    }
}

/// Returns replicas, the first of which is the leader, with lifetimes of 300 seconds for CAs and 60 for certificates.
fn replicas(server: &Arc<ApiServer>, clock: &Clock, names: &[&'static str]) -> Vec<Replica> {
    let servings: Vec<Arc<Serving>> = names.iter().map(|_| Arc::default()).collect();
    let first = names.first().copied();
    let started = names.iter().zip(&servings).map(|(name, serving)| {
        let (client, stop) = (server.client(name), CancellationToken::new());
        let (holds, held) = watch::channel(Some(*name) == first);
        let leadership = Leadership::following(held);
        let (sender, live) = watch::channel(LiveConfigurations::default());
        let (bundle, bundles) = watch::channel(String::new());
        let (health, metrics) = (Health::default(), Arc::new(Metrics::default()));
        let keeper = CertificateManager {
            client: client.clone(),
            secret: SecretName { namespace: "system".to_owned(), name: "certificates".to_owned() },
            wanted: Wanted {
                names: vec![NAME.to_owned()],
                lifetimes: Lifetimes::from_seconds(300, 60),
                clock: Arc::clone(clock),
            },
            serving: Arc::clone(serving),
            bundle,
            live: live.clone(),
            leadership: leadership.clone(),
            replicas: Arc::new(Known(servings.clone(), Arc::clone(clock))),
            metrics: Arc::clone(&metrics),
            health: health.clone(),
        };
        let trust = keep_trust(
            live.clone(),
            Arc::clone(serving),
            NAME.to_owned(),
            Arc::clone(clock),
            Arc::clone(&metrics),
            health.clone(),
            stop.clone(),
        );
        let watched = watch_configurations(client.clone(), configurations(), sender, stop.clone());
        let writer = keep_bundle(client, configurations(), bundles, live, leadership, stop.clone());
        let tasks = vec![
            tokio::spawn(keeper.run(stop)),
            tokio::spawn(trust),
            tokio::spawn(watched),
            tokio::spawn(writer),
        ];
        Replica { serving: Arc::clone(serving), holds, health, metrics, tasks }
    });
    started.collect()
}

impl Replica {
    fn served(&self) -> Vec<u8> {
        self.serving.current().unwrap().cert.first().unwrap().to_vec()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn bundle_of(server: &ApiServer, collection: &str) -> Vec<u8> {
    let configuration = server.get(collection, "outrigger").unwrap();
    let text = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// Calls every replica like an API server for this time, and returns the number of failed calls.
async fn called(server: &ApiServer, replicas: &[Replica], clock: &Clock, seconds: u64) -> usize {
    let (end, mut failed) = (Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < end {
        for replica in replicas {
            let current = replica.serving.current();
            for collection in [MUTATING, VALIDATING] {
                let bundle = bundle_of(server, collection);
                let believes = current
                    .as_ref()
                    .is_some_and(|served| verify(&served.cert, &bundle, NAME, clock()).is_ok());
                failed += usize::from(!believes);
            }
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_over_many_rotations_with_changing_writers() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first", "second"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(writes(&server, "second"), 0);
    assert!(replicas.iter().all(|replica| replica.health.waiting_for().is_none()));
    let mut seen = std::collections::BTreeSet::new();
    let mut leaves = std::collections::BTreeSet::new();
    for turn in 0..20 {
        let first_writes = turn % 2 == 0;
        let (first, second) = (&replicas[0], &replicas[1]);
        // Between two leaders there is a time without one.
        (if first_writes { second } else { first }).holds.send_replace(false);
        assert_eq!(called(&server, &replicas, &clock, 3).await, 0, "turn {turn}");
        (if first_writes { first } else { second }).holds.send_replace(true);
        assert_eq!(called(&server, &replicas, &clock, 34).await, 0, "turn {turn}");
        seen.insert(bundle_of(&server, MUTATING));
        leaves.extend(replicas.iter().map(Replica::served));
    }
    assert!(
        seen.len() >= 4 && leaves.len() >= 12,
        "{} bundles and {} certificates",
        seen.len(),
        leaves.len()
    );
    assert_ne!(writes(&server, "second"), 0);
    let other = server.get(MUTATING, "outrigger").unwrap();
    assert_eq!(other["webhooks"][1]["clientConfig"].get("caBundle"), None, "another Service's entry");
    let text = replicas[1].metrics.encode(crate::telemetry::Format::Plain).unwrap();
    assert!(text.contains("outrigger_certificate_trusted 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_comes_back_by_the_writer_alone() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first", "second"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = replicas[0].served();

    let mut emptied = server.get(MUTATING, "outrigger").unwrap();
    emptied["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    server.put(MUTATING, "outrigger", emptied.clone());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(called(&server, &replicas, &clock, 5).await, 0, "after the caBundle was emptied");
    emptied["webhooks"][0]["clientConfig"]["caBundle"] = json!("bm9uZQ==");
    server.put(MUTATING, "outrigger", emptied);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(called(&server, &replicas, &clock, 5).await, 0, "after the caBundle was replaced");
    assert_eq!(replicas[0].served(), before);

    // No call fails while the Secret is created again: the served certificate remains trusted.
    server.delete(SECRETS, "certificates");
    assert_eq!(called(&server, &replicas, &clock, 10).await, 0, "after the Secret was deleted");
    assert_ne!(replicas[0].served(), before);
    assert_eq!(replicas[0].served(), replicas[1].served());
    let mut rubbish = server.get(SECRETS, "certificates").unwrap();
    rubbish["data"] = json!({ "ca.crt": "bm9uZQ==" });
    server.put(SECRETS, "certificates", rubbish);
    assert_eq!(called(&server, &replicas, &clock, 10).await, 0, "after the Secret was overwritten");
    assert_eq!(replicas[0].served(), replicas[1].served());
    assert_eq!(writes(&server, "second"), 0);
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_what_callers_believe_and_keeps_its_answer_while_nobody_tells() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first"]);
    let health = &replicas[0].health;
    assert!(health.waiting_for().is_some());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(health.waiting_for(), None);

    // No leader repairs it.
    replicas[0].holds.send_replace(false);
    let good = server.get(VALIDATING, "outrigger").unwrap();
    let mut emptied = good.clone();
    emptied["webhooks"][0]["clientConfig"]["caBundle"] = json!("");
    server.put(VALIDATING, "outrigger", emptied.clone());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = health.waiting_for().unwrap();
    assert!(said.contains("webhook \"ours\" in ValidatingWebhookConfiguration \"outrigger\""), "{said}");
    assert!(
        replicas[0]
            .metrics
            .encode(crate::telemetry::Format::Plain)
            .unwrap()
            .contains("outrigger_certificate_trusted 0")
    );
    // A deleted configuration calls no webhook, and an entry for another Service does not count.
    server.delete(VALIDATING, "outrigger");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(health.waiting_for(), None);
    // A configuration that the controller creates later counts as well.
    server.put(MUTATING, "outrigger-mandatory", emptied);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = health.waiting_for().unwrap();
    assert!(said.contains("MutatingWebhookConfiguration \"outrigger-mandatory\""), "{said}");
    server.put(MUTATING, "outrigger-mandatory", good);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(health.waiting_for(), None);

    server.set_faults(|_| Some(Fault::Status(503, "ServiceUnavailable")));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(health.waiting_for(), None, "the last answer holds while the API server is away");
    tokio::time::sleep(Duration::from_mins(1)).await;
    let said = health.waiting_for().unwrap();
    assert!(said.to_lowercase().contains("expired"), "the certificate has ended: {said}");
    server.clear_faults();
    replicas[0].holds.send_replace(true);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(health.waiting_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_waits_until_callers_trust_it() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first"]);
    let replica = &replicas[0];
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Without a leader, no replica writes the new CA into the configurations.
    replica.holds.send_replace(false);
    let before = replica.served();
    let other = Material::new(&[NAME.to_owned()], Lifetimes::from_seconds(300, 60), clock()).unwrap();
    let new = chain_of(&other.certificate).first().unwrap().to_vec();
    let mut secret = server.get(SECRETS, "certificates").unwrap();
    secret["data"] = serde_json::to_value(other.to_secret()).unwrap();
    server.put(SECRETS, "certificates", secret);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(replica.served(), before, "callers do not trust the new certificate yet");
    assert_eq!(called(&server, &replicas, &clock, 3).await, 0, "calls while the new certificate waits");

    // One of two configurations has the new CA.
    let authorities = |collection: &str| String::from_utf8(bundle_of(&server, collection)).unwrap();
    let both = authorities(MUTATING) + &other.authority.certificate;
    set_bundle(&server, MUTATING, &both);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(replica.served(), before, "one configuration does not trust it yet");

    // Both have it, but some API servers may not have observed that.
    set_bundle(&server, VALIDATING, &both);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.served(), before, "API servers get time to observe the new CA");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(replica.served(), new);
    assert_eq!(called(&server, &replicas, &clock, 3).await, 0, "calls with the new certificate");
    assert_eq!(replica.health.waiting_for(), None);
}

/// Overwrites the `caBundle` of our entry.
fn set_bundle(server: &ApiServer, collection: &str, authorities: &str) {
    let mut configuration = server.get(collection, "outrigger").unwrap();
    let bundle = base64::engine::general_purpose::STANDARD.encode(authorities);
    configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(bundle);
    server.put(collection, "outrigger", configuration);
}

/// Each key of the Secret, and all keys together.
const KEYS: [&[&str]; 7] = [
    &["ca.crt"],
    &["ca.key"],
    &["tls.crt"],
    &["tls.key"],
    &["tls.crt", "tls.key"],
    &["previous-ca.crt", "next-ca.crt", "next-ca.key"],
    &["ca.crt", "ca.key", "tls.crt", "tls.key", "previous-ca.crt", "next-ca.crt", "next-ca.key"],
];

/// Overwrites these keys of the Secret with invalid values: text, a broken certificate, and bytes that are not text.
fn overwrite(server: &ApiServer, keys: &[&str], round: usize) {
    let broken = b"-----BEGIN CERTIFICATE-----\nMIIBgarbage\n-----END CERTIFICATE-----\n";
    let rubbish = [&b"none"[..], broken, &[0xff, 0xfe, 0]][round % 3];
    let mut secret = server.get(SECRETS, "certificates").unwrap();
    for key in keys {
        secret["data"][*key] = json!(base64::engine::general_purpose::STANDARD.encode(rubbish));
    }
    server.put(SECRETS, "certificates", secret);
}

/// Returns whether every value of the Secret is valid.
fn is_whole(server: &ApiServer) -> bool {
    let data = serde_json::from_value(server.get(SECRETS, "certificates").unwrap()["data"].clone()).unwrap();
    let (material, problems) = Material::read(&data);
    problems.is_empty() && material.is_some_and(|material| !material.certificate.is_empty())
}

#[tokio::test(start_paused = true)]
async fn unreadable_content_of_the_secret_is_replaced_without_a_failed_call() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first", "second"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (round, keys) in KEYS.into_iter().enumerate() {
        overwrite(&server, keys, round);
        assert!(!is_whole(&server), "{keys:?}");
        assert_eq!(called(&server, &replicas, &clock, 8).await, 0, "{keys:?}");
        assert!(is_whole(&server), "{keys:?}");
        assert!(replicas.iter().all(|replica| replica.health.waiting_for().is_none()), "{keys:?}");
        assert_eq!(replicas[0].served(), replicas[1].served());
    }
    assert_eq!(writes(&server, "second"), 0);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_with_unreadable_content_serve_once_there_is_a_leader() {
    let (server, clock) = (installed(), clock());
    let before = replicas(&server, &clock, &["first"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(before);
    for (round, keys) in KEYS.into_iter().enumerate() {
        overwrite(&server, keys, round);
        let bundle = bundle_of(&server, MUTATING);
        let replicas = replicas(&server, &clock, &["first", "second"]);
        replicas[0].holds.send_replace(false);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(bundle_of(&server, MUTATING), bundle, "a replica that is not the leader wrote caBundle");
        replicas[0].holds.send_replace(true);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(is_whole(&server), "{keys:?}");
        assert!(replicas.iter().all(|replica| replica.health.waiting_for().is_none()), "{keys:?}");
        assert_eq!(called(&server, &replicas, &clock, 5).await, 0, "{keys:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn entries_that_refuse_no_pods_do_not_decide_about_readiness() {
    let (server, clock) = (installed(), clock());
    let replicas = replicas(&server, &clock, &["first"]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    replicas[0].holds.send_replace(false);
    let health = &replicas[0].health;
    let good = server.get(VALIDATING, "outrigger").unwrap();
    for (rules, policy, is_ready) in [
        (json!([{ "resources": ["deployments", "jobs"] }]), "Ignore", true),
        (json!([{ "resources": ["clustersidecarprofiles"] }]), "Fail", true),
        // The entry of the other configuration makes the API server reject pods.
        (json!([{ "resources": ["pods"] }]), "Ignore", true),
        (json!([{ "resources": ["configmaps"] }, { "resources": ["pods/exec"] }]), "Fail", false),
        (json!([{ "resources": ["*"] }]), "Fail", false),
    ] {
        let mut wrong = good.clone();
        wrong["webhooks"][0]["rules"] = rules;
        wrong["webhooks"][0]["failurePolicy"] = json!(policy);
        wrong["webhooks"][0]["clientConfig"]["caBundle"] = json!("bm9uZQ==");
        server.put(VALIDATING, "outrigger", wrong.clone());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(health.waiting_for().is_none(), is_ready, "{wrong}: {:?}", health.waiting_for());
        let text = replicas[0].metrics.encode(crate::telemetry::Format::Plain).unwrap();
        assert!(text.contains("outrigger_certificate_trusted 0"), "the metric is about all entries");
    }
    // Without an entry that rejects pods, the entries that admit them without sidecars count.
    server.delete(VALIDATING, "outrigger");
    let mut ignoring = server.get(MUTATING, "outrigger").unwrap();
    ignoring["webhooks"][0]["failurePolicy"] = json!("Ignore");
    ignoring["webhooks"][0]["clientConfig"]["caBundle"] = json!("bm9uZQ==");
    server.put(MUTATING, "outrigger", ignoring);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(health.waiting_for().is_some());
}
