use super::super::webhook_configurations::{ConfigurationKind, ConfiguredWebhook, OnFailure};
use super::*;
use crate::certificates::{Lifetimes, Material};

const NAME: &str = "outrigger.system.svc";

fn made(now: OffsetDateTime) -> Material {
    Material::new(&[NAME.to_owned()], Lifetimes::from_seconds(300, 60), now).unwrap()
}

#[test]
fn a_chain_is_believed_as_the_api_server_does() {
    let now = OffsetDateTime::now_utc();
    let (material, other) = (made(now), made(now - time::Duration::seconds(1)));
    let chain = chain_of(&material.certificate);
    let believes = |bundle: &str, name: &str, now| verify(&chain, bundle.as_bytes(), name, now);
    believes(&material.bundle(), NAME, now).unwrap();
    believes(&(other.bundle() + &material.bundle()), NAME, now).unwrap();
    let late = now + time::Duration::seconds(61);
    for (refused, reason) in [
        (believes("", NAME, now), "holds no certificate"),
        (believes("none", NAME, now), "holds no certificate"),
        (believes(&other.bundle(), NAME, now), "UnknownIssuer"),
        (believes(&material.bundle(), "other.system.svc", now), "not valid for name"),
        (believes(&material.bundle(), NAME, late), "expired"),
        (
            believes(&material.bundle(), NAME, late + time::Duration::hours(1)),
            "holds no certificate that is valid",
        ),
        (verify(&[], material.bundle().as_bytes(), NAME, now), "the chain is empty"),
    ] {
        let said = refused.unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn the_first_end_of_an_entrys_authorities_counts() {
    let now = OffsetDateTime::now_utc();
    let (early, late) = (made(now), made(now + time::Duration::seconds(100)));
    let entry = |bundle: String| ConfiguredWebhook {
        kind: ConfigurationKind::Mutating,
        configuration: "outrigger".to_owned(),
        webhook: "ours".to_owned(),
        on_failure: OnFailure::Refused,
        bundle: bundle.into_bytes(),
    };
    let live = LiveConfigurations::of(vec![entry(early.bundle() + &late.bundle()), entry(late.bundle())]);
    assert_eq!(live.authorities_end(now), Some(now.unix_timestamp() + 400));
    let live = LiveConfigurations::of(vec![entry(early.bundle()), entry(late.bundle())]);
    assert_eq!(live.authorities_end(now), Some(now.unix_timestamp() + 300));
    assert_eq!(LiveConfigurations::of(Vec::new()).authorities_end(now), None);
}
