use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The clients that may request decisions: those with a certificate and, if a name is set, with that name.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// Required common name or alternative name of the certificate.
    pub name: Option<Arc<str>>,
}

/// The client of a connection, if clients must show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A client that may request decisions.
    Verified,
    /// A client that may not, and the reason.
    Unverified(Arc<str>),
}

impl Clients {
    /// Classifies a client by the certificates that the handshake has verified.
    pub(super) fn of(&self, certificates: Option<&[CertificateDer<'_>]>) -> Client {
        let Some(certificate) = certificates.and_then(<[_]>::first) else {
            return Client::Unverified(Arc::from(
                "this webhook answers only clients with a certificate, and none was shown; see --client-ca",
            ));
        };
        let Some(wanted) = &self.name else { return Client::Verified };
        let names = names(certificate).unwrap_or_default();
        if names.iter().any(|name| **name == **wanted) {
            return Client::Verified;
        }
        Client::Unverified(Arc::from(format!(
            "the client's certificate is for {names:?}, and this webhook answers only {wanted:?}; see --client-name"
        )))
    }
}

/// Returns the common names and alternative names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    let alternative = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    Some(common.chain(alternative).map(str::to_owned).collect())
}
