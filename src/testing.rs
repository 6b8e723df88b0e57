//! Helpers for unit tests.

mod api_server;

pub(crate) use api_server::{ApiServer, Fault, Request};

/// The collections that tests use, as paths of the API.
pub(crate) mod collections {
    pub(crate) const CLUSTER_PROFILES: &str = "/apis/outrigger.dev/v1alpha1/clustersidecarprofiles";
    pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
    pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
    pub(crate) const SECRETS: &str = "/api/v1/namespaces/system/secrets";
    pub(crate) const VALIDATING: &str =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
}
