//! Evaluation of loops.

use std::rc::Rc;

use super::{At, Evaluated, Machine};
use crate::expression::budget::EvaluationProblem;
use crate::expression::describe::described;
use crate::expression::functions::lists;
use crate::expression::missing::named;
use crate::expression::node::{Loop, LoopKind, Node};
use crate::expression::value::{List, Value};

impl<'v> Machine<'v, '_> {
    pub(super) fn run_loop(&mut self, node: &Node, around: &'v Loop) -> Evaluated<Value<'v>> {
        let items = match self.value(&around.over)? {
            Value::List(list) => list,
            Value::Map(map) => {
                self.budget.step(map.len()).at(node)?;
                List::Built(Rc::new(map.keys()))
            }
            other => {
                let what = described(&other);
                let problem = format!("{} is {what}: only lists and maps have elements", named(&around.over));
                return Err(EvaluationProblem::from(problem)).at(node);
            }
        };
        match around.kind {
            LoopKind::All => self.quantify(around, items.iter(), false),
            LoopKind::Exists => self.quantify(around, items.iter(), true),
            LoopKind::ExistsOne => {
                let mut count = 0_usize;
                for item in items.iter() {
                    self.set_local(around.slot, item);
                    count += usize::from(self.truth(&around.body)?);
                }
                Ok(Value::Bool(count == 1))
            }
            LoopKind::Map => {
                let mut mapped = Vec::new();
                for item in items.iter() {
                    self.set_local(around.slot, item);
                    if let Some(condition) = &around.condition
                        && !self.truth(condition)?
                    {
                        continue;
                    }
                    self.charge_element(node)?;
                    mapped.push(self.value(&around.body)?);
                }
                Ok(lists::list_of(mapped))
            }
            LoopKind::Filter => {
                let mut kept = Vec::new();
                for item in items.iter() {
                    self.set_local(around.slot, item.clone());
                    if self.truth(&around.body)? {
                        self.charge_element(node)?;
                        kept.push(item);
                    }
                }
                Ok(lists::list_of(kept))
            }
            LoopKind::SortBy => {
                let mut keyed = Vec::new();
                for item in items.iter() {
                    self.charge_element(node)?;
                    self.set_local(around.slot, item.clone());
                    keyed.push((self.value(&around.body)?, item));
                }
                lists::sort_by_key(self.budget, keyed).at(node)
            }
        }
    }

    /// Evaluates `all` and `exists`: an element that decides takes precedence over the errors of others.
    fn quantify(
        &mut self,
        around: &'v Loop,
        items: impl Iterator<Item = Value<'v>>,
        by: bool,
    ) -> Evaluated<Value<'v>> {
        let mut failed = None;
        for item in items {
            self.set_local(around.slot, item);
            match self.truth(&around.body) {
                Ok(value) if value == by => return Ok(Value::Bool(by)),
                Ok(_) => {}
                Err(failure) => {
                    let failure = self.absorbed(failure)?;
                    failed.get_or_insert(failure);
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!by)), Err)
    }

    /// Evaluates `of.optMap(name, body)`.
    pub(super) fn optional_map(
        &mut self,
        node: &Node,
        of: &'v Node,
        slot: usize,
        body: &'v Node,
        flat: bool,
    ) -> Evaluated<Value<'v>> {
        match self.value(of)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => {
                self.set_local(slot, (*value).clone());
                let mapped = self.value(body)?;
                Ok(if flat { mapped } else { Value::Optional(Some(Rc::new(mapped))) })
            }
            other => {
                let what = described(&other);
                Err(EvaluationProblem::from(format!("optMap works on an optional, not on {what}"))).at(node)
            }
        }
    }

    /// Charges an element of a new list before it is added.
    fn charge_element(&mut self, node: &Node) -> Evaluated<()> {
        self.budget.produce(size_of::<Value<'_>>()).at(node)
    }

    fn set_local(&mut self, slot: usize, value: Value<'v>) {
        if let Some(local) = self.locals.get_mut(slot) {
            *local = value;
        }
    }
}
