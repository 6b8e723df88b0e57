//! Code, level and step of every reason, in one table.

use super::super::step::Step::{
    self, Choose, Enable, Exclude, Merge, Order, Parameters, Patch, Read, Verify,
};
use super::Level::{self, Denial, Info, Skip, Warning};
use super::Reason;

/// Makes [`Reason::facts`] from a table: the compiler demands a line for each reason.
macro_rules! facts {
    ($($reason:ident => $code:literal, $level:ident, $step:ident;)*) => {
        impl Reason {
            pub(super) fn facts(&self) -> (&'static str, Level, Step) {
                match self {
                    Self::Several { first, .. } => first.facts(),
                    Self::ConditionFailed { mandatory, .. } => {
                        ("ConditionFailed", if *mandatory { Denial } else { Warning }, Choose)
                    }
                    $(Self::$reason { .. } => ($code, $level, $step),)*
                }
            }
        }
    };
}

facts! {
    NamespaceExcluded => "NamespaceExcluded", Skip, Exclude;
    MirrorPod => "MirrorPod", Skip, Exclude;
    DisabledByPod => "DisabledByPod", Skip, Enable;
    DisabledByNamespace => "DisabledByNamespace", Skip, Enable;
    NamespaceNotEnabled => "NamespaceNotEnabled", Skip, Enable;
    NoProfileChosen => "NoProfileChosen", Skip, Choose;
    MalformedPod => "MalformedPod", Denial, Read;
    InvalidInjectLabel => "InvalidInjectLabel", Denial, Enable;
    InvalidChoice => "InvalidChoice", Denial, Choose;
    ProfileNotFound => "ProfileNotFound", Denial, Choose;
    ProfileInvalid => "ProfileInvalid", Denial, Choose;
    HostNetworkDenied => "HostNetworkDenied", Denial, Choose;
    OrderCycle => "OrderCycle", Denial, Order;
    OrderOverruled => "OrderOverruled", Warning, Order;
    ContainerNameTaken => "ContainerNameTaken", Denial, Merge;
    VolumeConflict => "VolumeConflict", Denial, Merge;
    MountConflict => "MountConflict", Denial, Merge;
    MountNested => "MountNested", Warning, Merge;
    VariableKept => "VariableKept", Warning, Merge;
    VariableOrder => "VariableOrder", Warning, Merge;
    EnvFromOverridden => "EnvFromOverridden", Warning, Merge;
    RenderedAnew => "RenderedAnew", Warning, Merge;
    MovedBehind => "MovedBehind", Warning, Merge;
    Leftover => "Leftover", Warning, Read;
    GroupKept => "GroupKept", Warning, Merge;
    Joined => "Joined", Info, Merge;
    Adopted => "Adopted", Info, Merge;
    ValueConflict => "ValueConflict", Denial, Merge;
    RequiredTakenAway => "RequiredTakenAway", Denial, Choose;
    RequiredNotFound => "RequiredNotFound", Denial, Choose;
    RequiredInvalid => "RequiredInvalid", Denial, Choose;
    RequiredLeftOut => "RequiredLeftOut", Denial, Merge;
    MandatoryInvalid => "MandatoryInvalid", Denial, Choose;
    ParameterInvalid => "ParameterInvalid", Denial, Parameters;
    ParameterOutOfBounds => "ParameterOutOfBounds", Denial, Parameters;
    ParameterNotAllowed => "ParameterNotAllowed", Denial, Parameters;
    ParameterNotSettable => "ParameterNotSettable", Denial, Parameters;
    ParameterMissing => "ParameterMissing", Denial, Parameters;
    ExpressionFailed => "ExpressionFailed", Denial, Merge;
    InvalidResult => "InvalidResult", Denial, Merge;
    OverlayRefused => "OverlayRefused", Denial, Merge;
    ImageAuto => "ImageAuto", Denial, Merge;
    ClassicRefused => "ClassicRefused", Denial, Merge;
    VolumeProtected => "VolumeProtected", Denial, Merge;
    MandatoryUndermined => "MandatoryUndermined", Denial, Merge;
    MandatoryIncomplete => "MandatoryIncomplete", Denial, Verify;
    MandatoryChanged => "MandatoryChanged", Denial, Verify;
    MandatoryEntered => "MandatoryEntered", Denial, Verify;
    MandatoryKept => "MandatoryKept", Warning, Choose;
    RequiredSkipped => "RequiredSkipped", Warning, Choose;
    UnknownKey => "UnknownKey", Warning, Read;
    OverlayOrder => "OverlayOrder", Warning, Merge;
    PortClash => "PortClash", Warning, Merge;
    QosLost => "QosLost", Warning, Merge;
    GracePeriodShort => "GracePeriodShort", Info, Merge;
    InvalidNamespaceLabel => "InvalidNamespaceLabel", Warning, Enable;
    StatusMalformed => "StatusMalformed", Warning, Read;
    ProfileLeftOut => "ProfileLeftOut", Warning, Choose;
    ConflictSkipped => "ConflictSkipped", Warning, Merge;
    Required => "Required", Info, Choose;
    ParameterSet => "ParameterSet", Info, Parameters;
    WhenFalse => "ConditionFalse", Info, Merge;
    Overlaid => "Overlaid", Info, Merge;
    Raised => "Raised", Info, Merge;
    Costs => "Costs", Info, Merge;
    EnabledByPod => "EnabledByPod", Info, Enable;
    EnabledByNamespace => "EnabledByNamespace", Info, Enable;
    Shadows => "Shadows", Info, Choose;
    Matched => "Matched", Info, Choose;
    ConditionFalse => "ConditionFalse", Info, Choose;
    Chosen => "Chosen", Info, Choose;
    TakenAway => "TakenAway", Info, Choose;
    ReplacedByPod => "ReplacedByPod", Info, Choose;
    HostNetworkSkipped => "HostNetworkSkipped", Warning, Choose;
    OsMismatch => "OsMismatch", Info, Choose;
    Ordered => "Ordered", Info, Order;
    InjectedBefore => "InjectedBefore", Info, Read;
    Added => "Added", Info, Merge;
    Kept => "Kept", Info, Merge;
    Shared => "Shared", Info, Merge;
    Injected => "Injected", Info, Patch;
    AlreadyInjected => "AlreadyInjected", Info, Patch;
    NothingLeft => "NothingLeft", Skip, Merge;
}
