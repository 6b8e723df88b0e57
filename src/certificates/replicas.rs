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

use super::x509::certificates_of;

/// Time limit for a replica to send its certificate.
const PATIENCE: Duration = Duration::from_secs(2);
/// Port of the Service for the webhook.
const PORT: &str = "https";

/// The server's replicas, as their clients see them.
pub trait Replicas: Send + Sync {
    /// Checks whether every replica that receives calls serves a certificate that this CA signed.
    ///
    /// # Errors
    /// A replica does not, or its certificate cannot be read.
    fn all_serve<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// The replicas behind a Service.
pub struct Endpoints {
    /// Client for the Service's endpoints.
    pub client: Client,
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// DNS name that callers use.
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

/// Returns the addresses that receive calls: of ready replicas, and of terminating ones that still serve. A replica that starts
/// later loads the new Secret.
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

/// Connects as a client that trusts only this CA.
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
