use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// How long an authority lasts.
const AUTHORITY: Duration = Duration::days(3650);
/// How long a serving certificate lasts.
const LEAF: Duration = Duration::days(90);
/// A certificate is valid a little before it is made, for clocks that are behind.
const SKEW: Duration = Duration::minutes(5);

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// An authority and the serving certificate that it signed, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The authority's certificate, which goes into the webhook configurations.
    pub authority: String,
    authority_key: String,
    /// The serving certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The Secret does not hold it.
    #[error("the Secret has no {0}")]
    Missing(&'static str),
    /// It cannot be read.
    #[error("{what} cannot be read: {problem}")]
    Unreadable {
        /// Which key of the Secret.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It is for another name.
    #[error("the serving certificate is not for {0:?}")]
    OtherName(String),
    /// The authority did not sign the certificate.
    #[error("the authority in the Secret did not sign the serving certificate: {0}")]
    NotSigned(String),
    /// It ends soon, or has ended.
    #[error("{what} ends at {end}")]
    Ends {
        /// Which certificate.
        what: &'static str,
        /// When.
        end: OffsetDateTime,
    },
    /// Making a certificate failed.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

// Keys stay out of every log.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Material {
    /// Makes an authority and a serving certificate for these DNS names.
    ///
    /// # Errors
    /// [`MaterialError::Make`].
    pub fn new(names: &[String], now: OffsetDateTime) -> Result<Self, MaterialError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("outrigger authority {}", now.unix_timestamp()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (now - SKEW, now + AUTHORITY);
        let authority = params.self_signed(&key)?.pem();
        let unsigned = Self {
            authority,
            authority_key: key.serialize_pem(),
            certificate: String::new(),
            key: String::new(),
        };
        unsigned.renewed(names, now)
    }

    /// The same authority with a new serving certificate.
    ///
    /// # Errors
    /// [`MaterialError::Make`], also where the authority itself cannot be read.
    pub fn renewed(&self, names: &[String], now: OffsetDateTime) -> Result<Self, MaterialError> {
        let issuer = Issuer::from_ca_cert_pem(&self.authority, KeyPair::from_pem(&self.authority_key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = names.first() {
            // The common name holds 64 characters at the most; the names that count are the alternative ones.
            params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (now - SKEW, now + LEAF);
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), ..self.clone() })
    }

    /// Reads the data of a Secret.
    ///
    /// # Errors
    /// A key is missing or is not text.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, MaterialError> {
        let text = |what: &'static str| {
            let bytes =
                data.get(what).filter(|bytes| !bytes.0.is_empty()).ok_or(MaterialError::Missing(what))?;
            String::from_utf8(bytes.0.clone())
                .map_err(|error| MaterialError::Unreadable { what, problem: error.to_string() })
        };
        Ok(Self {
            authority: text(CA_CERTIFICATE)?,
            authority_key: text(CA_KEY)?,
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
        })
    }

    /// The data of a Secret.
    pub fn to_secret(&self) -> BTreeMap<String, ByteString> {
        let entry = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
        BTreeMap::from([
            entry(CA_CERTIFICATE, &self.authority),
            entry(CA_KEY, &self.authority_key),
            entry(CERTIFICATE, &self.certificate),
            entry(KEY, &self.key),
        ])
    }

    /// Checks that the authority can go on signing.
    ///
    /// # Errors
    /// It cannot be read, or a third of its life or less is left.
    pub fn check_authority(&self, now: OffsetDateTime) -> Result<(), MaterialError> {
        KeyPair::from_pem(&self.authority_key).map_err(|error| unreadable(CA_KEY, &error))?;
        with_certificate(CA_CERTIFICATE, &self.authority, |certificate| {
            in_time("the authority", certificate, now, AUTHORITY / 3)
        })
    }

    /// Checks that the serving certificate is for these names, signed by the authority, and has more than a
    /// third of its life left.
    ///
    /// # Errors
    /// What is not so.
    pub fn check_certificate(&self, names: &[String], now: OffsetDateTime) -> Result<(), MaterialError> {
        KeyPair::from_pem(&self.key).map_err(|error| unreadable(KEY, &error))?;
        with_certificate(CERTIFICATE, &self.certificate, |certificate| {
            in_time("the serving certificate", certificate, now, LEAF / 3)?;
            if let Some(missing) = names.iter().find(|name| !is_for(certificate, name)) {
                return Err(MaterialError::OtherName(missing.clone()));
            }
            with_certificate(CA_CERTIFICATE, &self.authority, |authority| {
                certificate
                    .verify_signature(Some(authority.public_key()))
                    .map_err(|error| MaterialError::NotSigned(error.to_string()))
            })
        })
    }

    /// When authority and serving certificate end, in seconds since 1970.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn ends(&self) -> Result<(i64, i64), MaterialError> {
        let authority = with_certificate(CA_CERTIFICATE, &self.authority, |read| {
            Ok(read.validity().not_after.timestamp())
        });
        Ok((authority?, end_of(&self.certificate)?))
    }
}

/// When a serving certificate ends, in seconds since 1970.
pub(super) fn end_of(certificate: &str) -> Result<i64, MaterialError> {
    with_certificate(CERTIFICATE, certificate, |read| Ok(read.validity().not_after.timestamp()))
}

fn unreadable(what: &'static str, problem: &impl ToString) -> MaterialError {
    MaterialError::Unreadable { what, problem: problem.to_string() }
}

fn with_certificate<T>(
    what: &'static str,
    pem: &str,
    look: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> Result<T, MaterialError>,
) -> Result<T, MaterialError> {
    let pem = Pem::iter_from_buffer(pem.as_bytes())
        .next()
        .ok_or_else(|| unreadable(what, &"it holds no certificate"))?
        .map_err(|error| unreadable(what, &error))?;
    look(&pem.parse_x509().map_err(|error| unreadable(what, &error))?)
}

fn in_time(
    what: &'static str,
    certificate: &x509_parser::certificate::X509Certificate<'_>,
    now: OffsetDateTime,
    reserve: Duration,
) -> Result<(), MaterialError> {
    let end = certificate.validity().not_after.to_datetime();
    if end - now > reserve { Ok(()) } else { Err(MaterialError::Ends { what, end }) }
}

fn is_for(certificate: &x509_parser::certificate::X509Certificate<'_>, name: &str) -> bool {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names
            .value
            .general_names
            .iter()
            .any(|known| matches!(known, GeneralName::DNSName(dns) if *dns == name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["outrigger.outrigger-system.svc".to_owned()]
    }

    #[test]
    fn what_is_made_is_good_and_reads_back() {
        let now = OffsetDateTime::now_utc();
        let material = Material::new(&names(), now).unwrap();
        material.check_authority(now).unwrap();
        material.check_certificate(&names(), now).unwrap();
        assert_eq!(Material::from_secret(&material.to_secret()).unwrap(), material);
        let (authority, leaf) = material.ends().unwrap();
        assert!(authority > leaf && leaf > now.unix_timestamp());
    }

    #[test]
    fn a_renewal_keeps_the_authority() {
        let now = OffsetDateTime::now_utc();
        let old = Material::new(&names(), now - Duration::days(61)).unwrap();
        assert!(matches!(old.check_certificate(&names(), now), Err(MaterialError::Ends { .. })));
        let new = old.renewed(&names(), now).unwrap();
        new.check_certificate(&names(), now).unwrap();
        assert_eq!(new.authority, old.authority);
        assert_ne!(new.key, old.key);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let now = OffsetDateTime::now_utc();
        let good = Material::new(&names(), now).unwrap();
        assert!(matches!(
            good.check_certificate(&["other.svc".to_owned()], now),
            Err(MaterialError::OtherName(_))
        ));
        let other = Material::new(&names(), now).unwrap();
        let mixed = Material { authority: other.authority.clone(), ..good.clone() };
        assert!(matches!(mixed.check_certificate(&names(), now), Err(MaterialError::NotSigned(_))));
        let mut data = good.to_secret();
        data.remove("ca.key");
        assert!(matches!(Material::from_secret(&data), Err(MaterialError::Missing("ca.key"))));
        assert!(matches!(Material::from_secret(&BTreeMap::new()), Err(MaterialError::Missing(_))));
        let broken = Material { certificate: "nonsense".to_owned(), ..good };
        assert!(matches!(broken.check_certificate(&names(), now), Err(MaterialError::Unreadable { .. })));
        assert_eq!(format!("{broken:?}"), "Material { .. }");
    }
}
