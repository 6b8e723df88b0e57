use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::http::StatusCode;
use futures::FutureExt as _;
use tower::layer::layer_fn;
use tower::{Layer, service_fn};

use super::request::Answering;
use crate::webhook::rejection::Rejection;

/// Returns the layer that turns a panic into a rejection, so that it fails only its own request.
pub(super) fn catch_panic<R: 'static, S: Answering<R>>() -> impl Layer<S, Service = impl Answering<R>> {
    layer_fn(|mut inner: S| {
        service_fn(move |request: R| {
            let answer = AssertUnwindSafe(inner.call(request)).catch_unwind();
            answer.map(|caught| caught.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
        })
    })
}

fn panicked(panic: &(dyn Any + Send)) -> Rejection {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(error = said, "a request panicked");
    let message = "this request failed by a fault of Outrigger's; its log says more";
    Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "Panicked", message)
}
