//! Reasons of decisions: each has a stable code and a sentence.

mod facts;

use super::cost::Cost;
use super::step::Step;
use crate::profiles::Failed;

/// Reason for an effect, an omission or a denial.
///
/// The code is the same in logs, metrics, warnings and denials. The sentence names the object, the field or
/// annotation, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all_fields = "camelCase")]
pub enum Reason {
    // Decisions that end without an injection.
    /// The namespace is never injected.
    #[error("namespace {namespace:?} is never injected")]
    NamespaceExcluded {
        /// The namespace.
        namespace: String,
    },
    /// A mirror pod is a kubelet's static pod.
    #[error("a mirror pod is the image of a static pod; only its node's files can change it")]
    MirrorPod,
    /// The pod's label disables injection.
    #[error("the label outrigger.dev/inject=disabled on the pod")]
    DisabledByPod,
    /// The namespace's label disables injection.
    #[error("the label outrigger.dev/inject=disabled on namespace {namespace:?}")]
    DisabledByNamespace {
        /// The namespace.
        namespace: String,
    },
    /// Neither the pod nor the namespace enables injection.
    #[error("neither the pod nor namespace {namespace:?} carries the label outrigger.dev/inject=enabled")]
    NamespaceNotEnabled {
        /// The namespace.
        namespace: String,
    },
    /// No profile is chosen.
    #[error(
        "no profile is chosen: neither the pod nor namespace {namespace:?} names one in the annotation outrigger.dev/profiles, and none matches by itself"
    )]
    NoProfileChosen {
        /// The namespace.
        namespace: String,
    },

    // Errors in a pod, a namespace or a profile.
    /// Several problems at once. The code is that of the first.
    #[error("{first}; {}", others.iter().map(|other| format!("{other} [{}]", other.code())).collect::<Vec<_>>().join("; "))]
    Several {
        /// The first one.
        first: Box<Reason>,
        /// The others.
        others: Vec<Reason>,
    },
    /// The submitted object does not have the shape of a pod.
    #[error("the pod's {field} is malformed: {problem}")]
    MalformedPod {
        /// The field.
        field: String,
        /// The error.
        problem: &'static str,
    },
    /// The pod's label has an unknown value.
    #[error("the label outrigger.dev/inject={value:?} on the pod must be \"enabled\" or \"disabled\"")]
    InvalidInjectLabel {
        /// The value.
        value: String,
    },
    /// The annotation `outrigger.dev/profiles` cannot be read.
    #[error("{place}: {problem}")]
    InvalidChoice {
        /// The source of the choice.
        place: ChoicePlace,
        /// The error.
        problem: String,
    },
    /// A chosen profile does not exist.
    #[error("profile {name:?} ({place}) does not exist in namespace {namespace:?}{}", hint(probably.as_deref()))]
    ProfileNotFound {
        /// The name.
        name: String,
        /// The source of the choice.
        place: ChoicePlace,
        /// The pod's namespace.
        namespace: String,
        /// The closest known name.
        probably: Option<String>,
    },
    /// A chosen profile exists, but cannot be injected.
    #[error("profile {name:?} ({place}) cannot be injected: {finding}")]
    ProfileInvalid {
        /// The profile.
        name: String,
        /// The source of the choice.
        place: ChoicePlace,
        /// The first error of its spec.
        finding: String,
    },
    /// The pod is on the node's network, and the profile denies such pods.
    #[error("profile {profile:?} refuses pods with hostNetwork: true")]
    HostNetworkDenied {
        /// The profile.
        profile: String,
    },
    /// The order rules of profiles form a cycle.
    #[error("the profiles' order is a cycle: {}", path.join(" → "))]
    OrderCycle {
        /// The cycle; the first name is repeated at its end.
        path: Vec<String>,
    },
    /// An Optional profile wants to start before a Mandatory one.
    #[error(
        "profile {profile:?} has order.before {mandatory:?}, which is Mandatory and starts first; remove {mandatory:?} from order.before, or let {mandatory:?} say order.after {profile:?}"
    )]
    OrderOverruled {
        /// The Optional profile.
        profile: String,
        /// The Mandatory profile, or one that a Mandatory profile requires.
        mandatory: String,
    },
    /// The name of a container is already in use.
    #[error("profile {profile:?} adds a container {container:?}, but {owner} has {list} of that name")]
    ContainerNameTaken {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The owner of the other container: `the pod` or another profile.
        owner: Owner,
        /// The kind of the other container.
        list: &'static str,
    },
    /// A different volume of the name already exists.
    #[error("profile {profile:?} adds a volume {volume:?}, but {owner} has a different volume of that name")]
    VolumeConflict {
        /// The profile.
        profile: String,
        /// The volume.
        volume: String,
        /// The owner of the other one.
        owner: Owner,
    },
    /// A different volume is already mounted at the path.
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
        /// The owner of the other mount.
        owner: Owner,
    },
    /// A mount of the profile and another mount of the container are nested.
    #[error(
        "profile {profile:?} mounts a volume at {path:?} in container {container:?}, where {owner} has a mount, too: {inner:?} hides that folder of the volume at {outer:?}; mount one of the two elsewhere, or the same volume at both"
    )]
    MountNested {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The profile's mount path.
        path: String,
        /// The owner of the other mount.
        owner: Owner,
        /// The path of the mount that lies within the other.
        inner: String,
        /// The path of the mount around it.
        outer: String,
    },
    /// The pod's own variable overrides the profile's.
    #[error(
        "container {container:?} sets the variable {variable} itself, so the value of profile {profile:?} is not used there; remove it from the container, or include the profile's value in it"
    )]
    VariableKept {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The variable.
        variable: String,
    },
    /// A variable cannot both follow the variable that it reads and precede the one that reads it.
    #[error(
        "container {container:?}: {reader} reads $({variable}) of profile {profile:?}, which itself reads $({read}); {read} stands after {reader}, so {reader} gets the text $({variable}); move {read} before {reader}"
    )]
    VariableOrder {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The profile's variable.
        variable: String,
        /// The variable that reads it.
        reader: String,
        /// The variable that it reads.
        read: String,
    },
    /// The pod's `envFrom` may set a variable that the profile sets.
    #[error(
        "profile {profile:?} sets {} in container {container:?}, and would beat the same variable of the container's envFrom ({}), which cannot be read here; write it into the container's env if the pod's value is to count",
        variables.join(", "), sources.join(", ")
    )]
    EnvFromOverridden {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The variables.
        variables: Vec<String>,
        /// The sources: a `ConfigMap` or `Secret` each.
        sources: Vec<String>,
    },
    /// An earlier profile sets the same variable, label or annotation to a different value.
    #[error("profile {profile:?} sets {what} in {place}, but {owner} sets it to something else")]
    ValueConflict {
        /// The profile.
        profile: String,
        /// The key.
        what: String,
        /// The list or map.
        place: String,
        /// The source of the value.
        owner: Owner,
    },

    /// Injected elements were changed later, and are rendered again.
    #[error(
        "{} of profile {profile:?} was changed after its injection, and is rendered anew; have the webhook that changes it run after Outrigger, or write the change into the profile",
        elements.join(", ")
    )]
    RenderedAnew {
        /// The profile.
        profile: String,
        /// The elements, each with its list.
        elements: Vec<String>,
    },
    /// An init container of the pod preceded a profile's, and follows it now.
    #[error(
        "init container {container:?} stood before {own:?} of profile {profile:?}, which goes to the front, and now starts behind it; have the webhook that adds it run after Outrigger, or set order.position: Last in the profile"
    )]
    MovedBehind {
        /// The profile.
        profile: String,
        /// The profile's container.
        own: String,
        /// The other container.
        container: String,
    },
    /// The profile no longer adds some elements of an earlier injection.
    #[error(
        "{} stayed in the pod from an earlier injection: profile {profile:?} does not add it now; create the pod from its original manifest, or remove it there",
        elements.join(", ")
    )]
    Leftover {
        /// The profile.
        profile: String,
        /// The elements, each with its list.
        elements: Vec<String>,
    },
    /// The pod removes a profile that another chosen profile requires.
    #[error(
        "annotation outrigger.dev/profiles on the pod: it removes profile {profile:?}, which profile {by:?} requires; remove {by:?} as well"
    )]
    RequiredTakenAway {
        /// The removed profile.
        profile: String,
        /// The profile that requires it.
        by: String,
    },
    /// A required profile does not exist.
    #[error("profile {profile:?} requires profile {required:?}, which does not exist in namespace {namespace:?}{}", hint(probably.as_deref()))]
    RequiredNotFound {
        /// The profile.
        profile: String,
        /// The required profile.
        required: String,
        /// The pod's namespace.
        namespace: String,
        /// The closest known name.
        probably: Option<String>,
    },
    /// A required profile exists, but cannot be injected.
    #[error("profile {profile:?} requires profile {required:?}, which cannot be injected: {finding}")]
    RequiredInvalid {
        /// The profile.
        profile: String,
        /// The required profile.
        required: String,
        /// The first error of its spec.
        finding: String,
    },
    /// A required profile was rejected.
    #[error("profile {profile:?} requires profile {required:?}, which was left out: {cause}")]
    RequiredLeftOut {
        /// The profile.
        profile: String,
        /// The required profile.
        required: String,
        /// The reason why that was left out.
        cause: Box<Reason>,
    },
    /// A matching Mandatory profile cannot be injected.
    #[error("the mandatory profile {name:?} cannot be injected: {finding}")]
    MandatoryInvalid {
        /// The profile.
        name: String,
        /// The first error of its spec.
        finding: String,
    },
    /// A condition of `match` cannot be evaluated, and no other condition is false.
    #[error("profile {profile:?}: the condition {condition:?} cannot be evaluated ({failed}){}", if *mandatory { ", and the profile is mandatory" } else { ", so it does not match" })]
    ConditionFailed {
        /// The profile.
        profile: String,
        /// The condition's name.
        condition: String,
        /// The error.
        failed: Failed,
        /// `true` if the profile is Mandatory; then the reason is a denial.
        mandatory: bool,
    },
    /// A value is not of the parameter's type.
    #[error("{key}: {problem} ({place})")]
    ParameterInvalid {
        /// The annotation.
        key: String,
        /// The value and the rule.
        problem: String,
        /// The source of the value.
        place: SetBy,
    },
    /// A value is outside the parameter's bounds.
    #[error("{key}: {problem} of parameter {parameter:?} ({place})")]
    ParameterOutOfBounds {
        /// The annotation.
        key: String,
        /// The parameter.
        parameter: String,
        /// The value and the rule.
        problem: String,
        /// The source of the value.
        place: SetBy,
    },
    /// A value has the right type, but is not allowed for the parameter.
    #[error("{key}: {problem} ({place})")]
    ParameterNotAllowed {
        /// The annotation.
        key: String,
        /// The value and the rule.
        problem: String,
        /// The source of the value.
        place: SetBy,
    },
    /// The source of a value may not set the parameter.
    #[error("{key}: the parameter may be set by {by} ({place}); remove the annotation")]
    ParameterNotSettable {
        /// The annotation.
        key: String,
        /// The sources that may set it.
        by: &'static str,
        /// The source of the value.
        place: SetBy,
    },
    /// A required parameter is not set.
    #[error("profile {profile:?} needs the parameter {parameter:?}: set the annotation {key} ({by} may)")]
    ParameterMissing {
        /// The profile.
        profile: String,
        /// The parameter.
        parameter: String,
        /// The annotation that sets it.
        key: String,
        /// The sources that may set it.
        by: &'static str,
    },
    /// An expression of a profile cannot be evaluated for this pod.
    #[error("profile {profile:?}: {failed}")]
    ExpressionFailed {
        /// The profile.
        profile: String,
        /// The field and the error.
        failed: Failed,
    },
    /// The API server would reject the pod with the profile.
    #[error("with profile {profile:?} the pod is not valid: {problem}")]
    InvalidResult {
        /// The profile.
        profile: String,
        /// The API server's objection.
        problem: String,
    },
    /// The profile does not support the overlay.
    #[error("the pod's container {container:?} has image: auto, but profile {profile:?} {problem}")]
    OverlayRefused {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// The error.
        problem: &'static str,
    },
    /// No injected profile has the container of an overlay.
    #[error("container {container:?} has image: auto, and no profile that is injected has a container of that name{}", hint(probably.as_deref()))]
    ImageAuto {
        /// The container.
        container: String,
        /// The closest known name.
        probably: Option<String>,
    },
    /// A Classic sidecar never ends, so the pod would never end.
    #[error(
        "profile {profile:?} has sidecarMode: Classic, and the pod has restartPolicy: {restart_policy}; its sidecars would never let the pod end"
    )]
    ClassicRefused {
        /// The profile.
        profile: String,
        /// The pod's value.
        restart_policy: String,
    },

    /// A container outside a Mandatory profile mounts a volume of that profile.
    #[error(
        "container {container:?} mounts the volume {volume:?} of the mandatory profile {profile:?}, which only the profile itself may mount; remove the mount, or give the pod's own volume another name"
    )]
    VolumeProtected {
        /// The profile.
        profile: String,
        /// The profile's volume.
        volume: String,
        /// The container that mounts it.
        container: String,
    },
    /// A part of the pod would change the configuration of a Mandatory profile's containers.
    #[error("{what}, which belongs to the mandatory profile {profile:?}; {fix}")]
    MandatoryUndermined {
        /// The profile.
        profile: String,
        /// The part of the pod that would change it.
        what: String,
        /// The remedy.
        fix: String,
    },
    /// The finished pod lacks a part of a Mandatory profile.
    #[error(
        "the finished pod lacks a part of the mandatory profile {profile:?}: {what}; a webhook after Outrigger changed it, or the profile was changed just now; create the pod again, and look at the cluster's mutating webhooks if that does not help"
    )]
    MandatoryIncomplete {
        /// The profile.
        profile: String,
        /// The missing or changed part.
        what: String,
    },
    /// An update of a live pod changes an element of a Mandatory profile.
    #[error(
        "{what} belongs to the mandatory profile {profile:?}, and nobody changes it on a live pod; the profile's own change, and a new pod, do"
    )]
    MandatoryChanged {
        /// The profile.
        profile: String,
        /// The element that would be changed.
        what: String,
    },
    /// A user tries to enter a container of a Mandatory profile.
    #[error(
        "{what} is refused, since it belongs to the mandatory profile {profile:?}; only who may update that ClusterSidecarProfile may"
    )]
    MandatoryEntered {
        /// The profile.
        profile: String,
        /// The attempted access, with the container.
        what: String,
    },

    // Warnings.
    /// A Mandatory profile is injected although the pod or the namespace disables injection.
    #[error("profile {profile:?} is mandatory here, despite {despite}")]
    MandatoryKept {
        /// The profile.
        profile: String,
        /// The label that disables injection.
        despite: String,
    },
    /// A required profile does not apply to this pod.
    #[error(
        "profile {profile:?} is passed over: it requires profile {required:?}, which is not for pods like this one"
    )]
    RequiredSkipped {
        /// The profile.
        profile: String,
        /// The required profile.
        required: String,
    },
    /// Unknown key in Outrigger's domain.
    #[error("unknown {what} {key} on {place}{}", hint(probably.as_deref()))]
    UnknownKey {
        /// `label` or `annotation`.
        what: &'static str,
        /// The key.
        key: String,
        /// The object with the key: the pod or the namespace.
        place: String,
        /// The closest known name.
        probably: Option<String>,
    },
    /// The position of an overlay contradicts the profile's order.
    #[error(
        "container {container:?} of profile {profile:?} stands where the pod put it: before {other:?}, which should start earlier"
    )]
    OverlayOrder {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
        /// A container that should start earlier.
        other: String,
    },
    /// Two containers of the pod listen on the same port.
    #[error("{container:?} of profile {profile:?} listens on {port}, as does container {other:?}")]
    PortClash {
        /// The profile.
        profile: String,
        /// Its container.
        container: String,
        /// The port and protocol.
        port: String,
        /// The other container.
        other: String,
    },
    /// The pod loses its Guaranteed quality of service.
    #[error(
        "the pod was Guaranteed and becomes {to}: {container:?} needs limits equal to its requests, for cpu and memory"
    )]
    QosLost {
        /// The class afterwards.
        to: String,
        /// The first injected container that causes it.
        container: String,
    },
    /// Sidecars stop after the app, within the same grace period.
    #[error(
        "the pod's terminationGracePeriodSeconds is {seconds}: sidecars stop after the app and have what is left of it, at least 2 s"
    )]
    GracePeriodShort {
        /// The pod's value.
        seconds: i64,
    },
    /// The namespace's label has an unknown value.
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
    /// A profile was left out, by its `onError`, or because it matches and is invalid.
    #[error("profile {profile:?} was left out: {cause}")]
    ProfileLeftOut {
        /// The profile.
        profile: String,
        /// The cause.
        cause: Box<Reason>,
    },
    /// An element was skipped, by `onConflict`.
    #[error("left as it is (onConflict: Skip): {cause}")]
    ConflictSkipped {
        /// The cause.
        cause: Box<Reason>,
    },

    // Effects.
    /// A profile is injected because another one requires it.
    #[error("profile {profile:?} comes along: profile {by:?} requires it")]
    Required {
        /// The profile.
        profile: String,
        /// The profile that requires it.
        by: String,
    },
    /// Value of a parameter.
    #[error("{profile}.{parameter} = {value} ({place})")]
    ParameterSet {
        /// The profile.
        profile: String,
        /// The parameter.
        parameter: String,
        /// The value.
        value: String,
        /// The source of the value.
        place: SetBy,
    },
    /// The `when` of an element is false.
    #[error("{profile}: leaves {what} out, as its condition says")]
    WhenFalse {
        /// The profile.
        profile: String,
        /// The element.
        what: String,
    },
    /// The pod's container is merged over the profile's.
    #[error("{profile}: takes up the pod's container {container}, with the pod's fields on top")]
    Overlaid {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
    },
    /// A number was raised.
    #[error("{profile}: raises {what} from {from} to {to}")]
    Raised {
        /// The profile.
        profile: String,
        /// The field.
        what: &'static str,
        /// The old value.
        from: i64,
        /// The new value.
        to: i64,
    },
    /// Cost of the injection.
    #[error("{cost}")]
    Costs {
        /// The additional requests and the quality of service.
        cost: Cost,
    },
    /// The pod's label enables injection.
    #[error("enabled by the label outrigger.dev/inject=enabled on the pod")]
    EnabledByPod,
    /// The namespace's label enables injection.
    #[error("enabled by the label outrigger.dev/inject=enabled on namespace {namespace:?}")]
    EnabledByNamespace {
        /// The namespace.
        namespace: String,
    },
    /// A profile's `match` selects the pod.
    #[error("profile {profile:?} matches by itself: {selectors}{}", if *mandatory { " (mandatory)" } else { "" })]
    Matched {
        /// The profile.
        profile: String,
        /// The selectors and conditions that matched.
        selectors: String,
        /// `true` if the profile is Mandatory.
        mandatory: bool,
    },
    /// The selectors of a profile select the pod, and one of its conditions is false.
    #[error("profile {profile:?} does not match: its condition {condition:?} is false")]
    ConditionFalse {
        /// The profile.
        profile: String,
        /// The condition's name.
        condition: String,
    },
    /// A profile was chosen.
    #[error("profile {profile:?} is chosen by the {place}")]
    Chosen {
        /// The profile.
        profile: String,
        /// The source of the choice.
        place: ChoicePlace,
    },
    /// The pod removed a profile of the namespace's default.
    #[error("profile {profile:?} is taken away by the annotation outrigger.dev/profiles on the pod")]
    TakenAway {
        /// The profile.
        profile: String,
    },
    /// A profile of the namespace replaces a cluster profile of the same name.
    #[error(
        "profile {profile:?} is the SidecarProfile of namespace {namespace:?}, in place of the ClusterSidecarProfile of that name"
    )]
    Shadows {
        /// The profile.
        profile: String,
        /// The namespace.
        namespace: String,
    },
    /// The pod's own choice replaced the namespace's default.
    #[error("profile {profile:?} is the namespace's default, replaced by the pod's own choice")]
    ReplacedByPod {
        /// The profile.
        profile: String,
    },
    /// The profile skips pods on the node's network.
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
        /// The profile's operating system.
        wanted: String,
        /// The pod's value.
        os: String,
    },
    /// The start order of several profiles.
    #[error("start order: {}", profiles.join(" → "))]
    Ordered {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// The elements of an earlier injection were removed before the decision.
    #[error("the pod was already injected with {profiles}; the decision starts from the original pod", profiles = profiles.join(", "))]
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
        /// The source of the value.
        owner: Owner,
    },
    /// The pod or another profile has annotations of a group, so the profile's are not set.
    #[error(
        "profile {profile:?} does not set its annotations {group}, which belong together, because {owner} has some of them; set them for the profile on the pod if they are to count"
    )]
    GroupKept {
        /// The profile.
        profile: String,
        /// The group: a pattern of keys.
        group: String,
        /// The owner of those that are there.
        owner: Owner,
    },
    /// Items were added to an annotation that is a list.
    #[error("{profile}: adds {added} to the annotation {key}, which {owner} sets")]
    Joined {
        /// The profile.
        profile: String,
        /// The annotation.
        key: String,
        /// The items.
        added: String,
        /// The owner of the other items.
        owner: Owner,
    },
    /// A container of the original pod belongs to the profile now.
    #[error("{profile}: container {container} is already in the pod, equal to the rendered one")]
    Adopted {
        /// The profile.
        profile: String,
        /// The container.
        container: String,
    },
    /// An identical element already exists.
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
    /// The pod already has all profiles.
    #[error("already injected: {}", profiles.join(", "))]
    AlreadyInjected {
        /// The profiles.
        profiles: Vec<String>,
    },
    /// All chosen profiles were left out.
    #[error("every chosen profile was left out")]
    NothingLeft,
}

/// Source of a choice.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ChoicePlace {
    /// The pod's annotation.
    Pod,
    /// The namespace's annotation.
    Namespace(String),
    /// The profile's own `match`.
    Match,
}

impl std::fmt::Display for ChoicePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod => f.write_str("annotation outrigger.dev/profiles on the pod"),
            Self::Namespace(name) => write!(f, "annotation outrigger.dev/profiles on namespace {name:?}"),
            Self::Match => f.write_str("which matches by itself"),
        }
    }
}

/// Source of a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum SetBy {
    /// The pod's annotation.
    Pod,
    /// The namespace's annotation.
    Namespace(String),
    /// The default.
    Default,
}

impl std::fmt::Display for SetBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod => f.write_str("set on the pod"),
            Self::Namespace(name) => write!(f, "set on namespace {name:?}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Owner of an element in the pod.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Owner {
    /// The original pod.
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

/// Severity of a reason for the creator of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// An effect.
    Info,
    /// The pod is admitted, with a warning.
    Warning,
    /// The decision ends without an injection.
    Skip,
    /// The decision ends with a denial.
    Denial,
}

impl Reason {
    /// Returns the stable code, in `CamelCase` like the reasons of Kubernetes conditions.
    pub fn code(&self) -> &'static str {
        self.facts().0
    }

    /// Returns the severity.
    pub fn level(&self) -> Level {
        self.facts().1
    }

    /// Returns the names of chosen profiles that do not exist, if that is the reason.
    pub fn unknown_profiles(&self) -> Vec<&str> {
        match self {
            Self::ProfileNotFound { name, .. } => vec![name],
            Self::RequiredNotFound { required, .. } => vec![required],
            Self::ProfileLeftOut { cause, .. } => cause.unknown_profiles(),
            Self::Several { first, others } => {
                others.iter().fold(first.unknown_profiles(), |mut names, other| {
                    names.extend(other.unknown_profiles());
                    names
                })
            }
            _ => Vec::new(),
        }
    }

    /// Returns the denial for several problems; `Ok` if there are none.
    pub(super) fn all_of(problems: Vec<Self>) -> Result<(), Self> {
        let mut problems = problems.into_iter();
        let Some(first) = problems.next() else { return Ok(()) };
        let others: Vec<Self> = problems.collect();
        if others.is_empty() {
            return Err(first);
        }
        Err(Self::Several { first: Box::new(first), others })
    }

    /// Returns the Mandatory profile that the finished pod lacks in part, if that is the reason.
    pub fn incomplete_profile(&self) -> Option<&str> {
        match self {
            Self::MandatoryIncomplete { profile, .. } => Some(profile),
            _ => None,
        }
    }

    /// Returns the step of the decision that the reason belongs to.
    pub fn step(&self) -> Step {
        match self {
            Self::ProfileLeftOut { cause, .. } => cause.step(),
            _ => self.facts().2,
        }
    }
}

fn hint(probably: Option<&str>) -> String {
    probably.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}
