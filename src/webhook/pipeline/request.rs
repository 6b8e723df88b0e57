use axum::RequestPartsExt as _;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use axum::response::Response;
use tower::Service;

use crate::webhook::deadline::Deadline;
use crate::webhook::rejection::Rejection;

/// A request whose body has not been read.
pub(in crate::webhook) struct UnreadRequest {
    pub(super) head: Parts,
    pub(super) body: Body,
    pub(super) deadline: Deadline,
}

/// A request with the complete body of a review.
pub(in crate::webhook) struct ReviewRequest {
    pub(super) head: Parts,
    pub(in crate::webhook) body: Bytes,
    pub(in crate::webhook) deadline: Deadline,
}

impl ReviewRequest {
    /// Returns the name in the path, such as that of a profile.
    ///
    /// # Errors
    /// The name is not UTF-8.
    pub(in crate::webhook) async fn name(&mut self) -> Result<String, PathRejection> {
        let Path(name) = self.head.extract().await?;
        Ok(name)
    }
}

/// A service that answers or rejects requests. It is always ready, so that layers need not poll it before a call.
pub(super) trait Answering<R>:
    Service<R, Response = Response, Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<R, S> Answering<R> for S where
    S: Service<R, Response = Response, Error = Rejection, Future: Send> + Clone + Send + Sync + 'static
{
}
