use serde_json::Value;

use super::Failed;
use super::finding::Findings;
use crate::expression::{Budget, Expression, ExpressionScope, Reads, Variables};

/// Condition in CEL, with its field.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Expression,
    path: String,
}

pub(super) const WHEN: &str = "when";

impl Condition {
    pub(super) fn compile(
        source: &str,
        path: String,
        scope: &ExpressionScope<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        match Expression::compile(source, scope, &mut findings.budget) {
            Ok(expression) => Some(Self { expression, path }),
            Err(error) => {
                findings.compile_error(path, &error);
                None
            }
        }
    }

    /// Removes the field `when` from an element and compiles it.
    pub(super) fn take_when(
        element: &mut Value,
        path: &str,
        scope: &ExpressionScope<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let path = format!("{path}.{WHEN}");
        match element.as_object_mut()?.remove(WHEN)? {
            Value::String(source) => Self::compile(&source, path, scope, findings),
            Value::Null => None,
            _ => {
                findings.error(path, "a condition is a CEL expression; put it in quotes");
                None
            }
        }
    }

    /// Evaluates the condition.
    ///
    /// # Errors
    /// It cannot be evaluated, or its value is not a bool.
    pub fn is_true(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<bool, Failed> {
        self.expression.is_true(variables, budget).map_err(|error| Failed {
            path: self.path.clone(),
            column: error.column,
            message: error.message,
            is_stated: error.is_stated,
        })
    }

    pub(super) fn reads(&self) -> Reads {
        self.expression.reads().clone()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}
