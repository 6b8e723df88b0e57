//! The cluster's CA, certificates and tokens.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::Cluster;
use crate::hash::hex;
use crate::sh::{self, line};

/// Users with a token: kubeconfig, user, UID and group.
const USERS: [(&str, &str, &str, &str); 6] = [
    ("admin", "admin", "u1", "system:masters"),
    ("kcm", "system:kube-controller-manager", "u2", ""),
    ("scheduler", "system:kube-scheduler", "u3", ""),
    ("kubelet", "system:node:node1", "u4", "system:nodes"),
    ("proxy", "system:kube-proxy", "u5", ""),
    ("coredns", "coredns", "u6", ""),
];

/// Creates the keys, the certificates, the tokens, and a kubeconfig for each user.
pub(super) fn create(cluster: &Cluster, port: u16) -> Result<()> {
    let folder = cluster.state.join("pki");
    authority(&folder)?;
    certificate(
        &folder,
        "apiserver",
        "/CN=kube-apiserver",
        "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
         DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:10.244.0.1\n",
    )?;
    certificate(
        &folder,
        "kubelet-client",
        "/O=system:masters/CN=kube-apiserver-kubelet-client",
        "extendedKeyUsage=clientAuth\n",
    )?;
    certificate(
        &folder,
        "webhook-client",
        "/CN=kube-apiserver-webhook-client",
        "extendedKeyUsage=clientAuth\n",
    )?;
    openssl(&folder, "genrsa -out sa.key 2048")?;
    openssl(&folder, "rsa -in sa.key -pubout -out sa.pub")?;
    tokens(cluster, port)
}

fn authority(folder: &Path) -> Result<()> {
    openssl(folder, "ecparam -name prime256v1 -genkey -noout -out ca.key")?;
    openssl(
        folder,
        "req -x509 -new -key ca.key -subj /CN=outrigger-test-cluster -days 365 -out ca.crt \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
    )
}

fn certificate(folder: &Path, name: &str, subject: &str, extensions: &str) -> Result<()> {
    std::fs::write(folder.join(format!("{name}.ext")), extensions)?;
    openssl(folder, &format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"))?;
    openssl(folder, &format!("req -new -key {name}.key -subj {subject} -out {name}.csr"))?;
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out {name}.crt -extfile {name}.ext"
        ),
    )
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    sh::run(line(&format!("openssl {arguments}")).current_dir(folder))
}

fn tokens(cluster: &Cluster, port: u16) -> Result<()> {
    let authority = sh::output(line("openssl base64 -A -in ca.crt").current_dir(cluster.state.join("pki")))?;
    let inside = "https://127.0.0.1:6443";
    let mut table = String::new();
    for (name, user, uid, group) in USERS {
        let token = random()?;
        let group = if group.is_empty() { String::new() } else { format!(",\"{group}\"") };
        writeln!(table, "{token},{user},{uid}{group}")?;
        private(&cluster.state.join("kc").join(name), &kubeconfig(inside, authority.trim(), &token))?;
        if name == "admin" {
            let outside = format!("https://127.0.0.1:{port}");
            private(&cluster.kubeconfig(), &kubeconfig(&outside, authority.trim(), &token))?;
        }
    }
    private(&cluster.pki("tokens.csv"), &table)
}

fn kubeconfig(server: &str, authority: &str, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: outrigger, cluster: {{server: \"{server}\", certificate-authority-data: {authority}}}}}]
users: [{{name: outrigger, user: {{token: {token}}}}}]
contexts: [{{name: outrigger, context: {{cluster: outrigger, user: outrigger}}}}]
current-context: outrigger
"
    )
}

fn random() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

fn private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
