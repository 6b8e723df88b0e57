//! The cases: a request body, and the state of the server.

use std::fmt;
use std::sync::Arc;

use outrigger::cluster::Snapshot;
use outrigger::engine::Namespace;
use outrigger::profiles::ProfileSet;
use outrigger::webhook::{State, WebhookEntry, answer};
use serde_json::Value;

use crate::profiles::{beside, catalogue, five, into_containers, plain, thousand, three};
use crate::reviews;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Ordinary,
    Catalogue,
    FiveProfiles,
    ThreeProfiles,
    ThreeOfThousand,
    LargeBeside,
    LargeInto,
    ManagedBeside,
    ManagedInto,
}

impl Case {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ordinary,
        Self::Catalogue,
        Self::FiveProfiles,
        Self::ThreeProfiles,
        Self::ThreeOfThousand,
        Self::LargeBeside,
        Self::LargeInto,
        Self::ManagedBeside,
        Self::ManagedInto,
    ];

    pub(crate) fn body(self) -> Vec<u8> {
        let text = match self {
            Self::LargeBeside | Self::LargeInto => reviews::large(),
            Self::ManagedBeside | Self::ManagedInto => reviews::large_and_managed(),
            _ => reviews::ORDINARY.to_owned(),
        };
        text.into_bytes()
    }

    fn profiles(self) -> ProfileSet {
        match self {
            Self::Ordinary => plain(),
            Self::Catalogue => catalogue(),
            Self::FiveProfiles => five(),
            Self::ThreeProfiles => three(),
            Self::ThreeOfThousand => thousand(),
            Self::LargeBeside | Self::ManagedBeside => beside(),
            Self::LargeInto | Self::ManagedInto => into_containers(),
        }
    }

    pub(crate) fn state(self) -> State {
        let mut namespace = Namespace { name: "shop".to_owned(), ..Namespace::default() };
        let labels = [
            ("kubernetes.io/metadata.name", "shop"),
            ("outrigger.dev/inject", "enabled"),
            ("logging", "shipped"),
            ("team", "shop"),
        ];
        namespace.labels = labels.into();
        // In the other cases, the profiles match without a selection.
        if !matches!(self, Self::FiveProfiles | Self::ThreeProfiles | Self::ThreeOfThousand) {
            namespace.annotations = [("outrigger.dev/profiles", "log-shipper")].into();
        }
        let snapshot = Snapshot {
            profiles: Arc::new(self.profiles()),
            namespaces: [("shop".to_owned(), Arc::new(namespace))].into(),
            ..Snapshot::default()
        };
        State::fixed(snapshot)
    }

    /// Checks that the case has the expected size and response.
    pub(crate) fn check(self) {
        let (body, size) = (self.body(), self.body().len());
        let expected = match self {
            Self::LargeBeside | Self::LargeInto => 94_000..96_000,
            Self::ManagedBeside | Self::ManagedInto => 229_000..232_000,
            _ => 8_000..8_500,
        };
        assert!(expected.contains(&size), "{self} has {size} bytes");
        let reply = answer(&self.state(), WebhookEntry::Namespace, &body).expect("no lookup is needed");
        let text = String::from_utf8(reply.body).expect("the answer is text");
        let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
        assert_eq!(answer["response"]["allowed"], true, "{text}");
        assert_eq!(answer["response"]["patchType"], "JSONPatch", "{text}");
        // Both containers of the large pods set a variable of the profile themselves.
        let kept = if matches!(self, Self::LargeInto | Self::ManagedInto) { 2 } else { 0 };
        let warnings = answer["response"]["warnings"].as_array().map_or(&[][..], Vec::as_slice);
        let is_kept = |warning: &Value| warning.as_str().is_some_and(|text| text.ends_with("[VariableKept]"));
        assert!(warnings.len() == kept && warnings.iter().all(is_kept), "{text}");
        let expected = match self {
            Self::FiveProfiles => 5,
            Self::ThreeProfiles | Self::ThreeOfThousand => 3,
            _ => 1,
        };
        assert_eq!(sidecars(&answer), expected, "{text}");
    }
}

/// Returns the number of native sidecars that a response adds.
fn sidecars(answer: &Value) -> usize {
    use base64::Engine as _;
    let patch = answer["response"]["patch"].as_str().expect("there is a patch");
    let bytes = base64::engine::general_purpose::STANDARD.decode(patch).expect("the patch is base64");
    String::from_utf8_lossy(&bytes).matches(r#""restartPolicy":"Always""#).count()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordinary => "ordinary",
            Self::Catalogue => "catalogue",
            Self::FiveProfiles => "five-profiles",
            Self::ThreeProfiles => "three-profiles",
            Self::ThreeOfThousand => "three-of-1000",
            Self::LargeBeside => "95-KB-beside",
            Self::LargeInto => "95-KB-into",
            Self::ManagedBeside => "230-KB-beside",
            Self::ManagedInto => "230-KB-into",
        })
    }
}
