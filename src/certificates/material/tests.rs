use super::*;

const LIVES: Lifetimes = Lifetimes::DEFAULT;

fn names() -> Vec<String> {
    vec!["outrigger.outrigger-system.svc".to_owned()]
}

#[test]
fn what_is_made_is_good_and_reads_back() {
    let now = OffsetDateTime::now_utc();
    let mut material = Material::new(&names(), LIVES, now).unwrap();
    material.authority.check(LIVES, now).unwrap();
    material.check_certificate(&names(), LIVES, now).unwrap();
    assert_eq!(Material::from_secret(&material.to_secret()).unwrap(), material);
    assert!(
        end_of(&material.authority.certificate).unwrap() > end_of(&material.certificate).unwrap()
            && end_of(&material.certificate).unwrap() > now.unix_timestamp()
    );
    material.next = Some(Authority::new(LIVES, now).unwrap());
    material.previous = Authority::new(LIVES, now).unwrap().certificate;
    assert_eq!(Material::from_secret(&material.to_secret()).unwrap(), material);
    assert_eq!(material.bundle().matches("BEGIN CERTIFICATE").count(), 3);
}

#[test]
fn keys_are_of_the_curve_p_256() {
    let material = Material::new(&names(), LIVES, OffsetDateTime::now_utc()).unwrap();
    for certificate in [&material.authority.certificate, &material.certificate] {
        with_certificate(CERTIFICATE, certificate, |read| {
            let algorithm = &read.public_key().algorithm;
            assert_eq!(algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
            let curve = algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
            assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
            assert_eq!(read.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_renewal_keeps_the_authority_and_comes_with_a_third_of_the_life_left() {
    let now = OffsetDateTime::now_utc();
    let old = Material::new(&names(), LIVES, now).unwrap();
    old.check_certificate(&names(), LIVES, now + Duration::days(59)).unwrap();
    let late = now + Duration::days(61);
    assert!(matches!(old.check_certificate(&names(), LIVES, late), Err(MaterialError::Ends { .. })));
    let new = old.renewed(&names(), LIVES, late).unwrap();
    new.check_certificate(&names(), LIVES, late).unwrap();
    assert_eq!(new.authority.certificate, old.authority.certificate);
    assert_ne!(new.key, old.key);

    // A life that is made shorter holds for the certificates that are there, a longer one does not.
    let shorter = Lifetimes::from_seconds(3600, 600);
    assert!(old.check_certificate(&names(), shorter, now + Duration::minutes(7)).is_err());
    let longer = Lifetimes::from_seconds(36_000, 6000);
    let short = Material::new(&names(), shorter, now).unwrap();
    short.check_certificate(&names(), longer, now + Duration::minutes(6)).unwrap();
    assert!(short.check_certificate(&names(), longer, now + Duration::minutes(7)).is_err());
}

#[test]
fn a_certificate_ends_with_its_authority() {
    let now = OffsetDateTime::now_utc();
    let old = Material::new(&names(), Lifetimes::from_seconds(100, 50), now).unwrap();
    let new = old.renewed(&names(), Lifetimes::from_seconds(100, 50), now + Duration::seconds(80)).unwrap();
    assert_eq!(end_of(&new.certificate).unwrap(), end_of(&old.authority.certificate).unwrap());
}

#[test]
fn what_is_wrong_is_said() {
    let now = OffsetDateTime::now_utc();
    let good = Material::new(&names(), LIVES, now).unwrap();
    let other_name = good.check_certificate(&["other.svc".to_owned()], LIVES, now);
    assert!(matches!(other_name, Err(MaterialError::OtherName(_))));
    let other = Material::new(&names(), LIVES, now).unwrap();
    let mixed = Material { authority: other.authority.clone(), ..good.clone() };
    assert!(matches!(mixed.check_certificate(&names(), LIVES, now), Err(MaterialError::NotSigned(_))));
    let mut data = good.to_secret();
    data.remove("ca.key");
    assert!(matches!(Material::from_secret(&data), Err(MaterialError::Missing("ca.key"))));
    assert!(matches!(Material::from_secret(&BTreeMap::new()), Err(MaterialError::Missing(_))));
    let broken = Material { certificate: "nonsense".to_owned(), ..good };
    let unreadable = broken.check_certificate(&names(), LIVES, now);
    assert!(matches!(unreadable, Err(MaterialError::Unreadable { .. })));
    assert_eq!(format!("{broken:?}"), "Material { .. }");
}
