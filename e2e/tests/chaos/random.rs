//! Random combinations of faults from a seed. `cargo xtask chaos --random SECONDS --seed N` runs them.

use std::time::{Duration, Instant};

use e2e::{Cluster, Output, eventually, exclusive, scale};

use crate::certificates::{SECRET, other_authority, overwrite, steal_lease};
use crate::load::Load;
use crate::{SERVERS, cluster_command};

/// A fault that ends by itself or with [`Fault::repair`]. Faults of the control plane are last in the order: they are
/// injected last, because the others need the API server, and repaired first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    OneServerKilled,
    AllServersKilled,
    OneServerStopped,
    OneServerDeleted,
    NoServers,
    PermissionsLost,
    BundleEmptied,
    BundleForged,
    SecretDeleted,
    SecretOverwritten,
    CertificateOverwritten,
    LeaseStolen,
    EtcdStopped,
    ApiServerStopped,
    ApiServerPaused,
}

const ALL: [Fault; 15] = [
    Fault::OneServerKilled,
    Fault::AllServersKilled,
    Fault::OneServerStopped,
    Fault::OneServerDeleted,
    Fault::NoServers,
    Fault::PermissionsLost,
    Fault::BundleEmptied,
    Fault::BundleForged,
    Fault::SecretDeleted,
    Fault::SecretOverwritten,
    Fault::CertificateOverwritten,
    Fault::LeaseStolen,
    Fault::EtcdStopped,
    Fault::ApiServerStopped,
    Fault::ApiServerPaused,
];

impl Fault {
    /// Injects the fault. It fails if an earlier fault prevents it (no API server, no process).
    fn inject(self, cluster: &Cluster) -> Output {
        let signal = |words: &[&str]| cluster_command(cluster, &[&["signal"], words].concat());
        let system = |words: &[&str]| cluster.kubectl(&[words, &["--namespace", Cluster::SYSTEM]].concat());
        match self {
            Self::OneServerKilled => signal(&["KILL", "outrigger", "--first"]),
            Self::AllServersKilled => signal(&["KILL", "outrigger"]),
            Self::OneServerStopped => signal(&["STOP", "outrigger", "--first"]),
            Self::OneServerDeleted => {
                let pods = system(&["get", "pods", "--selector", SERVERS, "--output", "name"]);
                match pods.text.lines().find(|line| line.starts_with("pod/")) {
                    Some(pod) => system(&["delete", "--wait=false", pod]),
                    None => pods,
                }
            }
            Self::NoServers => system(&["scale", "deployment/outrigger", "--replicas=0"]),
            Self::PermissionsLost => cluster.kubectl(&["delete", "clusterrolebinding", "outrigger"]),
            Self::BundleEmptied => bundle(cluster, r#"{"op": "remove", "path": "PATH"}"#),
            Self::BundleForged => {
                let value = other_authority();
                bundle(cluster, &format!(r#"{{"op": "replace", "path": "PATH", "value": "{value}"}}"#))
            }
            Self::SecretDeleted => system(&["delete", "secret", SECRET]),
            Self::SecretOverwritten => overwrite(cluster, &["ca.crt", "ca.key", "tls.crt", "tls.key"]),
            Self::CertificateOverwritten => overwrite(cluster, &["tls.crt"]),
            Self::LeaseStolen => steal_lease(cluster),
            Self::EtcdStopped => cluster_command(cluster, &["stop", "etcd"]),
            Self::ApiServerStopped => cluster_command(cluster, &["stop", "kube-apiserver"]),
            Self::ApiServerPaused => signal(&["STOP", "kube-apiserver"]),
        }
    }

    /// Repairs faults that do not end by themselves.
    fn repair(self, cluster: &Cluster) {
        match self {
            Self::OneServerStopped => resume(cluster, &["signal", "CONT", "outrigger"]),
            Self::EtcdStopped => resume(cluster, &["start", "etcd"]),
            Self::ApiServerStopped => resume(cluster, &["start", "kube-apiserver"]),
            Self::ApiServerPaused => resume(cluster, &["signal", "CONT", "kube-apiserver"]),
            Self::NoServers => scale(cluster, 2),
            Self::PermissionsLost => cluster.install(&[]),
            _ => {}
        }
    }

    fn needs_processes(self) -> bool {
        self >= Self::EtcdStopped || self == Self::OneServerStopped
    }
}

/// Starts or continues a program. An error is ignored, because the fault may not have been injected.
fn resume(cluster: &Cluster, words: &[&str]) {
    cluster_command(cluster, words);
}

/// Changes the first `caBundle` of the mutating configuration.
fn bundle(cluster: &Cluster, operation: &str) -> Output {
    let patch = format!("[{}]", operation.replace("PATH", "/webhooks/0/clientConfig/caBundle"));
    cluster.kubectl(&["patch", "mutatingwebhookconfiguration", "outrigger", "--type=json", "--patch", &patch])
}

/// Faults of one round. Processes are resumed when it is dropped, even if the test fails.
struct Round<'a> {
    cluster: &'a Cluster,
    faults: Vec<Fault>,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for fault in self.faults.iter().rev().filter(|fault| fault.needs_processes()) {
            fault.repair(self.cluster);
        }
    }
}

/// Random number generator `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn milliseconds(&mut self, most: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(most)).unwrap())
    }

    /// Returns one to three different faults, in the order of injection.
    fn faults(&mut self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = (0..=self.below(3)).map(|_| ALL[self.below(ALL.len())]).collect();
        faults.sort();
        faults.dedup();
        faults
    }
}

/// Returns a number from an environment variable, or the default if it is not set.
fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_combinations_of_faults() {
    // By default, one round with a fixed seed. `cargo xtask chaos --random SECONDS` sets a duration.
    let (seconds, seed) = (variable("OUTRIGGER_CHAOS_SECONDS", 0), variable("OUTRIGGER_CHAOS_SEED", 7));
    exclusive("e2e-random", |cluster, space| async move {
        let (started, mut random, mut number) = (Instant::now(), Random(seed), 0);
        while number == 0 || started.elapsed() < Duration::from_secs(seconds) {
            number += 1;
            // All random values are drawn here, so that a seed gives the same rounds whatever their duration.
            let faults = random.faults();
            let (pause, lasts) = (random.milliseconds(1500), random.milliseconds(6000));
            let name = format!("seed {seed}, round {number}: {faults:?}");
            eprintln!("{name}");
            let mut load = Load::start(&cluster, &space, "e2e-random").await;
            let round = Round { cluster: &cluster, faults };
            load.fault();
            for fault in &round.faults {
                let made = fault.inject(&cluster);
                if !made.success {
                    eprintln!("{fault:?} was not injected: {}", made.text.trim());
                }
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(lasts).await;
            let faults = round.faults.clone();
            drop(round);
            eventually("the restart of the API server", || async {
                let output = cluster.kubectl(&["get", "--raw", "/readyz"]);
                if output.success { Ok(()) } else { Err(output.text) }
            })
            .await;
            for fault in faults.iter().filter(|fault| !fault.needs_processes()) {
                fault.repair(&cluster);
            }
            cluster.ready_pods(Cluster::SYSTEM, SERVERS, 2).await;
            load.repaired();
            load.end(&name).await;
        }
    });
}

#[test]
fn a_seed_reproduces_its_faults() {
    let of = |seed| {
        let mut random = Random(seed);
        (0..50).map(|_| random.faults()).collect::<Vec<_>>()
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    assert!(ALL.iter().all(|fault| of(7).concat().contains(fault)), "every fault occurs");
}
