//! What is written side by side and never fits: literals as SQL has them, a number beside a time or an entity, arithmetic with texts.
//!
//! Each would be bound to something that is never true, or null. Who writes it now is told; what was defined before it was told stays what
//! it is.

use super::Binder;
use crate::error::{Result, shorten, suggested};
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

    /// An error for a constant that is never equal to what it is compared with, nor smaller or larger.
    pub(super) fn check_beside(&self, nodes: &[BoundExpr], exprs: &[&Expr]) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let varies = || nodes.iter().zip(exprs).filter(|(node, _)| !matches!(node, BoundExpr::Constant(_)));
        for (node, expr) in nodes.iter().zip(exprs) {
            let BoundExpr::Constant(constant) = node else { continue };
            for (other, beside) in varies() {
                self.check_pair((constant, expr), (other, beside))?;
            }
        }
        Ok(())
    }

    fn check_pair(
        &self,
        (constant, expr): (&Constant, &Expr),
        (other, beside): (&BoundExpr, &Expr),
    ) -> Result<()> {
        let said = shorten(self.source(expr.span));
        let path = shorten(self.source(beside.span));
        let is_null = matches!(constant, Constant::Value(Value::Null));
        let is_text = matches!(constant, Constant::Value(Value::Text(_)));
        let fault =
            |message: String, meant: Option<String>| Err(self.fault_meaning(expr.span, message, meant));
        match (other.sort(), constant) {
            _ if is_null => Ok(()),
            (Sort::Time, Constant::Value(value)) if !is_text => {
                let year = matches!(value, Value::Int(year) if (1000..10_000).contains(year));
                let meant = year.then(|| format!("'{value}-01-01'"));
                fault(
                    format!("{path} is a time, and {said} is not: a time is like '2024-01-01', or NOW - 1d"),
                    meant,
                )
            }
            (Sort::Time, Constant::Entity(_)) => {
                fault(format!("{path} is a time, and {said} an entity"), None)
            }
            (Sort::Entity, Constant::Value(Value::Int(_) | Value::UInt(_))) => {
                let alone = if matches!(other, BoundExpr::Field(_)) {
                    format!("; its id alone is {path}.id")
                } else {
                    String::new()
                };
                fault(format!("{path} is an entity, a kind and an id, as in Order {said}{alone}"), None)
            }
            (Sort::Entity, Constant::Value(_) | Constant::Time(_) | Constant::Span(_)) => {
                fault(format!("{path} is an entity, and {said} is not: an entity is like User 7"), None)
            }
            (Sort::Id, Constant::Entity(_)) => {
                let whole = path.strip_suffix(".id");
                let meant = whole.and_then(|whole| suggested(format!("{whole} = {said}")));
                fault(format!("{path} is an id, and {said} a whole entity"), meant)
            }
            (Sort::Type, Constant::Entity(_)) => {
                fault(format!("{path} is a type, like 'Order.paid', and {said} an entity"), None)
            }
            (Sort::Id | Sort::Type, Constant::Time(_) | Constant::Span(_)) => {
                let meant = matches!(expr.kind, ExprKind::Literal(_)).then(|| format!("'{said}'"));
                fault(format!("{path} is a text, and {said} is not"), meant)
            }
            _ if is_number(other) => match constant {
                Constant::Value(Value::Text(text)) => {
                    let meant = text.parse::<u64>().is_ok().then(|| text.clone());
                    fault(format!("{path} is a number, and {said} a text"), meant)
                }
                Constant::Value(_) => Ok(()),
                _ => fault(format!("{path} is a number, and {said} is not"), None),
            },
            (_, Constant::Value(value)) if is_length(other) => {
                let known = matches!(value, Value::Text(text) if parse_duration(text).is_ok());
                let meant = if known { Some(said.trim_matches(['\'', '"']).to_owned()) } else { None };
                let message =
                    format!("{path} is a duration, like 1d, and {said} is not; number(…) gives its seconds");
                fault(message, meant)
            }
            _ => Ok(()),
        }
    }

    /// An error for what `MATCHES` tests and is no text, whatever the event.
    pub(super) fn check_text(&self, node: &BoundExpr, expr: &Expr) -> Result<()> {
        let said = shorten(self.source(expr.span));
        let (is, instead) = match node.sort() {
            _ if !self.is_new => return Ok(()),
            Sort::Time => ("a time", format!("compare it, as in {said} >= '2024-01-01'")),
            Sort::Entity => ("an entity", format!("its id is {said}.id")),
            _ if is_number(node) => ("a number", format!("compare it, as in {said} > 5")),
            _ => return Ok(()),
        };
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
