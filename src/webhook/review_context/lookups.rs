//! Live lookups of names that the snapshot does not contain.

use std::sync::Arc;

use tracing::warn;

use super::{LookedUp, MissingName, ReviewContext, Undecided, Unknown};
use crate::api::Scope;
use crate::cluster::{Looking, LookupError};
use crate::profiles::{ProfileEntry, ProfileSet};

impl ReviewContext<'_> {
    /// Decides, and after each lookup that the decision needs, decides again.
    ///
    /// # Errors
    /// A required name is still unknown after its lookup.
    pub(in crate::webhook) async fn with_lookups<T>(
        &mut self,
        uid: &str,
        mut decide: impl FnMut(&Self) -> Result<T, Undecided>,
    ) -> Result<T, Unknown> {
        loop {
            match decide(self) {
                Ok(decided) => return Ok(decided),
                Err(Undecided::Unknown(unknown)) => return Err(unknown),
                Err(Undecided::Missing(missing)) => self.look_up(uid, missing).await,
            }
        }
    }

    /// Looks up the name with an API call and stores the result.
    async fn look_up(&mut self, uid: &str, missing: MissingName) {
        match missing {
            MissingName::Namespace(name) => {
                let found = self.in_time(self.state.lookup.namespace(&name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace = name, %error, "failed to look up a namespace");
                    None
                });
                self.namespace = found.map_or(LookedUp::Nothing, |found| LookedUp::Found(Arc::new(found)));
            }
            MissingName::Profile { namespace, name } => {
                let found = self.in_time(self.state.lookup.profiles(&namespace, &name)).await;
                let found = found.unwrap_or_else(|error| {
                    warn!(uid, namespace, profile = name, %error, "failed to look up a profile");
                    self.missed.push(name.clone());
                    Vec::new()
                });
                for (scope, entry) in found {
                    let set = self.profiles.get_or_insert_with(|| ProfileSet::clone(&self.snapshot.profiles));
                    let earlier = set.find_in(Scope::Cluster, "", &name).filter(|_| scope.is_none());
                    if let Some(ProfileEntry::Ready(earlier)) = earlier.cloned() {
                        set.remember(earlier);
                    }
                    set.insert(scope.as_deref(), &name, entry);
                }
                self.looked_up.push(name);
            }
        }
    }

    /// Waits for a lookup, at most until the deadline.
    ///
    /// # Errors
    /// The lookup failed or took too long.
    pub(in crate::webhook) async fn in_time<T>(&self, lookup: Looking<'_, T>) -> Result<T, LookupError> {
        let late = |_| LookupError("the API server did not answer in time".to_owned());
        tokio::time::timeout_at(self.deadline, lookup).await.map_err(late)?
    }
}
