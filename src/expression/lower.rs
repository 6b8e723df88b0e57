//! Lowering of the parser's tree to a compiled expression.

mod names;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::compile_budget::CompileBudget;
use super::compile_pattern::{LARGEST_IN_EXPRESSION, PatternError};
use super::constant::Constant;
use super::functions;
use super::node::{Kind, Loop, LoopKind, Node};
use super::operator::Operator;
use super::pattern::Pattern;
use super::program::Program;
use super::{CompileError, ExpressionScope, Reads};

/// Maximum depth of operations. Evaluation recurses as deep, on the stack of the calling thread.
const DEEPEST: usize = 64;

/// Maximum number of operations in an expression.
const MOST_NODES: usize = 1000;

/// Memory of an operation with its texts, in bytes.
const NODE: usize = 2 * size_of::<Node>();

/// Maximum depth of nested loops.
const DEEPEST_LOOPS: usize = 8;

pub(super) struct Lower<'s> {
    scope: &'s ExpressionScope<'s>,
    budget: &'s mut CompileBudget,
    positions: &'s SourceInfo,
    /// Variables of the loops around the current node; the index is the slot.
    locals: Vec<String>,
    slots: usize,
    nodes: usize,
    depth: usize,
    reads: Reads,
}

type Lowered<T = Node> = Result<T, CompileError>;

impl<'s> Lower<'s> {
    pub(super) fn new(
        scope: &'s ExpressionScope<'s>,
        positions: &'s SourceInfo,
        budget: &'s mut CompileBudget,
    ) -> Self {
        let reads = Reads::default();
        Self { scope, budget, positions, locals: Vec::new(), slots: 0, nodes: 0, depth: 0, reads }
    }

    pub(super) fn lower(mut self, expression: &IdedExpr) -> Lowered<Program> {
        let root = self.node(expression)?;
        Ok(Program { root, slots: self.slots, reads: self.reads })
    }

    fn node(&mut self, expression: &IdedExpr) -> Lowered {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return self.fail(expression, format!("an expression has at most {MOST_NODES} operations"));
        }
        if self.depth == DEEPEST {
            return self.fail(expression, format!("operations are nested more than {DEEPEST} deep"));
        }
        if let Err(over) = self.budget.keep(NODE) {
            return Err(CompileError::over_budget(self.column(expression), over));
        }
        self.depth += 1;
        let kind = self.kind(expression);
        self.depth -= 1;
        Ok(Node { column: self.column(expression), kind: kind? })
    }

    fn boxed(&mut self, expression: &IdedExpr) -> Lowered<Box<Node>> {
        self.node(expression).map(Box::new)
    }

    fn kind(&mut self, expression: &IdedExpr) -> Lowered<Kind> {
        match &expression.expr {
            Expr::Literal(literal) => Ok(Kind::Constant(constant(literal))),
            Expr::Ident(name) => self.name(expression, name),
            Expr::Select(select) => {
                if let Some(constant) = self.read_param(expression, &select.operand, &select.field)? {
                    return Ok(constant);
                }
                let of = self.boxed(&select.operand)?;
                Ok(Kind::Select { of, field: select.field.as_str().into(), optional: false })
            }
            Expr::Call(call) => match &call.target {
                Some(target) => self.member(expression, target, &call.func_name, &call.args),
                None => self.global(expression, &call.func_name, &call.args),
            },
            Expr::List(list) => {
                let elements = list.elements.iter().enumerate();
                let lowered = elements
                    .map(|(at, element)| Ok((self.node(element)?, list.optional_indices.contains(&at))));
                lowered.collect::<Lowered<_>>().map(list_kind)
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        Ok((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional))
                    }
                    EntryExpr::StructField(_) => self.fail(expression, no_messages()),
                });
                entries.collect::<Lowered<_>>().map(Kind::Map)
            }
            Expr::Struct(_) => self.fail(expression, no_messages()),
            Expr::Comprehension(_) | Expr::Unspecified => {
                self.fail(expression, "this is not an expression".to_owned())
            }
        }
    }

    fn global(&mut self, at: &IdedExpr, name: &str, arguments: &[IdedExpr]) -> Lowered<Kind> {
        match (name, arguments) {
            (operators::LOGICAL_AND, [left, right]) => Ok(Kind::And(self.boxed(left)?, self.boxed(right)?)),
            (operators::LOGICAL_OR, [left, right]) => Ok(Kind::Or(self.boxed(left)?, self.boxed(right)?)),
            (operators::LOGICAL_NOT, [of]) => Ok(Kind::Not(self.boxed(of)?)),
            (operators::NEGATE, [of]) => Ok(Kind::Negate(self.boxed(of)?)),
            (operators::CONDITIONAL, [condition, yes, no]) => {
                Ok(Kind::Conditional(Box::new([self.node(condition)?, self.node(yes)?, self.node(no)?])))
            }
            (operators::INDEX, [of, key]) => self.index(at, of, key, false),
            (operators::OPT_INDEX, [of, key]) => self.index(at, of, key, true),
            (operators::OPT_SELECT, [of, key]) => match &key.expr {
                Expr::Literal(LiteralValue::String(field)) => {
                    if let Some(Kind::Select { of, field, .. }) = self.read_param(at, of, field.inner())? {
                        return Ok(Kind::Select { of, field, optional: true });
                    }
                    Ok(Kind::Select { of: self.boxed(of)?, field: field.inner().into(), optional: true })
                }
                _ => self.fail(at, "`.?` takes the name of a field".to_owned()),
            },
            ("has", [of]) => match self.node(of)?.kind {
                Kind::Select { of, field, optional: false } => Ok(Kind::Has { of, field }),
                _ => self.fail(
                    at,
                    "has() takes a field, as in has(pod.spec.hostNetwork); for a key write \"key\" in map"
                        .to_owned(),
                ),
            },
            (name, [left, right]) if let Some(operator) = binary(name) => {
                Ok(Kind::Binary(operator, Box::new([self.node(left)?, self.node(right)?])))
            }
            (name, arguments) => self.call(at, name, None, arguments),
        }
    }

    fn index(&mut self, at: &IdedExpr, of: &IdedExpr, key: &IdedExpr, optional: bool) -> Lowered<Kind> {
        if let Expr::Literal(LiteralValue::String(name)) = &key.expr
            && let Some(Kind::Select { of, field, .. }) = self.read_param(at, of, name.inner())?
        {
            return Ok(Kind::Select { of, field, optional });
        }
        Ok(Kind::Index { of: self.boxed(of)?, key: self.boxed(key)?, optional })
    }

    fn member(
        &mut self,
        at: &IdedExpr,
        target: &IdedExpr,
        name: &str,
        arguments: &[IdedExpr],
    ) -> Lowered<Kind> {
        if let Expr::Ident(namespace) = &target.expr
            && functions::NAMESPACES.contains(&namespace.as_str())
            && !self.locals.contains(namespace)
        {
            return self.call(at, &format!("{namespace}.{name}"), None, arguments);
        }
        let kind = match (name, arguments.len()) {
            ("all", 2) => LoopKind::All,
            ("exists", 2) => LoopKind::Exists,
            ("exists_one" | "existsOne", 2) => LoopKind::ExistsOne,
            ("map", 2 | 3) => LoopKind::Map,
            ("filter", 2) => LoopKind::Filter,
            ("sortBy", 2) => LoopKind::SortBy,
            ("optMap" | "optFlatMap", 2) => {
                return self.optional_map(target, name == "optFlatMap", arguments);
            }
            ("all" | "exists" | "exists_one" | "existsOne" | "map" | "filter" | "sortBy", _) => {
                return self
                    .fail(at, format!("{name} takes a name and an expression, as in list.{name}(x, …)"));
            }
            _ => return self.call(at, name, Some(target), arguments),
        };
        let over = self.node(target)?;
        let [name, first @ .., body] = arguments else {
            return self.fail(at, "a loop takes a name and an expression".to_owned());
        };
        self.with_local(name, |lower, slot| {
            let condition = first.first().map(|condition| lower.node(condition)).transpose()?;
            let body = lower.node(body)?;
            Ok(Kind::Loop(Box::new(Loop { kind, over, slot, condition, body })))
        })
    }

    fn optional_map(&mut self, target: &IdedExpr, flat: bool, arguments: &[IdedExpr]) -> Lowered<Kind> {
        let of = self.boxed(target)?;
        let [name, body] = arguments else {
            return self.fail(target, "optMap takes a name and an expression".to_owned());
        };
        self.with_local(name, |lower, slot| {
            Ok(Kind::OptionalMap { of, slot, body: lower.boxed(body)?, flat })
        })
    }

    fn with_local<T>(
        &mut self,
        name: &IdedExpr,
        inside: impl FnOnce(&mut Self, usize) -> Lowered<T>,
    ) -> Lowered<T> {
        let Expr::Ident(local) = &name.expr else {
            return self.fail(name, "here stands a name for the element, as in list.all(x, …)".to_owned());
        };
        if self.locals.len() == DEEPEST_LOOPS {
            return self.fail(name, format!("loops are nested more than {DEEPEST_LOOPS} deep"));
        }
        self.locals.push(local.clone());
        self.slots = self.slots.max(self.locals.len());
        let lowered = inside(self, self.locals.len() - 1);
        self.locals.pop();
        lowered
    }

    fn call(
        &mut self,
        at: &IdedExpr,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> Lowered<Kind> {
        let function = match functions::find(name, target.is_some()) {
            Ok(function) => function,
            Err(message) => return self.fail(at, message),
        };
        let lowered = target.into_iter().chain(arguments).map(|argument| self.node(argument));
        let arguments = lowered.collect::<Lowered<Vec<_>>>()?;
        if !function.takes(arguments.len()) {
            let message = function.how_many(arguments.len());
            return self.fail(at, message);
        }
        if name == "matches"
            && let [_, Node { kind: Kind::Constant(Constant::Text(pattern)), column }] = arguments.as_slice()
        {
            let column = *column;
            let pattern =
                Pattern::compile_within(LARGEST_IN_EXPRESSION, pattern, self.budget).map_err(|error| {
                    match error {
                        PatternError::OverBudget(over) => CompileError::over_budget(column, over),
                        error => CompileError::new(column, error.to_string()),
                    }
                })?;
            let of = arguments.into_iter().next().map(Box::new);
            return Ok(of.map_or(Kind::Constant(Constant::Null), |of| Kind::Matches {
                of,
                pattern: Box::new(pattern),
            }));
        }
        Ok(Kind::Call { function, arguments })
    }

    fn column(&self, expression: &IdedExpr) -> usize {
        let start = self.positions.offset_for(expression.id).map_or(0, |(start, _)| start as usize);
        // The parser's position of a field is its dot, and that of a call its bracket.
        match &expression.expr {
            Expr::Select(_) => start + 2,
            Expr::Call(call) if call.func_name == operators::OPT_SELECT => start + 3,
            Expr::Call(call) if call.func_name.starts_with(char::is_alphabetic) => {
                (start + 1).saturating_sub(call.func_name.chars().count()).max(1)
            }
            _ => start + 1,
        }
    }

    fn fail<T>(&self, at: &IdedExpr, message: String) -> Lowered<T> {
        Err(CompileError::new(self.column(at), message))
    }
}

fn constant(literal: &LiteralValue) -> Constant {
    match literal {
        LiteralValue::Boolean(value) => Constant::Bool(*value.inner()),
        LiteralValue::Bytes(bytes) => Constant::Bytes(bytes.inner().into()),
        LiteralValue::Double(number) => Constant::Double(*number.inner()),
        LiteralValue::Int(number) => Constant::Int(*number.inner()),
        LiteralValue::Null => Constant::Null,
        LiteralValue::String(text) => Constant::Text(text.inner().into()),
        LiteralValue::UInt(number) => Constant::Uint(*number.inner()),
    }
}

/// Returns a list of constants as a constant: it is not built again at every evaluation.
fn list_kind(elements: Vec<(Node, bool)>) -> Kind {
    let constant = |(element, is_optional): &(Node, bool)| match &element.kind {
        Kind::Constant(constant) if !is_optional => Some(constant.clone()),
        _ => None,
    };
    match elements.iter().map(constant).collect::<Option<Box<[_]>>>() {
        Some(constants) => Kind::Constant(Constant::List(constants)),
        None => Kind::List(elements),
    }
}

fn binary(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        operators::IN => Operator::In,
        _ => return None,
    })
}

fn no_messages() -> String {
    "there are no message types; write a map, as in {\"key\": value}".to_owned()
}
