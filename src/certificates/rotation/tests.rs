use std::sync::Arc;

use time::Duration;

use super::*;
use crate::certificates::trust;

const NAME: &str = "outrigger.system.svc";

fn at(now: OffsetDateTime) -> Wanted {
    Wanted {
        names: vec![NAME.to_owned()],
        lifetimes: Lifetimes::from_seconds(300, 60),
        clock: Arc::new(move || now),
    }
}

/// Returns whether a client with this bundle trusts this certificate.
fn believed(bundle: &str, certificate: &str, now: OffsetDateTime) -> bool {
    trust::verify(&trust::chain_of(certificate), bundle.as_bytes(), NAME, now).is_ok()
}

#[test]
fn an_authority_is_replaced_in_three_steps() {
    let start = OffsetDateTime::now_utc();
    let first =
        next(Err(MaterialError::Missing("ca.crt")), None, &at(start), Seen::default()).unwrap().unwrap();
    assert!(next(Ok(first.clone()), None, &at(start), Seen::default()).unwrap().is_none());

    // The same CA signs the next certificate.
    let late = start + Duration::seconds(41);
    let renewed = next(Ok(first.clone()), None, &at(late), Seen::default()).unwrap().unwrap();
    assert_eq!(renewed.bundle(), first.bundle());
    assert_ne!(renewed.certificate, first.certificate);

    // The next CA is added beside the one that signs. Nothing else changes until callers have both.
    let late = start + Duration::seconds(201);
    let renewed = renewed.renewed(&at(late).names, at(late).lifetimes, late).unwrap();
    let both = next(Ok(renewed.clone()), None, &at(late), Seen::default()).unwrap().unwrap();
    assert_eq!(both.certificate, renewed.certificate);
    assert_ne!(both.bundle(), renewed.bundle());
    assert!(believed(&both.bundle(), &both.certificate, late));
    let unseen = Seen { everywhere: true, settled: false };
    assert!(next(Ok(both.clone()), None, &at(late), unseen).unwrap().is_none());
    let still_due = next(Ok(both.clone()), None, &at(late + Duration::seconds(41)), unseen).unwrap().unwrap();
    assert_eq!(still_due.bundle(), both.bundle(), "a certificate is renewed meanwhile");

    // The next CA signs; replicas with the old certificate are still trusted.
    let settled = Seen { settled: true, everywhere: false };
    let signed = next(Ok(both.clone()), None, &at(late), settled).unwrap().unwrap();
    assert_eq!(signed.authority.certificate, both.next.as_ref().unwrap().certificate);
    assert!(believed(&both.bundle(), &signed.certificate, late), "it is believed where both are");
    assert!(believed(&signed.bundle(), &signed.certificate, late));
    assert!(believed(&signed.bundle(), &both.certificate, late));
    assert!(next(Ok(signed.clone()), None, &at(late), settled).unwrap().is_none());

    // The old CA is removed when no replica needs it.
    let everywhere = Seen { settled: true, everywhere: true };
    let done = next(Ok(signed.clone()), None, &at(late), everywhere).unwrap().unwrap();
    assert_eq!(done.bundle(), signed.authority.certificate);
    assert_eq!(done.certificate, signed.certificate);
    assert!(!believed(&done.bundle(), &both.certificate, late));
    assert!(next(Ok(done), None, &at(late), everywhere).unwrap().is_none());
}

#[test]
fn every_step_is_taken_up_from_the_secret_alone() {
    let start = OffsetDateTime::now_utc();
    let (mut now, mut steps) = (start, 0);
    let mut secret = Material::new(&at(now).names, at(now).lifetimes, now).unwrap().to_secret();
    let mut authorities = std::collections::BTreeSet::new();
    // The leader crashes after every step, over several lifetimes of a CA.
    while now < start + Duration::seconds(1500) {
        let read = Material::from_secret(&secret).unwrap();
        assert!(believed(&read.bundle(), &read.certificate, now), "after {steps} steps");
        let seen = Seen { settled: true, everywhere: true };
        if let Some(written) = next(Ok(read), None, &at(now), seen).unwrap() {
            secret = written.to_secret();
            authorities.insert(written.authority.certificate);
            steps += 1;
        }
        now += Duration::seconds(1);
    }
    assert!(authorities.len() >= 6, "{} authorities in {steps} steps", authorities.len());
}

#[test]
fn a_secret_that_is_gone_is_made_anew_beside_what_is_served() {
    let now = OffsetDateTime::now_utc();
    let last = Material::new(&at(now).names, at(now).lifetimes, now).unwrap();
    let read = Err(MaterialError::Missing("ca.crt"));
    let new = next(read, Some(&last), &at(now), Seen::default()).unwrap().unwrap();
    assert_ne!(new.authority.certificate, last.authority.certificate);
    assert!(believed(&new.bundle(), &last.certificate, now));
    assert!(believed(&new.bundle(), &new.certificate, now));
    // Certificates that have ended are not kept.
    let late = now + Duration::seconds(301);
    let read = Err(MaterialError::Missing("ca.crt"));
    let new = next(read, Some(&last), &at(late), Seen::default()).unwrap().unwrap();
    assert_eq!(new.bundle(), new.authority.certificate);
}

#[test]
fn what_ended_while_nobody_looked_is_replaced_at_once() {
    let start = OffsetDateTime::now_utc();
    let old = Material::new(&at(start).names, at(start).lifetimes, start).unwrap();
    let due = start + Duration::seconds(201);
    let both = next(Ok(old.clone()), None, &at(due), Seen::default()).unwrap().unwrap();
    let late = start + Duration::seconds(301);
    let signed = next(Ok(both), None, &at(late), Seen::default()).unwrap().unwrap();
    assert!(believed(&signed.bundle(), &signed.certificate, late));
    let new = next(Ok(old), None, &at(late), Seen::default()).unwrap().unwrap();
    assert!(believed(&new.bundle(), &new.certificate, late));
}

#[test]
fn a_certificate_that_was_taken_out_comes_back_under_the_same_authority() {
    let now = OffsetDateTime::now_utc();
    let old = Material::new(&at(now).names, at(now).lifetimes, now).unwrap();
    let mut data = old.to_secret();
    data.remove("tls.crt");
    let new = next(Material::from_secret(&data), None, &at(now), Seen::default()).unwrap().unwrap();
    assert_eq!(new.bundle(), old.bundle());
    assert!(believed(&old.bundle(), &new.certificate, now));
}
