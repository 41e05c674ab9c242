//! Expressions as text. Parentheses stand where an operand binds less tightly than its place demands.

use super::{CommaList, Display, FieldName, Formatter, Quoted, QuotedName, fmt, is_bare};
use crate::lang::ast::{Comparison, Expr, ExprKind, Literal, Name, ObjectExpr, Operator, Path, StepExpr};
use crate::time::{Timestamp, display_duration};
use crate::value::Value;

/// How tightly an expression binds: the rules of the grammar, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Test,
    Sum,
    Product,
    Unary,
}

fn level(expr: &Expr) -> Level {
    match &expr.kind {
        ExprKind::Or(_) => Level::Or,
        ExprKind::And(_) => Level::And,
        ExprKind::Not(_) => Level::Not,
        ExprKind::Compare { .. }
        | ExprKind::Matches { .. }
        | ExprKind::Contains { .. }
        | ExprKind::Between { .. }
        | ExprKind::In { .. }
        | ExprKind::IsNull { .. } => Level::Test,
        ExprKind::Arithmetic { rest, .. } => match rest.first() {
            Some((Operator::Add | Operator::Subtract, _)) => Level::Sum,
            _ => Level::Product,
        },
        // No place demands more: what has a sign stands wherever a name does.
        _ => Level::Unary,
    }
}

/// An operand in a place that demands a level.
struct Operand<'a>(&'a Expr, Level);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if level(self.0) < self.1 { write!(f, "({})", self.0) } else { write!(f, "{}", self.0) }
    }
}

fn chain(f: &mut Formatter<'_>, operands: &[Expr], joint: &str, level: Level) -> fmt::Result {
    for (i, operand) in operands.iter().enumerate() {
        if i > 0 {
            write!(f, " {joint} ")?;
        }
        write!(f, "{}", Operand(operand, level))?;
    }
    Ok(())
}

fn not(negated: bool) -> &'static str {
    if negated { " NOT" } else { "" }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sum = |expr| Operand(expr, Level::Sum);
        match &self.kind {
            ExprKind::Literal(literal) => write!(f, "{literal}"),
            ExprKind::Param(param) => write!(f, "{param}"),
            ExprKind::Field(path) => write!(f, "{path}"),
            ExprKind::Entity(entity) => write!(f, "{entity}"),
            ExprKind::Call { name, args } => write!(f, "{}({})", FieldName(&name.text), CommaList(args)),
            ExprKind::Object(object) => write!(f, "{object}"),
            ExprKind::Array(items) => write!(f, "[{}]", CommaList(items)),
            ExprKind::Or(operands) => chain(f, operands, "OR", Level::And),
            ExprKind::And(operands) => chain(f, operands, "AND", Level::Not),
            ExprKind::Not(inner) => write!(f, "NOT {}", Operand(inner, Level::Not)),
            // Two signs in a row would begin a comment.
            ExprKind::Negate(inner) if matches!(inner.kind, ExprKind::Negate(_)) => write!(f, "- {inner}"),
            ExprKind::Negate(inner) => write!(f, "-{}", Operand(inner, Level::Unary)),
            ExprKind::Arithmetic { first, rest } => {
                let operand = if level(self) == Level::Sum { Level::Product } else { Level::Unary };
                write!(f, "{}", Operand(first, operand))?;
                rest.iter()
                    .try_for_each(|(operator, next)| write!(f, " {operator} {}", Operand(next, operand)))
            }
            ExprKind::Compare { left, comparison, right } => {
                write!(f, "{} {comparison} {}", sum(left), sum(right))
            }
            ExprKind::Matches { subject, negated, pattern } => {
                write!(f, "{}{} MATCHES {}", sum(subject), not(*negated), sum(pattern))
            }
            ExprKind::Contains { subject, negated, item } => {
                write!(f, "{}{} CONTAINS {}", sum(subject), not(*negated), sum(item))
            }
            ExprKind::Between { subject, negated, low, high } => {
                write!(f, "{}{} BETWEEN {} AND {}", sum(subject), not(*negated), sum(low), sum(high))
            }
            ExprKind::In { subject, negated, items } => {
                write!(f, "{}{} IN ({})", sum(subject), not(*negated), CommaList(items))
            }
            ExprKind::IsNull { subject, negated } => {
                write!(f, "{} IS{} NULL", sum(subject), not(*negated))
            }
        }
    }
}

/// A time, as a bare date where it is midnight.
pub(super) struct Time(pub(super) Timestamp);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = self.0.to_string();
        f.write_str(time.strip_suffix("T00:00:00Z").unwrap_or(&time))
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Value(Value::Null) => f.write_str("NULL"),
            Literal::Value(Value::Bool(true)) => f.write_str("TRUE"),
            Literal::Value(Value::Bool(false)) => f.write_str("FALSE"),
            Literal::Value(Value::Text(text)) => write!(f, "{}", Quoted(text)),
            Literal::Value(value) => write!(f, "{value}"),
            Literal::Time(time) => write!(f, "{}", Time(*time)),
            Literal::Duration(duration) => f.write_str(&display_duration(*duration)),
            Literal::Now => f.write_str("NOW"),
            Literal::Position(position) => write!(f, "{position}"),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", FieldName(&self.first.text))?;
        self.steps.iter().try_for_each(|step| write!(f, "{step}"))
    }
}

impl Display for StepExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            // No name in backticks is empty.
            StepExpr::Member(name) if name.text.is_empty() => f.write_str("['']"),
            StepExpr::Member(name) => write!(f, ".{name}"),
            StepExpr::Element { index, .. } => write!(f, "[{index}]"),
        }
    }
}

impl Display for ObjectExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (key, value)) in self.members.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {value}", KeyText(key))?;
        }
        f.write_str("}")
    }
}

/// A key of an object: bare, or in quotes as JSON has it.
pub(super) struct KeyText<'a>(pub(super) &'a Name);

impl Display for KeyText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = &self.0.text;
        if is_bare(text) { write!(f, "{}", QuotedName(text)) } else { write!(f, "{}", Quoted(text)) }
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        })
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}
