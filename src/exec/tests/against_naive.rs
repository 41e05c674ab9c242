//! Any log, any question: what the lists answer is what reading everything answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::event::{Event, NewEvent};
use crate::store::check;
use crate::store::group::Group;
use crate::store::snapshot::Direction;
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
    (0..TYPES.len(), 0..3u8, some(3), 0..20u8, prop::option::of(-5..5i8), some(3))
        .prop_map(|(kind, id, actor, day, total, customer)| Draft { kind, id, actor, day, total, customer })
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

fn new_event(draft: &Draft) -> NewEvent {
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
        event = event.index("customer", i64::from(customer));
    }
    event
}

/// A question, in pieces that the language and the naive reader both know.
#[derive(Debug, Clone)]
struct Question {
    history: Option<u8>,
    pattern: usize,
    actor: Option<u8>,
    customer: Option<u8>,
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
    let first = (some(4), 0..PATTERNS.len(), some(4), some(3), prop::option::weighted(0.3, -5..5i8));
    let second = (
        prop::option::weighted(0.3, bound()),
        prop::option::weighted(0.3, bound()),
        prop::option::weighted(0.3, 0..=10u8),
        prop::option::weighted(0.5, 0..8u8),
        any::<bool>(),
    );
    (first, second).prop_map(
        |((history, pattern, actor, customer, least), (since, until, as_of, limit, last))| Question {
            history,
            pattern,
            actor,
            customer,
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
            let customer = self.customer.filter(|_| tags).map(|customer| format!("customer = {customer}"));
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
        if let Some(least) = self.least {
            text += &format!(" WHERE data.total >= {least} AND NOT actor = User 9");
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
                PATTERNS[self.pattern].parse::<crate::pattern::Pattern>().unwrap().matches(&event.kind)
                    && self.actor.is_none_or(|actor| event.actor == Some(Entity::from(("User", actor))))
                    && self
                        .customer
                        .filter(|_| tags)
                        .is_none_or(|c| tag("customer") == Some(i64::from(c).into()))
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
            && self.least.is_none_or(|least| total.is_some_and(|total| total >= i64::from(least)))
    }
}

pub(super) fn all(snapshot: &Snapshot) -> Vec<Event> {
    let log = snapshot.log(1, u64::MAX, Direction::Ascending);
    log.map(|row| {
        let (position, bytes) = row.unwrap();
        crate::event::codec::decode(Position(position), bytes).unwrap()
    })
    .collect()
}

pub(super) fn filled(steps: &[Step], tail: usize) -> Store {
    let store = store(tail);
    for step in steps {
        match step {
            Step::Append(drafts) => {
                let events = drafts.iter().map(new_event).collect();
                store.append(Group { events, ..Group::default() }).unwrap();
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
        tail in 1..12usize,
    ) {
        let store = filled(&steps, tail);
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
            prop_assert_eq!(session.positions(&text), expected, "{}", text);
        }
    }

    #[test]
    fn a_state_equals_a_plain_fold(steps in steps(), tail in 1..12usize, day_of in 0..20u8, share in 0..=10u8) {
        let store = filled(&steps, tail);
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
    fn a_log_that_was_written_is_verified(steps in steps(), tail in 1..12usize) {
        let store = filled(&steps, tail);
        let snapshot = store.snapshot();
        let found = check::verify(&snapshot).unwrap();
        prop_assert_eq!(&found.faults, &Vec::<String>::new());
        prop_assert_eq!(found.events, snapshot.head().0);
        // An older snapshot is whole too, whatever the tables hold by now.
        for head in 0..snapshot.head().0 {
            let older = snapshot.until(Position(head));
            let found = check::verify(&older).unwrap();
            prop_assert_eq!(&found.faults, &Vec::<String>::new());
        }
        // The chain of hashes is of the log, not of when it went into the tables.
        let before = check::chain(&snapshot).unwrap();
        store.checkpoint().unwrap();
        prop_assert_eq!(check::chain(&snapshot).unwrap(), before);
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
