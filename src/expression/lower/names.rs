//! Resolution of the names in an expression.

use cel::common::ast::{Expr, IdedExpr};

use super::{Lower, Lowered};
use crate::api::nearest;
use crate::expression::constant::Constant;
use crate::expression::node::{Kind, Node, Variable};

/// Names of types, for `type(x) == string`.
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "quantity",
    "string",
    "type",
    "uint",
];

impl Lower<'_> {
    /// Resolves the name of a variable, a loop variable or a type.
    pub(super) fn name(&mut self, at: &IdedExpr, name: &str) -> Lowered<Kind> {
        if let Some(slot) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Kind::Local { slot, name: name.into() });
        }
        if let Some(variable) = Variable::ALL.into_iter().find(|variable| variable.name() == name) {
            self.check_allowed(at, variable)?;
            self.note_read(variable);
            if variable == Variable::Params {
                let names = self.scope.params.unwrap_or_default();
                self.reads.param_names.extend(names.iter().map(|&name| name.to_owned()));
            }
            return Ok(Kind::Variable(variable));
        }
        if let Some(name) = TYPES.into_iter().find(|of_type| *of_type == name) {
            return Ok(Kind::Constant(Constant::Type(name)));
        }
        let variables = Variable::ALL.into_iter().filter(|variable| self.is_allowed(*variable));
        let mut known: Vec<&str> = variables.map(Variable::name).collect();
        known.extend(self.locals.iter().map(String::as_str));
        let message = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("there is no variable {name}; did you mean {meant}?"),
            None => format!("there is no variable {name}; there are {}", known.join(", ")),
        };
        self.fail(at, message)
    }

    /// Resolves `params.name` or `params["name"]`: the parameter must be declared.
    pub(super) fn read_param(&mut self, at: &IdedExpr, of: &IdedExpr, name: &str) -> Lowered<Option<Kind>> {
        let is_params = matches!(&of.expr, Expr::Ident(variable) if variable == "params");
        if !is_params || self.locals.iter().any(|local| local == "params") {
            return Ok(None);
        }
        self.check_allowed(of, Variable::Params)?;
        let declared = self.scope.params.unwrap_or_default();
        if !declared.contains(&name) {
            let message = match nearest(name, declared.iter().copied()) {
                Some(meant) => format!("the profile has no parameter {name}; did you mean {meant}?"),
                None if declared.is_empty() => format!("the profile has no parameter {name}, nor any other"),
                None => format!("the profile has no parameter {name}; it has {}", declared.join(", ")),
            };
            return self.fail(at, message);
        }
        self.note_read(Variable::Params);
        self.reads.param_names.insert(name.to_owned());
        let of = Box::new(Node { column: self.column(of), kind: Kind::Variable(Variable::Params) });
        Ok(Some(Kind::Select { of, field: name.into(), optional: false }))
    }

    fn is_allowed(&self, variable: Variable) -> bool {
        match variable {
            Variable::Params => self.scope.params.is_some(),
            Variable::Container => self.scope.container,
            _ => true,
        }
    }

    fn check_allowed(&self, at: &IdedExpr, variable: Variable) -> Lowered<()> {
        match variable {
            _ if self.is_allowed(variable) => Ok(()),
            Variable::Container => {
                self.fail(at, "container can be read only inside appContainers".to_owned())
            }
            _ => self
                .fail(at, "params cannot be read here: a pod is matched before it has parameters".to_owned()),
        }
    }

    fn note_read(&mut self, variable: Variable) {
        match variable {
            Variable::Pod => self.reads.pod = true,
            Variable::Container => self.reads.container = true,
            Variable::NamespaceObject => self.reads.namespace_object = true,
            Variable::Params => self.reads.params = true,
            Variable::Cluster => self.reads.cluster = true,
            Variable::Profile => {}
        }
    }
}
