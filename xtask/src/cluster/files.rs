//! Configuration files of the node's programs.

use std::path::Path;

use anyhow::Result;

use super::Cluster;
use crate::images::PAUSE_IMAGE;

/// Writes all files.
pub(super) fn write(cluster: &Cluster) -> Result<()> {
    let state = &cluster.state;
    std::fs::write(state.join("cni/net.d/10-bridge.conflist"), NETWORK)?;
    std::fs::write(state.join("containerd.toml"), containerd(state))?;
    std::fs::write(state.join("kubelet.yaml"), kubelet(state))?;
    std::fs::write(state.join("Corefile"), corefile(state))?;
    std::fs::write(state.join("dns.yaml"), DNS)?;
    std::fs::write(state.join("audit.yaml"), AUDIT)?;
    std::fs::write(state.join("admission.yaml"), admission(state))?;
    std::fs::write(state.join("webhooks.kubeconfig"), webhooks(state))?;
    Ok(())
}

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": "10.244.0.0/24", "rangeStart": "10.244.0.10"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
"#;

fn containerd(state: &Path) -> String {
    let root = state.display();
    // Overlayfs does not support itself as the file system of a writable layer, as in a checkout in a container.
    let snapshotter = if is_overlay(state) { "native" } else { "overlayfs" };
    let plugins = if Path::new("/usr/lib/cni/bridge").exists() { "/usr/lib/cni" } else { "/opt/cni/bin" };
    format!(
        r#"version = 3
root = "{root}/containerd"
state = "/run/containerd"
# Without these two sections, containerd creates directories below /opt on the host.
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd-opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  enable_selinux = false
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{root}/cni/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
    )
}

fn is_overlay(path: &Path) -> bool {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == OVERLAYFS_SUPER_MAGIC)
}

fn kubelet(state: &Path) -> String {
    let root = state.display();
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 10.244.0.1
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {root}/pki/ca.crt}}}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
podLogsDir: {root}/log/pods
evictionHard: {{memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: 200
serializeImagePulls: false
registryPullQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
shutdownGracePeriod: 0s
volumePluginDir: /run/kubelet-volume-plugins
syncFrequency: 10s
"
    )
}

fn corefile(state: &Path) -> String {
    format!(
        ".:53 {{
    bind 10.244.0.1
    errors
    health 127.0.0.1:8081
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}/kc/coredns
        pods insecure
        ttl 5
    }}
    cache 5
}}
",
        state.display()
    )
}

/// Returns the admission configuration, which refers to the client certificate that the API server presents to
/// webhooks.
fn admission(state: &Path) -> String {
    let plugin = |name| {
        format!(
            "- name: {name}
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: {}/webhooks.kubeconfig
",
            state.display()
        )
    };
    format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
{}{}",
        plugin("MutatingAdmissionWebhook"),
        plugin("ValidatingAdmissionWebhook")
    )
}

/// Returns the kubeconfig for webhooks, as in docs/serving.md: the user has the name of the Service. Other webhooks get
/// no client certificate.
fn webhooks(state: &Path) -> String {
    let pki = state.join("pki");
    format!(
        "apiVersion: v1
kind: Config
users:
- name: outrigger.outrigger-system.svc
  user: {{client-certificate: {pki}/webhook-client.crt, client-key: {pki}/webhook-client.key}}
",
        pki = pki.display()
    )
}

/// `CoreDNS` runs as a process of the node, so its Service has no selector and a manual `EndpointSlice`.
const DNS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: coredns}
rules:
- {apiGroups: [''], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}
subjects: [{kind: User, name: coredns}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.1], conditions: {ready: true}}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
";

/// Audit policy: writes of pods, workloads and Outrigger's objects, with the audit annotations of webhooks, and all
/// requests of service accounts. There are no bodies and no requests of the node's own programs, so that the log stays
/// small.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
  resources:
  - {group: '', resources: [pods]}
  - {group: apps, resources: [deployments, statefulsets, daemonsets, replicasets]}
  - {group: batch, resources: [jobs, cronjobs]}
  - {group: outrigger.dev}
  - {group: admissionregistration.k8s.io}
- level: None
  userGroups: ['system:serviceaccounts:kube-system']
- level: Metadata
  userGroups: ['system:serviceaccounts']
";
