use std::sync::Arc;

use axum::http::StatusCode;
use futures::FutureExt as _;
use futures::future::{Either, ready};
use tower::layer::layer_fn;
use tower::{Layer, service_fn};

use super::request::{Answering, UnreadRequest};
use crate::webhook::load_shed::LoadShed;
use crate::webhook::rejection::Rejection;

/// Returns the layer that rejects requests above the limit of concurrent ones.
pub(super) fn shed_load<S: Answering<UnreadRequest>>(
    load_shed: Arc<LoadShed>,
) -> impl Layer<S, Service = impl Answering<UnreadRequest>> {
    layer_fn(move |mut inner: S| {
        let load_shed = Arc::clone(&load_shed);
        service_fn(move |request: UnreadRequest| match load_shed.enter() {
            Some(admitted) => Either::Left(inner.call(request).inspect(move |_| drop(admitted))),
            None => {
                let message = "too many concurrent reviews; retry after 1s";
                let rejection = Rejection::new(StatusCode::TOO_MANY_REQUESTS, "Shed", message);
                Either::Right(ready(Err(rejection.with_rest(Some(request.body)))))
            }
        })
    })
}
