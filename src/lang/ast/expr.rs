//! Expressions: over the fields of an event, or of a state.

use std::time::Duration;

use super::{EntityRef, Name, Param, Span};
use crate::entity::Position;
use crate::time::Timestamp;
use crate::value::Value;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    Literal(Literal),
    Param(Param),
    /// `type`, `data.items[0].price`: a field of the event (or of the state, in definitions).
    Field(Path),
    /// `User 7`.
    Entity(EntityRef),
    /// `sum(data.total)`.
    Call {
        name: Name,
        args: Vec<Expr>,
    },
    Object(ObjectExpr),
    Array(Vec<Expr>),
    /// Two or more.
    Or(Vec<Expr>),
    /// Two or more.
    And(Vec<Expr>),
    Not(Box<Expr>),
    /// `-x`; never of a number, which is negative itself.
    Negate(Box<Expr>),
    /// `a + b - c`, or `a * b / c`: from the left; the operators of one chain bind alike.
    Arithmetic {
        first: Box<Expr>,
        rest: Vec<(Operator, Expr)>,
    },
    Compare {
        left: Box<Expr>,
        comparison: Comparison,
        right: Box<Expr>,
    },
    Matches {
        subject: Box<Expr>,
        negated: bool,
        pattern: Box<Expr>,
    },
    Contains {
        subject: Box<Expr>,
        negated: bool,
        item: Box<Expr>,
    },
    Between {
        subject: Box<Expr>,
        negated: bool,
        low: Box<Expr>,
        high: Box<Expr>,
    },
    In {
        subject: Box<Expr>,
        negated: bool,
        items: Vec<Expr>,
    },
    IsNull {
        subject: Box<Expr>,
        negated: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    /// Null, a boolean, a number or a text; never an array or an object.
    Value(Value),
    Time(Timestamp),
    Duration(Duration),
    Now,
    /// `#12`, as a value of `BY`.
    Position(Position),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A name and the way on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) first: Name,
    pub(crate) steps: Vec<StepExpr>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepExpr {
    /// `.name` or `['name']`.
    Member(Name),
    /// `[0]`.
    Element { index: u64, span: Span },
}

/// An object whose values are expressions. No key comes twice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObjectExpr {
    pub(crate) members: Vec<(Name, Expr)>,
    pub(crate) span: Span,
}
