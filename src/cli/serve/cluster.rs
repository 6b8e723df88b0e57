//! Serving a cluster: the watches, and the writes to the cluster.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;

use super::{Serve, Shared, certificates};
use crate::cluster::{
    Announcer, EventLimits, LimitedLookup, LiveLookup, Lookup, Observations, publish_events, watch,
};
use crate::controller::{Drift, Mandatory, write_status};
use crate::supervise::Tasks;

impl Serve {
    /// Starts the watches and the tasks that write to the cluster.
    ///
    /// # Errors
    /// There is no cluster, or two flags conflict.
    pub(super) async fn follow_cluster(
        &self,
        shared: &Shared,
        tasks: &mut Tasks,
    ) -> anyhow::Result<(Arc<dyn Lookup>, Announcer)> {
        let client = Client::try_default().await.context(
            "cannot find a cluster to serve; without one, serve files by --profiles PATH --tls-cert FILE --tls-key FILE",
        )?;
        let Shared { snapshot, metrics, health, .. } = shared.clone();
        let leadership = self.election.spawn(&client, self.own_namespace(), &self.service, &metrics, tasks);
        let context = certificates::Context {
            client: client.clone(),
            namespace: self.own_namespace().to_owned(),
            service: self.service.clone(),
            shared: shared.clone(),
        };
        // Certificates from files are issued elsewhere.
        let maker = self.certificate_files().is_none().then(|| leadership.clone());
        let live = self.certificates.spawn(&context, maker, tasks)?;

        let observations = Observations::default();
        // A separate lookup, so that validations do not count against the rate limit of reviews.
        let judge = Arc::new(LiveLookup::new(client.clone(), self.own_namespace()));
        let written = write_status(client.clone(), observations.clone(), judge, tasks.stop());
        tasks.spawn("profile status", written);
        let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "outrigger".to_owned());
        if let Some(config_map) = self.installed_webhooks.clone() {
            let drift = Drift {
                client: client.clone(),
                namespace: self.own_namespace().to_owned(),
                config_map,
                mutating: self.certificates.mutating_webhook.clone(),
                validating: self.certificates.validating_webhook.clone(),
                live: live.clone(),
                leadership: leadership.clone(),
                metrics: Arc::clone(&metrics),
                instance: instance.clone(),
            };
            tasks.spawn("webhook drift", drift.run(tasks.stop()));
        }
        let mandatory = Mandatory {
            client: client.clone(),
            configuration: self.certificates.mutating_webhook.clone(),
            excluded: self.settings().excluded_namespaces,
            live,
            snapshot: Arc::clone(&snapshot),
            leadership,
        };
        tasks.spawn("mandatory profiles", mandatory.run(tasks.stop()));
        let watched = watch(
            client.clone(),
            Arc::clone(&snapshot),
            observations,
            self.limits.profile_memory(),
            Arc::clone(&metrics),
            health,
            tasks.stop(),
        );
        tasks.spawn("watches", watched);

        let (announcer, notices) = Announcer::new();
        let (limits, counts) = (self.event_limits(), Arc::clone(&metrics));
        let written = publish_events(client.clone(), notices, instance, limits, counts, tasks.stop());
        tasks.spawn("events", written);
        let live_lookup = LiveLookup::new(client, self.own_namespace()).with_version().await;
        let lookup = LimitedLookup::new(Arc::new(live_lookup), snapshot, metrics);
        Ok((Arc::new(lookup), announcer))
    }

    fn event_limits(&self) -> EventLimits {
        match (self.no_events, self.limits.verifies_clients()) {
            (true, _) => EventLimits::NONE,
            (false, true) => EventLimits::VERIFIED,
            (false, false) => EventLimits::UNVERIFIED,
        }
    }
}
