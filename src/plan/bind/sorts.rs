//! Hints of sorts: a text is never equal to a number, whatever its digits, and a parameter that looks like a number is one.

use super::Binder;
use super::expr::NameScope;
use crate::document::Raw;
use crate::entity::NameText;
use crate::error::{Result, shorten, suggested};
use crate::lang::ast::{Comparison, Expr, ExprKind, Path, Selector, StepExpr, TagCondition, TagTest};
use crate::plan::datum::instant_of;
use crate::plan::expr::{BoundExpr, Constant};
use crate::store::index::term::{IndexKey, Term};
use crate::value::Value;

/// A path and what it is compared with.
pub(super) type Compared<'e> = (&'e Path, &'e Expr);

/// The comparisons of a path with something else, in an expression.
pub(super) fn compared<'e>(expr: &'e Expr, found: &mut Vec<Compared<'e>>) {
    let path = |expr: &'e Expr| match &expr.kind {
        ExprKind::Field(path) => Some(path),
        _ => None,
    };
    match &expr.kind {
        ExprKind::Compare { left, right, .. } => {
            found.extend(path(left).map(|path| (path, &**right)));
            found.extend(path(right).map(|path| (path, &**left)));
        }
        ExprKind::Between { subject, low, .. } => found.extend(path(subject).map(|path| (path, &**low))),
        ExprKind::In { subject, items, .. } => {
            found.extend(
                path(subject).into_iter().flat_map(|path| items.iter().map(move |item| (path, item))),
            );
        }
        ExprKind::Or(exprs) | ExprKind::And(exprs) => exprs.iter().for_each(|expr| compared(expr, found)),
        ExprKind::Not(inner) => compared(inner, found),
        _ => {}
    }
}

impl Binder<'_> {
    /// That all values of a path, as far as these are looked at, are of another sort than what they are compared with.
    pub(super) fn other_sort(&self, (path, other): Compared<'_>, at: Vec<Raw>, of: &str) -> Option<String> {
        let mut at = at;
        for step in &path.steps {
            let StepExpr::Member(name) = step else { return None };
            at = at.iter().filter_map(|raw| raw.member(&name.text)).collect();
        }
        if let Some(hint) = self.no_instants(path, other, &at, of) {
            return Some(hint);
        }
        let value = self.said(other)?;
        let sort = sort(&value)?;
        let mut sorts = at.iter().filter_map(|raw| raw.to_value().ok()).filter(|value| *value != Value::Null);
        let found = self::sort(&sorts.next()?)?;
        if found == sort || !sorts.all(|value| self::sort(&value) == Some(found)) {
            return None;
        }
        let meant = meant(other, &value, found);
        Some(format!("{path} is {found} in {of}, and {} is {sort}{meant}", told(other, &value)))
    }

    /// That a path is compared with an instant, and what some of its values say is none.
    fn no_instants(&self, path: &Path, other: &Expr, at: &[Raw], of: &str) -> Option<String> {
        let is_instant = match &other.kind {
            ExprKind::Field(field) => {
                field.steps.is_empty() && matches!(field.first.text.as_str(), "timestamp" | "recorded")
            }
            _ => false,
        };
        let said = if is_instant { None } else { self.expr(other, NameScope::None).ok() };
        let values: Vec<Value> = at.iter().filter_map(|raw| raw.to_value().ok()).collect();
        let values: Vec<&Value> = values.iter().filter(|value| **value != Value::Null).collect();
        let shown = shorten(&other.to_string());
        match said {
            Some(BoundExpr::Constant(Constant::Time(_)) | BoundExpr::Now) => {}
            // `timestamp > -7d` is of an instant; of what else it is a length.
            Some(BoundExpr::Constant(Constant::Span(_))) => {
                let first = values.first()?;
                let meant = other.to_string();
                let meant =
                    meant.strip_prefix('-').map(|back| format!("; did you mean NOW - {}?", back.trim()));
                let sort = self::sort(first)?;
                return Some(format!(
                    "{path} is {sort} in {of}, and {shown} is a length of time{}",
                    meant.unwrap_or_default()
                ));
            }
            _ if is_instant => {}
            _ => return None,
        }
        let says = |value: &Value| matches!(value, Value::Text(text) if instant_of(text).is_some());
        let none: Vec<&&Value> = values.iter().filter(|value| !says(value)).collect();
        let first = none.first()?;
        let example = shorten(&first.to_string());
        Some(match none.len() == values.len() {
            true => format!("{path} says no time in {of} ({example}), and {shown} is one"),
            false => format!("{path} says no time in {} of {of} ({example}), and {shown} is one", none.len()),
        })
    }

    /// That an index holds no value like the one asked for, but the same of another sort.
    pub(super) fn other_key(&self, selector: &Selector) -> Result<Option<String>> {
        for tag in &selector.tags {
            if let Some(hint) = self.other_key_of(tag)? {
                return Ok(Some(hint));
            }
        }
        Ok(None)
    }

    fn other_key_of(&self, tag: &TagCondition) -> Result<Option<String>> {
        let name = tag.name.text.as_str();
        let TagTest::Compare(Comparison::Equal, expr) = &tag.test else { return Ok(None) };
        if crate::event::is_built_in(name) {
            return Ok(None);
        }
        let Some(value) = self.said(expr) else { return Ok(None) };
        let other = match &value {
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => Value::from(value.to_string()),
            Value::Text(text) => match text.parse::<Value>() {
                Ok(number @ (Value::Int(_) | Value::UInt(_) | Value::Float(_))) => number,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        if self.holds(name, &value)? || !self.holds(name, &other)? {
            return Ok(None);
        }
        let (Some(sort), Some(found)) = (sort(&value), sort(&other)) else { return Ok(None) };
        let meant = meant(expr, &value, found);
        Ok(Some(format!(
            "{} holds {found} {other}, and {} is {sort}{meant}",
            NameText(name),
            told(expr, &value)
        )))
    }

    fn holds(&self, name: &str, value: &Value) -> Result<bool> {
        let names = self.names()?;
        let derived = names.catalog().usable(name);
        let derived =
            derived.and_then(|index| Term::derived(index.position, &IndexKey::Value(value.clone())));
        let own = Term::tag(name, value)?;
        for term in derived.into_iter().chain([own]) {
            if names.has_term(term)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The value of an expression that is one wherever it is looked at.
    fn said(&self, expr: &Expr) -> Option<Value> {
        match self.expr(expr, NameScope::None) {
            Ok(BoundExpr::Constant(Constant::Value(value))) => Some(value),
            _ => None,
        }
    }
}

fn sort(value: &Value) -> Option<&'static str> {
    match value {
        Value::Text(_) => Some("text"),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => Some("a number"),
        Value::Bool(_) => Some("a boolean"),
        _ => None,
    }
}

/// What was compared, as it was said.
fn told(expr: &Expr, value: &Value) -> String {
    match &expr.kind {
        ExprKind::Param(param) => format!("${} = {}", param.name, shorten(&value.to_string())),
        _ => shorten(&expr.to_string()),
    }
}

/// How to say the same value of the other sort.
fn meant(expr: &Expr, value: &Value, sort: &str) -> String {
    match (&expr.kind, value, sort) {
        (ExprKind::Param(param), Value::Int(_) | Value::UInt(_) | Value::Float(_), "text") => {
            let given = suggested(format!("{}='\"{value}\"'", param.name));
            given.map_or_else(String::new, |given| format!("; a parameter that is text is given as {given}"))
        }
        (ExprKind::Param(_), ..) => String::new(),
        (_, Value::Int(_) | Value::UInt(_) | Value::Float(_), "text") => did_you_mean(format!("'{expr}'")),
        (_, Value::Text(text), "a number") if text.parse::<f64>().is_ok() => did_you_mean(text.clone()),
        _ => String::new(),
    }
}

fn did_you_mean(meant: String) -> String {
    suggested(meant).map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}
