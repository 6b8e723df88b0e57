//! TLS versions and cipher suites.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ProtocolVersion, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::running::{NAME, material, roots, start};

#[tokio::test]
async fn both_versions_are_supported_with_their_suites() {
    let material = material();
    let server = start(&material).await;
    let mut supported = Vec::new();
    for suite in aws_lc_rs::ALL_CIPHER_SUITES {
        let version: &SupportedProtocolVersion = match suite.version().version {
            ProtocolVersion::TLSv1_2 => &version::TLS12,
            _ => &version::TLS13,
        };
        let provider =
            rustls::crypto::CryptoProvider { cipher_suites: vec![*suite], ..aws_lc_rs::default_provider() };
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&material.authority.certificate))
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // The server has an ECDSA key, so RSA suites cannot be negotiated.
        if let Ok(stream) = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await {
            let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
            supported.push(format!("{:?}", suite.suite()));
        }
    }
    assert_eq!(
        supported,
        [
            "TLS13_AES_256_GCM_SHA384",
            "TLS13_AES_128_GCM_SHA256",
            "TLS13_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ]
    );
}

/// Returns a `ClientHello` (RFC 5246) with curves and signatures that the server supports, so that it can reject only
/// the version or the suites.
fn client_hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(body)].concat();
    let name = [&[0][..], &with_length(NAME.as_bytes())].concat();
    let extensions = [
        extension(0, &with_length(&name)),
        // Curves: X25519, P-256. Points: uncompressed. Signatures: ECDSA with P-256, and the old RSA with SHA-1.
        extension(10, &with_length(&[0, 0x1d, 0, 0x17])),
        extension(11, &[1, 0]),
        extension(13, &with_length(&[4, 3, 8, 4, 2, 1, 2, 3])),
        extension(23, &[]),
    ];
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let hello =
        [&version[..], &[7; 32], &[0], &with_length(&suites), &[1, 0], &with_length(&extensions.concat())]
            .concat();
    let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
    let handshake = [&[1][..], &length[1..], &hello].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}

/// Returns the type of the first record of the response, and its last byte, which is the description of an alert.
async fn first_record(address: std::net::SocketAddr, hello: &[u8]) -> (u8, u8) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body).await.unwrap();
    (head[0], *body.last().unwrap())
}

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

#[tokio::test]
async fn old_versions_and_suites_are_rejected() {
    let server = start(&material()).await;
    let ecdhe_ecdsa_aes_128_gcm = 0xc02b;
    let good = client_hello([3, 3], &[ecdhe_ecdsa_aes_128_gcm]);
    assert_eq!(
        first_record(server.address, &good).await.0,
        HANDSHAKE,
        "the server does not accept a valid ClientHello"
    );

    for (what, old) in [("SSL 3", [3, 0]), ("TLS 1.0", [3, 1]), ("TLS 1.1", [3, 2])] {
        let hello = client_hello(old, &[ecdhe_ecdsa_aes_128_gcm, 0xc009, 0x002f]);
        assert_eq!(first_record(server.address, &hello).await, (ALERT, PROTOCOL_VERSION), "{what}");
    }
    for (what, suite) in [
        ("ECDHE-ECDSA with AES-128 in CBC and SHA-1", 0xc009),
        ("ECDHE-ECDSA with AES-128 in CBC and SHA-256", 0xc023),
        ("ECDHE-RSA with AES-256 in CBC and SHA-1", 0xc014),
        ("RSA key exchange with AES-128 in GCM", 0x009c),
        ("RSA key exchange with AES-128 in CBC", 0x002f),
        ("DHE-RSA with AES-128 in GCM", 0x009e),
        ("3DES", 0x000a),
        ("RC4", 0x0005),
        ("no encryption", 0xc006),
        ("no authentication", 0xc018),
    ] {
        let hello = client_hello([3, 3], &[suite]);
        assert_eq!(first_record(server.address, &hello).await, (ALERT, HANDSHAKE_FAILURE), "{what}");
    }
}
