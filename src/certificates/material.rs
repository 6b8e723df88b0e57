use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use time::{Duration, OffsetDateTime};

use super::Lifetimes;
use super::serving::{certified, chain_of};
use super::x509::{authorities_in, end_of, in_time, is_for, unreadable, with_certificate};

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

/// Reads the keys of a Secret and collects the unreadable ones.
struct Reader<'a> {
    data: &'a BTreeMap<String, ByteString>,
    problems: Vec<MaterialError>,
}

impl Reader<'_> {
    /// The text of a key; `None` where it is missing, empty or not text.
    fn text(&mut self, what: &'static str) -> Option<String> {
        let bytes = self.data.get(what).filter(|bytes| !bytes.0.is_empty())?;
        match String::from_utf8(bytes.0.clone()) {
            Ok(text) => Some(text),
            Err(error) => self.unreadable(what, &error),
        }
    }

    fn unreadable<T>(&mut self, what: &'static str, problem: &impl ToString) -> Option<T> {
        self.problems.push(unreadable(what, problem));
        None
    }

    /// The certificates of authorities in a key, as clean PEM.
    fn authorities(&mut self, what: &'static str) -> Option<String> {
        let text = self.text(what)?;
        let (found, rest) = authorities_in(&text);
        if let Some(problem) = rest {
            self.problems.push(unreadable(what, &problem));
        }
        (!found.is_empty()).then_some(found)
    }

    /// Returns an authority. Without a matching key it cannot sign, but certificates that it signed stay trusted.
    fn authority(&mut self, certificate: &'static str, key: &'static str) -> Option<Authority> {
        let (found, text) = (self.authorities(certificate), self.text(key));
        let found = found?;
        let belongs = text.as_ref().map(|text| belongs_to(text, &found));
        if let Some(Err(problem)) = &belongs {
            self.problems.push(unreadable(key, problem));
        }
        let text = text.filter(|_| matches!(belongs, Some(Ok(()))));
        Some(Authority { certificate: found, key: text.unwrap_or_default() })
    }

    /// The serving certificate and its key; both empty unless they can be served.
    fn serving(&mut self) -> (String, String) {
        let (Some(certificate), Some(key)) = (self.text(CERTIFICATE), self.text(KEY)) else {
            return Default::default();
        };
        match certified(&certificate, &key) {
            Ok(_) => (certificate, key),
            Err(error) => {
                let what = if chain_of(&certificate).is_ok() { KEY } else { CERTIFICATE };
                self.problems.push(unreadable(what, &format!("{error:#}")));
                Default::default()
            }
        }
    }
}

/// # Errors
/// The key cannot be read, or is another certificate's.
fn belongs_to(key: &str, certificate: &str) -> Result<(), String> {
    let key = KeyPair::from_pem(key).map_err(|error| error.to_string())?;
    let is_same = with_certificate(CA_CERTIFICATE, certificate, |certificate| {
        Ok(certificate.public_key().raw == key.subject_public_key_info())
    });
    match is_same {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not belong to the certificate".to_owned()),
        Err(error) => Err(error.to_string()),
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
    /// There is no authority that can be read.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, MaterialError> {
        let (material, problems) = Self::read(data);
        material.ok_or(problems.into_iter().next().unwrap_or(MaterialError::Missing(CA_CERTIFICATE)))
    }

    /// Reads the data of a Secret. Unreadable values count as missing, so they are replaced: the problems say which
    /// keys these are. Without an authority there is nothing to go on from.
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> (Option<Self>, Vec<MaterialError>) {
        let mut reader = Reader { data, problems: Vec::new() };
        let authority = reader.authority(CA_CERTIFICATE, CA_KEY);
        let next = reader.authority(NEXT_CA_CERTIFICATE, NEXT_CA_KEY).filter(|next| !next.key.is_empty());
        let previous = reader.authorities(PREVIOUS_CA_CERTIFICATES).unwrap_or_default();
        let (certificate, key) = reader.serving();
        if authority.is_none() && reader.problems.is_empty() {
            reader.problems.push(MaterialError::Missing(CA_CERTIFICATE));
        }
        (authority.map(|authority| Self { authority, next, previous, certificate, key }), reader.problems)
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
