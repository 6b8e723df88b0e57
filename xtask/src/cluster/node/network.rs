//! The node's network: a loopback interface and the pods' bridge, without external connectivity.

use std::path::Path;

use anyhow::{Context, Result};

use crate::sh;

/// Sets up the network in the new network namespace.
pub(super) fn prepare() -> Result<()> {
    sh::run(&mut sh::line("hostname node1"))?;
    for arguments in [
        "link set lo up",
        "link add cni0 type bridge",
        "address add 10.244.0.1/24 dev cni0",
        "link set cni0 up",
        // Without a route, Service addresses are unreachable for the node's own processes, such as the API server that
        // calls a webhook: routing precedes the rules that translate the addresses.
        "route add 10.96.0.0/16 dev cni0 src 10.244.0.1",
    ] {
        sh::run(&mut sh::line(&format!("ip {arguments}")))?;
    }
    set("net/ipv4/ip_forward", "1")?;
    // For Service traffic between two pods on the bridge.
    set("net/bridge/bridge-nf-call-iptables", "1")
        .context("the kernel module br_netfilter is missing; load it with `modprobe br_netfilter`")
}

fn set(name: &str, value: &str) -> Result<()> {
    let file = Path::new("/proc/sys").join(name);
    std::fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))
}
