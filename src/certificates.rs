//! The webhook's certificates: an authority of its own, kept in a Secret that all replicas share, or files.
//!
//! [`serve_files`] serves what others put into files. [`Keeper`] reads the Secret, makes what is missing, renews what ends soon, and serves what it finds,
//! without a restart. [`keep_bundle`] puts the authority into the webhook configurations, so that the API
//! server believes the certificate.

mod bundle;
mod clients;
mod files;
mod keeper;
mod material;
mod serving;

pub use bundle::{Configurations, keep_bundle};
pub use clients::{ClientAuthority, follow_clients};
pub use files::{CertificateFiles, serve_files};
pub use keeper::{Keeper, SecretName};
pub use material::{Material, MaterialError};
pub use serving::{Serving, acceptor, acceptor_that_asks};
