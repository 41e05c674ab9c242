//! Evaluation: what an expression is worth, for an event.
//!
//! `=` and `!=` are two-valued, and what is missing equals null; an order across types is null; so is arithmetic with null or with a
//! wrong type. `AND`, `OR` and `NOT` know null as "unknown". Paths into `data` read the stored bytes up to what they name, and
//! decode no more.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::document::{Form, Raw};
use crate::entity::EntityStr;
use crate::error::{Error, Result, shorten};
use crate::event::record::{CauseStr, Record};
use crate::lang::ast::{Comparison, Operator};
use crate::plan::Predicate;
use crate::plan::expr::{Constant, Node, Number, same};
use crate::plan::field::{Caused, Field, Maker, Part, Step};
use crate::store::term::Key;
use crate::time::Timestamp;
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
    Entity(EntityStr<'a>),
    /// An array or an object.
    Json(Cow<'a, Value>),
    /// An array or an object where it is stored.
    Stored(Raw<'a>),
}

impl Predicate {
    /// Whether it is true of an event; neither false nor null is.
    pub fn holds(&self, event: &Record) -> bool {
        let scope = Scope { event: Some(event), now: None };
        scope.truth(&self.node) == Some(true)
    }
}

/// What an expression that says what is to be written is worth. Here a wrong type is an error.
pub(super) fn value(node: &Node, now: Timestamp) -> Result<Value> {
    let scope = Scope { event: None, now: Some(now) };
    match node {
        Node::Object(members) => {
            let members = members.iter().map(|(name, node)| Ok((name.clone(), value(node, now)?)));
            Ok(Value::Object(members.collect::<Result<_>>()?))
        }
        Node::Array(items) => {
            Ok(Value::Array(items.iter().map(|node| value(node, now)).collect::<Result<_>>()?))
        }
        Node::Arithmetic { first, rest } => {
            // Step by step, so that the step which has no result can be told.
            let mut left = scope.datum(first);
            for (operator, operand) in rest {
                let right = scope.datum(operand);
                let result = calculate(&left, *operator, &right);
                if matches!(result, Datum::Null) {
                    let found = format!("{} {} {}", said(&left), sign(*operator), said(&right));
                    return Err(Error::invalid(
                        "arithmetic",
                        "numbers, with a result that 64 bits hold",
                        found,
                    ));
                }
                left = result;
            }
            to_value(left)
        }
        Node::Negate(inner) => match (scope.datum(node), scope.datum(inner)) {
            (Datum::Null, operand) => Err(Error::invalid("-", "a number", said(&operand))),
            (result, _) => to_value(result),
        },
        _ => to_value(scope.datum(node)),
    }
}

/// What an index holds an event under: what the expression is worth for it, or the items of that. Null, objects, entities and
/// lengths of time are no keys.
pub(super) fn keys(node: &Node, event: &Record, found: &mut Vec<Key>) {
    let scope = Scope { event: Some(event), now: Some(event.recorded()) };
    let datum = scope.datum(node);
    match datum {
        Datum::Null | Datum::Span(_) | Datum::Entity(_) => {}
        Datum::Time(time) => found.push(Key::Time(time)),
        datum => match to_value(datum) {
            Ok(Value::Array(items)) => found.extend(items.into_iter().map(Key::Value)),
            Ok(value) => found.push(Key::Value(value)),
            Err(_) => {}
        },
    }
}

fn said(datum: &Datum) -> String {
    to_value(datum.clone())
        .map_or_else(|_| "a length of time".to_owned(), |value| shorten(&value.to_string()))
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

/// A datum in its JSON form: times are text, entities are objects.
fn to_value(datum: Datum) -> Result<Value> {
    Ok(match datum {
        Datum::Null => Value::Null,
        Datum::Bool(b) => Value::Bool(b),
        Datum::Number(number) => number.to_value().unwrap_or_default(),
        Datum::Text(text) => Value::Text(text.into_owned()),
        Datum::Time(time) => Value::Text(time.to_string()),
        Datum::Span(_) => {
            let found = "a length of time";
            return Err(Error::invalid("a value to be written", "a value of JSON; lengths in quotes", found));
        }
        Datum::Entity(entity) => Value::Object(Object::from_iter([
            ("type".to_owned(), Value::from(entity.kind)),
            ("id".to_owned(), Value::from(entity.id)),
        ])),
        Datum::Json(value) => value.into_owned(),
        Datum::Stored(raw) => raw.to_value()?,
    })
}

impl<'a> Datum<'a> {
    fn of(value: Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(b) => Datum::Bool(b),
            Value::Text(text) => Datum::Text(Cow::Owned(text)),
            Value::Array(_) | Value::Object(_) => Datum::Json(Cow::Owned(value)),
            number => Number::of(&number).map_or(Datum::Null, Datum::Number),
        }
    }

    fn borrowed(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Datum::Json(Cow::Borrowed(value)),
            Value::Null => Datum::Null,
            Value::Bool(b) => Datum::Bool(*b),
            number => Number::of(number).map_or(Datum::Null, Datum::Number),
        }
    }

    /// What is stored. Damage is null: who reads the event whole is told of it.
    fn stored(raw: Raw<'a>) -> Datum<'a> {
        match raw.form() {
            Some((Form::Bool(b), _)) => Datum::Bool(b),
            Some((Form::Int(n), _)) => Datum::Number(Number::Integer(n.into())),
            Some((Form::UInt(n), _)) => Datum::Number(Number::Integer(n.into())),
            Some((Form::Float(x), _)) => Datum::Number(Number::Float(x)),
            Some((Form::Text(bytes), _)) => match std::str::from_utf8(bytes) {
                Ok(text) => Datum::Text(Cow::Borrowed(text)),
                Err(_) => Datum::Null,
            },
            Some((Form::Array(_) | Form::Map(_), _)) => Datum::Stored(raw),
            Some((Form::Null, _)) | None => Datum::Null,
        }
    }

    /// An array or an object, decoded.
    fn json(&self) -> Option<Cow<'_, Value>> {
        match self {
            Datum::Json(value) => Some(Cow::Borrowed(value)),
            Datum::Stored(raw) => raw.to_value().ok().map(Cow::Owned),
            _ => None,
        }
    }

    fn text(text: impl ToString) -> Datum<'a> {
        Datum::Text(Cow::Owned(text.to_string()))
    }

    fn number(n: u64) -> Datum<'a> {
        Datum::Number(Number::Integer(n.into()))
    }

    fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
}

/// Two-valued, across all types.
fn equal(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Null, Datum::Null) => true,
        (Datum::Bool(a), Datum::Bool(b)) => a == b,
        (Datum::Number(a), Datum::Number(b)) => a.compare(*b).is_eq(),
        (Datum::Text(a), Datum::Text(b)) => a == b,
        (Datum::Time(a), Datum::Time(b)) => a == b,
        (Datum::Span(a), Datum::Span(b)) => a == b,
        (Datum::Entity(a), Datum::Entity(b)) => a == b,
        _ => match (a.json(), b.json()) {
            (Some(a), Some(b)) => same(&a, &b),
            _ => false,
        },
    }
}

/// None across types, and where there is no order.
fn order(a: &Datum, b: &Datum) -> Option<Ordering> {
    match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Number(a), Datum::Number(b)) => Some(a.compare(*b)),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Time(a), Datum::Time(b)) => Some(a.cmp(b)),
        (Datum::Span(a), Datum::Span(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn calculate<'a>(a: &Datum, operator: Operator, b: &Datum) -> Datum<'a> {
    let result = match (a, b) {
        (Datum::Number(a), Datum::Number(b)) => a.calculate(operator, *b).map(Datum::Number),
        (Datum::Time(time), Datum::Span(span)) => match operator {
            Operator::Add => Some(Datum::Time(moved(*time, *span))),
            Operator::Subtract => Some(Datum::Time(moved(*time, -*span))),
            _ => None,
        },
        (Datum::Span(span), Datum::Time(time)) if operator == Operator::Add => {
            Some(Datum::Time(moved(*time, *span)))
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
    };
    result.unwrap_or(Datum::Null)
}

fn nanos(time: Timestamp) -> i128 {
    let (seconds, nanos) = time.parts();
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

fn moved(time: Timestamp, by: i128) -> Timestamp {
    let length = by.unsigned_abs();
    let seconds = u64::try_from(length / 1_000_000_000).unwrap_or(u64::MAX);
    // Less than a second's nanoseconds.
    let length = std::time::Duration::new(seconds, (length % 1_000_000_000) as u32);
    if by < 0 { time.saturating_sub(length) } else { time.saturating_add(length) }
}

/// What names stand for.
struct Scope<'a> {
    event: Option<&'a Record<'a>>,
    /// What `NOW` of a write is; in a read it is a constant.
    now: Option<Timestamp>,
}

impl<'a> Scope<'a> {
    fn datum(&self, node: &'a Node) -> Datum<'a> {
        match node {
            Node::Constant(Constant::Value(value)) => Datum::borrowed(value),
            Node::Constant(Constant::Time(time)) => Datum::Time(*time),
            Node::Constant(Constant::Span(span)) => Datum::Span(*span),
            Node::Constant(Constant::Entity(entity)) => Datum::Entity(entity.into()),
            Node::Now => self.now.map_or(Datum::Null, Datum::Time),
            Node::Field(field) => self.event.map_or(Datum::Null, |event| field_of(event, field)),
            Node::Array(items) => {
                let items = items.iter().map(|node| to_value(self.datum(node)).unwrap_or_default());
                Datum::Json(Cow::Owned(Value::Array(items.collect())))
            }
            Node::Object(members) => {
                let members = members.iter();
                let members = members
                    .map(|(name, node)| (name.clone(), to_value(self.datum(node)).unwrap_or_default()));
                Datum::Json(Cow::Owned(Value::Object(members.collect())))
            }
            Node::Negate(node) => match self.datum(node) {
                Datum::Number(number) => Number::Integer(0)
                    .calculate(Operator::Subtract, number)
                    .map_or(Datum::Null, Datum::Number),
                Datum::Span(span) => Datum::Span(-span),
                _ => Datum::Null,
            },
            Node::Arithmetic { first, rest } => {
                let mut left = self.datum(first);
                for (operator, operand) in rest {
                    left = calculate(&left, *operator, &self.datum(operand));
                }
                left
            }
            _ => self.truth(node).map_or(Datum::Null, Datum::Bool),
        }
    }

    /// Whether it is true; none where that is unknown, or it is nothing that could be.
    fn truth(&self, node: &'a Node) -> Option<bool> {
        match node {
            Node::Or(terms) => self.any_is(terms, true),
            Node::And(terms) => self.any_is(terms, false).map(|found| !found),
            Node::Not(term) => self.truth(term).map(|truth| !truth),
            Node::Compare { left, comparison, right } => {
                let (left, right) = (self.datum(left), self.datum(right));
                match comparison {
                    Comparison::Equal => Some(equal(&left, &right)),
                    Comparison::NotEqual => Some(!equal(&left, &right)),
                    Comparison::Less => order(&left, &right).map(Ordering::is_lt),
                    Comparison::LessOrEqual => order(&left, &right).map(Ordering::is_le),
                    Comparison::Greater => order(&left, &right).map(Ordering::is_gt),
                    Comparison::GreaterOrEqual => order(&left, &right).map(Ordering::is_ge),
                }
            }
            Node::Matches { subject, pattern } => match self.datum(subject) {
                Datum::Text(text) => Some(pattern.matches_text(&text)),
                _ => None,
            },
            Node::Contains { subject, item } => contains(&self.datum(subject), &self.datum(item)),
            Node::Between { subject, low, high } => {
                let subject = self.datum(subject);
                let above = order(&subject, &self.datum(low)).map(Ordering::is_ge);
                let below = order(&subject, &self.datum(high)).map(Ordering::is_le);
                match (above, below) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
            Node::In { subject, items } => {
                let subject = self.datum(subject);
                Some(items.iter().any(|item| equal(&subject, &self.datum(item))))
            }
            Node::IsNull(node) => Some(self.datum(node).is_null()),
            Node::Constant(_)
            | Node::Now
            | Node::Field(_)
            | Node::Array(_)
            | Node::Object(_)
            | Node::Negate(_)
            | Node::Arithmetic { .. } => match self.datum(node) {
                Datum::Bool(b) => Some(b),
                _ => None,
            },
        }
    }

    /// Whether one of the terms has this truth; none where one is unknown and none has it.
    fn any_is(&self, terms: &'a [Node], wanted: bool) -> Option<bool> {
        let mut known = true;
        for term in terms {
            match self.truth(term) {
                Some(truth) if truth == wanted => return Some(true),
                Some(_) => {}
                None => known = false,
            }
        }
        known.then_some(false)
    }
}

/// A text contains a text, an array an equal item.
fn contains(subject: &Datum, item: &Datum) -> Option<bool> {
    match (subject, item) {
        (Datum::Text(text), Datum::Text(part)) => Some(text.contains(&**part)),
        (Datum::Stored(raw), item) => Some(raw.items()?.any(|one| equal(&Datum::stored(one), item))),
        (Datum::Json(value), item) => match &**value {
            Value::Array(items) => Some(items.iter().any(|one| equal(&Datum::borrowed(one), item))),
            _ => None,
        },
        _ => None,
    }
}

fn field_of<'a>(event: &Record<'a>, field: &Field) -> Datum<'a> {
    let text = |text: Option<&'a str>| text.map_or(Datum::Null, |text| Datum::Text(Cow::Borrowed(text)));
    match field {
        Field::Position => Datum::number(event.position().0),
        Field::Version => event.version().map_or(Datum::Null, |version| Datum::number(version.0)),
        Field::Id => event.id().map_or(Datum::Null, Datum::text),
        Field::Type => text(Some(event.kind())),
        Field::Timestamp => Datum::Time(event.timestamp()),
        Field::Recorded => Datum::Time(event.recorded()),
        Field::Target(part) => part_of(event.target(), *part),
        Field::Actor(part) => part_of(event.actor(), *part),
        Field::Producer(maker) => {
            // The model that made it is the target, where nothing else was said.
            let producer = event.producer();
            match maker {
                Maker::Model(part) => part_of(producer.map(|p| p.model).or_else(|| event.target()), *part),
                Maker::Version => producer.and_then(|p| p.version).map_or(Datum::Null, Datum::number),
                Maker::Vector => text(producer.and_then(|producer| producer.vector)),
            }
        }
        Field::Cause(part) => match (event.cause(), part) {
            (None, _) => Datum::Null,
            (Some(CauseStr::Event(position)), Caused::Position) => Datum::number(position.0),
            (Some(CauseStr::Named { kind, .. }), Caused::Type) => text(Some(kind)),
            (Some(CauseStr::Named { id, .. }), Caused::Id) => text(Some(id)),
            (Some(cause), Caused::Whole) => Value::of(&cause.to_cause()).map_or(Datum::Null, Datum::of),
            (Some(_), _) => Datum::Null,
        },
        Field::Correlation => text(event.correlation()),
        Field::Namespace => text(event.namespace()),
        Field::Key => text(event.key()),
        Field::Tags(steps) => match steps.split_first() {
            None => {
                let tags = event.tags().map(|(name, value)| Some((name.to_owned(), value.to_value().ok()?)));
                let tags: Object = tags.map_while(|tag| tag).collect();
                if tags.is_empty() { Datum::Null } else { Datum::of(Value::Object(tags)) }
            }
            Some((Step::Member(wanted), [])) => {
                let tag = event.tags().find(|(name, _)| name == wanted);
                tag.map_or(Datum::Null, |(_, value)| Datum::stored(value))
            }
            // Tags hold scalars: there is no way on.
            Some(_) => Datum::Null,
        },
        Field::Data(steps) => within(event.data(), steps),
        // Where there is none, there is an object without members.
        Field::Metadata(steps) if steps.is_empty() && event.metadata().0.is_empty() => {
            Datum::of(Value::Object(Object::new()))
        }
        Field::Metadata(steps) => within(event.metadata(), steps),
    }
}

fn part_of<'a>(entity: Option<EntityStr<'a>>, part: Part) -> Datum<'a> {
    let Some(entity) = entity else { return Datum::Null };
    match part {
        Part::Whole => Datum::Entity(entity),
        Part::Type => Datum::Text(Cow::Borrowed(entity.kind)),
        Part::Id => Datum::Text(Cow::Borrowed(entity.id)),
    }
}

fn within<'a>(document: Raw<'a>, steps: &[Step]) -> Datum<'a> {
    let leaf = steps.iter().try_fold(document, |raw, step| match step {
        Step::Member(name) => raw.member(name),
        Step::Element(index) => raw.element(*index),
    });
    leaf.map_or(Datum::Null, Datum::stored)
}
