//! Merge of profiles into a pod: step 8 of a decision.
//!
//! Profiles are merged one by one in start order, and each is atomic. The rules in [`STEPS`] render and plan a profile's
//! elements and look for conflicts; only a plan without a conflict is carried out. For app containers, the fields of the pod
//! take precedence; between two profiles, the element of the earlier one stays.
//!
//! To add a rule, write a file beside the others, add it to [`STEPS`], and add a fixture.

mod annotations;
mod app_containers;
mod containers;
mod lists;
mod maps;
mod overlay;
mod variables;
mod volumes;

pub(super) use containers::is_auto;
pub(super) use overlay::AUTO;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::exact::Additions;
use super::parameters::Parameters;
use super::pod::{Pod, Seen, Slot};
use super::reason::Owner;
use super::reinvocation::Previous;
use super::select::Selection;
use super::superset::is_contained;
use super::{Reason, Trace, validity};
use crate::api::{InjectedProfile, OnConflict, OnError, Position, ProfileName, Replaced};
use crate::expression::{Budget, Variables};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, Map, Place};
use crate::json::{Json, field, items, owned, same, text};
use crate::profiles::{Condition, Failed, Profile, Rendered, TemplateValue, problem_in};

/// Merge rule. It may only read the pod.
///
/// # Errors
/// The conflict or failed expression for which the whole profile is rejected.
type Rule = for<'a> fn(&Context<'a, '_>, &mut Plan<'a, '_>) -> Result<(), Reason>;

/// Rules in the order in which they plan a profile's elements.
const STEPS: [Rule; 6] = [
    maps::plan,
    volumes::plan,
    annotations::plan_eviction,
    lists::plan,
    containers::plan,
    app_containers::plan,
];

/// Pod with merged profiles.
#[derive(Clone)]
pub(super) struct Merged<'a> {
    pub(super) pod: Pod<'a>,
    pub(super) profiles: Vec<InjectedProfile>,
    /// Owners of the elements that profiles added. A list, because it is short and can be searched without copies of the key.
    owners: Vec<Owned<'a>>,
    /// Number of init containers, and of classic sidecars, of profiles before the pod's own.
    first: BTreeMap<Place, usize>,
}

/// Element with the profile that added it.
#[derive(Clone)]
struct Owned<'a> {
    place: Place,
    key: String,
    profile: &'a str,
}

/// Inputs of a merge rule.
struct Context<'a, 'm> {
    profile: &'a Profile,
    /// `true` if pod and namespace cannot override anything of the profile: it is Mandatory, or required by a Mandatory one.
    protected: bool,
    merged: &'m Merged<'a>,
    variables: Variables<'m>,
}

/// Planned changes of a profile to the pod.
struct Plan<'a, 'b> {
    changes: Vec<Change<'a>>,
    notes: Vec<Reason>,
    budget: &'b mut Budget,
}

enum Change<'a> {
    /// New element of a list.
    Add { place: Place, at: At, key: String, value: Rendered<'a> },
    /// New key of a map.
    Set { map: Map, key: String, value: Rendered<'a> },
    /// Scalar of the pod that changes, with its old value.
    Replace { map: Map, key: String, before: Value, value: Value },
    /// Element of the pod or another profile that equals the one that a protected profile renders.
    Share { place: Place, key: String },
    /// Container of the original pod that equals the rendered one and now belongs to the profile.
    Adopt { place: Place, at: At, key: String, value: Rendered<'a> },
    /// Container of the pod, merged over the profile's.
    Overlay { place: Place, index: usize, key: String, author: Value, value: Json<'a> },
}

/// Position of a new element in a list.
#[derive(Clone)]
enum At {
    Start,
    End,
    /// Before the element with this key.
    Before(String),
    /// After the elements of earlier profiles, before the pod's own.
    BeforeOwn,
}

/// Inputs that all profiles of a decision share.
pub(super) struct MergeInputs<'a> {
    pub(super) variables: Variables<'a>,
    pub(super) parameters: &'a BTreeMap<ProfileName, Parameters>,
    pub(super) previous: &'a Previous,
}

/// Merges the profiles into the pod.
///
/// # Errors
/// The cause for which a profile with `onError: Fail` is rejected.
pub(super) fn merge<'a>(
    pod: Pod<'a>,
    profiles: &'a [Arc<Profile>],
    inputs: &MergeInputs<'_>,
    selection: &mut Selection,
    budget: &mut Budget,
    trace: &mut Trace,
) -> Result<Merged<'a>, Reason> {
    let mut merged = Merged { pod, profiles: Vec::new(), owners: Vec::new(), first: BTreeMap::new() };
    let none = Parameters::default();
    for profile in profiles {
        if let Some(cause) = selection.missing(profile) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let parameters = inputs.parameters.get(&profile.name).unwrap_or(&none);
        let variables =
            Variables { params: &parameters.values, profile: profile.name.as_str(), ..inputs.variables };
        let protected = selection.is_protected(profile);
        let context = Context { profile, protected, merged: &merged, variables };
        let mut plan = Plan { changes: Vec::new(), notes: Vec::new(), budget };
        if let Err(cause) = STEPS.iter().try_for_each(|step| step(&context, &mut plan)) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let Plan { changes, notes, .. } = plan;
        let tolerant = profile.on_error == OnError::Ignore || selection.along.contains(&profile.name);
        let before = tolerant.then(|| merged.clone());
        let mut undone = Vec::new();
        let injected =
            merged.apply(profile, &parameters.set, changes, (inputs.previous, protected), &mut undone);
        match validity::problem(&merged.pod, &injected) {
            None => {
                for note in notes {
                    trace.add(note);
                }
                if !undone.is_empty() {
                    let profile = injected.name.clone();
                    trace.add(Reason::RenderedAnew { profile, elements: undone });
                }
                trace_additions(&injected, trace);
                merged.profiles.push(injected);
            }
            Some(problem) => {
                let cause = Reason::InvalidResult { profile: profile.name.to_string(), problem };
                selection.leave_out(profile, cause, trace)?;
                merged = before.unwrap_or(merged);
            }
        }
    }
    Ok(merged)
}

fn trace_additions(injected: &InjectedProfile, trace: &mut Trace) {
    if trace.is_brief() {
        return;
    }
    for (place, keys) in &injected.added {
        for key in keys {
            let (profile, what, place) = (injected.name.clone(), key.clone(), place.clone());
            trace.add(Reason::Added { profile, what, place });
        }
    }
}

impl<'a> Merged<'a> {
    fn apply(
        &mut self,
        profile: &'a Profile,
        set: &BTreeMap<String, String>,
        changes: Vec<Change<'a>>,
        (previous, protected): (&Previous, bool),
        undone: &mut Vec<String>,
    ) -> InjectedProfile {
        let mut injected = InjectedProfile {
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
        for change in changes {
            let (place, key) = match change {
                Change::Add { place, at, key, value } => {
                    let index = self.index(&place, &at);
                    let slot = previous.slot(&self.pod, &place, &key, value, trust);
                    if previous.undoes_a_change(&place, &key, &slot, trust) {
                        undone.push(format!("{place}[{key}]"));
                    }
                    self.put(&place, &at, index, slot);
                    note(&mut injected.added, &place, key.clone());
                    (place, key)
                }
                Change::Set { map, key, value } => {
                    self.pod.set(map, Cow::Owned(key.clone()), value);
                    note(&mut injected.added, &Place::Map(map), key.clone());
                    (Place::Map(map), key)
                }
                Change::Replace { map, key, before, value } => {
                    let replaced = Replaced { before, after: value.clone() };
                    injected.replaced.insert(format!("{map}.{key}"), replaced);
                    self.pod.set(map, Cow::Owned(key.clone()), Rendered::Made(owned(value)));
                    (Place::Map(map), key)
                }
                Change::Share { place, key } => {
                    note(&mut injected.shared, &place, key.clone());
                    (place, key)
                }
                Change::Adopt { place, at, key, value } => {
                    let came = self.pod.take(&place, &key);
                    let index = self.index(&place, &at);
                    let slot = previous.adopted_slot(&self.pod, &place, came, value, protected);
                    self.put(&place, &at, index, slot);
                    note(&mut injected.added, &place, key.clone());
                    (place, key)
                }
                Change::Overlay { place, index, key, author, value } => {
                    let slot = previous.overlay_slot(&self.pod, &place, &key, index, value, trust);
                    self.pod.replace(&place, index, slot);
                    note(&mut injected.overlays, &place, author);
                    (place, key)
                }
            };
            self.owners.push(Owned { place, key, profile: profile.name.as_str() });
        }
        injected
    }

    fn put(&mut self, place: &Place, at: &At, index: usize, slot: Slot<'a>) {
        match at {
            At::BeforeOwn => self.pod.insert_at(place, index, slot),
            At::Start | At::End | At::Before(_) => self.pod.insert(place, index, slot),
        }
    }

    fn index(&mut self, place: &Place, at: &At) -> usize {
        match at {
            At::Start => 0,
            At::End => usize::MAX,
            At::Before(key) => {
                let field = place.field();
                let found = self.pod.elements(place).position(|live| key_of(field, live.json()) == *key);
                found.unwrap_or(usize::MAX)
            }
            At::BeforeOwn => {
                let first = self.first.entry(place.clone()).or_default();
                *first += 1;
                *first - 1
            }
        }
    }

    /// Returns the owner of an element.
    pub(super) fn owner(&self, place: &Place, key: &str) -> Owner {
        // If two profiles raised a scalar, it belongs to the later one.
        let owned = self.owners.iter().rev().find(|owned| owned.key == key && owned.place == *place);
        owned.map_or(Owner::Pod, |owned| Owner::Profile(owned.profile.to_owned()))
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

impl<'a> Context<'a, '_> {
    fn name(&self) -> String {
        self.profile.name.to_string()
    }

    fn pod(&self) -> &Pod<'a> {
        &self.merged.pod
    }

    fn position(&self) -> At {
        match self.profile.order.position {
            Position::First => At::BeforeOwn,
            Position::Last => At::End,
        }
    }

    /// Returns a value of the profile, rendered for this pod and, inside `appContainers`, for this container.
    fn render<'t>(
        &self,
        plan: &mut Plan<'a, '_>,
        (place, key): (&Place, &str),
        value: &'t TemplateValue,
        container: Option<&Json<'_>>,
    ) -> Result<Rendered<'t>, Reason> {
        // Literals were checked when the profile was loaded.
        if let Some(literal) = value.as_literal() {
            self.is_added(plan, place, literal.length())?;
            return Ok(literal);
        }
        let variables = Variables { container, ..self.variables };
        let rendered = value.render(&variables, plan.budget).map_err(|failed| self.failed(failed))?;
        self.is_added(plan, place, rendered.length())?;
        match problem_in(place, key, &rendered).filter(|_| !rendered.is_null()) {
            None => Ok(rendered),
            Some((path, message)) => {
                let key = if key.is_empty() { String::new() } else { format!("[{key}]") };
                let path = if path.is_empty() { path } else { format!(".{path}") };
                let problem = format!("{place}{key}{path}: {message}");
                Err(Reason::InvalidResult { profile: self.name(), problem })
            }
        }
    }

    /// Charges the size that a value adds to the pod; a profile may add it to many containers.
    fn is_added(&self, plan: &mut Plan<'a, '_>, place: &Place, length: usize) -> Result<(), Reason> {
        if plan.budget.add_element(length) {
            return Ok(());
        }
        let most = Budget::OUTPUT >> 20;
        let problem = format!(
            "{place}: the profiles add more than {most} MiB to the pod, which no object may have; add less, or to fewer containers"
        );
        Err(Reason::InvalidResult { profile: self.name(), problem })
    }

    /// Evaluates a condition of the profile; a missing condition is true.
    fn when(
        &self,
        plan: &mut Plan<'a, '_>,
        condition: Option<&Condition>,
        container: Option<&Json<'_>>,
    ) -> Result<bool, Reason> {
        let Some(condition) = condition else { return Ok(true) };
        let variables = Variables { container, ..self.variables };
        condition.holds(&variables, plan.budget).map_err(|failed| self.failed(failed))
    }

    fn failed(&self, failed: Failed) -> Reason {
        Reason::ExpressionFailed { profile: self.name(), failed }
    }

    /// Returns a container of the original pod.
    fn author_container(&self, kind: ContainerKind, name: &str) -> Option<&'a Json<'a>> {
        let spec = field(self.pod().author(), "spec")?;
        let containers = items(field(spec, kind.list().name()));
        containers.iter().find(|container| text(container, "name") == Some(name))
    }

    /// Checks whether an existing element can be shared instead of the profile's own. For a protected profile it must equal
    /// the rendered one.
    fn is_shared(&self, place: &Place, live: Seen<'_>, value: &Json<'_>) -> bool {
        if self.protected {
            Additions::of(self.pod()).is_exactly(place, value, live.json())
        } else {
            is_contained(value, live.json())
        }
    }

    /// Checks whether all elements with a key can be shared: Kubernetes uses the first or the last of several.
    fn are_shared(&self, place: &Place, key: &str, value: &Json<'_>) -> bool {
        self.pod().all(place, key).into_iter().all(|live| self.is_shared(place, live, value))
    }

    /// Records an element that is shared.
    fn share(&self, plan: &mut Plan<'a, '_>, place: &Place, key: &str) {
        let (profile, what) = (self.name(), key.to_owned());
        plan.notes.push(Reason::Shared { profile, what, place: place.to_string() });
        if self.protected {
            plan.changes.push(Change::Share { place: place.clone(), key: key.to_owned() });
        }
    }

    /// Applies the profile's `onConflict`. No element of a protected profile is skipped.
    fn conflict(&self, plan: &mut Plan<'a, '_>, cause: Reason) -> Result<(), Reason> {
        match self.profile.on_conflict {
            OnConflict::Fail => Err(cause),
            OnConflict::Skip if self.protected => Err(cause),
            OnConflict::Skip => {
                plan.notes.push(Reason::ConflictSkipped { cause: Box::new(cause) });
                Ok(())
            }
        }
    }

    /// Plans an element, unless the pod has one with the same key.
    fn add_unless_set(
        &self,
        plan: &mut Plan<'a, '_>,
        place: Place,
        at: At,
        key: &str,
        value: Rendered<'a>,
    ) -> Result<(), Reason> {
        let all = self.pod().all(&place, key);
        if all.is_empty() {
            plan.add(place, at, key, value);
            return Ok(());
        }
        let is_same = if self.protected {
            self.are_shared(&place, key, &value)
        } else {
            all.iter().all(|live| same(live.json(), &value))
        };
        if is_same {
            self.share(plan, &place, key);
            return Ok(());
        }
        let (profile, what, owner) = (self.name(), key.to_owned(), self.merged.owner(&place, key));
        if owner != Owner::Pod || self.protected {
            let place = place.to_string();
            return self.conflict(plan, Reason::ValueConflict { profile, what, place, owner });
        }
        plan.notes.push(match place {
            Place::Container { name: container, field: ContainerField::Env, .. } => {
                Reason::VariableKept { profile, container, variable: what }
            }
            place => Reason::Kept { profile, what, place: place.to_string(), owner },
        });
        Ok(())
    }

    /// Plans an element. An identical existing element is shared; a different one is a conflict.
    fn add_or_share(
        &self,
        plan: &mut Plan<'a, '_>,
        place: Place,
        at: At,
        key: &str,
        value: Rendered<'a>,
    ) -> Result<(), Reason> {
        if self.pod().get(&place, key).is_none() {
            plan.add(place, at, key, value);
        } else if self.are_shared(&place, key, &value) {
            self.share(plan, &place, key);
        } else {
            let (profile, what) = (self.name(), key.to_owned());
            let (owner, place) = (self.merged.owner(&place, key), place.to_string());
            return self.conflict(plan, Reason::ValueConflict { profile, what, place, owner });
        }
        Ok(())
    }
}

impl<'a> Plan<'a, '_> {
    /// Plans an element once: several of a profile's `appContainers` may select the same container.
    fn add(&mut self, place: Place, at: At, key: &str, value: Rendered<'a>) {
        let key = key.to_owned();
        if let Place::Map(map) = place {
            self.changes.push(Change::Set { map, key, value });
        } else if !self.plans(&place, &key) {
            self.changes.push(Change::Add { place, at, key, value });
        }
    }

    /// Checks whether an existing container is planned to be adopted.
    fn adopts(&self, in_place: &Place, name: &str) -> bool {
        self.changes.iter().any(
            |change| matches!(change, Change::Adopt { place, key, .. } if place == in_place && key == name),
        )
    }

    /// Checks whether a map's key is planned.
    fn sets(&self, in_map: Map, of_key: &str) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::Set { map, key, .. } if *map == in_map && key == of_key))
    }

    fn plans(&self, in_place: &Place, of_key: &str) -> bool {
        self.changes.iter().any(
            |change| matches!(change, Change::Add { place, key, .. } if place == in_place && key == of_key),
        )
    }
}
