//! The webhook's serving certificate: issued by Outrigger's own CA and kept in a Secret that all replicas share, or read from
//! files.
//!
//! [`serve_files`] serves certificates that others write to files. [`CertificateManager`] serves the certificate of the Secret,
//! without a restart; on the leader it also creates and renews certificates, in the steps of `rotation`. [`keep_bundle`] writes
//! the CAs into the webhook configurations, so that the API server trusts the certificate. [`watch_configurations`] follows the
//! live configurations, and [`keep_trust`] makes readiness depend on them.

mod bundle;
mod clients;
mod files;
mod lifetimes;
mod manager;
mod material;
mod material_error;
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
pub use material::{Authority, Material};
pub use material_error::MaterialError;
pub use replicas::{Endpoints, Replicas};
pub use rotation::Wanted;
pub use serving::{Serving, acceptor, acceptor_that_asks};
pub use trust::keep_trust;
pub(crate) use webhook_configurations::SeenConfiguration;
pub use webhook_configurations::{Configurations, LiveConfigurations, watch_configurations};

/// A source of the current time.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Returns the system's clock.
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}
