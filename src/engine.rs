//! Decision engine: decides which profiles are injected into a pod, and records why.
//!
//! [`inject`] is the entry point, and [`admit`] is the variant with a shorter trace. It takes values and returns a
//! [`Decision`]; it does no I/O and reads no clock. Unknown fields of a pod stay unchanged, because the pod stays JSON; every
//! access to it goes through `pod`.
//!
//! `decide` has the steps, which are in one file each: `reinvocation` removes the elements of an earlier injection, `select`
//! decides whether the pod is injected and with which profiles, `order` finds their start order, `merge` adds them to the pod,
//! and `patch` writes the difference. Every step adds lines to the [`Trace`], each with a [`Reason`] whose code is stable.

mod cost;
mod decide;
mod decision;
mod draft;
mod exact;
mod inputs;
mod materialize;
mod merge;
mod merged;
mod order;
mod parameters;
mod patch;
mod pod;
mod post_merge;
mod protect;
mod reason;
mod reinvocation;
mod restore;
mod select;
mod shape;
mod step;
mod superset;
mod trace;
mod validity;
mod verify;

use self::decide::{Done, Ending, decide};
use self::inputs::{DecisionInputs, Purpose};
use crate::json::Json;
use crate::profiles::ProfileSet;

pub use self::cost::Cost;
pub use self::decision::{Decision, Outcome};
pub use self::inputs::{Namespace, Settings};
pub use self::patch::Patch;
pub use self::reason::{ChoicePlace, Level, Owner, Reason, SetBy};
pub use self::restore::restore;
pub use self::step::Step;
pub use self::trace::{Line, Trace};
pub use self::verify::{verify, verify_binding, verify_change, verify_entry};

/// Decides about a pod that is created in `namespace`.
///
/// The same inputs give the same decision. The injection is idempotent: an already injected pod is unchanged.
pub fn inject(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::default()))
}

/// Decides like [`inject`], for an admission request: the trace has only warnings and denials, and details that only explain
/// the decision are not computed.
pub fn admit(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::brief()))
}

/// Decides like [`admit`] about a submitted pod. No admission plugin has changed an injected container yet, so such a change
/// is not accepted in a Mandatory profile's container.
pub fn admit_submitted(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::InjectSubmitted, Trace::brief()))
}

fn traced(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
    (purpose, mut trace): (Purpose, Trace),
) -> Decision {
    match decide(pod, DecisionInputs { namespace, profiles, settings }, purpose, &mut trace) {
        Ok(done) => {
            trace.add_detail(|| done.reason.clone());
            let Done { reason, profiles, patch } = done;
            Decision { outcome: Outcome::Injected, reason, profiles, patch, trace }
        }
        Err(Ending { reason, patch }) => {
            let outcome = if reason.level() == Level::Denial { Outcome::Denied } else { Outcome::Skipped };
            trace.add(reason.clone());
            Decision { outcome, reason, profiles: Vec::new(), patch, trace }
        }
    }
}
