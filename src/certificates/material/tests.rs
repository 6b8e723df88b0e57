use time::Duration;

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

    // A shorter lifetime also applies to existing certificates; a longer one does not.
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
    let unsigning = Material::from_secret(&data).unwrap();
    assert!(!unsigning.authority.is_usable(now), "it signs nothing");
    assert_eq!(unsigning.bundle(), good.bundle(), "what it signed is still trusted");
    assert!(matches!(Material::from_secret(&BTreeMap::new()), Err(MaterialError::Missing(_))));
    let broken = Material { certificate: "nonsense".to_owned(), ..good };
    let unreadable = broken.check_certificate(&names(), LIVES, now);
    assert!(matches!(unreadable, Err(MaterialError::Unreadable { .. })));
    assert_eq!(format!("{broken:?}"), "Material { .. }");
}

#[test]
fn what_cannot_be_read_counts_as_missing_and_is_named() {
    let now = OffsetDateTime::now_utc();
    let (good, other) =
        (Material::new(&names(), LIVES, now).unwrap(), Material::new(&names(), LIVES, now).unwrap());
    let with = |key: &str, text: &str| {
        let mut data = good.to_secret();
        data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        let (material, problems) = Material::read(&data);
        (material, problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    for (key, text, said) in [
        ("ca.crt", "none", "ca.crt cannot be read: it holds no certificate"),
        ("ca.crt", good.certificate.as_str(), "ca.crt cannot be read: it is no certificate authority"),
        ("ca.key", "none", "ca.key cannot be read: "),
        ("ca.key", &other.authority.key, "ca.key cannot be read: it does not belong to the certificate"),
        ("next-ca.crt", "none", "next-ca.crt cannot be read: it holds no certificate"),
        ("previous-ca.crt", "none", "previous-ca.crt cannot be read: it holds no certificate"),
        ("tls.crt", "none", "tls.crt cannot be read: "),
        ("tls.key", "none", "tls.key cannot be read: "),
        ("tls.key", &other.key, "tls.key cannot be read: the serving key does not belong to the certificate"),
    ] {
        let (material, problems) = with(key, text);
        assert!(problems.len() == 1 && problems[0].starts_with(said), "{key}: {problems:?}");
        assert_eq!(material.is_none(), key == "ca.crt");
        if let Some(material) = material {
            assert_eq!(material.bundle(), good.bundle(), "{key}");
            assert_eq!(material.certificate.is_empty(), key.starts_with("tls"), "{key}");
        }
    }
    // Text around a certificate is not published.
    let (material, problems) =
        with("ca.crt", &format!("some text\n{}more", good.authority.certificate.replace('\n', "\r\n")));
    assert_eq!((material.unwrap().bundle(), problems.len()), (good.bundle(), 0));
}
