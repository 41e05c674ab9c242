//! Strict evaluation: of what is to be written. Here what has no value is an error, which tells the part that has none.

use std::fmt;

use super::{Scope, leaf, member, pass};
use crate::allowance::Limits;
use crate::document::Raw;
use crate::error::{Error, Result, shorten};
use crate::lang::ast::Operator;
use crate::plan::datum::{Datum, calculate, negated};
use crate::plan::expr::BoundExpr;
use crate::plan::field::{ACTOR_STATE, Field, FieldPath, FieldStep, STATE};
use crate::plan::function::FunctionBody;
use crate::time::Timestamp;
use crate::value::{MAX_DEPTH, Value};

/// What an expression that says what is to be written is worth. Here a wrong type is an error.
pub(in crate::exec) fn value(node: &BoundExpr, now: Timestamp, limits: &Limits) -> Result<Value> {
    written(&Scope::writing(now, limits), node).map_err(|failure| match failure {
        EvalFailure::Over(error) => error,
        EvalFailure::Missing { path, .. } => Error::invalid("a value to be written", "what is there", path),
        EvalFailure::Wrong { what, expected, found, .. } => Error::invalid(what, expected, found),
    })
}

/// What an expression has no value for.
#[derive(Debug)]
pub(in crate::exec) enum EvalFailure {
    /// A member that is not there, and what could stand in for it.
    Missing { path: String, instead: &'static str },
    Wrong {
        what: String,
        expected: String,
        found: String,
        /// Which part of it is to blame, where that is known.
        part: Option<String>,
    },
    /// It took more than it may, or somebody ended it.
    Over(Error),
}

impl fmt::Display for EvalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalFailure::Missing { path, instead } => {
                write!(f, "{path} is missing; coalesce({path}, {instead}) says what to take where it is")
            }
            EvalFailure::Wrong { expected, found, part, .. } => {
                write!(f, "expected {expected}, found {found}")?;
                part.as_ref().map_or(Ok(()), |part| write!(f, ": {part}"))
            }
            EvalFailure::Over(Error::Invalid { expected, found, .. }) => {
                write!(f, "expected {expected}, found {found}")
            }
            EvalFailure::Over(error) => error.fmt(f),
        }
    }
}

/// What an expression is worth as JSON.
pub(in crate::exec) fn written<'a>(scope: &Scope<'a>, node: &'a BoundExpr) -> Result<Value, EvalFailure> {
    match strict(scope, node)? {
        Datum::Span(_) => Err(EvalFailure::Wrong {
            what: "a value to be written".to_owned(),
            expected: "a value of JSON; lengths in quotes".to_owned(),
            found: "a length of time".to_owned(),
            part: None,
        }),
        datum => {
            // What stands in the text itself is as large as that, and is not counted.
            let value = match node {
                BoundExpr::Constant(_) => datum.into_value(),
                _ => datum.taken(scope.allowance()),
            };
            scope.check().map_err(EvalFailure::Over)?;
            Ok(value)
        }
    }
}

/// What an expression is worth, step by step, so that the step which has no result can be told. What is missing has none; but
/// it may be missing in a condition, and in `coalesce`.
fn strict<'a>(scope: &Scope<'a>, node: &'a BoundExpr) -> Result<Datum<'a>, EvalFailure> {
    match node {
        BoundExpr::Field(field) => scope.there(field),
        BoundExpr::Object(members) => {
            let members = members.iter().map(|(name, node)| Ok((name.clone(), written(scope, node)?)));
            Ok(Datum::of(Value::Object(members.collect::<Result<_, EvalFailure>>()?)))
        }
        BoundExpr::Array(items) => {
            let items = items.iter().map(|node| written(scope, node));
            Ok(Datum::of(Value::Array(items.collect::<Result<_, EvalFailure>>()?)))
        }
        BoundExpr::Arithmetic { first, rest } => {
            let mut left = strict(scope, first).map_err(EvalFailure::of_a_number)?;
            let mut before = Some(&**first);
            for (operator, operand) in rest {
                let right = strict(scope, operand).map_err(EvalFailure::of_a_number)?;
                left = calculate(&left, *operator, &right).ok_or_else(|| {
                    let found = format!("{} {} {}", left.glimpse(), sign(*operator), right.glimpse());
                    let blame = |node: Option<&BoundExpr>, datum: &Datum| {
                        let named = node.and_then(name_of).filter(|_| !matches!(datum, Datum::Number(_)));
                        named.map(|name| format!("{name} is {}", told(datum)))
                    };
                    EvalFailure::Wrong {
                        what: "arithmetic".to_owned(),
                        expected: expected_of(&left, &right),
                        found,
                        part: blame(before, &left).or_else(|| blame(Some(operand), &right)),
                    }
                })?;
                before = None;
            }
            Ok(left)
        }
        BoundExpr::Negate(inner) => {
            let operand = strict(scope, inner).map_err(EvalFailure::of_a_number)?;
            negated(&operand).ok_or_else(|| EvalFailure::Wrong {
                what: "-".to_owned(),
                expected: "a number".to_owned(),
                found: operand.glimpse(),
                part: name_of(inner).map(|name| format!("{name} is {}", told(&operand))),
            })
        }
        BoundExpr::Call { function, arguments } => match function.work {
            FunctionBody::Plain(_) | FunctionBody::Making(_) => {
                took(scope, scope.allowance().step(1 + arguments.len()))?;
                let given = arguments.iter().enumerate().map(|(at, node)| match strict(scope, node) {
                    // A list that is not there yet is an empty one.
                    Err(EvalFailure::Missing { .. }) if at == 0 && function.grows() && is_state(node) => {
                        Ok(Datum::Null)
                    }
                    other => other,
                });
                let given = given.collect::<Result<Vec<_>, EvalFailure>>()?;
                function.work.of(&given, scope.allowance()).ok_or_else(|| {
                    if let Err(error) = scope.check() {
                        return EvalFailure::Over(error);
                    }
                    let found = given.iter().map(Datum::glimpse).collect::<Vec<_>>().join(", ");
                    EvalFailure::Wrong {
                        what: function.name.to_owned(),
                        expected: function.form(),
                        found: format!("{}({found})", function.name),
                        part: None,
                    }
                })
            }
            FunctionBody::If => match arguments.as_slice() {
                [condition, yes, no] => {
                    let holds = scope.holds(condition).map_err(EvalFailure::Over)?;
                    strict(scope, if holds { yes } else { no })
                }
                _ => Ok(Datum::Null),
            },
            _ => Ok(scope.datum(node)),
        },
        _ => Ok(scope.datum(node)),
    }
}

impl EvalFailure {
    /// A state nests no deeper than anything else.
    pub fn too_deep() -> EvalFailure {
        EvalFailure::Wrong {
            what: "a state".to_owned(),
            expected: format!("a value that nests no deeper than {MAX_DEPTH} with its place in the state"),
            found: "one that does".to_owned(),
            part: None,
        }
    }

    /// Where what is missing was to be a number.
    fn of_a_number(self) -> EvalFailure {
        match self {
            EvalFailure::Missing { path, .. } => EvalFailure::Missing { path, instead: "0" },
            other => other,
        }
    }
}

/// What arithmetic would have a result.
fn expected_of(left: &Datum, right: &Datum) -> String {
    match (left, right) {
        (Datum::Time(_), Datum::Span(_)) | (Datum::Span(_), Datum::Time(_)) => {
            format!("a time from {} to {}", Timestamp::MIN, Timestamp::MAX)
        }
        _ => "numbers, with a result that 64 bits hold".to_owned(),
    }
}

/// How a field is written, where it leads into an object.
fn name_of(node: &BoundExpr) -> Option<String> {
    match node {
        BoundExpr::Field(
            field @ (Field::Data(_) | Field::Metadata(_) | Field::State(_) | Field::ActorState(_)),
        ) => Some(field.to_string()),
        _ => None,
    }
}

fn is_state(node: &BoundExpr) -> bool {
    matches!(node, BoundExpr::Field(Field::State(_)))
}

/// A datum with what it is: `text 'x'`.
fn told(datum: &Datum) -> String {
    match datum {
        Datum::Null => "null".to_owned(),
        Datum::Text(text) => format!("text '{}'", shorten(text)),
        _ => format!("{} {}", datum.kind(), datum.glimpse()),
    }
}

/// An error where too much was taken.
fn took(scope: &Scope, fits: bool) -> Result<(), EvalFailure> {
    if fits { Ok(()) } else { scope.check().map_err(EvalFailure::Over) }
}

fn sign(operator: Operator) -> char {
    match operator {
        Operator::Add => '+',
        Operator::Subtract => '-',
        Operator::Multiply => '*',
        Operator::Divide => '/',
        Operator::Remainder => '%',
    }
}

impl<'a> Scope<'a> {
    /// What a field is worth, where it has to be there.
    fn there(&self, field: &Field) -> Result<Datum<'a>, EvalFailure> {
        let in_data =
            |steps| self.documents().and_then(|(data, _)| self.leaf(data, steps)).map(Datum::stored);
        let in_metadata =
            |steps| self.documents().and_then(|(_, metadata)| self.leaf(metadata, steps)).map(Datum::stored);
        let (name, steps, found) = match field {
            Field::Data(steps) => ("data", steps, in_data(steps)),
            Field::Metadata(steps) if !steps.is_empty() => ("metadata", steps, in_metadata(steps)),
            Field::State(steps) => {
                (STATE, steps, self.state.and_then(|state| state.at(steps, self.allowance())))
            }
            Field::ActorState(steps) => {
                let found = self.seen.and_then(|seen| member(seen.actor_state, steps));
                (ACTOR_STATE, steps, found.map(Datum::borrowed))
            }
            field => return Ok(self.field(field)),
        };
        self.check().map_err(EvalFailure::Over)?;
        found
            .ok_or_else(|| EvalFailure::Missing { path: FieldPath(name, steps).to_string(), instead: "NULL" })
    }

    fn leaf(&self, document: Raw<'a>, steps: &[FieldStep]) -> Option<Raw<'a>> {
        pass(document, self.allowance()).then(|| leaf(document, steps)).flatten()
    }
}
