use std::time::Duration;

use futures::{FutureExt as _, TryFutureExt as _};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::watch::namespace_of;
use super::{Judgment, Looking, Lookup, LookupError, entry_of, pod_templates, profile_resources};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::profiles;

/// Lookups by API calls.
pub struct LiveLookup {
    client: Client,
    /// The server's own namespace.
    namespace: String,
    /// Minor version of the API server; `None` if it is unknown.
    minor: Option<u32>,
}

impl LiveLookup {
    /// Returns a lookup with this client. Pod templates are validated in this namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into(), minor: None }
    }

    /// Requests the API server's version.
    #[must_use]
    pub async fn with_version(mut self) -> Self {
        self.minor = minor_version(&self.client).await;
        self
    }
}

/// Longest wait for the API server's version.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the minor version of the API server; `None` if it does not report one.
pub(crate) async fn minor_version(client: &Client) -> Option<u32> {
    let version = tokio::time::timeout(PATIENCE, client.apiserver_version()).await.ok()?.ok()?;
    // Some providers append a plus sign.
    version.minor.trim_end_matches('+').parse().ok()
}

impl Lookup for LiveLookup {
    fn minor_version(&self) -> Option<u32> {
        self.minor
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>> {
        async move {
            let api: Api<KubeNamespace> = Api::all(self.client.clone());
            let found = api.get_metadata_opt(name).await.map_err(failed)?;
            Ok(found.map(|found| namespace_of(&found.metadata)))
        }
        .boxed()
    }

    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Looking<'a, Vec<(Option<String>, profiles::ProfileEntry)>> {
        let look = move |(scope, resource)| async move {
            let (api, owner): (Api<DynamicObject>, _) = match scope {
                Scope::Cluster => (Api::all_with(self.client.clone(), &resource), None),
                Scope::Namespace => (
                    Api::namespaced_with(self.client.clone(), namespace, &resource),
                    Some(namespace.to_owned()),
                ),
            };
            let found = api.get_opt(name).await.map_err(failed)?;
            Ok(found.map(|object| (owner, entry_of(&object, scope).0)))
        };
        futures::future::try_join_all(profile_resources().into_iter().map(look))
            .map_ok(|found| found.into_iter().flatten().collect())
            .boxed()
    }

    fn bounds<'a>(&'a self, namespace: &'a str) -> Looking<'a, Vec<Value>> {
        let list = move |kind: &'static str| async move {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
            let list = api.list(&ListParams::default()).await.map_err(failed)?;
            // The elements of a list have no `kind` field.
            let objects = list.items.into_iter().map(|object| {
                let mut object = serde_json::to_value(object).unwrap_or_default();
                if let Some(object) = object.as_object_mut() {
                    object.insert("kind".to_owned(), kind.into());
                }
                object
            });
            Ok(objects.collect::<Vec<_>>())
        };
        futures::future::try_join(list("LimitRange"), list("ResourceQuota"))
            .map_ok(|(ranges, quotas)| [ranges, quotas].concat())
            .boxed()
    }

    fn judge<'a>(&'a self, template: &'a Value) -> Looking<'a, Option<Judgment>> {
        pod_templates::judge(&self.client, &self.namespace, template).map_ok(Some).boxed()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
fn failed(error: kube::Error) -> LookupError {
    LookupError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The creation of a pod waits for the lookup.
    #[tokio::test]
    async fn lookups_fail_fast_if_the_api_server_is_unreachable() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The address was bound and closed again, so no process listens on it.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let lookup = LiveLookup::new(Client::try_from(config).unwrap(), "outrigger-system");
        let both = async { (lookup.namespace("shop").await, lookup.profiles("shop", "proxy").await) };
        // The time that a review waits for all its lookups.
        let (namespace, profiles) = tokio::time::timeout(std::time::Duration::from_millis(1500), both)
            .await
            .expect("the lookups time out");
        assert!(namespace.unwrap_err().to_string().contains("onnect"), "{profiles:?}");
        assert!(profiles.is_err());
    }
}
