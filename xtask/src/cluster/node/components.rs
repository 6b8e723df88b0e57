//! The programs of the node. Each is restarted when it ends.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::report::progress;

/// Starts the programs that all others need: etcd, containerd and the API server.
pub(super) fn start_first(cluster: &Cluster) {
    start(
        cluster,
        "etcd",
        "--name node1 --data-dir {state}/etcd --unsafe-no-fsync --log-level warn \
         --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
         --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
         --initial-cluster node1=http://127.0.0.1:2380",
    );
    start(cluster, "containerd", "--config {state}/containerd.toml");
    start(
        cluster,
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 \
         --advertise-address=10.244.0.1 --tls-cert-file={state}/pki/apiserver.crt \
         --tls-private-key-file={state}/pki/apiserver.key --client-ca-file={state}/pki/ca.crt \
         --token-auth-file={state}/pki/tokens.csv --authorization-mode=Node,RBAC --allow-privileged \
         --service-account-issuer=https://kubernetes.default.svc.cluster.local \
         --service-account-key-file={state}/pki/sa.pub --service-account-signing-key-file={state}/pki/sa.key \
         --service-cluster-ip-range=10.96.0.0/16 --kubelet-client-certificate={state}/pki/kubelet-client.crt \
         --kubelet-client-key={state}/pki/kubelet-client.key --kubelet-preferred-address-types=InternalIP \
         --enable-admission-plugins=NodeRestriction --admission-control-config-file={state}/admission.yaml --audit-policy-file={state}/audit.yaml \
         --audit-log-path={state}/log/audit.log --audit-log-maxsize=100 --audit-log-maxbackup=1",
    );
}

/// Starts the programs that need the API server.
pub(super) fn start_second(cluster: &Cluster) {
    start(
        cluster,
        "kube-controller-manager",
        // The default plugin directory would be created on the host. The default rate makes the deletion of many pods
        // slow.
        "--flex-volume-plugin-dir=/run/flex --kubeconfig={state}/kc/kcm --use-service-account-credentials \
         --service-account-private-key-file={state}/pki/sa.key --root-ca-file={state}/pki/ca.crt \
         --cluster-signing-cert-file={state}/pki/ca.crt --cluster-signing-key-file={state}/pki/ca.key \
         --leader-elect=false --bind-address=127.0.0.1 --kube-api-qps=300 --kube-api-burst=600",
    );
    start(
        cluster,
        "kube-scheduler",
        "--kubeconfig={state}/kc/scheduler --leader-elect=false --bind-address=127.0.0.1 \
         --kube-api-qps=300 --kube-api-burst=600",
    );
    start(
        cluster,
        "kubelet",
        "--config={state}/kubelet.yaml --kubeconfig={state}/kc/kubelet --root-dir={state}/kubelet \
         --hostname-override=node1 --node-ip=10.244.0.1 --v=2",
    );
    start(
        cluster,
        "kube-proxy",
        // The conntrack settings belong to the host; zero does not change them.
        "--kubeconfig={state}/kc/proxy --proxy-mode=nftables --hostname-override=node1 \
         --cluster-cidr=10.244.0.0/16 --conntrack-max-per-core=0 --conntrack-min=0 \
         --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 --bind-address=10.244.0.1",
    );
}

/// Starts the cluster's DNS server.
pub(super) fn start_dns(cluster: &Cluster) {
    start(cluster, "coredns", "-conf {state}/Corefile");
}

fn start(cluster: &Cluster, name: &'static str, arguments: &str) {
    let state = cluster.state.to_string_lossy().into_owned();
    let arguments: Vec<String> =
        arguments.split_whitespace().map(|word| word.replace("{state}", &state)).collect();
    let program = cluster.program(name);
    let path = search_path(cluster);
    let log = cluster.log(name);
    let stop_marker = cluster.stop_marker(name);
    std::thread::spawn(move || {
        loop {
            while stop_marker.exists() {
                std::thread::sleep(Duration::from_millis(100));
            }
            let ended = match once(&program, &arguments, &path, &log) {
                Ok(status) => status,
                Err(error) => format!("{error:#}"),
            };
            progress(format_args!("{name} ended ({ended}); restarting it"));
            std::thread::sleep(Duration::from_millis(500));
        }
    });
}

/// Returns the search path with the cluster's own programs first, where containerd finds its shim.
fn search_path(cluster: &Cluster) -> OsString {
    let mut path = cluster.program("").into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

fn once(program: &Path, arguments: &[String], path: &OsStr, log: &Path) -> Result<String> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let status = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.to_string())
}
