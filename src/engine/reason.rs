//! Every reason that a decision can give: a code that stays, and a sentence.

use super::Step;

/// Why something was done, left or refused.
///
/// The code is the same in logs, metrics, warnings and denials. The sentence names the object, the field or
/// annotation, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    // What ends a decision without an injection.
    /// The namespace is never injected.
    #[error("namespace {namespace:?} is never injected")]
    NamespaceExcluded {
        /// The namespace.
        namespace: String,
    },
    /// A mirror pod is a kubelet's static pod.
    #[error("a mirror pod is the image of a static pod; only its node's files can change it")]
    MirrorPod,
    /// The pod's label says no.
    #[error("the label outrigger.dev/inject=disabled on the pod")]
    DisabledByPod,
    /// The namespace's label says no.
    #[error("the label outrigger.dev/inject=disabled on namespace {namespace:?}")]
    DisabledByNamespace {
        /// The namespace.
        namespace: String,
    },
    /// Neither pod nor namespace asks for injection.
    #[error("neither the pod nor namespace {namespace:?} carries the label outrigger.dev/inject=enabled")]
    NamespaceNotEnabled {
        /// The namespace.
        namespace: String,
    },
    /// Nobody chose a profile.
    #[error(
        "no profile is chosen: neither the pod nor namespace {namespace:?} names one in the annotation outrigger.dev/profiles, and none matches by itself"
    )]
    NoProfileChosen {
        /// The namespace.
        namespace: String,
    },

    // What a pod, a namespace or a profile did wrongly.
    /// The pod is not shaped like a pod.
    #[error("the pod's {field} is malformed: {problem}")]
    MalformedPod {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The pod's label has another value than the two.
    #[error("the label outrigger.dev/inject={value:?} on the pod must be \"enabled\" or \"disabled\"")]
    InvalidInjectLabel {
        /// The value.
        value: String,
    },
    /// The annotation `outrigger.dev/profiles` cannot be read.
    #[error("annotation outrigger.dev/profiles {place}: {problem}")]
    InvalidChoice {
        /// Whose annotation.
        place: ChoicePlace,
        /// What is wrong with it.
        problem: String,
    },
    /// A chosen name means no profile here.
    #[error("profile {name:?} (annotation outrigger.dev/profiles {place}) does not exist in namespace {namespace:?}{}", hint(probably.as_deref()))]
    ProfileNotFound {
        /// The name.
        name: String,
        /// Whose annotation.
        place: ChoicePlace,
        /// The pod's namespace.
        namespace: String,
        /// What was probably meant.
        probably: Option<String>,
    },
    /// A chosen profile exists and cannot be injected.
    #[error("profile {name:?} (annotation outrigger.dev/profiles {place}) cannot be injected: {finding}")]
    ProfileInvalid {
        /// The profile.
        name: String,
        /// Whose annotation.
        place: ChoicePlace,
        /// The first thing that is wrong with it.
        finding: String,
    },
    /// The pod is on the node's network, and the profile denies such pods.
    #[error("profile {profile:?} refuses pods with hostNetwork: true")]
    HostNetworkDenied {
        /// The profile.
        profile: String,
    },
    /// The order that profiles ask for goes round in a circle.
    #[error("the profiles' order is a cycle: {}", path.join(" → "))]
    OrderCycle {
        /// The cycle; the first name is repeated at its end.
        path: Vec<String>,
    },
    /// A container of the name is there already.
    #[error("profile {profile:?} adds a container {container:?}, but {owner} has {list} of that name")]
    ContainerNameTaken {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// Who has it: `the pod` or another profile.
        owner: Owner,
        /// What it is there.
        list: &'static str,
    },
    /// Another volume of the name is there already.
    #[error("profile {profile:?} adds a volume {volume:?}, but {owner} has a different volume of that name")]
    VolumeConflict {
        /// The profile.
        profile: String,
        /// The volume.
        volume: String,
        /// Who has it.
        owner: Owner,
    },
    /// Something else is mounted there already.
    #[error(
        "profile {profile:?} mounts a volume at {path:?} in container {container:?}, but {owner} mounts another one there"
    )]
    MountConflict {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The mount path.
        path: String,
        /// Who mounts it.
        owner: Owner,
    },
    /// An earlier profile sets the same variable, label or annotation to something else.
    #[error("profile {profile:?} sets {what} in {place}, but {owner} sets it to something else")]
    ValueConflict {
        /// The profile.
        profile: String,
        /// The key.
        what: String,
        /// The list or map.
        place: String,
        /// Who set it.
        owner: Owner,
    },

    // Warnings.
    /// The namespace's label has another value than the two.
    #[error(
        "the label outrigger.dev/inject={value:?} on namespace {namespace:?} is neither \"enabled\" nor \"disabled\" and counts as not set"
    )]
    InvalidNamespaceLabel {
        /// The value.
        value: String,
        /// The namespace.
        namespace: String,
    },
    /// The annotation `outrigger.dev/status` cannot be read.
    #[error(
        "the annotation outrigger.dev/status on the pod cannot be read and is written anew; remove it from the manifest"
    )]
    StatusMalformed,
    /// A profile was left out, as its `onError` says.
    #[error("profile {profile:?} was left out (onError: Ignore): {cause}")]
    ProfileLeftOut {
        /// The profile.
        profile: String,
        /// Why.
        cause: Box<Reason>,
    },
    /// An element was left out, as `onConflict` says.
    #[error("left as it is (onConflict: Skip): {cause}")]
    ConflictSkipped {
        /// Why.
        cause: Box<Reason>,
    },

    // What was done.
    /// The pod's label says yes.
    #[error("enabled by the label outrigger.dev/inject=enabled on the pod")]
    EnabledByPod,
    /// The namespace's label says yes.
    #[error("enabled by the label outrigger.dev/inject=enabled on namespace {namespace:?}")]
    EnabledByNamespace {
        /// The namespace.
        namespace: String,
    },
    /// A profile matches the pod by itself.
    #[error("profile {profile:?} matches by itself: {selectors}")]
    Matched {
        /// The profile.
        profile: String,
        /// What of it matched.
        selectors: String,
    },
    /// A profile was chosen.
    #[error("profile {profile:?} is chosen by the annotation outrigger.dev/profiles {place}")]
    Chosen {
        /// The profile.
        profile: String,
        /// Whose annotation.
        place: ChoicePlace,
    },
    /// The pod took a profile of the namespace's default away.
    #[error("profile {profile:?} is taken away by the annotation outrigger.dev/profiles on the pod")]
    TakenAway {
        /// The profile.
        profile: String,
    },
    /// The pod's own choice replaced the namespace's default.
    #[error("profile {profile:?} is the namespace's default, replaced by the pod's own choice")]
    ReplacedByPod {
        /// The profile.
        profile: String,
    },
    /// The profile leaves pods on the node's network alone.
    #[error("profile {profile:?} is not injected into pods with hostNetwork: true (its hostNetwork is Skip)")]
    HostNetworkSkipped {
        /// The profile.
        profile: String,
    },
    /// The profile is for another operating system.
    #[error("profile {profile:?} is for {wanted} pods; this one is for {os}")]
    OsMismatch {
        /// The profile.
        profile: String,
        /// The profile's.
        wanted: String,
        /// The pod's.
        os: String,
    },
    /// The start order of several profiles.
    #[error("start order: {}", profiles.join(" → "))]
    Ordered {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// What an earlier injection added was taken away before the decision.
    #[error("the pod was injected before, with {profiles}; the decision starts from what its author wrote", profiles = profiles.join(", "))]
    InjectedBefore {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// An element was added.
    #[error("{profile}: adds {what} to {place}")]
    Added {
        /// The profile.
        profile: String,
        /// The element's key.
        what: String,
        /// The list or map.
        place: String,
    },
    /// The pod's own element stays.
    #[error("{profile}: leaves {what} in {place}, which {owner} sets")]
    Kept {
        /// The profile.
        profile: String,
        /// The element's key.
        what: String,
        /// The list or map.
        place: String,
        /// Who set it.
        owner: Owner,
    },
    /// An identical element is there already.
    #[error("{profile}: shares {what} in {place}, which is the same")]
    Shared {
        /// The profile.
        profile: String,
        /// The element's key.
        what: String,
        /// The list or map.
        place: String,
    },
    /// Profiles were injected.
    #[error("injected: {}", profiles.join(", "))]
    Injected {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// The pod already has all of it.
    #[error("already injected: {}", profiles.join(", "))]
    AlreadyInjected {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// Every chosen profile was left out.
    #[error("every chosen profile was left out")]
    NothingLeft,
}

/// Whose annotation made a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoicePlace {
    /// The pod's.
    Pod,
    /// The namespace's.
    Namespace(String),
}

impl std::fmt::Display for ChoicePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod => f.write_str("on the pod"),
            Self::Namespace(name) => write!(f, "on namespace {name:?}"),
        }
    }
}

/// Who put an element into the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The pod's author.
    Pod,
    /// An earlier profile.
    Profile(String),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod => f.write_str("the pod"),
            Self::Profile(name) => write!(f, "profile {name:?}"),
        }
    }
}

/// How much a reason matters to the person who creates the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was done.
    Info,
    /// The pod is admitted, but not quite as was meant.
    Warning,
    /// It ends the decision without an injection.
    Skip,
    /// It ends the decision with a refusal.
    Denial,
}

impl Reason {
    /// The stable code, in `CamelCase` as Kubernetes' condition reasons are.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NamespaceExcluded { .. } => "NamespaceExcluded",
            Self::MirrorPod => "MirrorPod",
            Self::DisabledByPod => "DisabledByPod",
            Self::DisabledByNamespace { .. } => "DisabledByNamespace",
            Self::NamespaceNotEnabled { .. } => "NamespaceNotEnabled",
            Self::NoProfileChosen { .. } => "NoProfileChosen",
            Self::NothingLeft => "NothingLeft",
            Self::MalformedPod { .. } => "MalformedPod",
            Self::InvalidInjectLabel { .. } => "InvalidInjectLabel",
            Self::InvalidChoice { .. } => "InvalidChoice",
            Self::ProfileNotFound { .. } => "ProfileNotFound",
            Self::ProfileInvalid { .. } => "ProfileInvalid",
            Self::HostNetworkDenied { .. } => "HostNetworkDenied",
            Self::OrderCycle { .. } => "OrderCycle",
            Self::ContainerNameTaken { .. } => "ContainerNameTaken",
            Self::VolumeConflict { .. } => "VolumeConflict",
            Self::MountConflict { .. } => "MountConflict",
            Self::ValueConflict { .. } => "ValueConflict",
            Self::InvalidNamespaceLabel { .. } => "InvalidNamespaceLabel",
            Self::StatusMalformed => "StatusMalformed",
            Self::ProfileLeftOut { .. } => "ProfileLeftOut",
            Self::ConflictSkipped { .. } => "ConflictSkipped",
            Self::EnabledByPod => "EnabledByPod",
            Self::EnabledByNamespace { .. } => "EnabledByNamespace",
            Self::Chosen { .. } => "Chosen",
            Self::Matched { .. } => "Matched",
            Self::TakenAway { .. } => "TakenAway",
            Self::ReplacedByPod { .. } => "ReplacedByPod",
            Self::HostNetworkSkipped { .. } => "HostNetworkSkipped",
            Self::OsMismatch { .. } => "OsMismatch",
            Self::Ordered { .. } => "Ordered",
            Self::InjectedBefore { .. } => "InjectedBefore",
            Self::Added { .. } => "Added",
            Self::Kept { .. } => "Kept",
            Self::Shared { .. } => "Shared",
            Self::Injected { .. } => "Injected",
            Self::AlreadyInjected { .. } => "AlreadyInjected",
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::NamespaceExcluded { .. }
            | Self::MirrorPod
            | Self::DisabledByPod
            | Self::DisabledByNamespace { .. }
            | Self::NamespaceNotEnabled { .. }
            | Self::NoProfileChosen { .. }
            | Self::NothingLeft => Level::Skip,
            Self::MalformedPod { .. }
            | Self::InvalidInjectLabel { .. }
            | Self::InvalidChoice { .. }
            | Self::ProfileNotFound { .. }
            | Self::ProfileInvalid { .. }
            | Self::HostNetworkDenied { .. }
            | Self::OrderCycle { .. }
            | Self::ContainerNameTaken { .. }
            | Self::VolumeConflict { .. }
            | Self::MountConflict { .. }
            | Self::ValueConflict { .. } => Level::Denial,
            Self::InvalidNamespaceLabel { .. }
            | Self::StatusMalformed
            | Self::ProfileLeftOut { .. }
            | Self::ConflictSkipped { .. }
            | Self::HostNetworkSkipped { .. } => Level::Warning,
            _ => Level::Info,
        }
    }

    pub(super) fn step(&self) -> Step {
        match self {
            Self::MalformedPod { .. } | Self::StatusMalformed | Self::InjectedBefore { .. } => Step::Read,
            Self::NamespaceExcluded { .. } | Self::MirrorPod => Step::Exclude,
            Self::DisabledByPod
            | Self::DisabledByNamespace { .. }
            | Self::NamespaceNotEnabled { .. }
            | Self::InvalidInjectLabel { .. }
            | Self::InvalidNamespaceLabel { .. }
            | Self::EnabledByPod
            | Self::EnabledByNamespace { .. } => Step::Enable,
            Self::OrderCycle { .. } | Self::Ordered { .. } => Step::Order,
            Self::ContainerNameTaken { .. }
            | Self::VolumeConflict { .. }
            | Self::MountConflict { .. }
            | Self::ValueConflict { .. }
            | Self::ConflictSkipped { .. }
            | Self::Added { .. }
            | Self::Kept { .. }
            | Self::Shared { .. }
            | Self::NothingLeft => Step::Merge,
            Self::Injected { .. } | Self::AlreadyInjected { .. } => Step::Patch,
            _ => Step::Choose,
        }
    }
}

fn hint(probably: Option<&str>) -> String {
    probably.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}
