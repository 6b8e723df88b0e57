use futures::FutureExt as _;
use tokio::time::timeout_at;
use tower::layer::layer_fn;
use tower::{Layer, service_fn};

use super::request::{Answering, ReviewRequest};

/// Returns the layer that rejects a request without an answer at its deadline.
pub(super) fn enforce_deadline<S: Answering<ReviewRequest>>()
-> impl Layer<S, Service = impl Answering<ReviewRequest>> {
    layer_fn(|mut inner: S| {
        service_fn(move |request: ReviewRequest| {
            let deadline = request.deadline;
            // The first poll comes before the check of the time, and nearly always returns the answer.
            let answer = timeout_at(deadline.at, inner.call(request));
            answer.map(move |answer| answer.unwrap_or_else(|_| Err(deadline.exceeded())))
        })
    })
}
