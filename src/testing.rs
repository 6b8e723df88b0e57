//! Helpers for unit tests.

mod api_server;

use std::time::Duration;

pub(crate) use api_server::{ApiServer, Fault, Request};

/// The collections that tests use, as paths of the API.
pub(crate) mod collections {
    pub(crate) const CLUSTER_PROFILES: &str = "/apis/outrigger.dev/v1alpha1/clustersidecarprofiles";
    pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/system/configmaps";
    pub(crate) const EVENTS: &str = "/apis/events.k8s.io/v1/events";
    pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
    pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
    pub(crate) const POD_TEMPLATES: &str = "/api/v1/namespaces/system/podtemplates";
    pub(crate) const PROFILES_OF_SHOP: &str = "/apis/outrigger.dev/v1alpha1/namespaces/shop/sidecarprofiles";
    pub(crate) const SECRETS: &str = "/api/v1/namespaces/system/secrets";
    pub(crate) const VALIDATING: &str =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
}

/// Waits, in simulated time, until a value is found.
///
/// # Panics
/// It is not found within a minute.
pub(crate) async fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = find() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not happen within a minute");
}
