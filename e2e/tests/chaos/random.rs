//! Random combinations of faults, chosen by a seed. `cargo xtask chaos --random SECONDS --seed N` runs them.

use std::time::{Duration, Instant};

use e2e::{Cluster, Output, eventually, exclusive, scale};

use crate::certificates::{SECRET, other_authority, overwrite, steal_lease};
use crate::load::Load;
use crate::{SERVERS, cluster_command};

/// A fault that ends by itself or by [`Fault::repair`]. Those of the control plane come last: they are made last, so that the
/// others can be made, and are repaired first.
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
    ApiServerStandsStill,
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
    Fault::ApiServerStandsStill,
];

impl Fault {
    /// Makes the fault. Where another one is in the way (no API server, no process), it is left out.
    fn make(self, cluster: &Cluster) -> Output {
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
            Self::ApiServerStandsStill => signal(&["STOP", "kube-apiserver"]),
        }
    }

    /// Reverts the faults that do not end by themselves.
    fn repair(self, cluster: &Cluster) {
        match self {
            Self::OneServerStopped => give_back(cluster, &["signal", "CONT", "outrigger"]),
            Self::EtcdStopped => give_back(cluster, &["start", "etcd"]),
            Self::ApiServerStopped => give_back(cluster, &["start", "kube-apiserver"]),
            Self::ApiServerStandsStill => give_back(cluster, &["signal", "CONT", "kube-apiserver"]),
            Self::NoServers => scale(cluster, 2),
            Self::PermissionsLost => cluster.install(&[]),
            _ => {}
        }
    }

    fn needs_processes(self) -> bool {
        self >= Self::EtcdStopped || self == Self::OneServerStopped
    }
}

/// Starts or continues a program; where the fault was left out, there is nothing to give back.
fn give_back(cluster: &Cluster, words: &[&str]) {
    cluster_command(cluster, words);
}

/// Changes the first `caBundle` of the mutating configuration.
fn bundle(cluster: &Cluster, operation: &str) -> Output {
    let patch = format!("[{}]", operation.replace("PATH", "/webhooks/0/clientConfig/caBundle"));
    cluster.kubectl(&["patch", "mutatingwebhookconfiguration", "outrigger", "--type=json", "--patch", &patch])
}

/// The faults of one round. However it ends, the processes are given back.
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

/// The generator `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>.
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

    /// One to three different faults, in the order in which they are made.
    fn faults(&mut self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = (0..=self.below(3)).map(|_| ALL[self.below(ALL.len())]).collect();
        faults.sort();
        faults.dedup();
        faults
    }
}

/// A number from the environment, or the default where it is not set.
fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_combinations_of_faults_are_survived() {
    // One round of a fixed seed, unless `cargo xtask chaos --random SECONDS` asks for more.
    let (seconds, seed) = (variable("OUTRIGGER_CHAOS_SECONDS", 0), variable("OUTRIGGER_CHAOS_SEED", 7));
    exclusive("e2e-random", |cluster, space| async move {
        let (started, mut random, mut number) = (Instant::now(), Random(seed), 0);
        while number == 0 || started.elapsed() < Duration::from_secs(seconds) {
            number += 1;
            // All that is random is drawn here, so that a seed gives the same rounds whatever they take.
            let faults = random.faults();
            let (pause, lasts) = (random.milliseconds(1500), random.milliseconds(6000));
            let name = format!("seed {seed}, round {number}: {faults:?}");
            eprintln!("{name}");
            let mut load = Load::start(&cluster, &space, "e2e-random").await;
            let round = Round { cluster: &cluster, faults };
            load.fault();
            for fault in &round.faults {
                let made = fault.make(&cluster);
                if !made.success {
                    eprintln!("{fault:?} was left out: {}", made.text.trim());
                }
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(lasts).await;
            let faults = round.faults.clone();
            drop(round);
            eventually("the API server being back", || async {
                let said = cluster.kubectl(&["get", "--raw", "/readyz"]);
                if said.success { Ok(()) } else { Err(said.text) }
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
fn a_seed_gives_the_same_faults_again() {
    let of = |seed| {
        let mut random = Random(seed);
        (0..50).map(|_| random.faults()).collect::<Vec<_>>()
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    assert!(ALL.iter().all(|fault| of(7).concat().contains(fault)), "every fault comes up");
}
