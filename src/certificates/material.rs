use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use time::OffsetDateTime;

use super::serving::{certified, chain_of};
use super::x509::{CERTIFICATE, SKEW, authorities_in, end_of, in_time, is_for, unreadable, with_certificate};
use super::{Lifetimes, MaterialError};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const NEXT_CA_CERTIFICATE: &str = "next-ca.crt";
const NEXT_CA_KEY: &str = "next-ca.key";
const PREVIOUS_CA_CERTIFICATES: &str = "previous-ca.crt";
const KEY: &str = "tls.key";

/// A CA that signs, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// Certificate of the CA, which goes into the webhook configurations.
    pub certificate: String,
    key: String,
}

/// The content of the Secret, as PEM: the CAs that callers must trust, and the serving certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// CA that signed the serving certificate.
    pub authority: Authority,
    /// Next CA, which signs once callers trust it.
    pub next: Option<Authority>,
    /// Concatenated certificates of earlier CAs that a replica may still need.
    pub previous: String,
    /// Serving certificate.
    pub certificate: String,
    /// Private key of the serving certificate.
    pub key: String,
}

// Private keys must not appear in a log.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Authority {
    /// Creates a CA.
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

    /// Returns whether the CA can be parsed and has not ended.
    pub fn is_usable(&self, now: OffsetDateTime) -> bool {
        KeyPair::from_pem(&self.key).is_ok()
            && end_of(&self.certificate).is_ok_and(|end| end > now.unix_timestamp())
    }

    /// Checks that the CA may still sign.
    ///
    /// # Errors
    /// The CA cannot be parsed, or at most a third of its lifetime is left.
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
    /// Returns the text of a key; `None` if it is missing, empty or not text.
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

    /// Returns the CA certificates in a key, as clean PEM.
    fn authorities(&mut self, what: &'static str) -> Option<String> {
        let text = self.text(what)?;
        let (found, rest) = authorities_in(&text);
        if let Some(problem) = rest {
            self.problems.push(unreadable(what, &problem));
        }
        (!found.is_empty()).then_some(found)
    }

    /// Returns a CA. Without a matching key it cannot sign, but certificates that it signed stay trusted.
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

    /// Returns the serving certificate and its key; both are empty if they cannot be served.
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
/// The key cannot be parsed, or belongs to another certificate.
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
    /// Creates a CA and a serving certificate for these DNS names.
    ///
    /// # Errors
    /// [`MaterialError::Make`].
    pub fn new(names: &[String], lifetimes: Lifetimes, now: OffsetDateTime) -> Result<Self, MaterialError> {
        Self::signed_by(Authority::new(lifetimes, now)?, String::new(), names, lifetimes, now)
    }

    /// Returns a new serving certificate of this CA, with the certificates of `previous` CAs.
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

    /// Returns the same CAs with a new serving certificate, which ends no later than its CA.
    ///
    /// # Errors
    /// [`MaterialError::Make`], also if the CA itself cannot be parsed.
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
            // The common name has at most 64 characters; verifiers only read the alternative names.
            params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (now - SKEW, last.min(now + lifetimes.certificate()));
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), ..self.clone() })
    }

    /// Returns all CAs that callers must trust: the one that signs, the next one, and earlier ones.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map_or("", |next| next.certificate.as_str());
        [self.authority.certificate.as_str(), next, self.previous.as_str()].concat()
    }

    /// Parses the data of a Secret.
    ///
    /// # Errors
    /// There is no valid CA.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, MaterialError> {
        let (material, problems) = Self::read(data);
        material.ok_or(problems.into_iter().next().unwrap_or(MaterialError::Missing(CA_CERTIFICATE)))
    }

    /// Parses the data of a Secret. Unreadable values count as missing, so they are replaced; the problems name their keys.
    /// Without a CA, the result is `None`.
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

    /// Returns the data of the Secret.
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

    /// Checks that the serving certificate is for these names, is signed by the CA, and has more than a third of its lifetime
    /// left.
    ///
    /// # Errors
    /// One of these does not apply.
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
