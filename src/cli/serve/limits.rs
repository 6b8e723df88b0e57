use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::shared::Shared;
use super::threads::threads;
use crate::certificates::{ClientAuthority, acceptor, acceptor_that_asks, follow_clients};
use crate::cluster::ProfileMemory;
use crate::profiles::Quota;
use crate::quantity::Quantity;
use crate::supervise::Tasks;
use crate::telemetry::Metrics;
use crate::webhook::{Clients, Limits, Listener, LoadShed};

/// The limits for clients, and their authentication.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// Maximum number of connections; at the limit, the connection that has been idle longest is closed
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().connections, value_parser = at_least_one)]
    max_connections: usize,
    /// Maximum number of concurrent reviews; more are rejected with 429 and retried after 1s
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().requests, value_parser = at_least_one)]
    max_requests: usize,
    /// Memory for large reviews, a quantity of at least 62Mi; reviews beyond it are rejected with 429
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi", value_parser = body_memory)]
    max_body_memory: usize,
    /// Memory for compiled profiles of the cluster, a quantity of at least 1Mi; profiles beyond it are not accepted
    #[arg(long, value_name = "QUANTITY", default_value = "32Mi", value_parser = memory_for_profiles)]
    profile_memory: usize,
    /// Memory for compiled profiles of namespaces, a quantity of at least 1Mi; one namespace gets at most a quarter
    #[arg(long, value_name = "QUANTITY", default_value = "16Mi", value_parser = memory_for_profiles)]
    namespaced_profile_memory: usize,
    /// CA of the API server's client certificate, PEM, reloaded when it changes; clients without a certificate of it only reach
    /// /healthz and /readyz
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Common name or subject alternative name that the client certificate must have
    #[arg(long, value_name = "NAME", requires = "client_ca")]
    client_name: Option<Arc<str>>,
}

impl LimitArgs {
    /// Returns the webhook's listener.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) async fn listen(
        &self,
        address: SocketAddr,
        shared: &Shared,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Listener> {
        let Shared { serving, metrics, health, .. } = shared.clone();
        let Some(file) = self.client_ca.clone() else {
            let listener = Listener::bind(address, Some(acceptor(serving)), self.limits()).await?;
            return Ok(listener.counted(metrics.load.clone()));
        };
        let authority = Arc::new(ClientAuthority::default());
        let followed = follow_clients(file, Arc::clone(&authority), health, tasks.stop());
        tasks.spawn("client authority", followed);
        let tls = acceptor_that_asks(serving, authority);
        let listener = Listener::bind(address, Some(tls), self.limits()).await?;
        let clients = Clients { name: self.client_name.clone() };
        Ok(listener.counted(metrics.load.clone()).with_clients(clients))
    }

    /// Returns whether clients must show a certificate.
    pub(super) fn verifies_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Returns the load limits for reviews.
    pub(super) fn load_shed(&self, metrics: &Metrics) -> LoadShed {
        let load_shed = LoadShed::new(self.limits(), metrics.load.clone());
        if self.client_ca.is_some() { load_shed.for_clients_only() } else { load_shed }
    }

    /// Returns the memory limits for profiles.
    pub(super) fn profile_memory(&self) -> ProfileMemory {
        ProfileMemory {
            cluster: Quota::of_cluster(self.profile_memory),
            namespaced: Quota::of_namespaces(self.namespaced_profile_memory),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            requests: self.max_requests,
            turns: 2 * threads(),
            body_memory: self.max_body_memory,
            ..Limits::default()
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("write at least 1: with none, no pod could be created".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let quantity: Quantity = text.parse().map_err(|error| format!("{error}"))?;
    Ok(quantity.ceil().as_integer().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default())
}

fn memory_for_profiles(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        bytes if bytes < 1 << 20 => Err("write at least 1Mi: one profile may take as much".to_owned()),
        bytes => Ok(bytes),
    }
}

fn body_memory(text: &str) -> Result<usize, String> {
    let bytes = bytes(text)?;
    if bytes < Limits::LEAST_BODY_MEMORY {
        return Err("write at least 62Mi: the largest review could never be answered".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_small_are_rejected() {
        assert_eq!(body_memory("62Mi"), Ok(62 << 20));
        assert!(body_memory("61Mi").unwrap_err().contains("at least 62Mi"));
        assert!(body_memory("much").is_err());
        assert_eq!(memory_for_profiles("1Mi"), Ok(1 << 20));
        assert!(memory_for_profiles("1023Ki").unwrap_err().contains("at least 1Mi"));
        assert_eq!(at_least_one("1"), Ok(1));
        assert!(at_least_one("0").unwrap_err().contains("at least 1"));
    }
}
