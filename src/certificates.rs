//! The webhook's certificates: of authorities of its own, kept in a Secret that all replicas share, or files.
//!
//! [`serve_files`] serves what others put into files. [`CertificateManager`] serves what is in the Secret, without a restart; on the one
//! replica that writes, it makes what is missing and renews what ends soon, in the steps of `rotation`. [`keep_bundle`]
//! puts the authorities into the webhook configurations, so that the API server believes the certificate.
//! [`watch_configurations`] follows what they really hold, and [`keep_trust`] ties readiness to it.

mod bundle;
mod clients;
#[cfg(test)]
mod fake;
mod files;
mod lifetimes;
mod manager;
mod material;
mod replicas;
mod rotation;
mod serving;
mod trust;
mod webhook_configurations;
mod x509;

use std::sync::Arc;

use time::OffsetDateTime;

pub use bundle::keep_bundle;
pub use clients::{ClientAuthority, follow_clients};
pub use files::{CertificateFiles, serve_files};
pub use lifetimes::{Lifetimes, LifetimesError};
pub use manager::{CertificateManager, SecretName};
pub use material::{Authority, Material, MaterialError};
pub use replicas::{Endpoints, Replicas};
pub use rotation::Wanted;
pub use serving::{Serving, acceptor, acceptor_that_asks};
pub use trust::keep_trust;
pub(crate) use webhook_configurations::SeenConfiguration;
pub use webhook_configurations::{Configurations, LiveConfigurations, watch_configurations};

/// What time it is.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The machine's own clock.
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}
