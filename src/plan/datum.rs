//! A datum: what an expression is worth while it is worked out.
//!
//! More than a [`Value`] of JSON: times, lengths of time and entities are themselves until they are told. What can be borrowed
//! from an event or from a plan is.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

use super::expr::{Constant, Number, same};
use crate::allowance::Allowance;
use crate::document::{Raw, RawKind};
use crate::entity::{Entity, EntityStr};
use crate::lang::ast::Operator;
use crate::time::{Timestamp, display_duration};
use crate::value::{Object, Value};

/// What an expression is worth.
#[derive(Debug, Clone)]
pub(crate) enum Datum<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Time(Timestamp),
    /// A length of time in nanoseconds.
    Span(i128),
    Entity {
        kind: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    /// An array or an object.
    Json(Cow<'a, Value>),
    /// An array or an object where it is stored.
    Stored(Raw<'a>),
}

impl<'a> Datum<'a> {
    pub fn of(value: Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(b) => Datum::Bool(b),
            Value::Text(text) => Datum::Text(Cow::Owned(text)),
            Value::Array(_) | Value::Object(_) => Datum::Json(Cow::Owned(value)),
            number => Number::of(&number).map_or(Datum::Null, Datum::Number),
        }
    }

    pub fn borrowed(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Datum::Json(Cow::Borrowed(value)),
            Value::Null => Datum::Null,
            Value::Bool(b) => Datum::Bool(*b),
            number => Number::of(number).map_or(Datum::Null, Datum::Number),
        }
    }

    /// What is stored. Damage is null: who reads the event whole is told of it.
    pub fn stored(raw: Raw<'a>) -> Datum<'a> {
        match raw.form() {
            Some((RawKind::Bool(b), _)) => Datum::Bool(b),
            Some((RawKind::Int(n), _)) => Datum::Number(Number::Integer(n.into())),
            Some((RawKind::UInt(n), _)) => Datum::Number(Number::Integer(n.into())),
            Some((RawKind::Float(x), _)) => Datum::Number(Number::Float(x)),
            Some((RawKind::Text(bytes), _)) => match std::str::from_utf8(bytes) {
                Ok(text) => Datum::Text(Cow::Borrowed(text)),
                Err(_) => Datum::Null,
            },
            Some((RawKind::Array(_) | RawKind::Map(_), _)) => Datum::Stored(raw),
            Some((RawKind::Null, _)) | None => Datum::Null,
        }
    }

    /// An array or an object, decoded.
    pub fn json(&self) -> Option<Cow<'_, Value>> {
        match self {
            Datum::Json(value) => Some(Cow::Borrowed(value)),
            Datum::Stored(raw) => raw.to_value().ok().map(Cow::Owned),
            _ => None,
        }
    }

    pub fn constant(constant: &'a Constant) -> Datum<'a> {
        match constant {
            Constant::Value(value) => Datum::borrowed(value),
            Constant::Time(time) => Datum::Time(*time),
            Constant::Span(span) => Datum::Span(*span),
            Constant::Entity(entity) => Datum::lent(entity.into()),
        }
    }

    pub fn text(text: impl ToString) -> Datum<'a> {
        Datum::Text(Cow::Owned(text.to_string()))
    }

    pub fn number(n: u64) -> Datum<'a> {
        Datum::Number(Number::Integer(n.into()))
    }

    pub fn lent(entity: EntityStr<'a>) -> Datum<'a> {
        Datum::Entity { kind: Cow::Borrowed(entity.kind), id: Cow::Borrowed(entity.id) }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The same, borrowed from this one.
    pub fn reborrow(&self) -> Datum<'_> {
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(b) => Datum::Bool(*b),
            Datum::Number(number) => Datum::Number(*number),
            Datum::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Datum::Time(time) => Datum::Time(*time),
            Datum::Span(span) => Datum::Span(*span),
            Datum::Entity { kind, id } => Datum::Entity { kind: Cow::Borrowed(kind), id: Cow::Borrowed(id) },
            Datum::Json(value) => Datum::Json(Cow::Borrowed(value)),
            Datum::Stored(raw) => Datum::Stored(*raw),
        }
    }

    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> Datum<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(b) => Datum::Bool(b),
            Datum::Number(number) => Datum::Number(number),
            Datum::Text(text) => Datum::Text(owned(text)),
            Datum::Time(time) => Datum::Time(time),
            Datum::Span(span) => Datum::Span(span),
            Datum::Entity { kind, id } => Datum::Entity { kind: owned(kind), id: owned(id) },
            Datum::Json(value) => Datum::Json(Cow::Owned(value.into_owned())),
            Datum::Stored(raw) => Datum::of(raw.to_value().unwrap_or_default()),
        }
    }

    /// As a constant of a plan.
    pub fn into_constant(self) -> Constant {
        match self {
            Datum::Time(time) => Constant::Time(time),
            Datum::Span(span) => Constant::Span(span),
            Datum::Entity { kind, id } => match Entity::new(&kind, &id) {
                Ok(entity) => Constant::Entity(entity),
                // Entities are made of entities: there is no other.
                Err(_) => Constant::Value(Value::Null),
            },
            other => Constant::Value(other.into_value()),
        }
    }

    /// In the form of JSON: times and lengths of time are text, entities are objects.
    pub fn into_value(self) -> Value {
        match self {
            Datum::Null => Value::Null,
            Datum::Bool(b) => Value::Bool(b),
            Datum::Number(number) => number.to_value().unwrap_or_default(),
            Datum::Text(text) => Value::Text(text.into_owned()),
            Datum::Time(time) => Value::Text(time.to_string()),
            Datum::Span(span) => Value::Text(span_text(span)),
            Datum::Entity { kind, id } => Value::Object(Object::from_iter([
                ("type".to_owned(), Value::Text(kind.into_owned())),
                ("id".to_owned(), Value::Text(id.into_owned())),
            ])),
            Datum::Json(value) => value.into_owned(),
            Datum::Stored(raw) => raw.to_value().unwrap_or_default(),
        }
    }

    /// The same as [`into_value`](Datum::into_value), whose bytes are taken of an allowance where they are yet to be made. Null where they
    /// were too many.
    pub fn taken(self, allowance: &Allowance) -> Value {
        if self.is_lent() && !allowance.take(self.weight()) {
            return Value::Null;
        }
        self.into_value()
    }

    /// The same, borrowed from this one or a copy that is taken of an allowance.
    pub fn copied(&self, allowance: &Allowance) -> Option<Datum<'a>> {
        (self.is_lent() || allowance.take(self.weight())).then(|| self.clone())
    }

    /// Whether it is borrowed, so that a value of it is made anew.
    fn is_lent(&self) -> bool {
        matches!(self, Datum::Text(Cow::Borrowed(_)) | Datum::Json(Cow::Borrowed(_)) | Datum::Stored(_))
    }

    /// About how many bytes of memory it takes as a value, beside that itself.
    pub fn weight(&self) -> usize {
        match self {
            Datum::Stored(raw) => raw.weight(),
            other => other.held(),
        }
    }

    /// The beginning of it as JSON, for messages; of what would have to be decoded for that only how large it is.
    pub fn glimpse(&self) -> String {
        const LARGE: usize = 64 << 10;
        match self {
            Datum::Json(value) => value.glimpse(),
            Datum::Text(text) => Value::from(text.chars().take(200).collect::<String>()).glimpse(),
            Datum::Stored(raw) if raw.weight() > LARGE => {
                format!("an {} of {} bytes", self.kind(), raw.weight())
            }
            other => other.clone().into_value().glimpse(),
        }
    }

    /// What `typeof` says of it.
    pub fn kind(&self) -> &'static str {
        match self {
            Datum::Null => "null",
            Datum::Bool(_) => "boolean",
            Datum::Number(_) => "number",
            Datum::Text(_) => "text",
            Datum::Time(_) => "time",
            Datum::Span(_) => "duration",
            Datum::Entity { .. } => "entity",
            Datum::Json(_) | Datum::Stored(_) => {
                if self.is_array() {
                    "array"
                } else {
                    "object"
                }
            }
        }
    }

    pub fn is_array(&self) -> bool {
        match self {
            Datum::Json(value) => matches!(**value, Value::Array(_)),
            Datum::Stored(raw) => matches!(raw.form(), Some((RawKind::Array(_), _))),
            _ => false,
        }
    }

    /// About how many bytes of memory it holds beside itself.
    pub fn held(&self) -> usize {
        match self {
            Datum::Text(text) => text.len(),
            Datum::Entity { kind, id } => kind.len() + id.len(),
            Datum::Json(value) => value.weight(),
            Datum::Stored(raw) => raw.0.len(),
            _ => 0,
        }
    }
}

/// A length of time as the language writes it.
pub(crate) fn span_text(nanos: i128) -> String {
    let length = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let seconds = u64::try_from(length / 1_000_000_000).unwrap_or(u64::MAX);
    // Less than a second's nanoseconds.
    let length = Duration::new(seconds, (length % 1_000_000_000) as u32);
    format!("{sign}{}", display_duration(length))
}

/// The instant that a text says, as `time(…)` reads it: a date, or a time with an offset or in UTC.
pub(crate) fn instant_of(text: &str) -> Option<Timestamp> {
    // Most texts say none: that is seen by how they begin, before a parser makes an error of it.
    text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-')
        .then(|| text.parse().ok())
        .flatten()
}

/// `=`: two-valued, across all types. Beside an instant, a text that says one is that instant.
pub(crate) fn equal(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Time(time), Datum::Text(text)) | (Datum::Text(text), Datum::Time(time)) => {
            instant_of(text) == Some(*time)
        }
        (Datum::Null, Datum::Null) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Number(a), Datum::Number(b)) => a.compare(*b).is_eq(),
        (Datum::Text(a), Datum::Text(b)) => a == b,
        (Datum::Time(a), Datum::Time(b)) => a == b,
        (Datum::Span(a), Datum::Span(b)) => a == b,
        (Datum::Entity { kind: a, id: x }, Datum::Entity { kind: b, id: y }) => a == b && x == y,
        _ => match (a.json(), b.json()) {
            (Some(a), Some(b)) => same(&a, &b),
            _ => false,
        },
    }
}

/// `<`: none across types, and where there is no order. Beside an instant, a text that says one is that instant.
pub(crate) fn order(a: &Datum, b: &Datum) -> Option<Ordering> {
    match (a, b) {
        (Datum::Time(time), Datum::Text(text)) => instant_of(text).map(|other| time.cmp(&other)),
        (Datum::Text(text), Datum::Time(time)) => instant_of(text).map(|one| one.cmp(time)),
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Number(a), Datum::Number(b)) => Some(a.compare(*b)),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Time(a), Datum::Time(b)) => Some(a.cmp(b)),
        (Datum::Span(a), Datum::Span(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// One step of arithmetic; none where it has no result.
pub(crate) fn calculate<'a>(a: &Datum, operator: Operator, b: &Datum) -> Option<Datum<'a>> {
    match (a, b) {
        (Datum::Number(a), Datum::Number(b)) => a.calculate(operator, *b).map(Datum::Number),
        (Datum::Time(time), Datum::Span(span)) => match operator {
            Operator::Add => time.moved(*span).map(Datum::Time),
            Operator::Subtract => time.moved(span.checked_neg()?).map(Datum::Time),
            _ => None,
        },
        (Datum::Span(span), Datum::Time(time)) if operator == Operator::Add => {
            time.moved(*span).map(Datum::Time)
        }
        (Datum::Time(a), Datum::Time(b)) if operator == Operator::Subtract => {
            Some(Datum::Span(nanos(*a) - nanos(*b)))
        }
        (Datum::Span(a), Datum::Span(b)) => match operator {
            Operator::Add => a.checked_add(*b).map(Datum::Span),
            Operator::Subtract => a.checked_sub(*b).map(Datum::Span),
            _ => None,
        },
        _ => None,
    }
}

/// `-x`; none of what has no sign.
pub(crate) fn negated<'a>(a: &Datum) -> Option<Datum<'a>> {
    match a {
        Datum::Number(number) => Number::Integer(0).calculate(Operator::Subtract, *number).map(Datum::Number),
        Datum::Span(span) => span.checked_neg().map(Datum::Span),
        _ => None,
    }
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(time: Timestamp) -> i128 {
    let (seconds, nanos) = time.parts();
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}
