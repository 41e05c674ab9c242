//! Evaluation: what an expression is worth, for an event.
//!
//! `=` and `!=` are two-valued, and what is missing equals null; an order across types is null; so is arithmetic with null or with a
//! wrong type. `AND`, `OR` and `NOT` know null as "unknown". Paths into `data` read the stored bytes up to what they name, and
//! decode no more.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use crate::document::{Form, Raw};
use crate::entity::EntityStr;
use crate::error::{Error, Result, shorten};
use crate::event::record::{CauseStr, Record};
use crate::lang::ast::{Comparison, Operator};
use crate::plan::Predicate;
use crate::plan::datum::{Datum, calculate, equal, negated, order};
use crate::plan::expr::{Constant, Node};
use crate::plan::field::{Caused, Field, Maker, Part, STATE, Step, Way};
use crate::plan::function::{Function, Work};
use crate::store::kept::Kept;
use crate::store::term::Key;
use crate::time::Timestamp;
use crate::value::{MAX_DEPTH, Object, Value};

impl Predicate {
    /// Whether it is true of an event; neither false nor null is.
    pub fn holds(&self, event: &Record) -> bool {
        Scope::of(event).truth(&self.node) == Some(true)
    }
}

/// What an expression that says what is to be written is worth. Here a wrong type is an error.
pub(super) fn value(node: &Node, now: Timestamp) -> Result<Value> {
    written(&Scope::writing(now), node).map_err(|failure| match failure {
        Failure::Missing { path, .. } => Error::invalid("a value to be written", "what is there", path),
        Failure::Wrong { what, expected, found, .. } => Error::invalid(what, expected, found),
    })
}

/// What an expression has no value for.
#[derive(Debug)]
pub(super) enum Failure {
    /// A member that is not there, and what could stand in for it.
    Missing { path: String, instead: &'static str },
    Wrong {
        what: String,
        expected: String,
        found: String,
        /// Which part of it is to blame, where that is known.
        part: Option<String>,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Missing { path, instead } => {
                write!(f, "{path} is missing; coalesce({path}, {instead}) says what to take where it is")
            }
            Failure::Wrong { expected, found, part, .. } => {
                write!(f, "expected {expected}, found {found}")?;
                part.as_ref().map_or(Ok(()), |part| write!(f, ": {part}"))
            }
        }
    }
}

/// What an expression is worth as JSON.
pub(super) fn written<'a>(scope: &Scope<'a>, node: &'a Node) -> Result<Value, Failure> {
    match strict(scope, node)? {
        Datum::Span(_) => Err(Failure::Wrong {
            what: "a value to be written".to_owned(),
            expected: "a value of JSON; lengths in quotes".to_owned(),
            found: "a length of time".to_owned(),
            part: None,
        }),
        datum => Ok(datum.into_value()),
    }
}

/// What an expression is worth, step by step, so that the step which has no result can be told. What is missing has none; but
/// it may be missing in a condition, and in `coalesce`.
fn strict<'a>(scope: &Scope<'a>, node: &'a Node) -> Result<Datum<'a>, Failure> {
    match node {
        Node::Field(field) => scope.there(field),
        Node::Object(members) => {
            let members = members.iter().map(|(name, node)| Ok((name.clone(), written(scope, node)?)));
            Ok(Datum::of(Value::Object(members.collect::<Result<_, Failure>>()?)))
        }
        Node::Array(items) => {
            let items = items.iter().map(|node| written(scope, node));
            Ok(Datum::of(Value::Array(items.collect::<Result<_, Failure>>()?)))
        }
        Node::Arithmetic { first, rest } => {
            let mut left = strict(scope, first).map_err(Failure::of_a_number)?;
            let mut before = Some(&**first);
            for (operator, operand) in rest {
                let right = strict(scope, operand).map_err(Failure::of_a_number)?;
                left = calculate(&left, *operator, &right).ok_or_else(|| {
                    let found = format!("{} {} {}", said(&left), sign(*operator), said(&right));
                    let blame = |node: Option<&Node>, datum: &Datum| {
                        let named = node.and_then(name_of).filter(|_| !matches!(datum, Datum::Number(_)));
                        named.map(|name| format!("{name} is {}", told(datum)))
                    };
                    Failure::Wrong {
                        what: "arithmetic".to_owned(),
                        expected: "numbers, with a result that 64 bits hold".to_owned(),
                        found,
                        part: blame(before, &left).or_else(|| blame(Some(operand), &right)),
                    }
                })?;
                before = None;
            }
            Ok(left)
        }
        Node::Negate(inner) => {
            let operand = strict(scope, inner).map_err(Failure::of_a_number)?;
            negated(&operand).ok_or_else(|| Failure::Wrong {
                what: "-".to_owned(),
                expected: "a number".to_owned(),
                found: said(&operand),
                part: name_of(inner).map(|name| format!("{name} is {}", told(&operand))),
            })
        }
        Node::Call { function, arguments } => match function.work {
            Work::Plain(work) => {
                let given = arguments.iter().enumerate().map(|(at, node)| match strict(scope, node) {
                    // A list that is not there yet is an empty one.
                    Err(Failure::Missing { .. }) if at == 0 && function.grows() && is_state(node) => {
                        Ok(Datum::Null)
                    }
                    other => other,
                });
                let given = given.collect::<Result<Vec<_>, Failure>>()?;
                work(&given).ok_or_else(|| {
                    let found = given.iter().map(said).collect::<Vec<_>>().join(", ");
                    Failure::Wrong {
                        what: function.name.to_owned(),
                        expected: function.form(),
                        found: format!("{}({found})", function.name),
                        part: None,
                    }
                })
            }
            Work::If => match arguments.as_slice() {
                [condition, yes, no] => {
                    strict(scope, if scope.truth(condition) == Some(true) { yes } else { no })
                }
                _ => Ok(Datum::Null),
            },
            _ => Ok(scope.datum(node)),
        },
        _ => Ok(scope.datum(node)),
    }
}

impl Failure {
    /// A state nests no deeper than anything else.
    pub fn too_deep() -> Failure {
        Failure::Wrong {
            what: "a state".to_owned(),
            expected: format!("a value that nests no deeper than {MAX_DEPTH} with its place in the state"),
            found: "one that does".to_owned(),
            part: None,
        }
    }

    /// Where what is missing was to be a number.
    fn of_a_number(self) -> Failure {
        match self {
            Failure::Missing { path, .. } => Failure::Missing { path, instead: "0" },
            wrong => wrong,
        }
    }
}

/// How a field is written, where it leads into an object.
fn name_of(node: &Node) -> Option<String> {
    match node {
        Node::Field(Field::Data(steps)) => Some(Way("data", steps).to_string()),
        Node::Field(Field::Metadata(steps)) => Some(Way("metadata", steps).to_string()),
        Node::Field(Field::State(steps)) => Some(Way(STATE, steps).to_string()),
        _ => None,
    }
}

fn is_state(node: &Node) -> bool {
    matches!(node, Node::Field(Field::State(_)))
}

/// A datum with what it is: `text 'x'`.
fn told(datum: &Datum) -> String {
    match datum {
        Datum::Null => "null".to_owned(),
        Datum::Text(text) => format!("text '{}'", shorten(text)),
        _ => format!("{} {}", datum.kind(), said(datum)),
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

fn said(datum: &Datum) -> String {
    shorten(&datum.clone().into_value().to_string())
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

/// An entity that is found, with what is known of it.
pub(super) struct Found<'a> {
    pub target: EntityStr<'a>,
    pub kept: &'a Kept<'a>,
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

    fn writing(now: Timestamp) -> Scope<'a> {
        Scope { now: Some(now), ..Scope::default() }
    }

    pub fn datum(&self, node: &'a Node) -> Datum<'a> {
        match node {
            Node::Constant(constant) => Datum::constant(constant),
            Node::Now => self.now.map_or(Datum::Null, Datum::Time),
            Node::Field(Field::State(steps)) => {
                self.state.and_then(|state| state.at(steps)).unwrap_or(Datum::Null)
            }
            Node::Field(field) => match self.found {
                Some(found) => field_of_found(found, field),
                None => self.event.map_or(Datum::Null, |event| field_of(event, field)),
            },
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

    /// Whether a path leads to a list in the state.
    pub fn has_list(&self, path: &[Step]) -> bool {
        self.state.and_then(|state| state.at(path)).is_some_and(|found| found.is_array())
    }

    /// What a field is worth, where it has to be there.
    fn there(&self, field: &Field) -> Result<Datum<'a>, Failure> {
        let (name, steps, found) = match field {
            Field::Data(steps) => {
                ("data", steps, self.event.and_then(|event| leaf(event.data(), steps)).map(Datum::stored))
            }
            Field::Metadata(steps) if !steps.is_empty() => {
                let found = self.event.and_then(|event| leaf(event.metadata(), steps));
                ("metadata", steps, found.map(Datum::stored))
            }
            Field::State(steps) => (STATE, steps, self.state.and_then(|state| state.at(steps))),
            field => return Ok(self.event.map_or(Datum::Null, |event| field_of(event, field))),
        };
        found.ok_or_else(|| Failure::Missing { path: Way(name, steps).to_string(), instead: "NULL" })
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
        Field::State(_) | Field::Events => Datum::Null,
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
