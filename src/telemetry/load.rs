use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The limit for which work was shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// A connection was closed for a new one.
    Connections,
    /// The limit of concurrent requests was reached.
    Requests,
    /// The limit of memory for request bodies was reached.
    Memory,
    /// Too many profiles waited to be checked.
    Validations,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForReason {
    reason: &'static str,
}

/// The current load of the webhook, and the work that it shed.
#[derive(Clone, Default)]
pub struct Load {
    /// Connections to the webhook.
    pub connections: Gauge,
    /// Reviews under way.
    pub requests: Gauge,
    shed: Family<ForReason, Counter>,
}

impl Shed {
    const ALL: [Self; 4] = [Self::Connections, Self::Requests, Self::Memory, Self::Validations];

    fn reason(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Validations => "validations",
        }
    }
}

impl Load {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Number of open connections to the webhook",
            self.connections.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Number of admission requests in progress",
            self.requests.clone(),
        );
        registry.register(
            "requests_shed",
            "Total number of requests and connections rejected because a limit was reached, by limit",
            self.shed.clone(),
        );
        // A counter that does not exist before its first increment hides that increment from `rate`.
        for shed in Shed::ALL {
            drop(self.shed.get_or_create(&ForReason { reason: shed.reason() }));
        }
    }

    /// Counts work that was shed.
    pub fn shed(&self, why: Shed) {
        self.shed.get_or_create(&ForReason { reason: why.reason() }).inc();
    }
}
