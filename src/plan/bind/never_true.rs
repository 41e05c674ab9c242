//! Hints of conditions that nothing can meet: what is no condition, a field in quotes, and ranges the wrong way round.

use super::Binder;
use super::expr::NameScope;
use crate::document::Raw;
use crate::error::{Result, shorten, suggested};
use crate::event::record::Record;
use crate::lang::ast::{
    Clauses, Comparison, Expr, ExprKind, Literal, Path, PointExpr, PointKind, Selector, StepExpr, TagTest,
};
use crate::plan::datum::{Datum, equal, order};
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::NAMES;
use crate::plan::moment::ResolvedPoint;
use crate::value::Value;

impl Binder<'_> {
    /// A window in which there is nothing, whatever the log holds.
    pub(super) fn empty_window(&self, clauses: &Clauses) -> Result<Option<String>> {
        self.wrong_way_round(clauses.since.as_ref().map(|since| (since, "SINCE")), clauses.until.as_ref())
    }

    /// The same, of a beginning and an end.
    pub(super) fn wrong_way_round(
        &self,
        since: Option<(&PointExpr, &str)>,
        until: Option<&PointExpr>,
    ) -> Result<Option<String>> {
        let (Some((since, word)), Some(until)) = (since, until) else { return Ok(None) };
        // Of an entity, and told where that is known.
        let counts = |point: &PointExpr| matches!(point.kind, PointKind::Version(_));
        if counts(since) || counts(until) {
            return Ok(None);
        }
        let (from, to) = (self.point(since, None)?, self.point(until, None)?);
        let is_empty = match (from, to) {
            (ResolvedPoint::Time(from), ResolvedPoint::Time(to)) => from >= to,
            (ResolvedPoint::Position(from), ResolvedPoint::Position(to)) => from >= to,
            _ => false,
        };
        Ok(is_empty.then(|| format!("nothing lies in {word} {from} UNTIL {to}: UNTIL is to be later")))
    }

    /// What no event, or no entity, can meet in some conditions, whatever it is.
    pub(super) fn never_true(&self, conditions: &[&Expr], hints: &mut Vec<String>) {
        for condition in conditions {
            terms(condition, &mut |term| hints.extend(self.never(term)));
        }
    }

    /// Values of `BY` of which the first is to be the smaller.
    pub(super) fn never_by(&self, selector: &Selector, hints: &mut Vec<String>) {
        for tag in &selector.tags {
            if let TagTest::Between(low, high) = &tag.test {
                hints.extend(self.reversed(low, high));
            }
        }
    }

    fn never(&self, term: &Expr) -> Option<String> {
        let said = || shorten(&term.to_string());
        match &term.kind {
            ExprKind::Literal(Literal::Value(Value::Bool(_))) | ExprKind::Param(_) => None,
            ExprKind::Literal(literal) => {
                let sort = match literal {
                    Literal::Value(Value::Null) => "unknown",
                    Literal::Value(Value::Text(_)) => "a text",
                    Literal::Value(_) => "a number",
                    Literal::Time(_) | Literal::Now => "a time",
                    Literal::Duration(_) => "a length of time",
                    Literal::Position(_) => return None,
                };
                let meant = self.meant_field(term).map(|path| format!("; did you mean {path}?"));
                Some(format!("{} is {sort}, and no condition{}", said(), meant.unwrap_or_default()))
            }
            ExprKind::Arithmetic { .. } | ExprKind::Negate(_) | ExprKind::Array(_) | ExprKind::Object(_) => {
                Some(format!("{} is a value, and no condition", said()))
            }
            ExprKind::Field(Path { first, steps, .. })
                if steps.is_empty() && NAMES.contains(&&*first.text) =>
            {
                let (is, meant) = match first.text.as_str() {
                    "data" | "metadata" | "tags" => ("an object", ""),
                    _ => ("a value", "IS NOT NULL"),
                };
                let meant =
                    if meant.is_empty() { String::new() } else { format!("; did you mean {first} {meant}?") };
                Some(format!("{first} is {is}, and no condition{meant}"))
            }
            ExprKind::Compare { left, comparison, right } => self.never_compares(left, *comparison, right),
            ExprKind::Between { subject, negated, low, high } => {
                let quoted = self.quoted_field(term, subject);
                quoted.or_else(|| self.reversed(low, high).filter(|_| !negated))
            }
            ExprKind::Matches { subject, pattern, .. } => {
                self.quoted_field(term, subject).or_else(|| self.other_pattern(subject, pattern))
            }
            ExprKind::In { subject, .. }
            | ExprKind::Contains { subject, .. }
            | ExprKind::IsNull { subject, .. } => self.quoted_field(term, subject),
            _ => None,
        }
    }

    /// Two values that are what they are.
    fn never_compares(&self, left: &Expr, comparison: Comparison, right: &Expr) -> Option<String> {
        let (a, b) = (self.fixed_value(left)?, self.fixed_value(right)?);
        let (a, b) = (Datum::constant(&a), Datum::constant(&b));
        let order = || order(&a, &b);
        let holds = match comparison {
            Comparison::Equal => equal(&a, &b),
            Comparison::NotEqual => !equal(&a, &b),
            Comparison::Less => order().is_some_and(|order| order.is_lt()),
            Comparison::LessOrEqual => order().is_some_and(|order| order.is_le()),
            Comparison::Greater => order().is_some_and(|order| order.is_gt()),
            Comparison::GreaterOrEqual => order().is_some_and(|order| order.is_ge()),
        };
        let field = [left, right].into_iter().find_map(|side| Some((side, self.meant_field(side)?)));
        match field {
            Some((side, path)) => Some(told_field(side, &path)),
            None if holds => None,
            None => Some(format!(
                "{} and {} are the same for every event, and this is never true of them",
                shorten(&left.to_string()),
                shorten(&right.to_string())
            )),
        }
    }

    /// A pattern as `LIKE` or a regular expression has it.
    fn other_pattern(&self, subject: &Expr, pattern: &Expr) -> Option<String> {
        // Of a type it is told by the types there are.
        if matches!(&subject.kind, ExprKind::Field(path) if path.first.text == "type") {
            return None;
        }
        let Constant::Value(Value::Text(text)) = self.fixed_value(pattern)? else { return None };
        let meant =
            |pattern: String| suggested(pattern).map_or_else(String::new, |p| format!("; did you mean {p}?"));
        if text.contains('%') && !text.contains('*') {
            let stars = meant(format!("'{}'", text.replace('%', "*").replace('\'', "''")));
            return Some(format!("in a pattern % is an ordinary character, and * any run of them{stars}"));
        }
        if text.starts_with('^') || text.ends_with('$') {
            let call = meant(format!("regex({subject}, {pattern})"));
            return Some(format!("MATCHES takes a pattern like 't*', and no regular expression{call}"));
        }
        None
    }

    /// A value in quotes that is the same for all, and looks like a field.
    fn quoted_field(&self, term: &Expr, subject: &Expr) -> Option<String> {
        let path = self.meant_field(subject)?;
        let beside_others = match &term.kind {
            ExprKind::In { items, .. } => items.iter().all(|item| self.fixed_value(item).is_some()),
            ExprKind::Between { low, high, .. } => {
                [low, high].iter().all(|end| self.fixed_value(end).is_some())
            }
            ExprKind::Contains { item, .. } => self.fixed_value(item).is_some(),
            _ => true,
        };
        beside_others.then(|| told_field(subject, &path))
    }

    /// The field that a text in quotes looks like.
    fn meant_field(&self, expr: &Expr) -> Option<String> {
        let ExprKind::Literal(Literal::Value(Value::Text(text))) = &expr.kind else { return None };
        let (first, rest) =
            text.split_once('.').map_or((text.as_str(), None), |(first, rest)| (first, Some(rest)));
        let is_name = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']'))
        };
        let has_parts = matches!(
            first,
            "data" | "metadata" | "tags" | "state" | "target" | "actor" | "cause" | "producer"
        );
        let is_field = match rest {
            Some(rest) => has_parts && is_name(rest),
            None => NAMES.contains(&first) && !matches!(first, "data" | "metadata" | "tags"),
        };
        is_field.then(|| text.clone())
    }

    fn reversed(&self, low: &Expr, high: &Expr) -> Option<String> {
        let (a, b) = (self.fixed_value(low)?, self.fixed_value(high)?);
        let order = order(&Datum::constant(&a), &Datum::constant(&b))?;
        order.is_gt().then(|| {
            let (low, high) = (shorten(&low.to_string()), shorten(&high.to_string()));
            format!("nothing lies BETWEEN {low} AND {high}: the smaller stands first")
        })
    }

    /// What an expression is that is the same for every event.
    fn fixed_value(&self, expr: &Expr) -> Option<Constant> {
        match self.expr(expr, NameScope::None).ok()? {
            BoundExpr::Constant(constant) => Some(constant),
            BoundExpr::Now => self.now().ok().map(Constant::Time),
            _ => None,
        }
    }
}

/// The fields that stand where a condition is to be, with what they are in some events or states: none of them is true or false.
pub(super) fn no_conditions(conditions: &[&Expr], root: &str, at: &[Raw], of: &str) -> Vec<String> {
    let mut found = Vec::new();
    for condition in conditions {
        terms(condition, &mut |term| {
            if let ExprKind::Field(path) = &term.kind
                && path.first.text == root
                && !path.steps.is_empty()
            {
                found.extend(no_condition(path, at, of));
            }
        });
    }
    found
}

/// Calls with each part of a condition that is a condition itself.
fn terms<'e>(condition: &'e Expr, with: &mut dyn FnMut(&'e Expr)) {
    match &condition.kind {
        ExprKind::Or(all) | ExprKind::And(all) => all.iter().for_each(|term| terms(term, with)),
        ExprKind::Not(term) => terms(term, with),
        _ => with(condition),
    }
}

fn told_field(side: &Expr, path: &str) -> String {
    format!("{} is a text, and no field; did you mean {path}?", shorten(&side.to_string()))
}

/// That a field is neither true nor false in any of these.
fn no_condition(path: &Path, at: &[Raw], of: &str) -> Option<String> {
    let mut at: Vec<Raw> = at.to_vec();
    for step in &path.steps {
        let StepExpr::Member(name) = step else { return None };
        at = at.iter().filter_map(|raw| raw.member(&name.text)).collect();
    }
    let mut values = at.iter().filter_map(|raw| raw.to_value().ok()).filter(|value| *value != Value::Null);
    let first = values.next()?;
    if first.as_bool().is_some() || values.any(|value| value.as_bool().is_some()) {
        return None;
    }
    let sort = match first {
        Value::Text(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
        _ => "a number",
    };
    Some(format!("{path} is {sort} in {of}, and no condition; did you mean {path} IS NOT NULL?"))
}

/// The records of events, and what they are called.
pub(super) fn called(records: &[Record]) -> String {
    match records.len() {
        1 => "the one event looked at".to_owned(),
        many => format!("the newest {many} events looked at"),
    }
}
