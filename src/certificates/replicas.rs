use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::certificates_of;

/// How long a replica may take to show its certificate.
const PATIENCE: Duration = Duration::from_secs(2);
/// The Service's port for the webhook.
const PORT: &str = "https";

/// The server's replicas, seen from outside.
pub trait Replicas: Send + Sync {
    /// Whether every replica that gets calls serves a certificate that this authority signed.
    ///
    /// # Errors
    /// Which one does not, or why it cannot be known.
    fn all_serve<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// The replicas behind a Service.
pub struct Endpoints {
    /// How to find them.
    pub client: Client,
    /// The Service's namespace.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// The name that callers use.
    pub dns_name: String,
}

impl Replicas for Endpoints {
    fn all_serve<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let addresses = self.addresses().await.context("cannot list the Service's EndpointSlices")?;
            for address in addresses {
                shows(address, &self.dns_name, authority)
                    .await
                    .with_context(|| format!("the replica at {address}"))?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Endpoints {
    async fn addresses(&self) -> kube::Result<Vec<SocketAddr>> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let ours = ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.service));
        Ok(slices.list(&ours).await?.items.iter().flat_map(addresses).collect())
    }
}

/// Where calls go: to those that are ready, and to those that are going away and still serve. One that starts takes
/// what is in the Secret by then.
fn addresses(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let mut ports = slice.ports.iter().flatten();
    let port = ports.find(|port| port.name.as_deref() == Some(PORT)).and_then(|port| port.port);
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { return Vec::new() };
    let gets_calls = |conditions: Option<&k8s_openapi::api::discovery::v1::EndpointConditions>| {
        conditions.is_none_or(|is| is.ready.unwrap_or(true) || is.serving.unwrap_or(false))
    };
    let serving = slice.endpoints.iter().flatten().filter(|one| gets_calls(one.conditions.as_ref()));
    serving
        .flat_map(|one| &one.addresses)
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

/// Takes up a connection as one who believes this authority only.
async fn shows(address: SocketAddr, name: &str, authority: &str) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    for root in certificates_of(authority.as_bytes()) {
        roots.add(root)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned())?;
    let handshake = async {
        let stream = TcpStream::connect(address).await.context("cannot be reached")?;
        let shown = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        shown.context("does not serve a certificate of the authority yet").map(|_| ())
    };
    tokio::time::timeout(PATIENCE, handshake).await.context("does not answer")?
}

#[cfg(test)]
mod tests;
