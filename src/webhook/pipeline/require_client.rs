use axum::http::StatusCode;
use futures::future::{Either, ready};
use tower::layer::layer_fn;
use tower::{Layer, service_fn};

use super::request::{Answering, UnreadRequest};
use crate::webhook::client::Client;
use crate::webhook::rejection::Rejection;

/// Returns the layer that rejects requests of clients that the listener has not verified, if clients are `required`.
pub(super) fn require_client<S: Answering<UnreadRequest>>(
    required: bool,
) -> impl Layer<S, Service = impl Answering<UnreadRequest>> {
    layer_fn(move |mut inner: S| {
        service_fn(move |request: UnreadRequest| {
            let client = request.head.extensions.get();
            if !required || client == Some(&Client::Verified) {
                return Either::Left(inner.call(request));
            }
            let message = match client {
                Some(Client::Unverified(why)) => why.as_ref(),
                _ => "this webhook answers only clients with a certificate; see --client-ca",
            };
            let rejection = Rejection::new(StatusCode::FORBIDDEN, "ClientNotVerified", message);
            Either::Right(ready(Err(rejection.with_rest(Some(request.body)))))
        })
    })
}
