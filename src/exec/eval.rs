//! Evaluation: what an expression is worth, for an event.
//!
//! `=` and `!=` are two-valued, and what is missing equals null; an order across types is null; so is arithmetic with null or with a
//! wrong type. `AND`, `OR` and `NOT` know null as "unknown". Paths into `data` read the stored bytes up to what they name, and
//! decode no more.

mod strict;

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::document::{Form, Raw};
use crate::entity::EntityStr;
use crate::event::record::{CauseStr, Record};
use crate::lang::ast::Comparison;
use crate::plan::Predicate;
use crate::plan::datum::{Datum, calculate, equal, negated, order};
use crate::plan::expr::{Constant, Node};
use crate::plan::field::{Caused, Field, Maker, Part, Step};
use crate::plan::function::{Function, Work};
use crate::store::kept::Kept;
use crate::store::term::Key;
use crate::time::Timestamp;
use crate::value::{Object, Value};

pub(super) use strict::{Failure, value, written};

impl Predicate {
    /// Whether it is true of an event; neither false nor null is.
    pub fn holds(&self, event: &Record) -> bool {
        Scope::of(event).truth(&self.node) == Some(true)
    }
}

/// What an index holds an event or a state under: what the expression is worth for it, or the items of that. Null, objects, entities and
/// lengths of time are no keys.
pub(super) fn keys(node: &Node, scope: &Scope, found: &mut Vec<Key>) {
    match scope.datum(node) {
        Datum::Null | Datum::Span(_) | Datum::Entity { .. } => {}
        Datum::Time(time) => found.push(Key::Time(time)),
        datum => match datum.into_value() {
            Value::Array(items) => found.extend(items.into_iter().map(Key::Value)),
            value => found.push(Key::Value(value)),
        },
    }
}

/// An entity that is found, with what is known of it.
pub(super) struct Found<'a> {
    pub target: EntityStr<'a>,
    pub kept: &'a Kept<'a>,
}

/// What a verb sees, beside the state of what it is performed on.
pub(super) struct Seen<'a> {
    /// The arguments.
    pub data: Raw<'a>,
    pub metadata: Raw<'a>,
    pub target: EntityStr<'a>,
    /// Of the target, before the verb.
    pub version: u64,
    pub actor: Option<EntityStr<'a>>,
    /// What the actor is, where the verb asks for that.
    pub actor_state: &'a Value,
}

/// A state in memory, or where it is stored.
#[derive(Clone, Copy)]
enum Stated<'a> {
    Value(&'a Value),
    Raw(Raw<'a>),
}

/// What names stand for.
#[derive(Default)]
pub(super) struct Scope<'a> {
    event: Option<&'a Record<'a>>,
    /// What the event folds into, or what was found.
    state: Option<Stated<'a>>,
    /// The entity that was found.
    found: Option<&'a Found<'a>>,
    /// What a verb sees.
    seen: Option<&'a Seen<'a>>,
    /// What a group has.
    slots: &'a [Datum<'static>],
    /// What `NOW` is in what is written; elsewhere it is a constant.
    now: Option<Timestamp>,
}

impl<'a> Scope<'a> {
    /// The fields of an event.
    pub fn of(event: &'a Record<'a>) -> Scope<'a> {
        Scope { event: Some(event), ..Scope::default() }
    }

    /// The fields of an event, and of the state before it.
    pub fn folding(event: &'a Record<'a>, state: &'a Value) -> Scope<'a> {
        Scope { state: Some(Stated::Value(state)), ..Scope::of(event) }
    }

    /// The fields of an entity.
    pub fn found(found: &'a Found<'a>) -> Scope<'a> {
        Scope { state: Some(Stated::Raw(found.kept.state)), found: Some(found), ..Scope::default() }
    }

    /// A state alone.
    pub fn state(state: Raw<'a>) -> Scope<'a> {
        Scope { state: Some(Stated::Raw(state)), ..Scope::default() }
    }

    /// What a group has.
    pub fn group(slots: &'a [Datum<'static>]) -> Scope<'a> {
        Scope { slots, ..Scope::default() }
    }

    /// What a verb sees, and when.
    pub fn deciding(seen: &'a Seen<'a>, state: &'a Value, now: Timestamp) -> Scope<'a> {
        Scope { seen: Some(seen), state: Some(Stated::Value(state)), now: Some(now), ..Scope::default() }
    }

    /// What a reaction sees: the event that triggers it, the state of its target just after it, and an instant.
    pub fn reacting(event: &'a Record<'a>, state: &'a Value, now: Timestamp) -> Scope<'a> {
        Scope { now: Some(now), ..Scope::folding(event, state) }
    }

    /// An instant alone.
    pub fn writing(now: Timestamp) -> Scope<'a> {
        Scope { now: Some(now), ..Scope::default() }
    }

    pub fn datum(&self, node: &'a Node) -> Datum<'a> {
        match node {
            Node::Constant(constant) => Datum::constant(constant),
            Node::Now => self.now.map_or(Datum::Null, Datum::Time),
            Node::Field(Field::State(steps)) => {
                self.state.and_then(|state| state.at(steps)).unwrap_or(Datum::Null)
            }
            Node::Field(field) => self.field(field),
            Node::Array(items) => {
                let items = items.iter().map(|node| self.datum(node).into_value());
                Datum::Json(Cow::Owned(Value::Array(items.collect())))
            }
            Node::Object(members) => {
                let members = members.iter();
                let members = members.map(|(name, node)| (name.clone(), self.datum(node).into_value()));
                Datum::Json(Cow::Owned(Value::Object(members.collect())))
            }
            Node::Negate(node) => negated(&self.datum(node)).unwrap_or(Datum::Null),
            Node::Arithmetic { first, rest } => {
                let mut left = self.datum(first);
                for (operator, operand) in rest {
                    left = calculate(&left, *operator, &self.datum(operand)).unwrap_or(Datum::Null);
                }
                left
            }
            Node::Slot { index, .. } => self.slots.get(*index).map_or(Datum::Null, Datum::reborrow),
            Node::Call { function, arguments } => self.call(function, arguments),
            _ => self.truth(node).map_or(Datum::Null, Datum::Bool),
        }
    }

    /// Not of the state.
    fn field(&self, field: &Field) -> Datum<'a> {
        match (self.found, self.seen, self.event) {
            (Some(found), _, _) => field_of_found(found, field),
            (None, Some(seen), _) => field_of_seen(seen, field),
            (None, None, Some(event)) => field_of(event, field),
            (None, None, None) => Datum::Null,
        }
    }

    /// The data, and the metadata, of the event or of what is asked of a verb.
    fn documents(&self) -> Option<(Raw<'a>, Raw<'a>)> {
        match self.seen {
            Some(seen) => Some((seen.data, seen.metadata)),
            None => self.event.map(|event| (event.data(), event.metadata())),
        }
    }

    /// Whether a path leads to a list in the state.
    pub fn has_list(&self, path: &[Step]) -> bool {
        self.state.and_then(|state| state.at(path)).is_some_and(|found| found.is_array())
    }

    fn call(&self, function: &Function, arguments: &'a [Node]) -> Datum<'a> {
        match function.work {
            Work::Plain(work) => self.with_each(arguments, work).unwrap_or(Datum::Null),
            Work::If => match arguments {
                [condition, yes, no] => {
                    self.datum(if self.truth(condition) == Some(true) { yes } else { no })
                }
                _ => Datum::Null,
            },
            Work::Coalesce => {
                let mut each = arguments.iter().map(|node| self.datum(node));
                each.find(|datum| !datum.is_null()).unwrap_or(Datum::Null)
            }
            // These are bound to nodes of their own.
            Work::Regex | Work::Aggregate(_) => Datum::Null,
        }
    }

    /// The few arguments that most functions have stand on the stack.
    fn with_each<T>(&self, arguments: &'a [Node], work: impl FnOnce(&[Datum<'a>]) -> T) -> T {
        match arguments {
            [one] => work(&[self.datum(one)]),
            [one, two] => work(&[self.datum(one), self.datum(two)]),
            many => work(&many.iter().map(|node| self.datum(node)).collect::<Vec<_>>()),
        }
    }

    /// Whether it is true; none where that is unknown, or it is nothing that could be.
    pub fn truth(&self, node: &'a Node) -> Option<bool> {
        match node {
            Node::Or(terms) => self.any_is(terms, true),
            Node::And(terms) => self.any_is(terms, false).map(|found| !found),
            Node::Not(term) => self.truth(term).map(|truth| !truth),
            Node::Compare { left, comparison, right } => {
                if let Some(truth) = self.compare_stored(left, *comparison, right) {
                    return Some(truth);
                }
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
            Node::Regex { subject, regex } => match self.datum(subject) {
                Datum::Text(text) => Some(regex.is_match(&text)),
                _ => None,
            },
            Node::Constant(_)
            | Node::Now
            | Node::Slot { .. }
            | Node::Call { .. }
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

    /// What most filters are, without a detour: stored data beside a whole number or a text.
    fn compare_stored(&self, left: &Node, comparison: Comparison, right: &Node) -> Option<bool> {
        let (Node::Field(Field::Data(steps)), Node::Constant(Constant::Value(constant))) = (left, right)
        else {
            return None;
        };
        let (form, _) = leaf(self.event?.data(), steps)?.form()?;
        let order = match (form, constant) {
            (Form::Int(n), Value::Int(constant)) => n.cmp(constant),
            // The order of bytes is that of characters.
            (Form::Text(text), Value::Text(constant)) => text.cmp(constant.as_bytes()),
            _ => return None,
        };
        Some(match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        })
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
        // A state is no part of the event that folds into it.
        Field::State(_) | Field::ActorState(_) | Field::Events => Datum::Null,
    }
}

fn part_of<'a>(entity: Option<EntityStr<'a>>, part: Part) -> Datum<'a> {
    let Some(entity) = entity else { return Datum::Null };
    match part {
        Part::Whole => Datum::lent(entity),
        Part::Type => Datum::Text(Cow::Borrowed(entity.kind)),
        Part::Id => Datum::Text(Cow::Borrowed(entity.id)),
    }
}

fn within<'a>(document: Raw<'a>, steps: &[Step]) -> Datum<'a> {
    leaf(document, steps).map_or(Datum::Null, Datum::stored)
}

/// Where the steps lead.
fn leaf<'a>(document: Raw<'a>, steps: &[Step]) -> Option<Raw<'a>> {
    steps.iter().try_fold(document, |raw, step| match step {
        Step::Member(name) => raw.member(name),
        Step::Element(index) => raw.element(*index),
    })
}

fn field_of_found<'a>(found: &Found<'a>, field: &Field) -> Datum<'a> {
    match field {
        Field::Target(part) => part_of(Some(found.target), *part),
        Field::Version => Datum::number(found.kept.version),
        Field::Events => Datum::number(found.kept.events),
        _ => Datum::Null,
    }
}

fn field_of_seen<'a>(seen: &Seen<'a>, field: &Field) -> Datum<'a> {
    match field {
        Field::Target(part) => part_of(Some(seen.target), *part),
        Field::Version => Datum::number(seen.version),
        Field::Actor(part) => part_of(seen.actor, *part),
        Field::ActorState(steps) => member(seen.actor_state, steps).map_or(Datum::Null, Datum::borrowed),
        Field::Data(steps) => within(seen.data, steps),
        Field::Metadata(steps) => within(seen.metadata, steps),
        _ => Datum::Null,
    }
}

impl<'a> Stated<'a> {
    fn at(self, steps: &[Step]) -> Option<Datum<'a>> {
        match self {
            Stated::Value(state) => member(state, steps).map(Datum::borrowed),
            Stated::Raw(state) => leaf(state, steps).map(Datum::stored),
        }
    }
}

/// Where the steps lead in what is in memory.
fn member<'a>(state: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(state, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Element(index) => value.as_array()?.get(*index),
    })
}
