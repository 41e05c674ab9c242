//! What does not follow from the events before it is found, where it is.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::allowance::{Limits, Unmade};
use crate::entity::{Position, Version};
use crate::error::Error;
use crate::event::codec::{self, Assigned};
use crate::event::{KeyDigest, NewEvent, Producer, VectorClock};
use crate::store::append_request::AppendRequest;
use crate::store::catalog::{Compile, Derive, model};
use crate::store::condition::CompileConditions;
use crate::store::disk::memory::MemoryDisk;
use crate::store::snapshot::FoldBound;
use crate::store::state::fold::{Effect, Fold, Include};
use crate::store::verify::verify;
use crate::store::{Options, Store};
use crate::time::{Clock, Timestamp};
use crate::value::Value;

/// Understands a kind: its events are of the namespace `shop`.
struct Shop;

impl CompileConditions for Shop {}

impl Compile for Shop {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        Err(Error::invalid("an index", "none", text))
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        Ok((text.to_owned(), Arc::new(OfShop)))
    }
}

#[derive(Debug)]
struct OfShop;

impl Fold for OfShop {
    fn apply(&self, state: &mut Value, event: &Record, own: bool, limits: &Limits) -> Result<u64, Unmade> {
        Plain.apply(state, event, own, limits)
    }

    fn effect(&self, kind: &str, own: bool) -> Effect {
        Plain.effect(kind, own)
    }

    fn includes(&self) -> &[Include] {
        &[]
    }

    fn every(&self) -> u64 {
        4
    }

    fn namespace(&self) -> Option<&str> {
        Some("shop")
    }
}

fn empty(memtable: usize) -> Store {
    let mut options = Options::new()
        .disk(Arc::new(MemoryDisk::new()))
        .memtable(memtable, 1 << 20)
        .journal_steps(4096, 8192);
    options.by_hand = true;
    // All of it happens within one millisecond, whatever else the machine does.
    let options = options.clock(Clock::new(|| Timestamp::from_millis(1_700_000_000_000)));
    Store::create(Path::new("/shop.bygone"), options.with_compiler(Arc::new(Shop))).unwrap()
}

fn append(store: &Store, event: NewEvent) -> Result<Position> {
    Ok(store
        .append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })?
        .events[0]
        .0)
}

fn order(id: u64) -> NewEvent {
    NewEvent::new("Order.moved").on(("Order", id))
}

fn made_by_itself(id: u64, vector: &str) -> NewEvent {
    order(id).produced_by(Producer {
        model: ("Order", id).into(),
        version: None,
        vector: Some(vector.parse().unwrap()),
    })
}

fn defined() -> NewEvent {
    NewEvent::new(model::DEFINED).on((model::KIND, "Order")).member(model::TEXT, "Order")
}

fn faults(store: &Store) -> Vec<String> {
    verify(&store.snapshot()).unwrap().faults
}

/// Nine events, all in the tables, that say all there is to say.
fn store() -> Store {
    let store = empty(100);
    let node = store.shared().node();
    for event in [
        defined(),
        order(1),
        order(1).caused_by(Position(2)),
        NewEvent::new("Mail.sent").caused_by(Position(3)),
        made_by_itself(1, &format!("{node}:3")),
        made_by_itself(1, &format!("tokyo:4;{node}:3")),
        made_by_itself(1, &format!("tokyo:4;{node}:4")),
    ] {
        append(&store, event).unwrap();
    }
    let events = vec![order(2), order(3)];
    store.append(AppendRequest { events, key: Some("k".to_owned()), ..AppendRequest::default() }).unwrap();
    store.checkpoint().unwrap();
    store
}

/// The event at a position as it is stored, with something else said of it.
fn forged(store: &Store, position: Position, change: &dyn Fn(&mut Event)) -> Vec<u8> {
    let mut event = store.snapshot().event(position).unwrap().unwrap();
    change(&mut event);
    let mut new = NewEvent::new(event.kind.as_str());
    (new.timestamp, new.actor, new.producer) = (Some(event.timestamp), event.actor, event.producer);
    (new.cause, new.correlation, new.namespace) = (event.cause, event.correlation, event.namespace);
    (new.tags, new.key, new.data, new.metadata) = (event.tags, event.key, event.data, event.metadata);
    let assigned = Assigned {
        position: event.position,
        version: event.version.unwrap_or(Version::NONE),
        id: &event.id,
        own_id: event.own_id,
        recorded: event.recorded,
        seal: event.seal,
    };
    let mut out = Vec::new();
    codec::encode(&mut out, &new, &event.kind, event.target.as_ref(), &assigned);
    out
}

/// Plants an event that says something else, and finds that.
fn plant(position: Position, expected: &str, change: impl Fn(&mut Event)) {
    let store = store();
    assert_eq!(faults(&store), Vec::<String>::new());
    let expected = expected.replace("NODE", &store.shared().node());
    let bytes = forged(&store, position, &change);
    store
        .shared()
        .tables
        .write("planting", |tables| {
            tables.replace_event(position, &bytes);
            Ok(())
        })
        .unwrap();
    let found = faults(&store);
    assert!(found.iter().any(|fault| fault.contains(&expected)), "expected {expected}, found {found:?}");
}

fn producer(event: &mut Event) -> &mut Producer {
    event.producer.as_mut().unwrap()
}

#[test]
fn a_version_that_is_not_the_next_is_found() {
    plant(Position(3), "#3 is version 5 of Order 1: expected 2", |event| event.version = Some(Version(5)));
    plant(Position(2), "#2 is version 0 of Order 1: expected 1", |event| event.version = Some(Version(0)));
}

#[test]
fn an_event_that_leaves_its_chain_is_found() {
    plant(Position(3), "#3 is caused by #2: expected the correlation '", |event| event.correlation = None);
    plant(Position(4), "found 'another'", |event| event.correlation = Some("another".to_owned()));
    plant(Position(4), "#4 is caused by #1: expected the correlation '", |event| {
        event.cause = Some(Cause::Event(Position(1)))
    });
    for cause in [0, 4, 5, u64::MAX >> 1] {
        let expected = format!("#4 is caused by #{cause}, which is no event before it");
        plant(Position(4), &expected, |event| event.cause = Some(Cause::Event(Position(cause))));
    }
}

#[test]
fn a_namespace_that_is_missing_is_found() {
    let expected = "has no namespace: expected shop, as Order is defined at #1";
    plant(Position(2), &format!("#2 {expected}"), |event| event.namespace = None);
    plant(Position(9), &format!("#9 {expected}"), |event| event.namespace = None);
}

#[test]
fn a_producer_that_does_not_fit_its_vector_clock_is_found() {
    let expected = "#5: the version of its producer is 7, and its vector clock NODE:3 makes 3";
    plant(Position(5), expected, |event| producer(event).version = Some(7));
    plant(Position(5), "the version of its producer is none", |event| producer(event).version = None);
    plant(Position(6), "#6: a vector clock: expected counts", |event| {
        let counts: Vec<String> = (0..2050).map(|node| format!("n{node}:{}", VectorClock::MOST)).collect();
        producer(event).vector = Some(counts.join(";").parse().unwrap());
    });
}

#[test]
fn a_vector_clock_that_does_not_follow_is_found() {
    let said = |vector: &'static str| {
        move |event: &mut Event| {
            let store_says = producer(event).vector.clone().unwrap();
            // The node is the one with 3 or 4.
            let (node, _) = store_says.iter().find(|(node, _)| *node != "tokyo").unwrap();
            producer(event).vector = Some(vector.replace("NODE", node).parse().unwrap());
        }
    };
    plant(
        Position(5),
        "#5: the vector clock of Order 1: expected NODE:3, the next that is made here, found",
        said("NODE:3;tokyo:1"),
    );
    plant(
        Position(5),
        "#5: the vector clock of Order 1: expected at most 3 for NODE, which is this database",
        said("NODE:9"),
    );
    plant(
        Position(7),
        "#7: the vector clock of Order 1: expected NODE:4;tokyo:4, the next",
        said("NODE:4;tokyo:3"),
    );
}

#[test]
fn a_key_that_stands_for_what_is_not_there_is_found() {
    let seal = |count| Some(KeyDigest { content: [1; 16], count });
    plant(Position(8), "#8: its key 'k' stands for 3 events, and the log ends at #9", |event| {
        event.seal = seal(3)
    });
    plant(Position(8), "#8: its key 'k' stands for 0 events", |event| event.seal = seal(0));
    plant(Position(8), "#8 has a key without what it stands for", |event| event.seal = None);
    plant(Position(9), "#9 says what a key stands for, and has none", |event| event.seal = seal(1));
}

#[test]
fn an_id_of_another_place_is_found() {
    plant(
        Position(4),
        "#4 has the id 018f2f6e-7a30-7000-8000-000000000001, which does not tell when it was recorded",
        |event| {
            event.id = EventId::new("018f2f6e-7a30-7000-8000-000000000001").unwrap();
        },
    );
    plant(Position(4), "is not after", |event| {
        event.id = EventId::new(&format!("{}7000-8000-000000000000", &event.id.to_string()[..14])).unwrap();
        event.recorded = Timestamp::from_millis(event.id.millis().unwrap());
    });
    plant(Position(4), "#4 was recorded before the event before it", |event| event.recorded = Timestamp::MIN);
}

#[test]
fn a_definition_that_is_none_is_found() {
    plant(Position(1), "#1, about a definition: ", |event| event.data = crate::document::Document::empty());
}

#[test]
fn what_an_entity_cannot_have_made_here_is_refused() {
    let store = store();
    let node = store.shared().node();
    let refused = |vector: &str| append(&store, made_by_itself(1, vector)).unwrap_err().to_string();
    let error = refused(&format!("{node}:7;tokyo:4"));
    assert!(
        error.contains("the vector clock of Order 1") && error.contains(&format!("at most 5 for {node}")),
        "{error}"
    );
    let error = refused(&format!("{node}:5"));
    assert!(error.contains(&format!("{node}:5;tokyo:4, the next that is made here")), "{error}");
    // Two at a time, the second behind the first.
    let next = |count: u64| made_by_itself(1, &format!("{node}:{count};tokyo:4"));
    store.append(AppendRequest { events: vec![next(5), next(6)], ..AppendRequest::default() }).unwrap();
    assert!(
        store.append(AppendRequest { events: vec![next(7), next(7)], ..AppendRequest::default() }).is_ok(),
        "the same merges"
    );
    assert!(
        store.append(AppendRequest { events: vec![next(8), next(10)], ..AppendRequest::default() }).is_err()
    );
    append(&store, next(8)).unwrap();
    assert_eq!(faults(&store), Vec::<String>::new());
    let folded = store.snapshot().fold_all(&("Order", 1).into(), &Plain, Position(u64::MAX)).unwrap();
    assert_eq!(folded.clock.vector(&node), format!("{node}:8;tokyo:4").parse().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever the door lets in, the check finds nothing wrong with; entities are more than are remembered at a time.
    #[test]
    fn what_was_let_in_is_found_right(
        steps in prop::collection::vec((0u64..7, 0u8..5, 0u64..6, any::<prop::sample::Index>()), 1..50),
        memtable in 2usize..20,
    ) {
        let store = empty(memtable);
        let node = store.shared().node();
        append(&store, defined()).unwrap();
        for (entity, what, count, cause) in steps {
            let folded = store.snapshot().fold_all(&("Order", entity).into(), &Plain, Position(u64::MAX)).unwrap();
            let event = match what {
                0 => order(entity),
                1 => made_by_itself(entity, &folded.clock.next(&node).to_string()),
                2 => made_by_itself(entity, &format!("tokyo:{}", count + 1)),
                3 => made_by_itself(entity, &format!("{node}:{};near:2", count + 1)),
                _ => order(entity).key(&format!("k{count}")),
            };
            let head = store.snapshot().head();
            let event = if head > Position(0) && count % 2 == 0 {
                event.caused_by(Position(cause.index(head.0 as usize) as u64 + 1))
            } else {
                event
            };
            let here = folded.clock.count(&node);
            let outcome = append(&store, event);
            if what == 3 && count + 1 > here + 1 {
                prop_assert!(outcome.is_err());
            }
            if what < 3 {
                prop_assert!(outcome.is_ok(), "{:?}", outcome);
            }
        }
        prop_assert_eq!(faults(&store), Vec::<String>::new());
        // What is kept of the states has the clocks, too.
        store.checkpoint().unwrap();
        while store.work_by_hand().unwrap() {}
        let found = verify(&store.snapshot()).unwrap();
        prop_assert_eq!(found.faults, Vec::<String>::new());
        prop_assert!(found.states > 0 || store.snapshot().head() == Position(1));
        let snapshot = store.snapshot();
        for entity in (0..7u64).map(|id| Entity::from(("Order", id))) {
            let kept = snapshot.fold(&entity, FoldBound { through: Position::MAX, by: None }).unwrap();
            prop_assert_eq!(kept.clock, snapshot.fold_all(&entity, &Plain, Position(u64::MAX)).unwrap().clock);
        }
    }
}
