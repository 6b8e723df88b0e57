//! Live requests for what the watches have not brought yet.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use super::Judgment;
use crate::engine::Namespace;
use crate::profiles;

/// A live look at the cluster, for what the snapshot does not hold yet.
pub trait Lookup: Send + Sync {
    /// The namespace; `None` where it does not exist.
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>>;
    /// The profiles of a name, in the cluster and in the namespace.
    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Looking<'a, Vec<(Option<String>, profiles::ProfileEntry)>>;
    /// The minor version of the API server; `None` where it is not known.
    fn minor_version(&self) -> Option<u32> {
        None
    }
    /// The `LimitRange`s and `ResourceQuota`s of a namespace.
    fn bounds<'a>(&'a self, _namespace: &'a str) -> Looking<'a, Vec<Value>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
    /// The API server's judgment of a pod template; `None` where there is no API server.
    fn judge<'a>(&'a self, _template: &'a Value) -> Looking<'a, Option<Judgment>> {
        futures::future::ready(Ok(None)).boxed()
    }
}

/// What a live look will bring.
pub type Looking<'a, T> = BoxFuture<'a, Result<T, LookupError>>;

/// The API server did not say what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);
