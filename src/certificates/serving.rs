use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::ClientAuthority;

/// The certificate of new connections. It can be replaced without closing open connections.
#[derive(Debug, Default)]
pub struct Serving(ArcSwapOption<CertifiedKey>);

impl Serving {
    /// Serves this certificate, PEM with its chain, from now on.
    ///
    /// # Errors
    /// The certificate or key cannot be parsed, or they do not match.
    pub fn set(&self, certificate: &str, key: &str) -> anyhow::Result<()> {
        let certified = certified(certificate, key)?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Returns the certificate of new connections, if there is one.
    pub(super) fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// # Errors
/// The certificate or key cannot be parsed, or they do not match.
pub(super) fn certified(certificate: &str, key: &str) -> anyhow::Result<CertifiedKey> {
    let chain = chain_of(certificate).context("the serving certificate cannot be read")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the serving key cannot be read")?;
    let certified = CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key)?);
    certified.keys_match().context("the serving key does not belong to the certificate")?;
    Ok(certified)
}

/// # Errors
/// The text has no certificate, or one that cannot be parsed.
pub(super) fn chain_of(certificate: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
    let leaf = chain.first().context("it holds no certificate")?;
    x509_parser::parse_x509_certificate(leaf)?;
    Ok(chain)
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

/// Returns an acceptor for TLS 1.2 and 1.3 with rustls' default suites, with HTTP/2 and HTTP/1.1.
pub fn acceptor(serving: Arc<Serving>) -> TlsAcceptor {
    with_protocols(rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(serving))
}

/// Returns an acceptor that also requests a client certificate, which is optional. A certificate that the CA did not sign fails
/// the handshake.
pub fn acceptor_that_asks(serving: Arc<Serving>, clients: Arc<ClientAuthority>) -> TlsAcceptor {
    let builder = rustls::ServerConfig::builder().with_client_cert_verifier(clients);
    let mut config = builder.with_cert_resolver(serving);
    // A resumed session has no client certificate, and the CA may have changed since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    with_protocols(config)
}

fn with_protocols(mut config: rustls::ServerConfig) -> TlsAcceptor {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
