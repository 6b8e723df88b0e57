use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use super::Lifetimes;
use super::x509::{end_of, in_time, is_for, unreadable, with_certificate};

/// A certificate is valid a little before it is made, for clocks that are behind.
pub(super) const SKEW: Duration = Duration::minutes(5);

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const NEXT_CA_CERTIFICATE: &str = "next-ca.crt";
const NEXT_CA_KEY: &str = "next-ca.key";
const PREVIOUS_CA_CERTIFICATES: &str = "previous-ca.crt";
pub(super) const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// An authority that signs, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its certificate, which goes into the webhook configurations.
    pub certificate: String,
    key: String,
}

/// What the Secret holds: the authorities that callers have to believe, and the serving certificate, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The authority that signed the serving certificate.
    pub authority: Authority,
    /// The authority that comes next, once callers believe it.
    pub next: Option<Authority>,
    /// Certificates of earlier authorities, one after the other, which a replica may still need.
    pub previous: String,
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

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    /// [`MaterialError::Make`].
    pub fn new(lifetimes: Lifetimes, now: OffsetDateTime) -> Result<Self, MaterialError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("outrigger authority {}", now.unix_timestamp_nanos()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (now - SKEW, now + lifetimes.authority());
        Ok(Self { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
    }

    /// Whether it can be read and has not ended.
    pub fn is_usable(&self, now: OffsetDateTime) -> bool {
        KeyPair::from_pem(&self.key).is_ok()
            && end_of(&self.certificate).is_ok_and(|end| end > now.unix_timestamp())
    }

    /// Checks that it can go on signing.
    ///
    /// # Errors
    /// It cannot be read, or a third of its life or less is left.
    pub fn check(&self, lifetimes: Lifetimes, now: OffsetDateTime) -> Result<(), MaterialError> {
        KeyPair::from_pem(&self.key).map_err(|error| unreadable(CA_KEY, &error))?;
        with_certificate(CA_CERTIFICATE, &self.certificate, |certificate| {
            in_time("the authority", certificate, now, lifetimes.authority())
        })
    }
}

impl Material {
    /// Makes an authority and a serving certificate for these DNS names.
    ///
    /// # Errors
    /// [`MaterialError::Make`].
    pub fn new(names: &[String], lifetimes: Lifetimes, now: OffsetDateTime) -> Result<Self, MaterialError> {
        Self::signed_by(Authority::new(lifetimes, now)?, String::new(), names, lifetimes, now)
    }

    /// A serving certificate of this authority, beside what `previous` ones signed.
    ///
    /// # Errors
    /// [`MaterialError::Make`].
    pub fn signed_by(
        authority: Authority,
        previous: String,
        names: &[String],
        lifetimes: Lifetimes,
        now: OffsetDateTime,
    ) -> Result<Self, MaterialError> {
        let unsigned =
            Self { authority, next: None, previous, certificate: String::new(), key: String::new() };
        unsigned.renewed(names, lifetimes, now)
    }

    /// The same authorities with a new serving certificate, which ends no later than its authority.
    ///
    /// # Errors
    /// [`MaterialError::Make`], also where the authority itself cannot be read.
    pub fn renewed(
        &self,
        names: &[String],
        lifetimes: Lifetimes,
        now: OffsetDateTime,
    ) -> Result<Self, MaterialError> {
        let Authority { certificate, key } = &self.authority;
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        let last = with_certificate(CA_CERTIFICATE, certificate, |authority| {
            Ok(authority.validity().not_after.to_datetime())
        })?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = names.first() {
            // The common name holds 64 characters at the most; the names that count are the alternative ones.
            params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (now - SKEW, last.min(now + lifetimes.certificate()));
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), ..self.clone() })
    }

    /// All authorities that callers have to believe: the one that signs, the next one, and earlier ones.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map_or("", |next| next.certificate.as_str());
        [self.authority.certificate.as_str(), next, self.previous.as_str()].concat()
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
        let optional = |what: &'static str| text(what).ok();
        let next = optional(NEXT_CA_CERTIFICATE).zip(optional(NEXT_CA_KEY));
        Ok(Self {
            authority: Authority { certificate: text(CA_CERTIFICATE)?, key: text(CA_KEY)? },
            next: next.map(|(certificate, key)| Authority { certificate, key }),
            previous: optional(PREVIOUS_CA_CERTIFICATES).unwrap_or_default(),
            // Only they are missing: the authority goes on signing, so nobody has to believe another one.
            certificate: optional(CERTIFICATE).unwrap_or_default(),
            key: optional(KEY).unwrap_or_default(),
        })
    }

    /// The data of a Secret.
    pub fn to_secret(&self) -> BTreeMap<String, ByteString> {
        let next = self.next.as_ref();
        [
            (CA_CERTIFICATE, self.authority.certificate.as_str()),
            (CA_KEY, &self.authority.key),
            (NEXT_CA_CERTIFICATE, next.map_or("", |next| &next.certificate)),
            (NEXT_CA_KEY, next.map_or("", |next| &next.key)),
            (PREVIOUS_CA_CERTIFICATES, &self.previous),
            (CERTIFICATE, &self.certificate),
            (KEY, &self.key),
        ]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())))
        .collect()
    }

    /// Checks that the serving certificate is for these names, signed by the authority, and has more than a
    /// third of its life left.
    ///
    /// # Errors
    /// What is not so.
    pub fn check_certificate(
        &self,
        names: &[String],
        lifetimes: Lifetimes,
        now: OffsetDateTime,
    ) -> Result<(), MaterialError> {
        KeyPair::from_pem(&self.key).map_err(|error| unreadable(KEY, &error))?;
        with_certificate(CERTIFICATE, &self.certificate, |certificate| {
            in_time("the serving certificate", certificate, now, lifetimes.certificate())?;
            if let Some(missing) = names.iter().find(|name| !is_for(certificate, name)) {
                return Err(MaterialError::OtherName(missing.clone()));
            }
            with_certificate(CA_CERTIFICATE, &self.authority.certificate, |authority| {
                certificate
                    .verify_signature(Some(authority.public_key()))
                    .map_err(|error| MaterialError::NotSigned(error.to_string()))
            })
        })
    }
}

#[cfg(test)]
mod tests;
