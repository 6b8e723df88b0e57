//! The layers through which every review passes before it is answered.
//!
//! The layers are functions, whose services have no boxed futures: a request allocates nothing for a layer.

mod answer_rejections;
mod catch_panic;
mod enforce_deadline;
mod read_body;
mod request;
mod require_client;
mod shed_load;

use std::sync::Arc;

use axum::response::IntoResponse;
use axum::routing::{MethodRouter, post_service};
use futures::FutureExt as _;
use tower::{ServiceBuilder, service_fn};

use self::answer_rejections::answer_rejections;
use self::catch_panic::catch_panic;
use self::enforce_deadline::enforce_deadline;
use self::read_body::read_body;
pub(super) use self::request::ReviewRequest;
use self::require_client::require_client;
use self::shed_load::shed_load;
use super::load_shed::LoadShed;
use super::state::State;

/// The layers, and the state of the handlers behind them.
pub(super) struct Pipeline {
    pub(super) state: Arc<State>,
    pub(super) load_shed: Arc<LoadShed>,
}

impl Pipeline {
    /// Returns the route of a webhook, whose requests `answer` gets with their complete body.
    pub(super) fn serve<S, A, F>(&self, webhook: &'static str, answer: A) -> MethodRouter<S>
    where
        S: Clone,
        A: Fn(Arc<State>, ReviewRequest) -> F + Clone + Send + Sync + 'static,
        F: Future<Output: IntoResponse> + Send + 'static,
    {
        let (state, load_shed) = (Arc::clone(&self.state), &self.load_shed);
        let stack = ServiceBuilder::new()
            .layer(answer_rejections(webhook, load_shed.limits, Arc::clone(&state.metrics)))
            // A panic of a layer; the inner one catches those of handlers, where the UID of the review is known.
            .layer(catch_panic())
            .layer(require_client(load_shed.asks_clients))
            .layer(shed_load(Arc::clone(load_shed)))
            .layer(read_body(Arc::clone(load_shed)))
            .layer(enforce_deadline())
            .layer(catch_panic());
        post_service(stack.service(service_fn(move |request: ReviewRequest| {
            answer(Arc::clone(&state), request).map(|answer| Ok(answer.into_response()))
        })))
    }
}
