use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Which clients may ask for decisions: those with a certificate, and where a name is given, with that name.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// The certificate's common name, or one of its alternative names.
    pub name: Option<Arc<str>>,
}

/// Who called, where that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// One that may ask for decisions.
    Verified,
    /// One that may not, and why.
    Unverified(Arc<str>),
}

impl Clients {
    /// Judges a client by the certificates that the handshake has verified.
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

/// The common names and alternative names of a certificate.
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
