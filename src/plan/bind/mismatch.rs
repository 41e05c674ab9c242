//! What is written side by side and never fits: literals as SQL has them, a number beside a time or an entity, arithmetic with texts.
//!
//! Each would be bound to something that is never true, or null. Who writes it now is told; what was defined before it was told stays what
//! it is.

use super::Binder;
use crate::error::{Error, Result, shorten, suggested};
use crate::lang::ast::{EntityRef, Expr, ExprKind, IdExpr, Operator, Span};
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::{Field, Sort};
use crate::time::{Timestamp, duration_elsewhere, parse_duration};
use crate::value::Value;

/// What SQL writes before the text of a time.
const TIMES: [&str; 5] = ["DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME"];

impl Binder<'_> {
    /// An error for `DATE '2024-05-01'` and `INTERVAL '1 day'`, which read as entities. A kind of such a name is written in backticks.
    pub(super) fn check_literal(&self, entity: &EntityRef, span: Span) -> Result<()> {
        let IdExpr::Text { text, span: id } = &entity.id else { return Ok(()) };
        let kind = self.source(entity.kind.span);
        let word = kind.to_ascii_uppercase();
        let is_loud = kind == word || kind == kind.to_ascii_lowercase();
        let is_quoted = self.source(*id).starts_with(['\'', '"']);
        // `Date 2024-05-01` may be an entity: SQL quotes what stands behind.
        if !self.is_new || kind.starts_with('`') || !(is_loud || is_quoted) {
            return Ok(());
        }
        let otherwise = if is_loud { "" } else { "; an entity of this kind is written without quotes" };
        if TIMES.contains(&word.as_str()) && text.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("a time is written without {word}{otherwise}");
            let meant = text.parse::<Timestamp>().is_ok().then(|| format!("'{text}'"));
            return Err(self.fault_meaning(span, message, meant));
        }
        if word == "INTERVAL" && text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) {
            let message =
                format!("a duration is a number and a unit, as in NOW - 1d, without INTERVAL{otherwise}");
            return Err(self.fault_meaning(span, message, duration_elsewhere(text)));
        }
        Ok(())
    }

    /// An error for a constant that is never equal to what it is compared with, nor smaller or larger. The first is compared with each of
    /// the others.
    pub(super) fn check_beside(&self, nodes: &[BoundExpr], exprs: &[&Expr]) -> Result<()> {
        let (Some((first, others)), Some((said, rest))) = (nodes.split_first(), exprs.split_first()) else {
            return Ok(());
        };
        if !self.is_new {
            return Ok(());
        }
        let known = Known::of(first);
        for (other, expr) in others.iter().zip(rest) {
            match (first, other) {
                (BoundExpr::Constant(_), BoundExpr::Constant(_)) => {}
                (BoundExpr::Constant(constant), node) => {
                    let known = Known::of(node);
                    if !known.may_equal(constant) {
                        return Err(self.misfit(known, expr, constant, said));
                    }
                }
                (_, BoundExpr::Constant(constant)) if !known.may_equal(constant) => {
                    return Err(self.misfit(known, said, constant, expr));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is wrong with a constant, beside what it never equals.
    fn misfit(&self, known: Known, beside: &Expr, constant: &Constant, expr: &Expr) -> Error {
        let said = shorten(self.source(expr.span));
        let path = shorten(self.source(beside.span));
        let is_written = matches!(expr.kind, ExprKind::Literal(_));
        let text = match constant {
            Constant::Value(Value::Text(text)) => Some(text),
            _ => None,
        };
        let (message, meant) = match (known, constant) {
            (Known::Time, Constant::Entity(_)) => (format!("{path} is a time, and {said} an entity"), None),
            (Known::Time, _) => {
                let year =
                    matches!(constant, Constant::Value(Value::Int(year)) if (1000..10_000).contains(year));
                (
                    format!("{path} is a time, and {said} is not: a time is like '2024-01-01', or NOW - 1d"),
                    (year && is_written).then(|| format!("'{said}-01-01'")),
                )
            }
            (Known::Entity, Constant::Value(Value::Int(_) | Value::UInt(_))) => {
                let is_field = matches!(beside.kind, ExprKind::Field(_));
                let alone = if is_field { format!("; its id alone is {path}.id") } else { String::new() };
                (format!("{path} is an entity, a kind and an id, as in Order {said}{alone}"), None)
            }
            (Known::Entity, _) => {
                (format!("{path} is an entity, and {said} is not: an entity is like User 7"), None)
            }
            (Known::Id, Constant::Entity(_)) => {
                let whole = path.strip_suffix(".id");
                let meant = whole.and_then(|whole| suggested(format!("{whole} = {said}")));
                (format!("{path} is an id, and {said} a whole entity"), meant)
            }
            (Known::Type, Constant::Entity(_)) => {
                (format!("{path} is a type, like 'Order.paid', and {said} an entity"), None)
            }
            (Known::Id | Known::Type, _) => {
                (format!("{path} is a text, and {said} is not"), is_written.then(|| format!("'{said}'")))
            }
            (Known::Number, _) => {
                let meant = text.filter(|text| text.parse::<u64>().is_ok()).cloned();
                let is = if text.is_some() { "a text" } else { "is not" };
                (format!("{path} is a number, and {said} {is}"), meant)
            }
            (Known::Length | Known::Other, _) => (
                format!("{path} is a duration, like 1d, and {said} is not; number(…) gives its seconds"),
                text.filter(|text| parse_duration(text).is_ok()).cloned(),
            ),
        };
        self.fault_meaning(expr.span, message, meant)
    }

    /// An error for what `MATCHES` tests and is no text, whatever the event.
    pub(super) fn check_text(&self, node: &BoundExpr, expr: &Expr) -> Result<()> {
        let said = || shorten(self.source(expr.span));
        let (is, instead) = match node.sort() {
            _ if !self.is_new => return Ok(()),
            Sort::Time => ("a time", format!("compare it, as in {} >= '2024-01-01'", said())),
            Sort::Entity => ("an entity", format!("its id is {}.id", said())),
            _ if is_number(node) => ("a number", format!("compare it, as in {} > 5", said())),
            _ => return Ok(()),
        };
        let said = said();
        Err(self.fault(expr.span, format!("MATCHES tests texts, and {said} is {is}: {instead}")))
    }

    /// An error for a constant that arithmetic has no use for: a text is no length of time, and neither is a number.
    pub(super) fn check_arithmetic(
        &self,
        operands: &[(&BoundExpr, &Expr)],
        operators: &[Operator],
    ) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let has_time = operands.iter().any(|(node, _)| node.sort() == Sort::Time);
        let has_span =
            operands.iter().any(|(node, _)| matches!(node, BoundExpr::Constant(Constant::Span(_))));
        let adds = operators.iter().all(|operator| *operator == Operator::Add);
        if let Some((_, expr)) = operands.iter().find(|(node, _)| is_span(node))
            && operators.iter().any(|operator| !matches!(operator, Operator::Add | Operator::Subtract))
        {
            let message = "a duration only adds and subtracts: number(x) gives its seconds, and two days are written 2d";
            return Err(self.fault(expr.span, message));
        }
        for (node, expr) in operands {
            let BoundExpr::Constant(constant) = node else { continue };
            let said = shorten(self.source(expr.span));
            // What a parameter is to be instead is another's to say.
            let is_said = matches!(expr.kind, ExprKind::Literal(_));
            let wrong =
                |message: String, meant: Option<String>| Err(self.fault_meaning(expr.span, message, meant));
            match constant {
                Constant::Value(Value::Text(text)) if has_time => {
                    let known = parse_duration(text).is_ok().then(|| text.clone()).filter(|_| is_said);
                    let message = "a duration is a number and a unit without quotes, as in NOW - 1d";
                    return wrong(message.to_owned(), known.or_else(|| duration_elsewhere(text)));
                }
                Constant::Value(Value::Int(_) | Value::UInt(_) | Value::Float(_)) if has_time || has_span => {
                    let meant =
                        matches!(constant, Constant::Value(Value::Int(_))).then(|| format!("{said}d"));
                    let message = "a duration is a number and a unit, as in NOW - 1d";
                    return wrong(message.to_owned(), meant.filter(|_| has_time && is_said));
                }
                Constant::Value(Value::Text(_)) if adds => {
                    return wrong("+ adds numbers; concat joins texts, as in concat(a, b)".to_owned(), None);
                }
                Constant::Value(Value::Text(text)) => {
                    let meant = text.parse::<f64>().is_ok().then(|| text.clone());
                    return wrong(format!("{said} is a text: nothing is computed of it"), meant);
                }
                Constant::Value(Value::Bool(_)) | Constant::Entity(_) => {
                    return wrong(format!("{said} is no number: nothing is computed of it"), None);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_span(node: &BoundExpr) -> bool {
    matches!(node, BoundExpr::Constant(Constant::Span(_)))
}

/// What is known of a value, whatever the event.
#[derive(Clone, Copy)]
enum Known {
    Time,
    Entity,
    Id,
    Type,
    Number,
    /// A length of time.
    Length,
    Other,
}

impl Known {
    fn of(node: &BoundExpr) -> Known {
        match node.sort() {
            Sort::Time => Known::Time,
            Sort::Entity => Known::Entity,
            Sort::Id => Known::Id,
            Sort::Type => Known::Type,
            _ if is_number(node) => Known::Number,
            _ if is_length(node) => Known::Length,
            _ => Known::Other,
        }
    }

    /// Whether it may be equal to a constant, or smaller or larger. A text beside a time or an entity is looked at where it is bound.
    fn may_equal(self, constant: &Constant) -> bool {
        match (self, constant) {
            (Known::Other, _) | (_, Constant::Value(Value::Null)) => true,
            (Known::Time, Constant::Value(value)) => matches!(value, Value::Text(_)),
            (Known::Time, other) => !matches!(other, Constant::Entity(_)),
            (Known::Entity, other) => matches!(other, Constant::Entity(_)),
            (Known::Id | Known::Type, other) => matches!(other, Constant::Value(_)),
            (Known::Number, Constant::Value(value)) => !matches!(value, Value::Text(_)),
            (Known::Number, _) => false,
            (Known::Length, other) => matches!(other, Constant::Span(_)),
        }
    }
}

/// Whether it is a time less a time.
fn is_length(node: &BoundExpr) -> bool {
    match node {
        BoundExpr::Arithmetic { first, rest } => {
            let times = |node: &BoundExpr| node.sort() == Sort::Time;
            matches!(rest.as_slice(), [(Operator::Subtract, other)] if times(first) && times(other))
        }
        _ => false,
    }
}

fn is_number(node: &BoundExpr) -> bool {
    matches!(node, BoundExpr::Field(Field::Position | Field::Version | Field::Events))
}
