//! String leaf of a template, with or without expressions.

use serde_json::Value as JsonValue;

use super::budget::Budget;
use super::expansion::{find_in_texts, references};
use super::result::add_to_text;
use super::scan::{Scanner, column_at};
use super::{
    CompileBudget, CompileError, EvaluationError, Expression, ExpressionScope, ParameterValue, Reads,
    Variables,
};

/// String leaf of a template: literal text, one expression, or text with expressions.
#[derive(Clone, Debug)]
pub struct Text {
    pieces: Vec<Piece>,
    reads: Reads,
    references: References,
}

/// References to variables, `$(NAME)`, that the rendered text of a leaf may contain.
#[derive(Clone, Debug, Default)]
struct References {
    /// References in the profile's literal text, by name.
    written: Box<[Box<str>]>,
    /// Parameters that it reads and whose values may contain references.
    expandable: Box<[Box<str>]>,
    /// `true` if it reads only such parameters.
    are_free: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    Expression {
        expression: Expression,
        /// Offset in the leaf, in characters.
        before: usize,
    },
}

const OPEN: &str = "$[[";
const ESCAPED: &str = "$$[[";

impl Text {
    /// Checks whether a text may not be a plain literal: it contains an expression or an escaped delimiter.
    pub fn may_have_expressions(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Parses a leaf: CEL is delimited by `$[[` and `]]`, and `$$[[` is a literal `$[[`. An expression ends at the first `]]`
    /// outside its brackets, strings and comments.
    ///
    /// # Errors
    /// A `$[[` has no end, or its expression does not compile. The column is relative to the leaf.
    pub fn parse(
        text: &str,
        scope: &ExpressionScope<'_>,
        budget: &mut CompileBudget,
    ) -> Result<Self, CompileError> {
        let mut pieces = Vec::new();
        let mut written = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find(OPEN)) {
            let start = at + found;
            if start > at && text.get(start - 1..).is_some_and(|rest| rest.starts_with(ESCAPED)) {
                literal.push_str(text.get(at..start - 1).unwrap_or_default());
                literal.push_str(OPEN);
                at = start + OPEN.len();
                continue;
            }
            literal.push_str(text.get(at..start).unwrap_or_default());
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            let inside = start + OPEN.len();
            let before = column_at(text, inside) - 1;
            let shifted = |error: CompileError| CompileError { column: error.column + before, ..error };
            let length = expression_length(text.get(inside..).unwrap_or_default()).map_err(shifted)?;
            let length = length.ok_or_else(|| {
                let message = "this $[[ has no ]]; write $$[[ for a literal $[[".to_owned();
                CompileError::new(column_at(text, start), message)
            })?;
            let source = text.get(inside..inside + length).unwrap_or_default();
            written.extend(references(source).map(Box::from));
            pieces.push(Piece::Expression {
                expression: Expression::compile(source, scope, budget).map_err(shifted)?,
                before,
            });
            at = inside + length + 2;
        }
        literal.push_str(text.get(at..).unwrap_or_default());
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        let mut reads = Reads::default();
        for piece in &pieces {
            match piece {
                Piece::Literal(literal) => written.extend(references(literal).map(Box::from)),
                Piece::Expression { expression, .. } => reads.add(expression.reads()),
            }
        }
        let expandable = scope.expandable.iter().filter(|name| reads.param_names.contains(**name));
        let references = References {
            written: written.into(),
            expandable: expandable.map(|name| Box::from(*name)).collect(),
            are_free: !reads.param_names.is_empty() && reads.only_params(scope.expandable),
        };
        Ok(Self { pieces, reads, references })
    }

    /// Returns a reference to a variable in a value of the leaf that is neither in the profile's literal text nor from an
    /// expandable parameter: it was assembled from parts, or is from the pod. The kubelet would replace it with the variable's
    /// value.
    pub fn foreign_reference(&self, value: &JsonValue, variables: &Variables<'_>) -> Option<String> {
        if self.references.are_free {
            return None;
        }
        let brought = |name: &str| {
            let values = self.references.expandable.iter().filter_map(|name| variables.params.get(&**name));
            values.flat_map(ParameterValue::texts).any(|text| references(text).any(|known| known == name))
        };
        find_in_texts(value, &mut |text| {
            let is_foreign = |name: &&str| {
                !self.references.written.iter().any(|written| **written == **name) && !brought(name)
            };
            references(text).find(is_foreign).map(str::to_owned)
        })
    }

    /// Returns the text, if it has no expression.
    pub fn is_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Checks whether the leaf is exactly one expression, which determines its type.
    pub fn is_expression(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Expression { .. }])
    }

    /// Returns the variables that its expressions read.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Renders the leaf. A leaf that is exactly one expression has that expression's type; a quantity or a duration becomes
    /// text. Every other leaf is text.
    ///
    /// # Errors
    /// An expression fails, or its value has no text form. The column is relative to the leaf.
    pub fn render(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
    ) -> Result<JsonValue, EvaluationError> {
        let within = |before: usize| {
            move |error: EvaluationError| EvaluationError { column: error.column + before, ..error }
        };
        if let [Piece::Expression { expression, before }] = self.pieces.as_slice() {
            return expression.evaluate(variables, budget).map_err(within(*before));
        }
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression { expression, before } => expression
                    .with_value(variables, budget, |budget, value| add_to_text(budget, &mut text, value))
                    .map_err(within(*before))?,
            }
        }
        Ok(JsonValue::String(text))
    }

    /// Checks whether the leaf can be rendered as this text: the text contains its literal pieces in order, with anything
    /// between them. Nothing is evaluated.
    pub fn could_be(&self, actual: &str) -> bool {
        let mut rest = actual;
        let mut is_anchored = true;
        for (index, piece) in self.pieces.iter().enumerate() {
            let Piece::Literal(literal) = piece else {
                is_anchored = false;
                continue;
            };
            let is_last = index + 1 == self.pieces.len();
            let after = match (is_anchored, is_last) {
                (true, true) => return rest == literal,
                (true, false) => rest.strip_prefix(literal.as_str()),
                (false, true) => return rest.ends_with(literal.as_str()),
                (false, false) => rest.find(literal.as_str()).and_then(|at| rest.get(at + literal.len()..)),
            };
            match after {
                Some(after) => rest = after,
                None => return false,
            }
            is_anchored = true;
        }
        true
    }
}

/// Returns the length of the expression at the start of a text; `None` if it has no `]]`.
fn expression_length(text: &str) -> Result<Option<usize>, CompileError> {
    let mut scanner = Scanner::new(text);
    loop {
        let depth = scanner.depth();
        match scanner.next_outside_strings()? {
            None => return Ok(None),
            Some((at, ']')) if depth == 0 && text.get(at + 1..).is_some_and(|rest| rest.starts_with(']')) => {
                return Ok(Some(at));
            }
            Some(_) => {}
        }
    }
}
