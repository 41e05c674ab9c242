//! Conditions that an index answers: `BY customer = 'c-7'`.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::ops::Bound;

use super::expr::{Number, same};
use crate::entity::{Entity, EventType, Name};
use crate::event::record::Record;
use crate::event::{Cause, EventId};
use crate::value::Value;

/// A condition that an index answers: `BY customer = 'c-7'`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum By {
    Target(Entity),
    Type(EventType),
    Actor(Entity),
    Id(EventId),
    Key(String),
    Cause(Cause),
    Correlation(String),
    Tag {
        name: String,
        test: Test,
    },
    /// One of them, at least.
    Any(Vec<By>),
}

/// What is asked of an index value. It is never compared across text, numbers and booleans.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Is(Value),
    /// There is a value, and it is another one.
    Not(Value),
    In(Vec<Value>),
    /// Both are of one sort, and one at least is there.
    Between(Bound<Value>, Bound<Value>),
}

impl By {
    /// Whether an event carries it.
    pub fn holds(&self, event: &Record) -> bool {
        match self {
            By::Target(entity) => event.target() == Some(entity.into()),
            By::Type(kind) => event.kind() == kind.as_str(),
            By::Actor(entity) => event.actor() == Some(entity.into()),
            By::Id(id) => event.id().is_ok_and(|found| found == *id),
            By::Key(key) => event.key() == Some(key),
            By::Cause(cause) => event.cause().is_some_and(|found| found.to_cause() == *cause),
            By::Correlation(correlation) => event.correlation() == Some(correlation),
            By::Tag { name, test } => {
                event.tags().any(|(found, of)| found == name && of.to_value().is_ok_and(|of| test.holds(&of)))
            }
            By::Any(some) => some.iter().any(|by| by.holds(event)),
        }
    }
}

impl Test {
    /// Whether a value passes.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Test::Is(wanted) => same(value, wanted),
            Test::Not(other) => !same(value, other),
            Test::In(several) => several.iter().any(|one| same(value, one)),
            Test::Between(low, high) => {
                let above = match low {
                    Bound::Included(low) => order(value, low).is_some_and(Ordering::is_ge),
                    Bound::Excluded(low) => order(value, low).is_some_and(Ordering::is_gt),
                    Bound::Unbounded => true,
                };
                above
                    && match high {
                        Bound::Included(high) => order(value, high).is_some_and(Ordering::is_le),
                        Bound::Excluded(high) => order(value, high).is_some_and(Ordering::is_lt),
                        Bound::Unbounded => true,
                    }
            }
        }
    }
}

/// How two values stand to each other: none across text, numbers and booleans, and for all that has no order.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => Some(Number::of(a)?.compare(Number::of(b)?)),
    }
}

/// A value as the language writes it.
pub(super) struct Shown<'v>(pub &'v Value);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            other => other.fmt(f),
        }
    }
}

impl Display for By {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            By::Target(entity) => write!(f, "history of {entity}"),
            By::Type(kind) => write!(f, "type {kind}"),
            By::Actor(entity) => write!(f, "actor {entity}"),
            By::Id(id) => write!(f, "id '{id}'"),
            By::Key(key) => write!(f, "key '{key}'"),
            By::Cause(Cause::Event(position)) => write!(f, "cause {position}"),
            By::Cause(Cause::Named { kind, id }) => write!(f, "cause {kind} '{id}'"),
            By::Correlation(correlation) => write!(f, "correlation '{correlation}'"),
            By::Tag { name, test } => write!(f, "{} {test}", Name(name)),
            By::Any(some) => some.iter().enumerate().try_for_each(|(at, by)| match at {
                0 => by.fmt(f),
                _ => write!(f, " or {by}"),
            }),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Test::Is(value) => write!(f, "= {}", Shown(value)),
            Test::Not(value) => write!(f, "!= {}", Shown(value)),
            Test::In(values) => {
                f.write_str("IN (")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, Shown(value))?;
                }
                f.write_str(")")
            }
            Test::Between(Bound::Included(low), Bound::Included(high)) => {
                write!(f, "BETWEEN {} AND {}", Shown(low), Shown(high))
            }
            Test::Between(low, high) => {
                match low {
                    Bound::Included(low) => write!(f, ">= {}", Shown(low))?,
                    Bound::Excluded(low) => write!(f, "> {}", Shown(low))?,
                    Bound::Unbounded => {}
                }
                match high {
                    Bound::Included(high) => write!(f, "<= {}", Shown(high)),
                    Bound::Excluded(high) => write!(f, "< {}", Shown(high)),
                    Bound::Unbounded => Ok(()),
                }
            }
        }
    }
}
