//! Application of a plan: the planned changes are carried out in the draft and recorded in the status.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::plan::{InsertAt, PlannedChange};
use crate::api::{InjectedProfile, Replaced};
use crate::engine::draft::Slot;
use crate::engine::merged::Merged;
use crate::engine::reinvocation::{Previous, Trust};
use crate::fields::Place;
use crate::fields::lists::key_of;
use crate::json::{Json, owned};
use crate::profiles::{Profile, Rendered};

/// Result of the application of a profile's plan.
pub(super) struct Applied {
    pub(super) injected: InjectedProfile,
    /// Elements of an earlier injection that were changed since, and are rendered again.
    pub(super) undone: Vec<String>,
}

/// A profile's plan while it is applied.
struct Application<'a, 'm> {
    merged: &'m mut Merged<'a>,
    previous: &'m Previous,
    /// `true` if pod and namespace cannot override anything of the profile.
    protected: bool,
    trust: Trust,
    applied: Applied,
}

/// Carries out the planned changes of a profile. `set` has its explicitly set parameters.
pub(super) fn apply<'a>(
    merged: &mut Merged<'a>,
    profile: &'a Profile,
    set: &BTreeMap<String, String>,
    changes: Vec<PlannedChange<'a>>,
    previous: &Previous,
    protected: bool,
) -> Applied {
    let injected = InjectedProfile {
        name: profile.name.to_string(),
        scope: profile.scope,
        revision: profile.revision.clone(),
        parameters: set.clone(),
        added: BTreeMap::new(),
        shared: BTreeMap::new(),
        replaced: BTreeMap::new(),
        overlays: BTreeMap::new(),
    };
    let trust = previous.trust(&injected, protected);
    let applied = Applied { injected, undone: Vec::new() };
    let mut application = Application { merged, previous, protected, trust, applied };
    for change in changes {
        let (place, key) = application.carry_out(change);
        application.merged.set_owner(place, key, profile.name.as_str());
    }
    application.applied
}

impl<'a> Application<'a, '_> {
    /// Carries out a change. Returns the changed element.
    fn carry_out(&mut self, change: PlannedChange<'a>) -> (Place, String) {
        match change {
            PlannedChange::Add { place, at, key, value } => self.add(place, &at, key, value),
            PlannedChange::Set { map, key, value } => {
                self.merged.draft.set(map, Cow::Owned(key.clone()), value);
                note(&mut self.applied.injected.added, &Place::Map(map), key.clone());
                (Place::Map(map), key)
            }
            PlannedChange::Replace { map, key, before, value } => {
                let replaced = Replaced { before, after: value.clone() };
                self.applied.injected.replaced.insert(format!("{map}.{key}"), replaced);
                self.merged.draft.set(map, Cow::Owned(key.clone()), Rendered::Made(owned(value)));
                (Place::Map(map), key)
            }
            PlannedChange::Share { place, key } => {
                note(&mut self.applied.injected.shared, &place, key.clone());
                (place, key)
            }
            PlannedChange::Adopt { place, at, key, value } => self.adopt(place, &at, key, value),
            PlannedChange::Overlay { place, index, key, original, value } => {
                self.overlay(&place, index, &key, value);
                note(&mut self.applied.injected.overlays, &place, original);
                (place, key)
            }
        }
    }

    fn add(&mut self, place: Place, at: &InsertAt, key: String, value: Rendered<'a>) -> (Place, String) {
        let index = index(self.merged, &place, at);
        let slot = self.previous.slot(self.merged.draft.submitted(), &place, &key, value, self.trust);
        if self.previous.undoes_a_change(&place, &key, &slot, self.trust) {
            self.applied.undone.push(format!("{place}[{key}]"));
        }
        self.put(&place, at, index, slot);
        note(&mut self.applied.injected.added, &place, key.clone());
        (place, key)
    }

    fn adopt(&mut self, place: Place, at: &InsertAt, key: String, value: Rendered<'a>) -> (Place, String) {
        let draft = &mut self.merged.draft;
        let taken = draft.take(&place, &key);
        let slot = self.previous.adopted_slot(draft.submitted(), &place, taken, value, self.protected);
        let index = index(self.merged, &place, at);
        self.put(&place, at, index, slot);
        note(&mut self.applied.injected.added, &place, key.clone());
        (place, key)
    }

    fn overlay(&mut self, place: &Place, index: usize, key: &str, value: Json<'a>) {
        let draft = &mut self.merged.draft;
        let slot = self.previous.overlay_slot(draft.submitted(), place, key, index, value, self.trust);
        draft.replace(place, index, slot);
    }

    fn put(&mut self, place: &Place, at: &InsertAt, index: usize, slot: Slot<'a>) {
        match at {
            InsertAt::BeforeOwn => self.merged.draft.insert_at(place, index, slot),
            InsertAt::Start | InsertAt::End | InsertAt::Before(_) => {
                self.merged.draft.insert(place, index, slot)
            }
        }
    }
}

/// Returns the index of a new element in a list.
fn index(merged: &mut Merged<'_>, place: &Place, at: &InsertAt) -> usize {
    match at {
        InsertAt::Start => 0,
        InsertAt::End => usize::MAX,
        InsertAt::Before(key) => {
            let field = place.field();
            let found = merged.draft.elements(place).position(|live| key_of(field, live.json()) == *key);
            found.unwrap_or(usize::MAX)
        }
        InsertAt::BeforeOwn => merged.next_before_own(place),
    }
}

/// Adds an entry to a place of the status.
fn note<T>(places: &mut BTreeMap<String, Vec<T>>, place: &Place, what: T) {
    let place = place.text();
    match places.get_mut(&*place) {
        Some(there) => there.push(what),
        None => _ = places.insert(place.into_owned(), vec![what]),
    }
}
