use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why work was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// A connection made room for another.
    Connections,
    /// As many requests as may be were under way.
    Requests,
    /// The bodies of requests held as much memory as they may.
    Memory,
    /// Too many profiles waited to be checked.
    Validations,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForReason {
    reason: &'static str,
}

/// What the webhook has to carry, and what it turned away.
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
        // A rate over a counter that is not there yet misses the first ones.
        for shed in Shed::ALL {
            drop(self.shed.get_or_create(&ForReason { reason: shed.reason() }));
        }
    }

    /// Counts something that was turned away.
    pub fn shed(&self, why: Shed) {
        self.shed.get_or_create(&ForReason { reason: why.reason() }).inc();
    }
}
