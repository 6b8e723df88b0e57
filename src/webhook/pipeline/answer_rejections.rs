use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures::TryFutureExt as _;
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower::{Layer, Service, service_fn};
use tracing::warn;

use super::read_body::discard;
use super::request::{Answering, UnreadRequest};
use crate::telemetry::{Metrics, Verdict};
use crate::webhook::deadline::Deadline;
use crate::webhook::limits::Limits;
use crate::webhook::status::refusal;

/// Returns the layer that answers, logs and counts the requests that the others reject. It measures the time from here.
pub(super) fn answer_rejections<S: Answering<UnreadRequest>>(
    webhook: &'static str,
    limits: Limits,
    metrics: Arc<Metrics>,
) -> impl Layer<
    S,
    Service = impl Service<Request, Response = Response, Error = Infallible, Future: Send>
              + Clone
              + Send
              + Sync
              + 'static,
> {
    layer_fn(move |mut inner: S| {
        let metrics = Arc::clone(&metrics);
        service_fn(move |request: Request| {
            let (started, metrics) = (Instant::now(), Arc::clone(&metrics));
            let deadline = Deadline::new(request.uri(), limits.request);
            let (head, body) = request.into_parts();
            let answer = inner.call(UnreadRequest { head, body, deadline });
            answer.or_else(move |rejection| async move {
                let (uid, error) = (rejection.uid.as_deref(), &rejection.message);
                warn!(uid, webhook, error, "rejected a request");
                metrics.observe(&Verdict::errored(webhook, rejection.reason), started.elapsed());
                if let Some(rest) = rejection.rest {
                    discard(rest, limits.body).await;
                }
                Ok(refusal(rejection.code, &rejection.message))
            })
        })
    })
}
