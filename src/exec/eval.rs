//! Evaluation: what an expression is worth, for an event.
//!
//! `=` and `!=` are two-valued, and what is missing equals null; an order across types is null; so is arithmetic with null or with a
//! wrong type. `AND`, `OR` and `NOT` know null as "unknown". Paths into `data` read the stored bytes up to what they name, and
//! decode no more.
//!
//! What is made and what is gone through is taken of an [`Allowance`]. Once that is over all is null: whoever asked looks whether it is.

mod strict;

use std::borrow::Cow;
use std::cmp::Ordering;

use super::unnest::UnnestedItem;
use crate::allowance::{Allowance, Limits, Unmade};
use crate::document::{Raw, RawKind};
use crate::entity::EntityStr;
use crate::error::Result;
use crate::event::record::{CauseStr, Record};
use crate::event::{Tag, tag_members};
use crate::lang::ast::Comparison;
use crate::plan::Predicate;
use crate::plan::datum::{Datum, calculate, equal, negated, order};
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::{Caused, EntityPart, Field, FieldStep, Maker, UnnestedName};
use crate::plan::function::{FunctionBody, FunctionDef};
use crate::store::index::term::IndexKey;
use crate::store::state::stored_state::StoredState;
use crate::time::Timestamp;
use crate::value::{MEMBER, Object, Value};

pub(super) use strict::{EvalFailure, value, written};

impl Predicate {
    /// Whether it is true of an event; neither false nor null is.
    pub fn holds(&self, event: &Record, limits: &Limits) -> Result<bool, Unmade> {
        let scope = Scope::of(event, limits);
        let truth = scope.truth(&self.node);
        scope.allowance.made()?;
        Ok(truth == Some(true))
    }
}

/// What an index holds an event or a state under: what the expression is worth for it, or the items of that. Null, objects, entities and
/// lengths of time are no keys.
pub(super) fn keys<'a>(
    node: &'a BoundExpr,
    scope: &Scope<'a>,
    found: &mut Vec<IndexKey>,
) -> Result<bool, Unmade> {
    let is_in_order = match scope.datum(node) {
        Datum::Null => true,
        Datum::Span(_) | Datum::Entity { .. } => false,
        Datum::Time(time) => {
            found.push(IndexKey::Time(time));
            true
        }
        datum => match datum.taken(&scope.allowance) {
            Value::Array(items) => {
                found.extend(items.into_iter().map(IndexKey::Value));
                false
            }
            value => {
                let is_object = matches!(value, Value::Object(_));
                found.push(IndexKey::Value(value));
                !is_object
            }
        },
    };
    scope.allowance.made().map(|()| is_in_order)
}

/// An entity that is found, with what is known of it.
pub(super) struct CandidateEntity<'a> {
    pub target: EntityStr<'a>,
    pub kept: &'a StoredState<'a>,
}

/// What a verb sees, beside the state of what it is performed on.
pub(super) struct VerbInput<'a> {
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

/// What names stand for, and what may be taken of memory and of time.
pub(super) struct Scope<'a> {
    event: Option<&'a Record<'a>>,
    /// What the event folds into, or what was found.
    state: Option<Stated<'a>>,
    /// The entity that was found.
    found: Option<&'a CandidateEntity<'a>>,
    /// What a verb sees.
    seen: Option<&'a VerbInput<'a>>,
    /// Data of no event yet.
    data: Option<Raw<'a>>,
    /// What a group has.
    slots: &'a [Datum<'static>],
    /// The items of lists that a row is of.
    unnested: &'a [UnnestedItem<'a>],
    /// What `NOW` is in what is written; elsewhere it is a constant.
    now: Option<Timestamp>,
    /// Of one evaluation: of a row, of an event, of a decision.
    allowance: Allowance<'a>,
}

impl<'a> Scope<'a> {
    fn within(limits: &'a Limits) -> Scope<'a> {
        Scope {
            event: None,
            state: None,
            found: None,
            seen: None,
            data: None,
            slots: &[],
            unnested: &[],
            now: None,
            allowance: Allowance::of(limits),
        }
    }

    /// The fields of an event.
    pub fn of(event: &'a Record<'a>, limits: &'a Limits) -> Scope<'a> {
        Scope { event: Some(event), ..Scope::within(limits) }
    }

    /// The same, with items of lists in it.
    pub fn unnesting(self, unnested: &'a [UnnestedItem<'a>]) -> Scope<'a> {
        Scope { unnested, ..self }
    }

    /// The data of an event alone.
    pub fn of_data(data: Raw<'a>, limits: &'a Limits) -> Scope<'a> {
        Scope { data: Some(data), ..Scope::within(limits) }
    }

    /// The fields of an event, and of the state before it.
    pub fn folding(event: &'a Record<'a>, state: &'a Value, limits: &'a Limits) -> Scope<'a> {
        Scope { state: Some(Stated::Value(state)), ..Scope::of(event, limits) }
    }

    /// The fields of an entity.
    pub fn found(found: &'a CandidateEntity<'a>, limits: &'a Limits) -> Scope<'a> {
        Scope { state: Some(Stated::Raw(found.kept.state)), found: Some(found), ..Scope::within(limits) }
    }

    /// A state alone.
    pub fn state(state: Raw<'a>, limits: &'a Limits) -> Scope<'a> {
        Scope { state: Some(Stated::Raw(state)), ..Scope::within(limits) }
    }

    /// What a group has.
    pub fn group(slots: &'a [Datum<'static>], limits: &'a Limits) -> Scope<'a> {
        Scope { slots, ..Scope::within(limits) }
    }

    /// What a verb sees, and when.
    pub fn deciding(
        seen: &'a VerbInput<'a>,
        state: &'a Value,
        now: Timestamp,
        limits: &'a Limits,
    ) -> Scope<'a> {
        let state = Some(Stated::Value(state));
        Scope { seen: Some(seen), state, now: Some(now), ..Scope::within(limits) }
    }

    /// What a reaction sees: the event that triggers it, the state of its target just after it, and an instant.
    pub fn reacting(
        event: &'a Record<'a>,
        state: &'a Value,
        now: Timestamp,
        limits: &'a Limits,
    ) -> Scope<'a> {
        Scope { now: Some(now), ..Scope::folding(event, state, limits) }
    }

    /// An instant alone.
    pub fn writing(now: Timestamp, limits: &'a Limits) -> Scope<'a> {
        Scope { now: Some(now), ..Scope::within(limits) }
    }

    /// What may still be taken.
    pub fn allowance(&self) -> &Allowance<'a> {
        &self.allowance
    }

    /// An error where too much was taken, or somebody ended it. Until it is asked, what is worked out means nothing.
    pub fn check(&self) -> Result<()> {
        self.allowance.check()
    }

    /// Whether a condition is true; neither false nor null is.
    pub fn holds(&self, node: &'a BoundExpr) -> Result<bool> {
        let truth = self.truth(node);
        self.check()?;
        Ok(truth == Some(true))
    }

    /// What an expression is worth as JSON.
    pub fn value(&self, node: &'a BoundExpr) -> Result<Value> {
        let value = self.item(node);
        self.check()?;
        Ok(value)
    }

    fn item(&self, node: &'a BoundExpr) -> Value {
        match node {
            BoundExpr::Constant(constant) => Datum::constant(constant).into_value(),
            node => self.datum(node).taken(&self.allowance),
        }
    }

    /// What an expression is worth, to be compared with others and kept.
    pub fn kept(&self, node: &'a BoundExpr) -> Result<Datum<'a>> {
        let datum = self.datum(node);
        self.is_comparable(&datum);
        self.check()?;
        Ok(datum)
    }

    /// Whether there is enough left to compare it: what is stored is decoded for that.
    fn is_comparable(&self, datum: &Datum) -> bool {
        match datum {
            Datum::Text(text) => self.allowance.step(text.len() / 64),
            Datum::Json(_) | Datum::Stored(_) => self.allowance.lend(datum.weight()),
            _ => true,
        }
    }

    pub fn datum(&self, node: &'a BoundExpr) -> Datum<'a> {
        match node {
            BoundExpr::Constant(constant) => Datum::constant(constant),
            BoundExpr::Now => self.now.map_or(Datum::Null, Datum::Time),
            BoundExpr::Field(Field::State(steps)) => {
                self.state.and_then(|state| state.at(steps, &self.allowance)).unwrap_or(Datum::Null)
            }
            BoundExpr::Field(field) => self.field(field),
            // What stands in the text itself is as large as that, and is not counted.
            BoundExpr::Array(items) => {
                let items = items.iter().map(|node| self.item(node));
                Datum::Json(Cow::Owned(Value::Array(items.collect())))
            }
            BoundExpr::Object(members) => {
                let members = members.iter().map(|(name, node)| (name.clone(), self.item(node)));
                Datum::Json(Cow::Owned(Value::Object(members.collect())))
            }
            BoundExpr::Negate(node) => negated(&self.datum(node)).unwrap_or(Datum::Null),
            BoundExpr::Arithmetic { first, rest } => {
                let mut left = self.datum(first);
                for (operator, operand) in rest {
                    left = calculate(&left, *operator, &self.datum(operand)).unwrap_or(Datum::Null);
                }
                left
            }
            BoundExpr::Slot { index, .. } => self.slots.get(*index).map_or(Datum::Null, Datum::reborrow),
            BoundExpr::Call { function, arguments } => self.call(function, arguments),
            _ => self.truth(node).map_or(Datum::Null, Datum::Bool),
        }
    }

    /// Not of the state.
    fn field(&self, field: &Field) -> Datum<'a> {
        let item = |name: &UnnestedName| self.unnested.get(name.step);
        match field {
            Field::Unnested(name, steps) => {
                return item(name).map_or(Datum::Null, |item| within(item.value, steps, &self.allowance));
            }
            Field::Place(name) => return item(name).map_or(Datum::Null, |item| Datum::number(item.place)),
            _ => {}
        }
        match (self.found, self.seen, self.event) {
            (Some(found), _, _) => field_of_found(found, field),
            (None, Some(seen), _) => field_of_seen(seen, field, &self.allowance),
            (None, None, Some(event)) => field_of(event, field, &self.allowance),
            (None, None, None) => match (self.data, field) {
                (Some(data), Field::Data(steps)) => within(data, steps, &self.allowance),
                _ => Datum::Null,
            },
        }
    }

    /// The data, and the metadata, of the event or of what is asked of a verb.
    fn documents(&self) -> Option<(Raw<'a>, Raw<'a>)> {
        match self.seen {
            Some(seen) => Some((seen.data, seen.metadata)),
            None => match self.data {
                Some(data) => Some((data, Raw(&[0x80]))),
                None => self.event.map(|event| (event.data(), event.metadata())),
            },
        }
    }

    /// Whether a path leads to a list in the state.
    pub fn has_list(&self, path: &[FieldStep]) -> bool {
        self.state.and_then(|state| state.at(path, &self.allowance)).is_some_and(|found| found.is_array())
    }

    fn call(&self, function: &FunctionDef, arguments: &'a [BoundExpr]) -> Datum<'a> {
        if !self.allowance.step(1 + arguments.len()) {
            return Datum::Null;
        }
        match function.work {
            FunctionBody::Plain(work) => self.with_each(arguments, work).unwrap_or(Datum::Null),
            FunctionBody::Making(work) => {
                self.with_each(arguments, |given| work(given, &self.allowance)).unwrap_or(Datum::Null)
            }
            FunctionBody::If => match arguments {
                [condition, yes, no] => {
                    self.datum(if self.truth(condition) == Some(true) { yes } else { no })
                }
                _ => Datum::Null,
            },
            FunctionBody::Coalesce => {
                let mut each = arguments.iter().map(|node| self.datum(node));
                each.find(|datum| !datum.is_null()).unwrap_or(Datum::Null)
            }
            // These are bound to nodes of their own.
            FunctionBody::Regex | FunctionBody::IsForgotten | FunctionBody::Aggregate(_) => Datum::Null,
        }
    }

    /// The few arguments that most functions have stand on the stack.
    fn with_each<T>(
        &self,
        arguments: &'a [BoundExpr],
        work: impl FnOnce(&[Datum<'a>]) -> Option<T>,
    ) -> Option<T> {
        let work = |given: &[Datum<'a>]| self.are_short(given).then(|| work(given)).flatten();
        match arguments {
            [one] => work(&[self.datum(one)]),
            [one, two] => work(&[self.datum(one), self.datum(two)]),
            many => work(&many.iter().map(|node| self.datum(node)).collect::<Vec<_>>()),
        }
    }

    /// Takes the steps to go through the texts that a function is given.
    fn are_short(&self, given: &[Datum]) -> bool {
        let text = |datum: &Datum| if let Datum::Text(text) = datum { text.len() / 4 } else { 0 };
        self.allowance.step(given.iter().map(text).sum())
    }

    /// Whether it is true; none where that is unknown, or it is nothing that could be.
    pub fn truth(&self, node: &'a BoundExpr) -> Option<bool> {
        match node {
            BoundExpr::Or(terms) => self.any_is(terms, true),
            BoundExpr::And(terms) => self.any_is(terms, false).map(|found| !found),
            BoundExpr::Not(term) => self.truth(term).map(|truth| !truth),
            BoundExpr::Compare { left, comparison, right } => {
                if let Some(truth) = self.compare_stored(left, *comparison, right) {
                    return Some(truth);
                }
                let (left, right) = (self.datum(left), self.datum(right));
                if !self.is_comparable(&left) || !self.is_comparable(&right) {
                    return None;
                }
                match comparison {
                    Comparison::Equal => Some(equal(&left, &right)),
                    Comparison::NotEqual => Some(!equal(&left, &right)),
                    Comparison::Less => order(&left, &right).map(Ordering::is_lt),
                    Comparison::LessOrEqual => order(&left, &right).map(Ordering::is_le),
                    Comparison::Greater => order(&left, &right).map(Ordering::is_gt),
                    Comparison::GreaterOrEqual => order(&left, &right).map(Ordering::is_ge),
                }
            }
            BoundExpr::Matches { subject, pattern } => match self.datum(subject) {
                Datum::Text(text) => self.allowance.step(text.len()).then(|| pattern.matches(&text)),
                _ => None,
            },
            BoundExpr::Contains { subject, item } => self.contains(&self.datum(subject), &self.datum(item)),
            BoundExpr::Between { subject, low, high } => {
                let subject = self.datum(subject);
                let above = order(&subject, &self.datum(low)).map(Ordering::is_ge);
                let below = order(&subject, &self.datum(high)).map(Ordering::is_le);
                match (above, below) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
            BoundExpr::In { subject, items } => {
                let subject = self.datum(subject);
                let is_equal = |item: &'a BoundExpr| {
                    let item = self.datum(item);
                    self.is_comparable(&item) && self.is_comparable(&subject) && equal(&subject, &item)
                };
                self.allowance.step(items.len()).then(|| items.iter().any(is_equal))
            }
            BoundExpr::IsNull(node) => Some(self.datum(node).is_null()),
            BoundExpr::IsForgotten(field) => {
                let forgotten = self.event.and_then(Record::forgotten);
                Some(forgotten.is_some_and(|forgotten| forgotten.meets(field)))
            }
            BoundExpr::Regex { subject, regex } => match self.datum(subject) {
                Datum::Text(text) => regex.is_match(&text, &self.allowance),
                _ => None,
            },
            BoundExpr::Constant(_)
            | BoundExpr::Now
            | BoundExpr::Slot { .. }
            | BoundExpr::Call { .. }
            | BoundExpr::Field(_)
            | BoundExpr::Array(_)
            | BoundExpr::Object(_)
            | BoundExpr::Negate(_)
            | BoundExpr::Arithmetic { .. } => match self.datum(node) {
                Datum::Bool(b) => Some(b),
                _ => None,
            },
        }
    }

    /// What most filters are, without a detour: stored data beside a whole number or a text.
    fn compare_stored(&self, left: &BoundExpr, comparison: Comparison, right: &BoundExpr) -> Option<bool> {
        let (BoundExpr::Field(Field::Data(steps)), BoundExpr::Constant(Constant::Value(constant))) =
            (left, right)
        else {
            return None;
        };
        let data = self.event?.data();
        let (form, _) = leaf(data, steps).filter(|_| pass(data, &self.allowance))?.form()?;
        let order = match (form, constant) {
            (RawKind::Int(n), Value::Int(constant)) => n.cmp(constant),
            // The order of bytes is that of characters.
            (RawKind::Text(text), Value::Text(constant)) => text.cmp(constant.as_bytes()),
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
    fn any_is(&self, terms: &'a [BoundExpr], wanted: bool) -> Option<bool> {
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

    /// A text contains a text, an array an equal item.
    fn contains(&self, subject: &Datum, item: &Datum) -> Option<bool> {
        if !self.is_comparable(item) {
            return None;
        }
        let items = |count: usize| self.allowance.step(count.saturating_mul(1 + item.weight() / 64));
        match (subject, item) {
            (Datum::Text(text), Datum::Text(part)) => {
                self.allowance.step(text.len() / 4).then(|| text.contains(&**part))
            }
            (Datum::Stored(raw), item) => {
                let mut each = raw.items()?;
                if !self.allowance.step(raw.0.len()) {
                    return None;
                }
                let is_equal = |one: Raw| {
                    let one = Datum::stored(one);
                    self.is_comparable(&one) && equal(&one, item)
                };
                Some(each.any(is_equal))
            }
            (Datum::Json(value), item) => match &**value {
                Value::Array(all) if items(all.len()) => {
                    Some(all.iter().any(|one| equal(&Datum::borrowed(one), item)))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn field_of<'a>(event: &Record<'a>, field: &Field, allowance: &Allowance) -> Datum<'a> {
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
                let tags = event.tags().map(|(name, value)| {
                    let fits = allowance.take(MEMBER + name.len() + value.weight());
                    Some((name.to_owned(), value.to_value().ok().filter(|_| fits)?))
                });
                let tags: Vec<Tag> =
                    tags.map_while(|tag| tag).map(|(name, value)| Tag { name, value }).collect();
                if tags.is_empty() || allowance.over().is_some() {
                    Datum::Null
                } else {
                    Datum::of(Value::Object(tag_members(&tags)))
                }
            }
            Some((FieldStep::Member(wanted), [])) => {
                let mut tags = event.tags().filter(|(name, _)| name == wanted).map(|(_, value)| value);
                match (tags.next(), tags.next()) {
                    (None, _) => Datum::Null,
                    (Some(one), None) => Datum::stored(one),
                    (Some(first), Some(second)) => {
                        let values = [first, second].into_iter().chain(tags).map(|value| {
                            let fits = allowance.take(MEMBER + value.weight());
                            value.to_value().ok().filter(|_| fits)
                        });
                        let values: Vec<Value> = values.map_while(|value| value).collect();
                        if allowance.over().is_some() { Datum::Null } else { Datum::of(Value::Array(values)) }
                    }
                }
            }
            // Index values are scalars: there is no way on.
            Some(_) => Datum::Null,
        },
        Field::Data(steps) => within(event.data(), steps, allowance),
        // Where there is none, there is an object without members.
        Field::Metadata(steps) if steps.is_empty() && event.metadata().0.is_empty() => {
            Datum::of(Value::Object(Object::new()))
        }
        Field::Metadata(steps) => within(event.metadata(), steps, allowance),
        // A state is no part of the event that folds into it.
        Field::State(_) | Field::ActorState(_) | Field::Events | Field::Unnested(..) | Field::Place(_) => {
            Datum::Null
        }
    }
}

fn part_of<'a>(entity: Option<EntityStr<'a>>, part: EntityPart) -> Datum<'a> {
    let Some(entity) = entity else { return Datum::Null };
    match part {
        EntityPart::Whole => Datum::lent(entity),
        EntityPart::Type => Datum::Text(Cow::Borrowed(entity.kind)),
        EntityPart::Id => Datum::Text(Cow::Borrowed(entity.id)),
    }
}

fn within<'a>(document: Raw<'a>, steps: &[FieldStep], allowance: &Allowance) -> Datum<'a> {
    let found = pass(document, allowance).then(|| leaf(document, steps)).flatten();
    found.map_or(Datum::Null, Datum::stored)
}

/// Takes the steps to go through a document, where it is a large one. That is done for each of its members.
#[inline]
fn pass(document: Raw, allowance: &Allowance) -> bool {
    const LARGE: usize = 4096;
    document.0.len() < LARGE || allowance.step(document.0.len() / 8)
}

/// Where the steps lead.
pub(super) fn leaf<'a>(document: Raw<'a>, steps: &[FieldStep]) -> Option<Raw<'a>> {
    steps.iter().try_fold(document, |raw, step| match step {
        FieldStep::Member(name) => raw.member(name),
        FieldStep::Element(index) => raw.element(*index),
    })
}

fn field_of_found<'a>(found: &CandidateEntity<'a>, field: &Field) -> Datum<'a> {
    match field {
        Field::Target(part) => part_of(Some(found.target), *part),
        Field::Version => Datum::number(found.kept.version),
        Field::Events => Datum::number(found.kept.events),
        _ => Datum::Null,
    }
}

fn field_of_seen<'a>(seen: &VerbInput<'a>, field: &Field, allowance: &Allowance) -> Datum<'a> {
    match field {
        Field::Target(part) => part_of(Some(seen.target), *part),
        Field::Version => Datum::number(seen.version),
        Field::Actor(part) => part_of(seen.actor, *part),
        Field::ActorState(steps) => member(seen.actor_state, steps).map_or(Datum::Null, Datum::borrowed),
        Field::Data(steps) => within(seen.data, steps, allowance),
        Field::Metadata(steps) => within(seen.metadata, steps, allowance),
        _ => Datum::Null,
    }
}

impl<'a> Stated<'a> {
    fn at(self, steps: &[FieldStep], allowance: &Allowance) -> Option<Datum<'a>> {
        match self {
            Stated::Value(state) => member(state, steps).map(Datum::borrowed),
            Stated::Raw(state) if pass(state, allowance) => leaf(state, steps).map(Datum::stored),
            Stated::Raw(_) => None,
        }
    }
}

/// Where the steps lead in what is in memory.
pub(super) fn member<'a>(state: &'a Value, steps: &[FieldStep]) -> Option<&'a Value> {
    steps.iter().try_fold(state, |value, step| match step {
        FieldStep::Member(name) => value.get(name),
        FieldStep::Element(index) => value.as_array()?.get(*index),
    })
}
