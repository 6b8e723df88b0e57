//! Serving a cluster: the watches, and the writes to the cluster.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use tokio::sync::watch;

use super::shared::Shared;
use super::{Serve, certificates};
use crate::certificates::LiveConfigurations;
use crate::cluster::{
    self, Announcer, EventLimits, Leadership, LimitedLookup, LiveLookup, Lookup, Observations, publish_events,
};
use crate::controller::{Drift, Mandatory, write_status};
use crate::supervise::Tasks;
use crate::telemetry::Metrics;

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
        self.report_drift(&context, &live, &leadership, &instance, tasks);
        let mandatory = Mandatory {
            client: client.clone(),
            configuration: self.certificates.mutating_webhook.clone(),
            excluded: self.settings().excluded_namespaces,
            live,
            snapshot: Arc::clone(&snapshot),
            leadership,
        };
        tasks.spawn("mandatory profiles", mandatory.run(tasks.stop()));
        let watched = cluster::watch(
            client.clone(),
            Arc::clone(&snapshot),
            observations,
            self.limits.profile_memory(),
            Arc::clone(&metrics),
            health,
            tasks.stop(),
        );
        tasks.spawn("watches", watched);

        let announcer = self.announce(&client, instance, &metrics, tasks);
        let live_lookup = LiveLookup::new(client, self.own_namespace()).with_version().await;
        let lookup = LimitedLookup::new(Arc::new(live_lookup), snapshot, metrics);
        Ok((Arc::new(lookup), announcer))
    }

    /// Starts the task that publishes Events.
    fn announce(
        &self,
        client: &Client,
        instance: String,
        metrics: &Arc<Metrics>,
        tasks: &mut Tasks,
    ) -> Announcer {
        let (announcer, notices) = Announcer::new();
        let (limits, counts) = (self.event_limits(), Arc::clone(metrics));
        let written = publish_events(client.clone(), notices, instance, limits, counts, tasks.stop());
        tasks.spawn("events", written);
        announcer
    }

    /// Starts the task that reports drift of the webhook configurations, if a ConfigMap has those of the release.
    fn report_drift(
        &self,
        context: &certificates::Context,
        live: &watch::Receiver<LiveConfigurations>,
        leadership: &Leadership,
        instance: &str,
        tasks: &mut Tasks,
    ) {
        let Some(config_map) = self.installed_webhooks.clone() else { return };
        let drift = Drift {
            client: context.client.clone(),
            namespace: context.namespace.clone(),
            config_map,
            mutating: self.certificates.mutating_webhook.clone(),
            validating: self.certificates.validating_webhook.clone(),
            live: live.clone(),
            leadership: leadership.clone(),
            metrics: Arc::clone(&context.shared.metrics),
            instance: instance.to_owned(),
        };
        tasks.spawn("webhook drift", drift.run(tasks.stop()));
    }

    fn event_limits(&self) -> EventLimits {
        match (self.no_events, self.limits.verifies_clients()) {
            (true, _) => EventLimits::NONE,
            (false, true) => EventLimits::VERIFIED,
            (false, false) => EventLimits::UNVERIFIED,
        }
    }
}
