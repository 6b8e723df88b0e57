//! The admission webhook: HTTP in, a decision of the engine, HTTP out.
//!
//! A handler reads one snapshot and runs the engine on it; only a name that the snapshot does not hold yet
//! costs a live request. The router is public and knows nothing of sockets, so tests call it in-process.

mod advise;
mod decide;
mod listener;
mod mutate;
mod review;
mod router;
mod validate;

pub use decide::{Entry, Looking, Lookup, LookupError};
pub use listener::{Limits, Listener};
pub use mutate::{Reply, answer};
pub use router::{State, metrics_router, router};
