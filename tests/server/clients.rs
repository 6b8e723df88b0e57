//! Authentication of the API server by its client certificate.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use outrigger::certificates::{ClientAuthority, follow_clients};
use outrigger::supervise::Health;
use outrigger::webhook::{Clients, Limits};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::running::{NAME, Running, material, request, roots, start_with};
use crate::support::message;

/// A CA for client certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
struct Identity(String, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn client(&self, common_name: &str, alternative: &[&str]) -> Identity {
        let names: Vec<String> = alternative.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Identity(params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Sends a request with a certificate, and returns the status and message of the response.
async fn call(
    server: &Running,
    trusted: &str,
    identity: Option<&Identity>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, String)> {
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots(trusted));
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity(certificate, key)) => builder.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
            PrivateKeyDer::from_pem_slice(key.as_bytes())?,
        )?,
    };
    let stream = TcpStream::connect(server.address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(NAME)?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, message(std::str::from_utf8(&body)?)))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(header::HOST, NAME).body(Full::default()).unwrap()
}

#[tokio::test]
async fn only_clients_with_the_configured_name_and_ca_are_answered() {
    let (material, ours, other) = (material(), Authority::new(), Authority::new());
    let trusted = Arc::new(ClientAuthority::default());
    let clients = Clients { name: Some(Arc::from("kube-apiserver")) };
    let server = start_with(&material, Limits::default(), Some((Arc::clone(&trusted), clients))).await;
    let call = async |identity: Option<&Identity>, request| {
        call(&server, &material.authority.certificate, identity, request).await
    };
    let named = ours.client("kube-apiserver", &[]);
    assert!(call(Some(&named), request("shop")).await.is_err(), "there is no client CA yet");

    trusted.set(&ours.pem()).unwrap();
    assert_eq!(call(Some(&named), request("shop")).await.unwrap().0, StatusCode::OK);
    let alternative = ours.client("other-client", &["kube-apiserver"]);
    assert_eq!(call(Some(&alternative), request("shop")).await.unwrap().0, StatusCode::OK);

    let unnamed = ours.client("other-client", &["other.example"]);
    let (status, message) = call(Some(&unnamed), request("shop")).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(message.contains(r#"["other-client", "other.example"]"#), "{message}");
    assert!(message.contains(r#"answers only "kube-apiserver""#), "{message}");

    for path in ["/mutate", "/mutate/namespace", "/mutate/pod", "/validate"] {
        let mut anonymous = request("shop");
        *anonymous.uri_mut() = path.parse().unwrap();
        let (status, message) = call(None, anonymous).await.unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(message.contains("none was shown; see --client-ca"), "{message}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            call(None, get(path)).await.unwrap().0,
            StatusCode::OK,
            "the kubelet has no client certificate"
        );
    }
    let foreign = other.client("kube-apiserver", &[]);
    assert!(call(Some(&foreign), request("shop")).await.is_err(), "signed by another CA");

    trusted.set(&other.pem()).unwrap();
    assert_eq!(call(Some(&foreign), request("shop")).await.unwrap().0, StatusCode::OK);
    assert!(call(Some(&named), request("shop")).await.is_err(), "the old CA is no longer trusted");
}

#[tokio::test]
async fn the_client_ca_is_reloaded_when_its_file_changes() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("client-authority");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ca.crt");
    drop(std::fs::remove_file(&file));
    let (material, first, second) = (material(), Authority::new(), Authority::new());
    let (trusted, health, stop) =
        (Arc::new(ClientAuthority::default()), Health::default(), CancellationToken::new());
    let server =
        start_with(&material, Limits::default(), Some((Arc::clone(&trusted), Clients::default()))).await;
    let followed = follow_clients(file.clone(), trusted, health.clone(), stop.clone());
    let followed = tokio::spawn(followed);
    assert!(health.waiting_for().unwrap().contains("the authority of clients"));

    for authority in [&first, &second] {
        std::fs::write(&file, authority.pem()).unwrap();
        let client = authority.client("any name", &[]);
        let mut waited = 0;
        while call(&server, &material.authority.certificate, Some(&client), request("shop")).await.is_err() {
            assert!(waited < 300, "the CA was not loaded in time");
            waited += 1;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(health.waiting_for(), None);
        // An invalid file leaves the previous CA in use.
        std::fs::write(&file, "no certificate").unwrap();
    }
    stop.cancel();
    followed.await.unwrap().unwrap();
}
