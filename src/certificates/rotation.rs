//! The leader's next change to the certificates. It depends only on the Secret and on observed state, so another leader can
//! continue the sequence.
//!
//! A CA is replaced in three steps, each a write of the Secret:
//!
//! 1. the next CA is added beside the one that signs, and callers get both;
//! 2. once callers have had both for a while, the next CA signs the serving certificate;
//! 3. once every replica serves that certificate, the old CA is removed.

use time::OffsetDateTime;
use tracing::info;

use super::material::{Authority, Material};
use super::material_error::MaterialError;
use super::x509::in_time_only;
use super::{Clock, Lifetimes};

/// DNS names and lifetimes of the certificates.
#[derive(Clone)]
pub struct Wanted {
    /// DNS names of the serving certificate.
    pub names: Vec<String>,
    /// Lifetimes of CA and certificate.
    pub lifetimes: Lifetimes,
    /// Source of the current time.
    pub clock: Clock,
}

/// Observed state outside of the Secret.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// True if callers have had all CAs of the Secret for a while.
    pub(super) settled: bool,
    /// True if every replica serves a certificate that the Secret's CA signed.
    pub(super) everywhere: bool,
}

/// Returns the next content of the Secret; `None` if it needs no change.
///
/// # Errors
/// A certificate cannot be created.
pub(super) fn next(
    read: Result<Material, MaterialError>,
    last: Option<&Material>,
    wanted: &Wanted,
    seen: Seen,
) -> Result<Option<Material>, MaterialError> {
    let now = (wanted.clock)();
    match read {
        Ok(material) if material.authority.is_usable(now) || has_next(&material, now) => {
            step(material, wanted, seen, now)
        }
        read => {
            let problem = read
                .err()
                .map_or("the authority has ended or has no usable key".to_owned(), |error| error.to_string());
            info!(problem, "created a CA and a serving certificate");
            // Replicas keep serving their certificate until callers trust the new one.
            let previous = last.map(|last| in_time_only(&last.bundle(), now)).unwrap_or_default();
            let authority = Authority::new(wanted.lifetimes, now)?;
            Material::signed_by(authority, previous, &wanted.names, wanted.lifetimes, now).map(Some)
        }
    }
}

fn has_next(material: &Material, now: OffsetDateTime) -> bool {
    material.next.as_ref().is_some_and(|next| next.is_usable(now))
}

fn step(
    material: Material,
    wanted: &Wanted,
    seen: Seen,
    now: OffsetDateTime,
) -> Result<Option<Material>, MaterialError> {
    let Wanted { names, lifetimes, .. } = wanted;
    let usable = material.authority.is_usable(now);
    match &material.next {
        Some(next) if next.is_usable(now) && (seen.settled || !usable) => {
            info!("the next CA now signs serving certificates");
            let previous =
                in_time_only(&[&*material.authority.certificate, &material.previous].concat(), now);
            return Material::signed_by(next.clone(), previous, names, *lifetimes, now).map(Some);
        }
        Some(next) if next.is_usable(now) => {}
        _ => {
            if let Err(problem) = material.authority.check(*lifetimes, now) {
                info!(%problem, "created the next CA");
                let next = Some(Authority::new(*lifetimes, now)?);
                return Ok(Some(Material { next, ..material }));
            }
        }
    }
    if let Err(problem) = material.check_certificate(names, *lifetimes, now) {
        info!(%problem, "created a serving certificate");
        return material.renewed(names, *lifetimes, now).map(Some);
    }
    let previous = if seen.everywhere { String::new() } else { in_time_only(&material.previous, now) };
    if previous == material.previous {
        return Ok(None);
    }
    info!("removed an earlier CA that no replica uses");
    Ok(Some(Material { previous, ..material }))
}

#[cfg(test)]
mod tests;
