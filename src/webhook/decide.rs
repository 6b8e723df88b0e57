//! The decision about one pod, from the data that is known now.

use super::review_context::{ReviewContext, Undecided};
use super::webhook_entry::WebhookEntry;
use crate::engine::{Decision, Outcome, Reason, admit, admit_submitted};
use crate::json::Json;

/// Runs the engine.
///
/// # Errors
/// A lookup is needed first, or a required name is still unknown after its lookup.
pub(super) fn decide(
    context: &ReviewContext<'_>,
    namespace: &str,
    pod: &Json<'_>,
) -> Result<Decision, Undecided> {
    let (namespace, profiles) = (context.namespace(namespace)?, context.profiles());
    let admit = if matches!(context.entry, WebhookEntry::Submitted(_)) { admit_submitted } else { admit };
    let decision = admit(pod, namespace, profiles, &context.state.settings);
    if !needs_no_profile(&context.entry, &decision.reason) {
        context.synced()?;
    }
    let unknown = decision.unknown_profiles();
    if let Some(name) = unknown.iter().find(|name| context.may_look_up(name)) {
        return Err(Undecided::missing_profile(&namespace.name, name));
    }
    // A denial whose cause is certain stays a denial, even if other names are unknown.
    let is_certain = |name: &&str| context.is_absent(name);
    let is_denial_certain = decision.reason.unknown_profiles().iter().all(is_certain);
    match unknown.iter().find(|name| !is_certain(name)) {
        Some(_) if decision.outcome == Outcome::Denied && is_denial_certain => {}
        Some(name) => return Err(Undecided::unknown_profile(name)),
        None => {}
    }
    Ok(decision)
}

/// Returns whether a decision with this reason does not depend on profiles.
fn needs_no_profile(entry: &WebhookEntry, reason: &Reason) -> bool {
    match reason {
        Reason::NamespaceExcluded { .. } | Reason::MirrorPod => true,
        // A Mandatory profile is injected even so.
        Reason::DisabledByPod | Reason::DisabledByNamespace { .. } | Reason::NamespaceNotEnabled { .. } => {
            !matches!(entry, WebhookEntry::Mandatory(_))
        }
        _ => false,
    }
}
