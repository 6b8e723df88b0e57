//! The server's writes into the cluster besides certificates: the status of profiles, and the webhook entries of Mandatory
//! profiles.

mod drift;
mod entries;
mod mandatory;
mod status;
mod timestamp;
mod validated;

pub use drift::Drift;
pub use mandatory::{Mandatory, TAKEN_UP, mandatory_name};
pub use status::write_status;

#[cfg(test)]
mod tests;
