//! The request bodies: an ordinary review of the API server for a Deployment's pod, and large ones derived from it.

use std::fmt::Write as _;

/// Two containers, a token volume, `managedFields` of the controller that created it.
pub(crate) const ORDINARY: &str = include_str!("../reviews/ordinary.json");

/// Number of additional settings in the first container of a large pod.
const SETTINGS: usize = 2000;

/// A pod with 2,000 settings, without `managedFields`: about 95 KB.
pub(crate) fn large() -> String {
    let managed = ORDINARY.find(",\"managedFields\":").expect("there are managedFields");
    let spec = ORDINARY.find("},\"spec\":").expect("there is a spec");
    let without = format!("{}{}", &ORDINARY[..managed], &ORDINARY[spec..]);
    with_settings(&without)
}

/// The same with `managedFields`, which name every setting: about 230 KB.
pub(crate) fn large_and_managed() -> String {
    let mut managed = String::new();
    for index in 0..SETTINGS {
        write!(
            managed,
            r#","k:{{\"name\":\"SETTING_{index:04}\"}}":{{".":{{}},"f:name":{{}},"f:value":{{}}}}"#
        )
        .expect("a string takes everything");
    }
    let last = r#""f:valueFrom":{".":{},"f:secretKeyRef":{}}}"#;
    with_settings(&insert_after(ORDINARY, last, &managed))
}

fn with_settings(review: &str) -> String {
    let mut settings = String::new();
    for index in 0..SETTINGS {
        write!(settings, r#",{{"name":"SETTING_{index:04}","value":"value-{index:04}"}}"#)
            .expect("a string takes everything");
    }
    let last = r#"{"secretKeyRef":{"name":"checkout-db","key":"password"}}}"#;
    insert_after(review, last, &settings)
}

fn insert_after(text: &str, part: &str, more: &str) -> String {
    let at = text.find(part).expect("the ordinary review has the part") + part.len();
    format!("{}{more}{}", &text[..at], &text[at..])
}
