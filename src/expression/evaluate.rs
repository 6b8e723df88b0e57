//! Evaluation of a compiled expression.

mod loops;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::budget::{Budget, EvaluationProblem};
use super::describe::described;
use super::functions::patterns;
use super::missing::{missing_element, missing_field, named, no_fields};
use super::node::{Kind, Node, Variable};
use super::operators;
use super::program::Program;
use super::value::{Key, Map, Value};
use super::variables::Variables;

/// Problem with the position of the failed operation.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) column: usize,
    pub(super) problem: EvaluationProblem,
}

type Evaluated<T> = Result<T, Failure>;

/// Adds the position of an operation to a problem.
trait At<T> {
    fn at(self, node: &Node) -> Evaluated<T>;
}

impl<T> At<T> for Result<T, EvaluationProblem> {
    fn at(self, node: &Node) -> Evaluated<T> {
        self.map_err(|problem| Failure { column: node.column, problem })
    }
}

pub(super) struct Machine<'v, 'b> {
    variables: &'v Variables<'v>,
    budget: &'b mut Budget,
    locals: Vec<Value<'v>>,
}

impl<'v, 'b> Machine<'v, 'b> {
    pub(super) fn run(
        program: &'v Program,
        variables: &'v Variables<'v>,
        budget: &'b mut Budget,
    ) -> Evaluated<Value<'v>> {
        let locals = vec![Value::Null; program.slots];
        Machine { variables, budget, locals }.value(&program.root)
    }

    fn value(&mut self, node: &'v Node) -> Evaluated<Value<'v>> {
        self.budget.step(1).at(node)?;
        match &node.kind {
            Kind::Constant(constant) => Ok(Value::constant(constant)),
            Kind::Variable(variable) => self.variable(node, *variable),
            Kind::Local { slot, .. } => Ok(self.locals.get(*slot).cloned().unwrap_or(Value::Null)),
            Kind::Select { of, field, optional } => self.select(node, of, field, *optional),
            Kind::Has { of, field } => self.has(node, of, field),
            Kind::Index { of, key, optional } => self.index(node, of, key, *optional),
            Kind::Not(of) => Ok(Value::Bool(!self.truth(of)?)),
            Kind::Negate(of) => {
                let value = self.value(of)?;
                operators::negate(&value).at(node)
            }
            Kind::And(left, right) => self.decide(left, right, false),
            Kind::Or(left, right) => self.decide(left, right, true),
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            Kind::Binary(operator, operands) => {
                let [left, right] = &**operands;
                let (left, right) = (self.value(left)?, self.value(right)?);
                operators::binary(self.budget, *operator, &left, &right).at(node)
            }
            Kind::List(elements) => self.list(node, elements),
            Kind::Map(entries) => self.map(node, entries),
            Kind::Call { function, arguments } => match arguments.as_slice() {
                [one] => {
                    let one = [self.value(one)?];
                    (function.call)(self.budget, &one).at(node)
                }
                [one, two] => {
                    let both = [self.value(one)?, self.value(two)?];
                    (function.call)(self.budget, &both).at(node)
                }
                more => {
                    let values = more.iter().map(|argument| self.value(argument));
                    let values = values.collect::<Evaluated<Vec<_>>>()?;
                    (function.call)(self.budget, &values).at(node)
                }
            },
            Kind::Matches { of, pattern } => {
                let text = self.value(of)?;
                patterns::is_match(self.budget, &text, pattern).at(node)
            }
            Kind::Loop(around) => self.run_loop(node, around),
            Kind::OptionalMap { of, slot, body, flat } => self.optional_map(node, of, *slot, body, *flat),
        }
    }

    fn variable(&mut self, node: &Node, variable: Variable) -> Evaluated<Value<'v>> {
        let variables = self.variables;
        Ok(match variable {
            Variable::Pod => Value::json(variables.pod),
            Variable::Container => match variables.container {
                Some(container) => Value::json(container),
                None => return Err(EvaluationProblem::from("there is no container here")).at(node),
            },
            Variable::NamespaceObject => Value::Map(Map::Namespace(&variables.namespace)),
            Variable::Params => Value::Map(Map::Params(variables.params)),
            Variable::Profile => Value::Map(Map::Profile(variables.profile)),
            Variable::Cluster => Value::tree(variables.cluster),
        })
    }

    fn truth(&mut self, node: &'v Node) -> Evaluated<bool> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => {
                let what = described(&other);
                Err(EvaluationProblem::from(format!("here stands {what}, not a bool"))).at(node)
            }
        }
    }

    /// Evaluates `&&` and `||`: a side that decides takes precedence over an error of the other.
    fn decide(&mut self, left: &'v Node, right: &'v Node, by: bool) -> Evaluated<Value<'v>> {
        let failed = match self.truth(left) {
            Ok(value) if value == by => return Ok(Value::Bool(by)),
            Ok(_) => return self.truth(right).map(Value::Bool),
            Err(failure) => self.absorbed(failure)?,
        };
        match self.truth(right) {
            Ok(value) if value == by => Ok(Value::Bool(by)),
            Err(failure @ Failure { problem: EvaluationProblem::Exhausted(_), .. }) => Err(failure),
            _ => Err(failed),
        }
    }

    /// Returns a failure that another value may replace, unless the budget is used up. Its message is charged.
    fn absorbed(&mut self, failure: Failure) -> Evaluated<Failure> {
        let (EvaluationProblem::Operands(message) | EvaluationProblem::Stated(message)) = &failure.problem
        else {
            return Err(failure);
        };
        match self.budget.step(message.len() / 8) {
            Ok(()) => Ok(failure),
            Err(problem) => Err(Failure { column: failure.column, problem }),
        }
    }

    fn select(&mut self, node: &'v Node, of: &'v Node, name: &str, optional: bool) -> Evaluated<Value<'v>> {
        let (holder, chained) = self.unwrapped(of)?;
        let Some(holder) = holder else { return Ok(Value::Optional(None)) };
        let found = match &holder {
            Value::Map(map) => map.field(self.budget, name).at(node)?,
            _ if optional => None,
            other => return Err(no_fields(of, name, other)).at(node),
        };
        match found {
            found if optional || chained => Ok(Value::Optional(found.map(Rc::new))),
            Some(value) => Ok(value),
            None => Err(missing_field(of, name, self.variables.profile)).at(node),
        }
    }

    fn has(&mut self, node: &'v Node, of: &'v Node, name: &str) -> Evaluated<Value<'v>> {
        match self.unwrapped(of)?.0 {
            None => Ok(Value::Bool(false)),
            Some(Value::Map(map)) => Ok(Value::Bool(map.field(self.budget, name).at(node)?.is_some())),
            Some(other) => Err(no_fields(of, name, &other)).at(node),
        }
    }

    fn index(&mut self, node: &'v Node, of: &'v Node, key: &'v Node, optional: bool) -> Evaluated<Value<'v>> {
        let (holder, chained) = self.unwrapped(of)?;
        let Some(holder) = holder else { return Ok(Value::Optional(None)) };
        let key_value = self.value(key)?;
        let found = match (&holder, key_value.as_index()) {
            (Value::Map(map), _) => map.get(self.budget, &key_value).at(node)?,
            (Value::List(list), Some(index)) => usize::try_from(index).ok().and_then(|index| list.get(index)),
            _ if optional => None,
            (Value::List(_), None) => {
                let what = described(&key_value);
                return Err(EvaluationProblem::from(format!(
                    "a list is indexed with an int, not with {what}"
                )))
                .at(node);
            }
            (other, _) => {
                let what = described(other);
                return Err(EvaluationProblem::from(format!("{} is {what}: it has no elements", named(of))))
                    .at(node);
            }
        };
        match found {
            found if optional || chained => Ok(Value::Optional(found.map(Rc::new))),
            Some(value) => Ok(value),
            None => Err(missing_element(of, &holder, &key_value)).at(node),
        }
    }

    /// Returns a value without its optional, and `true` if there was an optional; `None` for an empty one.
    fn unwrapped(&mut self, node: &'v Node) -> Evaluated<(Option<Value<'v>>, bool)> {
        Ok(match self.value(node)? {
            Value::Optional(None) => (None, true),
            Value::Optional(Some(value)) => (Some((*value).clone()), true),
            value => (Some(value), false),
        })
    }

    /// Returns the value of an element, unwrapped if it is marked as optional; `None` if it is left out.
    fn element(&mut self, node: &'v Node, optional: bool) -> Evaluated<Option<Value<'v>>> {
        if optional { Ok(self.unwrapped(node)?.0) } else { self.value(node).map(Some) }
    }

    fn list(&mut self, node: &Node, elements: &'v [(Node, bool)]) -> Evaluated<Value<'v>> {
        let mut items = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            items.extend(self.element(element, *optional)?);
        }
        Value::new_list(self.budget, items).at(node)
    }

    fn map(&mut self, node: &Node, entries: &'v [(Node, Node, bool)]) -> Evaluated<Value<'v>> {
        self.budget.produce(entries.len().saturating_mul(4 * size_of::<Value<'_>>())).at(node)?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key_value = self.value(key)?;
            let Some(entry) = Key::from_value(&key_value) else {
                let what = described(&key_value);
                return Err(EvaluationProblem::from(format!("the key of a map cannot be {what}"))).at(key);
            };
            let Some(value) = self.element(value, *optional)? else { continue };
            if map.insert(entry, value).is_some() {
                return Err(EvaluationProblem::from("the map has this key twice")).at(key);
            }
        }
        Ok(Value::Map(Map::Built(Rc::new(map.into_iter().collect()))))
    }
}
