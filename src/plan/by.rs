//! Conditions that an index answers: `BY customer = 'c-7'`.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::ops::Bound;
use std::sync::Arc;

use super::datum::instant_of;
use super::expr::{Number, same};
use crate::allowance::{Limits, Unmade};
use crate::document::Raw;
use crate::entity::{Entity, EventType, NameText};
use crate::error::Result;
use crate::event::record::Record;
use crate::event::{Cause, EventId};
use crate::store::catalog::Index;
use crate::store::index::term::{IndexKey, Term, TermRange};
use crate::time::Timestamp;
use crate::value::Value;

/// A condition that an index answers: `BY customer = 'c-7'`.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // a question has a few of them
pub(crate) enum By {
    Target(Entity),
    Type(EventType),
    Actor(Entity),
    Id(EventId),
    Key(String),
    Cause(Cause),
    Correlation(String),
    Tag(Tagged),
    /// One of them, at least.
    Any(Vec<By>),
}

/// A condition on index values of a name: those that an event carries itself, and those that an index of the name derives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tagged {
    pub name: String,
    pub test: Test,
    pub index: Option<Derived>,
    /// Whether values that events carry themselves count, too.
    pub own: bool,
}

/// An index that is complete. Two are the same if their definition is.
#[derive(Debug, Clone)]
pub(crate) struct Derived(pub Arc<Index>);

impl PartialEq for Derived {
    fn eq(&self, other: &Derived) -> bool {
        self.0.position == other.0.position
    }
}

/// What is asked of an index value. It is never compared across text, numbers, times and booleans; but a text that says an instant
/// is that instant beside a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Is(IndexKey),
    /// There is a value, and it is another one.
    Not(IndexKey),
    In(Vec<IndexKey>),
    /// Both are of one sort, and one at least is there.
    Between(Bound<IndexKey>, Bound<IndexKey>),
    /// It is a text that this is a piece of, or all of.
    Contains(String),
}

impl By {
    /// The list that holds just these events. Ids, index values and alternatives have none, or several.
    pub fn term(&self) -> Result<Option<Term>> {
        match self {
            By::Target(entity) => Term::entity(entity),
            By::Type(kind) => Term::kind(kind),
            By::Actor(actor) => Term::actor(actor),
            By::Key(key) => Term::key(key),
            By::Cause(cause) => Term::cause(cause),
            By::Correlation(correlation) => Term::correlation(correlation),
            By::Id(_) | By::Tag(_) | By::Any(_) => return Ok(None),
        }
        .map(Some)
    }

    /// Whether an event carries it.
    pub fn holds(&self, event: &Record, limits: &Limits) -> Result<bool, Unmade> {
        Ok(match self {
            By::Target(entity) => event.target() == Some(entity.into()),
            By::Type(kind) => event.kind() == kind.as_str(),
            By::Actor(entity) => event.actor() == Some(entity.into()),
            By::Id(id) => event.id().is_ok_and(|found| found == *id),
            By::Key(key) => event.key() == Some(key),
            By::Cause(cause) => event.cause().is_some_and(|found| found.to_cause() == *cause),
            By::Correlation(correlation) => event.correlation() == Some(correlation),
            By::Tag(tagged) => return tagged.holds(event, limits),
            By::Any(some) => {
                for by in some {
                    if by.holds(event, limits)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }
}

impl Tagged {
    fn holds(&self, event: &Record, limits: &Limits) -> Result<bool, Unmade> {
        let own = |(name, value): (&str, Raw)| {
            name == self.name && value.to_value().is_ok_and(|value| self.passes(&IndexKey::Value(value)))
        };
        // What is no value of an index (an object, a length of time) is not found by it, by `!=` neither.
        if self.own && event.tags().any(own) {
            return Ok(true);
        }
        let Some(Derived(index)) = &self.index else { return Ok(false) };
        Ok(index.keys(event, limits)?.iter().any(|key| self.passes(key) && index.holds(key)))
    }

    fn passes(&self, key: &IndexKey) -> bool {
        // No list holds those.
        if let IndexKey::Value(Value::Null | Value::Array(_) | Value::Object(_)) = key {
            return false;
        }
        self.test.holds(key)
    }
}

impl Test {
    /// Whether a value passes.
    pub fn holds(&self, key: &IndexKey) -> bool {
        match self {
            Test::Is(wanted) => equal(key, wanted),
            Test::Not(other) => !equal(key, other),
            Test::In(several) => several.iter().any(|one| equal(key, one)),
            Test::Contains(piece) => {
                matches!(key, IndexKey::Value(Value::Text(text)) if text.contains(piece))
            }
            Test::Between(low, high) => {
                let above = match low {
                    Bound::Included(low) => order(key, low).is_some_and(Ordering::is_ge),
                    Bound::Excluded(low) => order(key, low).is_some_and(Ordering::is_gt),
                    Bound::Unbounded => true,
                };
                above
                    && match high {
                        Bound::Included(high) => order(key, high).is_some_and(Ordering::is_le),
                        Bound::Excluded(high) => order(key, high).is_some_and(Ordering::is_lt),
                        Bound::Unbounded => true,
                    }
            }
        }
    }

    /// What passes both, where it is ranges of one sort: another range.
    pub fn and(&self, other: &Test) -> Option<Test> {
        let (Test::Between(low, high), Test::Between(other_low, other_high)) = (self, other) else {
            return None;
        };
        let low = tighter(low, other_low, Ordering::Greater)?;
        let high = tighter(high, other_high, Ordering::Less)?;
        if let (Some(low), Some(high)) = (key_of(&low), key_of(&high)) {
            order_within(low, high)?;
        }
        Some(Test::Between(low, high))
    }

    /// What is compared with.
    pub fn keys(&self) -> Vec<&IndexKey> {
        match self {
            Test::Is(key) | Test::Not(key) => vec![key],
            Test::In(keys) => keys.iter().collect(),
            Test::Contains(_) => Vec::new(),
            Test::Between(low, high) => [low, high].into_iter().filter_map(key_of).collect(),
        }
    }

    /// Ranges of an index, beside what its terms begin with, that hold all values which pass, and perhaps others.
    pub fn ranges(&self, prefix: &[u8]) -> Vec<TermRange> {
        let between = |low: Bound<&IndexKey>, high: Bound<&IndexKey>| TermRange::between(prefix, low, high);
        let mut ranges = Vec::new();
        match self {
            // Texts that say the same instant are others, and stay: who asks looks at them.
            Test::Not(key) => {
                let all = TermRange::without(prefix, key, vec![between(Bound::Unbounded, Bound::Unbounded)]);
                ranges =
                    self.instants().iter().fold(all, |ranges, time| TermRange::without(prefix, time, ranges));
            }
            Test::Is(_) | Test::In(_) => {
                let one = |key: &IndexKey| between(Bound::Included(key), Bound::Included(key));
                ranges.extend(self.keys().into_iter().map(one));
                ranges.extend(self.instants().iter().map(one));
            }
            // Which of them it is a piece of is seen by who reads them.
            Test::Contains(_) => ranges.push(TermRange::texts(prefix)),
            Test::Between(low, high) => {
                ranges.push(between(low.as_ref(), high.as_ref()));
                let time = |bound: &Bound<IndexKey>| bound_map(bound, said_instant);
                if let (Some(low), Some(high)) = (time(low), time(high)) {
                    ranges.push(between(low.as_ref(), high.as_ref()));
                }
            }
        }
        ranges.extend(self.texts_of_instants(prefix));
        ranges.retain(|range| !range.is_empty());
        ranges
    }

    /// The instants that its texts say: an index may hold times, and they are equal.
    pub fn instants(&self) -> Vec<IndexKey> {
        self.keys().into_iter().filter_map(said_instant).collect()
    }

    /// Whether texts pass that are found under no one term: those that say an instant, in one way or another.
    pub fn is_of_instants(&self) -> bool {
        self.keys().into_iter().any(|key| matches!(key, IndexKey::Time(_)))
    }

    /// Where the texts are that may say an instant which passes. They sort by their years, but for those whose year has a sign.
    fn texts_of_instants(&self, prefix: &[u8]) -> Vec<TermRange> {
        if !self.is_of_instants() || matches!(self, Test::Not(_)) {
            return Vec::new();
        }
        let times: Vec<Timestamp> = self
            .keys()
            .into_iter()
            .filter_map(|key| match key {
                IndexKey::Time(time) => Some(*time),
                IndexKey::Value(_) => None,
            })
            .collect();
        let (earliest, latest) = (times.iter().min(), times.iter().max());
        let (first, last) = match self {
            Test::Between(Bound::Unbounded, _) => (None, latest),
            Test::Between(_, Bound::Unbounded) => (earliest, None),
            _ => (earliest, latest),
        };
        // An offset moves a date by a day and a bit, and its year with it.
        let day = |days: i128| days * 86_400_000_000_000;
        let year = |time: Option<&Timestamp>, days: i128| {
            time.and_then(|time| time.moved(day(days))).map(|time| time.civil().year())
        };
        let (first, last) = (year(first, -7).unwrap_or(0), year(last, 7).unwrap_or(9999));
        let text = |text: String| IndexKey::Value(Value::Text(text));
        let years =
            (text(format!("{:04}", first.max(0))), text(format!("{:04}", i32::from(last.max(0)) + 1)));
        // `:` sorts behind all digits.
        let until = if last >= 9999 { text(":".to_owned()) } else { years.1 };
        let signed = (text("+".to_owned()), text(".".to_owned()));
        [(years.0, until), signed]
            .iter()
            .map(|(low, high)| TermRange::between(prefix, Bound::Included(low), Bound::Excluded(high)))
            .collect()
    }
}

/// The instant that a text says, as a key.
fn said_instant(key: &IndexKey) -> Option<IndexKey> {
    match key {
        IndexKey::Value(Value::Text(text)) => instant_of(text).map(IndexKey::Time),
        _ => None,
    }
}

fn key_of(bound: &Bound<IndexKey>) -> Option<&IndexKey> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

/// Of two bounds on one side, the one that lets less through: the one whose key is on that side of the other's. None of two sorts.
fn tighter(a: &Bound<IndexKey>, b: &Bound<IndexKey>, side: Ordering) -> Option<Bound<IndexKey>> {
    let (Some(key), Some(other)) = (key_of(a), key_of(b)) else {
        return Some(if key_of(a).is_some() { a.clone() } else { b.clone() });
    };
    let order = order_within(key, other)?;
    let first = order == side || order == Ordering::Equal && matches!(a, Bound::Excluded(_));
    Some(if first { a.clone() } else { b.clone() })
}

/// How two keys of one sort stand to each other. A time and a text are two.
fn order_within(a: &IndexKey, b: &IndexKey) -> Option<Ordering> {
    order(a, b).filter(|_| matches!(a, IndexKey::Time(_)) == matches!(b, IndexKey::Time(_)))
}

/// The bound of what its key becomes, if it becomes something.
fn bound_map(
    bound: &Bound<IndexKey>,
    turn: impl Fn(&IndexKey) -> Option<IndexKey>,
) -> Option<Bound<IndexKey>> {
    Some(match bound {
        Bound::Included(key) => Bound::Included(turn(key)?),
        Bound::Excluded(key) => Bound::Excluded(turn(key)?),
        Bound::Unbounded => Bound::Unbounded,
    })
}

fn equal(a: &IndexKey, b: &IndexKey) -> bool {
    match (a, b) {
        (IndexKey::Value(a), IndexKey::Value(b)) => same(a, b),
        (IndexKey::Time(a), IndexKey::Time(b)) => a == b,
        (IndexKey::Time(_), text) => said_instant(text).as_ref() == Some(a),
        (text, IndexKey::Time(_)) => said_instant(text).as_ref() == Some(b),
    }
}

/// How two keys stand to each other: none across text, numbers, times and booleans, and for all that has no order. Beside a time, a
/// text that says an instant is that instant.
pub(crate) fn order(a: &IndexKey, b: &IndexKey) -> Option<Ordering> {
    match (a, b) {
        (IndexKey::Time(a), IndexKey::Time(b)) => Some(a.cmp(b)),
        (IndexKey::Time(_), text) => order(a, &said_instant(text)?),
        (text, IndexKey::Time(_)) => order(&said_instant(text)?, b),
        (IndexKey::Value(Value::Bool(a)), IndexKey::Value(Value::Bool(b))) => Some(a.cmp(b)),
        (IndexKey::Value(Value::Text(a)), IndexKey::Value(Value::Text(b))) => Some(a.cmp(b)),
        (IndexKey::Value(a), IndexKey::Value(b)) => Some(Number::of(a)?.compare(Number::of(b)?)),
    }
}

/// A key as the language writes it.
pub(super) struct KeyLiteral<'k>(pub &'k IndexKey);

impl Display for KeyLiteral<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            IndexKey::Value(Value::Text(text)) => write!(f, "'{}'", text.replace('\'', "''")),
            IndexKey::Value(other) => other.fmt(f),
            IndexKey::Time(time) => time.fmt(f),
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
            By::Tag(tagged) => write!(f, "{} {}", NameText(&tagged.name), tagged.test),
            By::Any(some) => some.iter().enumerate().try_for_each(|(at, by)| match at {
                0 => by.fmt(f),
                _ => write!(f, " or {by}"),
            }),
        }
    }
}

/// A condition as the language takes it: `target = Order 1`.
pub(super) struct ConditionText<'b>(pub &'b By);

impl ConditionText<'_> {
    /// What a name is compared with; none where it has no one name.
    fn parts(&self) -> Option<(&'static str, String)> {
        let text = |text: &str| KeyLiteral(&IndexKey::Value(text.into())).to_string();
        Some(match self.0 {
            By::Target(entity) => ("target", entity.to_string()),
            By::Type(kind) => ("type", text(kind.as_str())),
            By::Actor(entity) => ("actor", entity.to_string()),
            By::Id(id) => ("id", text(&id.to_string())),
            By::Key(key) => ("key", text(key)),
            By::Cause(Cause::Event(position)) => ("cause", position.to_string()),
            By::Cause(Cause::Named { kind, id }) => ("cause", format!("{} {}", NameText(kind), text(id))),
            By::Correlation(correlation) => ("correlation", text(correlation)),
            By::Tag(_) | By::Any(_) => return None,
        })
    }
}

impl Display for ConditionText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.parts() {
            return write!(f, "{name} = {value}");
        }
        let By::Any(some) = self.0 else { return self.0.fmt(f) };
        // They are of one name, as `IN` is.
        let parts: Vec<_> = some.iter().filter_map(|by| ConditionText(by).parts()).collect();
        let values: Vec<&str> = parts.iter().map(|(_, value)| value.as_str()).collect();
        write!(f, "{} IN ({})", parts.first().map_or("type", |(name, _)| name), values.join(", "))
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Test::Is(key) => write!(f, "= {}", KeyLiteral(key)),
            Test::Not(key) => write!(f, "!= {}", KeyLiteral(key)),
            Test::In(keys) => {
                f.write_str("IN (")?;
                for (at, key) in keys.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, KeyLiteral(key))?;
                }
                f.write_str(")")
            }
            Test::Contains(piece) => {
                write!(f, "CONTAINS {}", KeyLiteral(&IndexKey::Value(piece.as_str().into())))
            }
            Test::Between(Bound::Included(low), Bound::Included(high)) => {
                write!(f, "BETWEEN {} AND {}", KeyLiteral(low), KeyLiteral(high))
            }
            Test::Between(low, high) => {
                match low {
                    Bound::Included(low) => write!(f, ">= {}", KeyLiteral(low))?,
                    Bound::Excluded(low) => write!(f, "> {}", KeyLiteral(low))?,
                    Bound::Unbounded => {}
                }
                if key_of(low).is_some() && key_of(high).is_some() {
                    f.write_str(" and ")?;
                }
                match high {
                    Bound::Included(high) => write!(f, "<= {}", KeyLiteral(high)),
                    Bound::Excluded(high) => write!(f, "< {}", KeyLiteral(high)),
                    Bound::Unbounded => Ok(()),
                }
            }
        }
    }
}
