use time::OffsetDateTime;
use tokio::net::TcpListener;

use super::*;
use crate::certificates::{Lifetimes, Material, Serving, acceptor};

const NAME: &str = "outrigger.system.svc";

#[test]
fn calls_go_to_those_that_are_ready_or_still_serve() {
    let endpoint = |address: &str, ready: bool, serving: bool| serde_json::json!({ "addresses": [address], "conditions": { "ready": ready, "serving": serving } });
    let slice = serde_json::json!({
        "addressType": "IPv4", "metadata": {},
        "ports": [{ "name": "metrics", "port": 8080 }, { "name": "https", "port": 8443 }],
        "endpoints": [
            endpoint("10.0.0.1", true, true), endpoint("10.0.0.2", false, true), endpoint("10.0.0.3", false, false),
            { "addresses": ["10.0.0.4"] },
        ],
    });
    let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
    let found: Vec<String> = addresses(&slice).iter().map(SocketAddr::to_string).collect();
    assert_eq!(found, ["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.4:8443"]);
}

#[tokio::test]
async fn a_handshake_shows_whose_certificate_is_served() {
    let made = || Material::new(&[NAME.to_owned()], Lifetimes::DEFAULT, OffsetDateTime::now_utc()).unwrap();
    let (old, new) = (made(), made());
    let serving = Arc::new(Serving::default());
    serving.set(&old.certificate, &old.key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = acceptor(Arc::clone(&serving));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(tls.accept(stream).await);
        }
    });
    let asked = |authority: String| async move { shows(address, NAME, &authority).await };
    asked(old.authority.certificate.clone()).await.unwrap();
    let refused = format!("{:#}", asked(new.authority.certificate.clone()).await.unwrap_err());
    assert!(refused.contains("does not serve a certificate of the authority yet"), "{refused}");
    serving.set(&new.certificate, &new.key).unwrap();
    asked(new.authority.certificate.clone()).await.unwrap();
    server.abort();
    drop(server.await);
    let refused = format!("{:#}", asked(new.authority.certificate.clone()).await.unwrap_err());
    assert!(refused.contains("cannot be reached"), "{refused}");
}
