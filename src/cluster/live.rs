use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::core::DynamicObject;
use kube::{Api, Client};
use tracing::warn;

use super::watch::namespace_of;
use super::{entry_of, profile_resources};
use crate::api::Scope;
use crate::engine::Namespace;
use crate::profiles;
use crate::webhook::Lookup;

/// Looks at the cluster itself.
pub struct LiveLookup(Client);

impl LiveLookup {
    /// Looks through this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Lookup for LiveLookup {
    fn namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Namespace>> {
        async move {
            let api: Api<KubeNamespace> = Api::all(self.0.clone());
            match api.get_metadata_opt(name).await {
                Ok(found) => found.map(|found| namespace_of(&found.metadata)),
                Err(error) => {
                    warn!(namespace = name, %error, "a live look at a namespace failed");
                    None
                }
            }
        }
        .boxed()
    }

    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Vec<(Option<String>, profiles::Entry)>> {
        let look = move |(scope, resource)| async move {
            let (api, owner): (Api<DynamicObject>, _) = match scope {
                Scope::Cluster => (Api::all_with(self.0.clone(), &resource), None),
                Scope::Namespace => {
                    (Api::namespaced_with(self.0.clone(), namespace, &resource), Some(namespace.to_owned()))
                }
            };
            match api.get_opt(name).await {
                Ok(found) => found.map(|object| (owner, entry_of(&object, scope).0)),
                Err(error) => {
                    warn!(profile = name, %error, "a live look at a profile failed");
                    None
                }
            }
        };
        futures::future::join_all(profile_resources().into_iter().map(look))
            .map(|found| found.into_iter().flatten().collect())
            .boxed()
    }
}
