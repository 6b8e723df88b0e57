use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::polling::follow_files;
use crate::supervise::Health;

/// The part of [`Health`] that becomes ready with the first CA.
const PART: &str = "client authority";

/// The CAs that client certificates are verified against. They can be replaced while the server runs; open connections are
/// kept.
#[derive(Debug)]
pub struct ClientAuthority {
    provider: CryptoProvider,
    current: ArcSwapOption<Arc<dyn ClientCertVerifier>>,
}

impl Default for ClientAuthority {
    fn default() -> Self {
        Self { provider: aws_lc_rs::default_provider(), current: ArcSwapOption::empty() }
    }
}

impl ClientAuthority {
    /// Trusts these CAs, PEM, from now on.
    ///
    /// # Errors
    /// The text has no certificate, or one that cannot be parsed.
    pub fn set(&self, authorities: &str) -> anyhow::Result<()> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(certificate.context("a certificate of the client authority cannot be read")?)?;
        }
        let provider = Arc::new(self.provider.clone());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .context("the client authority has no certificate")?;
        self.current.store(Some(Arc::new(verifier)));
        Ok(())
    }
}

impl ClientCertVerifier for ClientAuthority {
    fn client_auth_mandatory(&self) -> bool {
        // The kubelet's probes use the same port and have no certificate.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // These names cannot change at run time. Without them, a client sends any certificate that it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current.load();
        let current =
            current.as_deref().ok_or_else(|| Error::General("no client authority yet".to_owned()))?;
        current.verify_client_cert(certificate, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts the CAs in the file and reloads them when it changes; until `stop`.
///
/// # Errors
/// None: an invalid file is logged, and the previous CAs remain trusted.
pub fn follow_clients(
    file: PathBuf,
    authority: Arc<ClientAuthority>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    health.wait_for(PART, format!("the authority of clients in {}", file.display()));
    let mut believed = None;
    let reload = move || {
        read_again(&file, &authority, &mut believed)?;
        health.ready(PART);
        Ok(())
    };
    follow_files("cannot use the authority of clients", reload, stop)
}

fn read_again(
    file: &PathBuf,
    authority: &ClientAuthority,
    believed: &mut Option<String>,
) -> anyhow::Result<()> {
    let found = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    if believed.as_ref() != Some(&found) {
        authority.set(&found).with_context(|| format!("in {}", file.display()))?;
        info!(file = %file.display(), "loaded the CA of clients");
        *believed = Some(found);
    }
    Ok(())
}
