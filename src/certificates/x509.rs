//! Fields of X.509 certificates.

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::MaterialError;

/// Validity of a certificate before its creation, for clocks that are behind.
pub(super) const SKEW: Duration = Duration::minutes(5);

/// Key of the serving certificate in the Secret.
pub(super) const CERTIFICATE: &str = "tls.crt";

/// Returns the end of a serving certificate, in seconds since 1970.
pub(super) fn end_of(certificate: &str) -> Result<i64, MaterialError> {
    with_certificate(CERTIFICATE, certificate, |read| Ok(read.validity().not_after.timestamp()))
}

/// Returns the number of seconds until a certificate of this lifetime is renewed.
pub(super) fn seconds_until_due(certificate: &str, now: OffsetDateTime, lifetime: Duration) -> Option<u64> {
    let due = with_certificate(CERTIFICATE, certificate, |read| Ok(due_at(read, lifetime))).ok()?;
    Some(u64::try_from((due - now).whole_seconds()).unwrap_or_default())
}

/// Returns the certificates of a bundle that have not ended, without duplicates.
pub(super) fn in_time_only(bundle: &str, now: OffsetDateTime) -> String {
    let mut kept = String::new();
    for one in bundle.split_inclusive("-----END CERTIFICATE-----\n") {
        if end_of(one).is_ok_and(|end| end > now.unix_timestamp()) && !kept.contains(one) {
            kept.push_str(one);
        }
    }
    kept
}

/// Returns the certificates in a text that can be CAs for callers, as clean PEM, up to the first problem, and that problem.
pub(super) fn authorities_in(text: &str) -> (String, Option<String>) {
    let (mut found, mut problem) = (String::new(), None);
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let checked = block.map_err(|error| error.to_string()).and_then(|block| {
            let certificate = block.parse_x509().map_err(|error| error.to_string())?;
            if is_authority(&certificate) {
                Ok(pem_of(&block.contents))
            } else {
                Err("it is no certificate authority".to_owned())
            }
        });
        match checked {
            Ok(one) => found.push_str(&one),
            Err(error) => {
                problem = Some(error);
                break;
            }
        }
    }
    if found.is_empty() && problem.is_none() {
        problem = Some("it holds no certificate".to_owned());
    }
    (found, problem)
}

/// Returns the certificates in a text. Invalid blocks are skipped, as the API server does.
pub(super) fn certificates_of(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).map_while(Result::ok).collect::<Vec<_>>().into_iter()
}

/// Returns the end of a certificate's validity.
pub(super) fn end_of_der(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(read.validity().not_after.to_datetime())
}

/// Returns whether verifiers accept the certificate as a CA: RFC 5280, 4.2.1.3 and 4.2.1.9.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let signs =
        certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    certificate.is_ca() && signs
}

fn pem_of(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        pem.extend([line, "\n"]);
        rest = more;
    }
    if !rest.is_empty() {
        pem.extend([rest, "\n"]);
    }
    pem + "-----END CERTIFICATE-----\n"
}

pub(super) fn unreadable(what: &'static str, problem: &impl ToString) -> MaterialError {
    MaterialError::Unreadable { what, problem: problem.to_string() }
}

pub(super) fn with_certificate<T>(
    what: &'static str,
    pem: &str,
    look: impl FnOnce(&X509Certificate<'_>) -> Result<T, MaterialError>,
) -> Result<T, MaterialError> {
    let pem = Pem::iter_from_buffer(pem.as_bytes())
        .next()
        .ok_or_else(|| unreadable(what, &"it holds no certificate"))?
        .map_err(|error| unreadable(what, &error))?;
    look(&pem.parse_x509().map_err(|error| unreadable(what, &error))?)
}

pub(super) fn in_time(
    what: &'static str,
    certificate: &X509Certificate<'_>,
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<(), MaterialError> {
    let end = certificate.validity().not_after.to_datetime();
    if now < due_at(certificate, lifetime) { Ok(()) } else { Err(MaterialError::Ends { what, end }) }
}

/// Returns the time of renewal: when a third of the lifetime is left. The lifetime is the certificate's own or the configured
/// one, whichever is shorter.
fn due_at(certificate: &X509Certificate<'_>, lifetime: Duration) -> OffsetDateTime {
    let made = certificate.validity().not_before.to_datetime() + SKEW;
    let end = certificate.validity().not_after.to_datetime();
    made + (end - made).min(lifetime) * 2 / 3
}

pub(super) fn is_for(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names
            .value
            .general_names
            .iter()
            .any(|known| matches!(known, GeneralName::DNSName(dns) if *dns == name))
    })
}
