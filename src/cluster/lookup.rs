//! API calls for names that the watches have not delivered yet.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::engine::Namespace;
use crate::profiles;

/// A live lookup of names that the snapshot does not contain yet.
pub trait Lookup: Send + Sync {
    /// Returns the namespace; `None` if it does not exist.
    fn namespace<'a>(&'a self, name: &'a str) -> Looking<'a, Option<Namespace>>;
    /// Returns the profiles of this name, of the cluster and of the namespace.
    fn profiles<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Looking<'a, Vec<(Option<String>, profiles::ProfileEntry)>>;
    /// Returns the minor version of the API server; `None` if it is unknown.
    fn minor_version(&self) -> Option<u32> {
        None
    }
    /// Returns the `LimitRange`s and `ResourceQuota`s of a namespace.
    fn bounds<'a>(&'a self, _namespace: &'a str) -> Looking<'a, Vec<Value>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
    /// Returns the API server's validation of a pod template; `None` without an API server.
    fn judge<'a>(&'a self, _template: &'a Value) -> Looking<'a, Option<Judgment>> {
        futures::future::ready(Ok(None)).boxed()
    }
}

/// The API server's result for a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgment {
    /// The fields that it rejects, each with its message.
    pub rejected: Vec<(String, String)>,
    /// Message about unknown fields that the API server drops.
    pub dropped: Option<String>,
}

/// The future result of a live lookup.
pub type Looking<'a, T> = BoxFuture<'a, Result<T, LookupError>>;

/// The API server did not answer the lookup.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);
