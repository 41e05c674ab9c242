//! Any log, any question: what the lists answer is what reading everything answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entity::{Position, PositionRange};
use crate::event::{Cause, Event, NewEvent};
use crate::plan::{FORCED, Forced};
use crate::store::append_request::AppendRequest;
use crate::store::snapshot::ScanDirection;
use crate::store::verify;
use crate::value::{Object, Value};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(Vec<Draft>),
    Checkpoint,
}

#[derive(Debug, Clone)]
pub(super) struct Draft {
    kind: usize,
    id: u8,
    actor: Option<u8>,
    /// Days after the first of January.
    day: u8,
    total: Option<i8>,
    customer: Option<u8>,
    cause: Option<u8>,
}

const TYPES: [&str; 7] = [
    "Order.created",
    "Order.paid",
    "Order.item.added",
    "Order.deleted",
    "Invoice.created",
    "Invoice.paid",
    "Till.deleted",
];

fn draft() -> impl Strategy<Value = Draft> {
    let some = |most: u8| prop::option::of(0..most);
    let facts = (some(3), 0..20u8, prop::option::of(-5..5i8), some(9), some(6));
    (0..TYPES.len(), 0..3u8, facts).prop_map(|(kind, id, (actor, day, total, customer, cause))| Draft {
        kind,
        id,
        actor,
        day,
        total,
        customer,
        cause,
    })
}

/// Numbers, texts and a boolean, so that some are not to be compared.
fn customer(n: u8) -> Value {
    match n {
        0..=4 => i64::from(n).into(),
        5 => Value::Float(1.5),
        6 => "1".into(),
        7 => "c-7".into(),
        _ => true.into(),
    }
}

/// What is asked of a value, in the words of `BY` and of `WHERE`, and plainly.
#[derive(Debug, Clone)]
enum Ask {
    Compare(usize, u8),
    In(Vec<u8>),
    Between(u8, u8),
}

const COMPARISONS: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (0..COMPARISONS.len(), 0..9u8).prop_map(|(comparison, value)| Ask::Compare(comparison, value)),
        1 => prop::collection::vec(0..9u8, 1..4).prop_map(Ask::In),
        // Of one sort: numbers.
        1 => (0..6u8, 0..6u8).prop_map(|(low, high)| Ask::Between(low, high)),
    ]
}

fn plain_order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    let number = |value: &Value| match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        _ => None,
    };
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => number(a)?.partial_cmp(&number(b)?),
    }
}

impl Ask {
    fn text(&self) -> String {
        let shown = |n: &u8| match customer(*n) {
            Value::Text(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        match self {
            Ask::Compare(comparison, value) => format!("{} {}", COMPARISONS[*comparison], shown(value)),
            Ask::In(values) => format!("IN ({})", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Ask::Between(low, high) => format!("BETWEEN {} AND {}", shown(low), shown(high)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        let order = |n: &u8| plain_order(value, &customer(*n));
        match self {
            Ask::Compare(comparison, wanted) => compares(COMPARISONS[*comparison], order(wanted)),
            Ask::In(values) => values.iter().any(|wanted| order(wanted).is_some_and(|order| order.is_eq())),
            Ask::Between(low, high) => {
                order(low).is_some_and(|order| order.is_ge())
                    && order(high).is_some_and(|order| order.is_le())
            }
        }
    }
}

/// A condition that lists, positions or runs know something of.
#[derive(Debug, Clone)]
enum Known {
    Type(usize),
    Types(Vec<usize>),
    Like(usize),
    Actor(u8),
    Targets(u8, u8),
    Customer(Ask),
    Cause(u8),
    Position(usize, u8),
    Occurred(usize, u8),
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![
        (0..TYPES.len()).prop_map(Known::Type),
        prop::collection::vec(0..TYPES.len(), 1..4).prop_map(Known::Types),
        (0..PATTERNS.len()).prop_map(Known::Like),
        (0..4u8).prop_map(Known::Actor),
        (0..4u8, 0..4u8).prop_map(|(a, b)| Known::Targets(a, b)),
        ask().prop_map(Known::Customer),
        (0..6u8).prop_map(Known::Cause),
        (0..COMPARISONS.len(), 0..20u8).prop_map(|(comparison, at)| Known::Position(comparison, at)),
        (0..COMPARISONS.len(), 0..20u8).prop_map(|(comparison, day)| Known::Occurred(comparison, day)),
    ]
}

/// Whether a comparison of that sign holds, given the order.
fn is(comparison: usize, order: std::cmp::Ordering) -> bool {
    [order.is_eq(), order.is_ne(), order.is_lt(), order.is_le(), order.is_gt(), order.is_ge()][comparison]
}

impl Known {
    fn text(&self) -> String {
        match self {
            Known::Type(kind) => format!("type = '{}'", TYPES[*kind]),
            Known::Types(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{}'", TYPES[*kind])).collect();
                format!("type IN ({})", kinds.join(", "))
            }
            Known::Like(pattern) => format!("type MATCHES '{}'", PATTERNS[*pattern]),
            Known::Actor(actor) => format!("User {actor} = actor"),
            Known::Targets(a, b) => format!("target IN (Order {a}, Invoice {b})"),
            // No value: null, which is not equal to any.
            Known::Customer(ask) => format!("tags.customer {}", ask.text()),
            Known::Cause(position) => format!("cause.position = {position}.0"),
            Known::Position(comparison, at) => {
                format!("position {} {}", COMPARISONS[*comparison], f64::from(*at) / 2.0)
            }
            Known::Occurred(comparison, at) => {
                format!("timestamp {} '{}'", COMPARISONS[*comparison], day(*at))
            }
        }
    }

    fn holds(&self, event: &Event) -> bool {
        match self {
            Known::Type(kind) => event.kind.as_str() == TYPES[*kind],
            Known::Types(kinds) => kinds.iter().any(|kind| event.kind.as_str() == TYPES[*kind]),
            Known::Like(pattern) => matches(PATTERNS[*pattern], event),
            Known::Actor(actor) => event.actor == Some(Entity::from(("User", *actor))),
            Known::Targets(a, b) => {
                let target = event.target.clone();
                target == Some(Entity::from(("Order", *a))) || target == Some(Entity::from(("Invoice", *b)))
            }
            Known::Customer(ask) => match event.tags.iter().find(|tag| tag.name == "customer") {
                Some(tag) => ask.holds(&tag.value),
                None => matches!(ask, Ask::Compare(1, _)),
            },
            Known::Cause(position) => event.cause == Some(Cause::Event(Position(u64::from(*position)))),
            Known::Position(comparison, at) => is(*comparison, (event.position.0 * 2).cmp(&u64::from(*at))),
            Known::Occurred(comparison, at) => is(*comparison, event.timestamp.cmp(&time(&day(*at)))),
        }
    }
}

fn matches(pattern: &str, event: &Event) -> bool {
    pattern.parse::<crate::pattern::Pattern>().unwrap().matches(&event.kind)
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(draft(), 1..6).prop_map(Step::Append),
        1 => Just(Step::Checkpoint),
    ];
    prop::collection::vec(step, 1..12)
}

pub(super) fn day(day: u8) -> String {
    format!("2024-01-{:02}", day + 1)
}

fn new_event(draft: &Draft, next: u64) -> NewEvent {
    let kind = TYPES[draft.kind];
    let mut event =
        NewEvent::new(kind).on((kind.split('.').next().unwrap(), draft.id)).at(time(&day(draft.day)));
    if let Some(actor) = draft.actor {
        event = event.by(("User", actor));
    }
    if let Some(total) = draft.total {
        event = event.member("total", i64::from(total)).member(
            "part",
            Value::Object(Object::from_iter([(
                format!("k{}", total.rem_euclid(3)),
                if total % 2 == 0 { Value::Null } else { i64::from(total).into() },
            )])),
        );
    }
    if let Some(customer) = draft.customer {
        event = event.index("customer", self::customer(customer));
    }
    if let Some(cause) = draft.cause.filter(|cause| u64::from(*cause) < next && *cause > 0) {
        event = event.caused_by(Position(u64::from(cause)));
    }
    event
}

/// A question, in pieces that the language and the naive reader both know.
#[derive(Debug, Clone)]
struct Question {
    history: Option<u8>,
    pattern: usize,
    actor: Option<u8>,
    customer: Option<Ask>,
    known: Vec<Known>,
    least: Option<i8>,
    since: Option<Bound>,
    until: Option<Bound>,
    as_of: Option<u8>,
    limit: Option<u8>,
    last: bool,
}

#[derive(Debug, Clone)]
enum Bound {
    Day(u8),
    /// Of the log, as a share of its length.
    Position(u8),
}

impl Bound {
    fn text(&self, head: u64) -> String {
        match self {
            Bound::Day(at) => day(*at),
            Bound::Position(_) => format!("#{}", self.position(head)),
        }
    }

    fn position(&self, head: u64) -> u64 {
        match self {
            Bound::Position(share) => head * u64::from(*share) / 10,
            Bound::Day(_) => 0,
        }
    }
}

const PATTERNS: [&str; 8] = [
    "*",
    "Order.*",
    "*.created",
    "Order.paid",
    "*.paid, Order.item.added",
    "Nothing.*",
    "*e*d",
    "Order.*, *, Till.*",
];

fn question() -> impl Strategy<Value = Question> {
    let bound = || prop_oneof![(0..20u8).prop_map(Bound::Day), (0..=10u8).prop_map(Bound::Position)];
    let some = |most: u8| prop::option::weighted(0.3, 0..most);
    let first = (
        some(4),
        0..PATTERNS.len(),
        some(4),
        prop::option::weighted(0.4, ask()),
        prop::collection::vec(known(), 0..3),
        prop::option::weighted(0.3, -5..5i8),
    );
    let second = (
        prop::option::weighted(0.3, bound()),
        prop::option::weighted(0.3, bound()),
        prop::option::weighted(0.3, 0..=10u8),
        prop::option::weighted(0.5, 0..8u8),
        any::<bool>(),
    );
    (first, second).prop_map(
        |((history, pattern, actor, customer, known, least), (since, until, as_of, limit, last))| Question {
            history,
            pattern,
            actor,
            customer,
            known,
            least,
            since,
            until,
            as_of,
            limit,
            last,
        },
    )
}

impl Question {
    fn text(&self, head: u64, tags: bool) -> String {
        let mut text = match self.history {
            Some(id) => format!("HISTORY Order {id}"),
            None => format!("EVENTS '{}'", PATTERNS[self.pattern]),
        };
        if self.history.is_none() {
            let actor = self.actor.map(|actor| format!("User {actor}"));
            let customer = self.customer.as_ref().filter(|_| tags);
            let customer = customer.map(|customer| format!("customer {}", customer.text()));
            let by: Vec<String> = actor.into_iter().chain(customer).collect();
            if !by.is_empty() {
                text += &format!(" BY {}", by.join(", "));
            }
        }
        if let Some(limit) = self.limit {
            text += &format!(" {} {limit}", if self.last { "LAST" } else { "LIMIT" });
        }
        if let Some(until) = &self.until {
            text += &format!(" UNTIL {}", until.text(head));
        }
        let least = self.least.map(|least| format!("data.total >= {least} AND NOT actor = User 9"));
        let conditions: Vec<String> = self.known.iter().map(Known::text).chain(least).collect();
        if !conditions.is_empty() {
            text += &format!(" WHERE {}", conditions.join(" AND "));
        }
        if let Some(since) = &self.since {
            text += &format!(" SINCE {}", since.text(head));
        }
        if let Some(share) = self.as_of {
            text += &format!(" AS OF #{}", Bound::Position(share).position(head));
        }
        text
    }

    fn admits(&self, event: &Event, head: u64, tags: bool) -> bool {
        let position = event.position.0;
        let since = match &self.since {
            Some(Bound::Day(at)) => event.timestamp >= time(&day(*at)),
            Some(bound) => position > bound.position(head),
            None => true,
        };
        let until = match &self.until {
            Some(Bound::Day(at)) => event.timestamp < time(&day(*at)),
            Some(bound) => position <= bound.position(head),
            None => true,
        };
        let tag = |name: &str| event.tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.clone());
        let chosen = match self.history {
            Some(id) => event.target == Some(Entity::from(("Order", id))),
            None => {
                matches(PATTERNS[self.pattern], event)
                    && self.actor.is_none_or(|actor| event.actor == Some(Entity::from(("User", actor))))
                    && self
                        .customer
                        .as_ref()
                        .filter(|_| tags)
                        .is_none_or(|ask| tag("customer").is_some_and(|customer| ask.holds(&customer)))
            }
        };
        let total = match event.data.get("total") {
            Some(Value::Int(n)) => Some(n),
            _ => None,
        };
        chosen
            && since
            && until
            && self.as_of.is_none_or(|share| position <= Bound::Position(share).position(head))
            && self.known.iter().all(|known| known.holds(event))
            && self.least.is_none_or(|least| total.is_some_and(|total| total >= i64::from(least)))
    }
}

pub(super) fn all(snapshot: &Snapshot) -> Vec<Event> {
    let log = snapshot.log(PositionRange::ALL, ScanDirection::Ascending);
    log.map(|row| {
        let (position, bytes) = row.unwrap();
        crate::event::codec::decode(position, bytes).unwrap()
    })
    .collect()
}

pub(super) fn filled(steps: &[Step], memtable: usize) -> Store {
    let store = store(memtable);
    for step in steps {
        match step {
            Step::Append(drafts) => {
                let next = store.snapshot().head().0 + 1;
                let events = drafts.iter().map(|draft| new_event(draft, next)).collect();
                store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
            }
            Step::Checkpoint => store.checkpoint().unwrap(),
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_equals_reading_everything(
        steps in steps(),
        questions in prop::collection::vec(question(), 1..12),
        memtable in 1..12usize,
    ) {
        let store = filled(&steps, memtable);
        let session = Session::new(&store);
        let events = all(&store.snapshot());
        let head = events.len() as u64;
        let tags = events.iter().any(|event| !event.tags.is_empty());
        for question in questions {
            let mut expected: Vec<u64> =
                events.iter().filter(|event| question.admits(event, head, tags)).map(|e| e.position.0).collect();
            if let Some(limit) = question.limit {
                let limit = usize::from(limit);
                if question.last {
                    expected.drain(..expected.len().saturating_sub(limit));
                } else {
                    expected.truncate(limit);
                }
            }
            let text = question.text(head, tags);
            // Whatever is chosen.
            for forced in [None, Some(Forced::Log), Some(Forced::Lists), Some(Forced::Every)] {
                FORCED.set(forced);
                let found = session.run(&text);
                FORCED.set(None);
                let found = found.unwrap_or_else(|error| panic!("{text}: {error}")).0;
                prop_assert_eq!(positions(&found), expected.clone(), "{} {:?}", text, forced);
            }
        }
    }

    #[test]
    fn a_state_equals_a_plain_fold(steps in steps(), memtable in 1..12usize, day_of in 0..20u8, share in 0..=10u8) {
        let store = filled(&steps, memtable);
        let session = Session::new(&store);
        let events = all(&store.snapshot());
        let prefix = Bound::Position(share).position(events.len() as u64);
        let fold = |entity: &Entity, admits: &dyn Fn(&Event) -> bool| -> String {
            let mut state = Value::Null;
            for event in events.iter().filter(|event| event.target.as_ref() == Some(entity) && admits(event)) {
                match event.kind.as_str().ends_with(".deleted") {
                    true => state = Value::Null,
                    false => state.merge(event.data.to_value().unwrap()),
                }
            }
            state.to_string()
        };
        for entity in ["Order 0", "Order 1", "Invoice 2", "Till 0"] {
            let whole: Entity = entity.parse().unwrap();
            let then = time(&day(day_of));
            for (text, expected) in [
                (format!("REPLAY {entity}"), fold(&whole, &|_| true)),
                (format!("AT {entity}"), fold(&whole, &|_| true)),
                (format!("AT {entity} {}", day(day_of)), fold(&whole, &|e| e.timestamp <= then)),
                (format!("AT {entity} #{prefix}"), fold(&whole, &|e| e.position.0 <= prefix)),
                (
                    format!("AT {entity} '{}' AS OF #{prefix}", day(day_of)),
                    fold(&whole, &|e| e.timestamp <= then && e.position.0 <= prefix),
                ),
            ] {
                prop_assert_eq!(state(&session.rows(&text)), expected, "{}", text);
            }
            let versions = session.rows(&format!("HISTORY {entity}")).len();
            for version in 0..=versions as u64 {
                let expected = fold(&whole, &|e| e.version.is_some_and(|v| v.0 <= version));
                prop_assert_eq!(state(&session.rows(&format!("AT {entity} VERSION {version}"))), expected);
            }
            let steps = session.rows(&format!("REPLAY {entity} STEPS"));
            prop_assert_eq!(steps.len(), versions);
        }
    }

    #[test]
    fn a_log_that_was_written_is_verified(steps in steps(), memtable in 1..12usize) {
        let store = filled(&steps, memtable);
        let snapshot = store.snapshot();
        let found = verify::verify(&snapshot).unwrap();
        prop_assert_eq!(&found.faults, &Vec::<String>::new());
        prop_assert_eq!(found.events, snapshot.head().0);
        // An older snapshot is whole too, whatever the tables hold by now.
        for head in 0..snapshot.head().0 {
            let older = snapshot.until(Position(head));
            let found = verify::verify(&older).unwrap();
            prop_assert_eq!(&found.faults, &Vec::<String>::new());
        }
        // The chain of hashes is of the log, not of when it went into the tables.
        let before = verify::chain(&snapshot).unwrap();
        store.checkpoint().unwrap();
        prop_assert_eq!(verify::chain(&snapshot).unwrap(), before);
        let counts = session_counts(&store);
        let naive = all(&snapshot).into_iter().fold(BTreeMap::new(), |mut counts, event| {
            *counts.entry(event.kind.to_string()).or_insert(0) += 1;
            counts
        });
        prop_assert_eq!(counts, naive);
    }
}

fn session_counts(store: &Store) -> BTreeMap<String, i64> {
    let count = |row: &Row| match row {
        Row::Fields(members) => match (&members["type"], &members["count"]) {
            (Value::Text(kind), Value::Int(count)) => (kind.clone(), *count),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    Session::new(store).rows("SHOW TYPES").iter().map(count).collect()
}
