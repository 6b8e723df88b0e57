//! The admission webhook: HTTP in, a decision of the engine, HTTP out.
//!
//! A handler reads one snapshot and runs the engine on it; only a name that the snapshot does not hold yet
//! costs a live request. The router is public and knows nothing of sockets, so tests call it in-process.

mod activity;
mod advise;
mod body;
mod client;
mod connections;
mod deadline;
mod decide;
mod fixed;
mod http_connection;
mod idle;
mod limits;
mod listener;
mod load_shed;
mod mutate;
mod restore;
mod review;
mod router;
mod status;
mod validate;
mod verify;

pub use client::Clients;
pub use decide::WebhookEntry;
pub use limits::Limits;
pub use listener::Listener;
pub use load_shed::LoadShed;
pub use mutate::{Reply, answer};
pub use router::{State, metrics_router, router, router_behind};
