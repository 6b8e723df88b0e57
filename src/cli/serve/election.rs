use std::sync::Arc;

use clap::Args;
use kube::Client;

use crate::cluster::{Election, Leadership};
use crate::supervise::Tasks;
use crate::telemetry::Metrics;

/// The settings of leader election.
#[derive(Debug, Args)]
pub(super) struct ElectionArgs {
    /// Unique name of this replica in leader election
    #[arg(long, value_name = "NAME", env = "POD_NAME", required_unless_present = "profiles")]
    identity: Option<String>,
    /// Name of the Lease (default: the Service's name)
    #[arg(long, value_name = "NAME")]
    lease: Option<String>,
}

impl ElectionArgs {
    /// Joins the leader election.
    pub(super) fn spawn(
        &self,
        client: &Client,
        namespace: &str,
        service: &str,
        metrics: &Arc<Metrics>,
        tasks: &mut Tasks,
    ) -> Leadership {
        let election = Election {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: self.lease.clone().unwrap_or_else(|| service.to_owned()),
            identity: self.identity.clone().unwrap_or_default(),
            metrics: Arc::clone(metrics),
        };
        let (leadership, election) = election.run(tasks.stop());
        tasks.spawn("election", election);
        leadership
    }
}
