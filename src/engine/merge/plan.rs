//! Plan of a profile's changes, and the inputs and common rules with which the merge rules make it.

use serde_json::Value;

use crate::api::{OnConflict, Position};
use crate::engine::draft::Draft;
use crate::engine::exact::Additions;
use crate::engine::merged::Merged;
use crate::engine::pod::{OriginalPod, PodElement, PodView as _};
use crate::engine::reason::{Owner, Reason};
use crate::engine::superset::is_contained;
use crate::expression::{Budget, Variables};
use crate::fields::{ContainerField, ContainerKind, Map, Place};
use crate::json::{Json, same, text};
use crate::profiles::{Condition, Failed, Profile, Rendered, TemplateValue, problem_in};

/// Inputs of a merge rule.
pub(super) struct RuleContext<'a, 'm> {
    pub(super) profile: &'a Profile,
    /// `true` if pod and namespace cannot override anything of the profile: it is Mandatory, or required by a Mandatory one.
    pub(super) protected: bool,
    pub(super) merged: &'m Merged<'a>,
    pub(super) variables: Variables<'m>,
}

/// Planned changes of a profile to the pod.
pub(super) struct Plan<'a, 'b> {
    pub(super) changes: Vec<PlannedChange<'a>>,
    pub(super) notes: Vec<Reason>,
    pub(super) budget: &'b mut Budget,
}

pub(super) enum PlannedChange<'a> {
    /// New element of a list.
    Add { place: Place, at: InsertAt, key: String, value: Rendered<'a> },
    /// New key of a map.
    Set { map: Map, key: String, value: Rendered<'a> },
    /// Scalar of the pod that changes, with its old value.
    Replace { map: Map, key: String, before: Value, value: Value },
    /// Element of the pod or another profile that equals the one that a protected profile renders.
    Share { place: Place, key: String },
    /// Container of the original pod that equals the rendered one and now belongs to the profile.
    Adopt { place: Place, at: InsertAt, key: String, value: Rendered<'a> },
    /// Container of the pod, merged over the profile's.
    Overlay { place: Place, index: usize, key: String, original: Value, value: Json<'a> },
}

/// Position of a new element in a list.
#[derive(Clone)]
pub(super) enum InsertAt {
    Start,
    End,
    /// Before the element with this key.
    Before(String),
    /// After the elements of earlier profiles, before the pod's own.
    BeforeOwn,
}

impl<'a> RuleContext<'a, '_> {
    pub(super) fn name(&self) -> String {
        self.profile.name.to_string()
    }

    pub(super) fn draft(&self) -> &Draft<'a> {
        &self.merged.draft
    }

    pub(super) fn original(&self) -> OriginalPod<'a> {
        self.merged.original
    }

    pub(super) fn position(&self) -> InsertAt {
        match self.profile.order.position {
            Position::First => InsertAt::BeforeOwn,
            Position::Last => InsertAt::End,
        }
    }

    /// Returns a value of the profile, rendered for this pod and, inside `appContainers`, for this container.
    pub(super) fn render<'t>(
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
    pub(super) fn is_added(
        &self,
        plan: &mut Plan<'a, '_>,
        place: &Place,
        length: usize,
    ) -> Result<(), Reason> {
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
    pub(super) fn when(
        &self,
        plan: &mut Plan<'a, '_>,
        condition: Option<&Condition>,
        container: Option<&Json<'_>>,
    ) -> Result<bool, Reason> {
        let Some(condition) = condition else { return Ok(true) };
        let variables = Variables { container, ..self.variables };
        condition.is_true(&variables, plan.budget).map_err(|failed| self.failed(failed))
    }

    pub(super) fn failed(&self, failed: Failed) -> Reason {
        Reason::ExpressionFailed { profile: self.name(), failed }
    }

    /// Returns a container of the original pod.
    pub(super) fn original_container(&self, kind: ContainerKind, name: &str) -> Option<&'a Json<'a>> {
        let containers = self.original().list(&Place::Spec(kind.list()));
        containers.iter().find(|container| text(container, "name") == Some(name))
    }

    /// Checks whether an existing element can be shared instead of the profile's own. For a protected profile it must equal
    /// the rendered one.
    pub(super) fn is_shared(&self, place: &Place, live: PodElement<'_>, value: &Json<'_>) -> bool {
        if self.protected {
            Additions::of(self.draft().submitted()).is_exactly(place, value, live.json())
        } else {
            is_contained(value, live.json())
        }
    }

    /// Checks whether all elements with a key can be shared: Kubernetes uses the first or the last of several.
    pub(super) fn are_shared(&self, place: &Place, key: &str, value: &Json<'_>) -> bool {
        self.draft().all(place, key).into_iter().all(|live| self.is_shared(place, live, value))
    }

    /// Records an element that is shared.
    pub(super) fn share(&self, plan: &mut Plan<'a, '_>, place: &Place, key: &str) {
        let (profile, what) = (self.name(), key.to_owned());
        plan.notes.push(Reason::Shared { profile, what, place: place.to_string() });
        if self.protected {
            plan.changes.push(PlannedChange::Share { place: place.clone(), key: key.to_owned() });
        }
    }

    /// Applies the profile's `onConflict`. No element of a protected profile is skipped.
    pub(super) fn conflict(&self, plan: &mut Plan<'a, '_>, cause: Reason) -> Result<(), Reason> {
        match self.profile.on_conflict {
            OnConflict::Fail => Err(cause),
            OnConflict::Skip if self.protected => Err(cause),
            OnConflict::Skip => {
                plan.notes.push(Reason::ConflictSkipped { cause: Box::new(cause) });
                Ok(())
            }
        }
    }

    /// Applies the profile's `onConflict` to a key that another owner sets to another value.
    fn value_conflict(
        &self,
        plan: &mut Plan<'a, '_>,
        place: &Place,
        key: &str,
        owner: Owner,
    ) -> Result<(), Reason> {
        let (profile, what, place) = (self.name(), key.to_owned(), place.to_string());
        self.conflict(plan, Reason::ValueConflict { profile, what, place, owner })
    }

    /// Plans an element, unless the pod has one with the same key.
    pub(super) fn add_unless_set(
        &self,
        plan: &mut Plan<'a, '_>,
        place: Place,
        at: InsertAt,
        key: &str,
        value: Rendered<'a>,
    ) -> Result<(), Reason> {
        let all = self.draft().all(&place, key);
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
        let owner = self.merged.owner(&place, key);
        if owner != Owner::Pod || self.protected {
            return self.value_conflict(plan, &place, key, owner);
        }
        let (profile, what) = (self.name(), key.to_owned());
        plan.notes.push(match place {
            Place::Container { name: container, field: ContainerField::Env, .. } => {
                Reason::VariableKept { profile, container, variable: what }
            }
            place => Reason::Kept { profile, what, place: place.to_string(), owner },
        });
        Ok(())
    }

    /// Plans an element. An identical existing element is shared; a different one is a conflict.
    pub(super) fn add_or_share(
        &self,
        plan: &mut Plan<'a, '_>,
        place: Place,
        at: InsertAt,
        key: &str,
        value: Rendered<'a>,
    ) -> Result<(), Reason> {
        if self.draft().get(&place, key).is_none() {
            plan.add(place, at, key, value);
        } else if self.are_shared(&place, key, &value) {
            self.share(plan, &place, key);
        } else {
            let owner = self.merged.owner(&place, key);
            return self.value_conflict(plan, &place, key, owner);
        }
        Ok(())
    }
}

impl<'a> Plan<'a, '_> {
    /// Plans an element once: several of a profile's `appContainers` may select the same container.
    pub(super) fn add(&mut self, place: Place, at: InsertAt, key: &str, value: Rendered<'a>) {
        let key = key.to_owned();
        if let Place::Map(map) = place {
            self.changes.push(PlannedChange::Set { map, key, value });
        } else if !self.plans(&place, &key) {
            self.changes.push(PlannedChange::Add { place, at, key, value });
        }
    }

    /// Checks whether an existing container is planned to be adopted.
    pub(super) fn adopts(&self, in_place: &Place, name: &str) -> bool {
        self.changes.iter().any(
            |change| matches!(change, PlannedChange::Adopt { place, key, .. } if place == in_place && key == name),
        )
    }

    /// Checks whether a map's key is planned.
    pub(super) fn sets(&self, in_map: Map, of_key: &str) -> bool {
        self.changes.iter().any(
            |change| matches!(change, PlannedChange::Set { map, key, .. } if *map == in_map && key == of_key),
        )
    }

    pub(super) fn plans(&self, in_place: &Place, of_key: &str) -> bool {
        self.changes.iter().any(
            |change| matches!(change, PlannedChange::Add { place, key, .. } if place == in_place && key == of_key),
        )
    }
}
