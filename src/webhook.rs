//! The admission webhook: reads a review over HTTP, runs the engine, and answers over HTTP.
//!
//! A handler reads one snapshot and runs the engine on it. It sends a live request only for a name that the snapshot does not
//! contain yet. The router is public and does not depend on sockets, so tests call it in-process.

mod activity;
mod advise;
mod client;
mod connections;
mod deadline;
mod decide;
mod http_connection;
mod idle;
mod limits;
mod listener;
mod load_shed;
mod mutate;
mod pipeline;
mod probes;
mod rejection;
mod reply;
mod restore;
mod review;
mod review_context;
mod router;
mod state;
mod status;
mod validate;
mod verify;
mod webhook_entry;

pub use client::Clients;
pub use limits::Limits;
pub use listener::Listener;
pub use load_shed::LoadShed;
pub use mutate::answer;
pub use reply::Reply;
pub use router::{metrics_router, router, router_behind};
pub use state::State;
pub use webhook_entry::WebhookEntry;
