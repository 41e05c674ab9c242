//! `CLOSE` and `REOPEN`: nothing joins the history of an entity that is closed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::error::Conflict;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;

fn closed_by(result: Result<(Vec<Row>, Vec<String>)>) -> u64 {
    match conflict(result) {
        Conflict::Closed { closed, .. } => closed.position,
        other => panic!("{other}"),
    }
}

#[test]
fn nothing_more_joins_an_entity_that_is_closed() {
    for memtable in [1, 2, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        session.rows("EMIT Order.created 1 {total: 5} ID 'made'");
        session.rows("EMIT Order.created 2");
        session.rows("CLOSE Order 1 BECAUSE 'it was shipped' BY User 7");
        let refused = conflict(session.run("EMIT Order.paid 1 EXPECT VERSION 7"));
        assert_eq!(
            refused.to_string(),
            "Order 1: expected an entity that is not closed, found $history.closed at #3 on Order 1 by User 7, 2024-06-01T12:00:00Z, \
             because 'it was shipped'"
        );
        assert_eq!(
            (refused.entity(), refused.found_version(), refused.position()),
            (Some("Order 1"), Some(2), Some(3))
        );
        session.rows("EMIT Order.paid 2");
        session.rows("EMIT Order.seen");
        for text in [
            "EMIT Order.paid 1",
            "EMIT Mail.sent ON Order 1",
            "EMIT Order.noted BY Order 1",
            "CLOSE Order 1",
            "ATOMIC (EMIT Order.paid 2; EMIT Order.paid 1)",
        ] {
            assert_eq!(closed_by(session.run(text)), 3, "{text}");
        }
        // What was done already is told again.
        assert_eq!(session.positions("EMIT Order.created 1 {total: 5} ID 'made'"), [1]);
        store.checkpoint().unwrap();
        assert_eq!(closed_by(session.run("EMIT Order.paid 1")), 3);
        let told = session.lines("EXPLAIN EMIT Order.paid 1").join("\n");
        assert!(told.contains("would be refused") && told.contains("$history.closed at #3"), "{told}");
        // The state is what it was, and the version counts it.
        assert_eq!(state(&session.rows("AT Order 1")), "{\"total\":5}");
        assert_eq!(session.positions("HISTORY Order 1"), [1, 3]);
        let told = session.lines("EXPLAIN REOPEN Order 1 EXPECT VERSION 2").join("\n");
        assert!(
            told.contains("would be $history.reopened at #6") && told.contains("EXPECT VERSION 2 holds"),
            "{told}"
        );
        session.rows("REOPEN Order 1 EXPECT VERSION 2 EXPECT EXISTS");
        session.rows("EMIT Order.paid 1 EXPECT VERSION 3");
        assert_eq!(session.positions("HISTORY Order 1"), [1, 3, 6, 7]);
        assert_eq!(store.snapshot().head(), Position(7));
    }
}

#[test]
fn what_is_not_closed_is_not_reopened() {
    let store = store(3);
    let session = Session::new(&store);
    for (text, found) in [
        ("EMIT Order.created 1", "no event yet"),
        ("EMIT Order.created 2", "version 1, last Order.created at #1"),
    ] {
        let refused = conflict(session.run("REOPEN Order 1")).to_string();
        assert_eq!(refused, format!("Order 1: expected one that is closed, to be reopened, found {found}"));
        session.rows(text);
    }
    session.rows("CLOSE Order 1");
    session.rows("REOPEN Order 1");
    assert!(session.run("REOPEN Order 1").is_err());
    // A key makes it idempotent.
    let first = session.positions("CLOSE Order 1 KEY 'k'");
    assert_eq!(session.positions("CLOSE Order 1 KEY 'k'"), first);
    // One that has no event can be closed as well.
    session.rows("CLOSE Order 9 EXPECT NEW");
    assert!(session.run("EMIT Order.created 9").is_err());
    session.rows("ATOMIC (REOPEN Order 9; EMIT Order.created 9; CLOSE Order 9)");
    assert!(session.run("ATOMIC (CLOSE Order 2; EMIT Order.paid 2)").is_err());
    session.rows("EMIT Order.paid 2");
}

#[test]
fn a_group_that_is_refused_closes_nothing() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1");
    session.rows("EMIT Order.created 2");
    assert!(session.run("ATOMIC (CLOSE Order 1; EMIT Order.created 2 EXPECT NEW)").is_err());
    session.rows("EMIT Order.paid 1");
}

#[test]
fn verbs_are_refused_and_definitions_make_nothing_of_it() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Order INITIAL {n: 0} ON '*' SET n = state.n + 1");
    session.rows("DEFINE VERB Pay ON Order EMIT paid");
    session.rows("PERFORM Pay Order 1");
    session.rows("CLOSE Order 1");
    assert_eq!(state(&session.rows("AT Order 1")), "{\"n\":1}");
    assert_eq!(closed_by(session.run("PERFORM Pay Order 1")), 4);
    session.rows("REOPEN Order 1");
    session.rows("PERFORM Pay Order 1");
    assert_eq!(state(&session.rows("AT Order 1")), "{\"n\":2}");
    assert_eq!(session.lines("FIND Order").len(), 1);
    store.checkpoint().unwrap();
    assert_eq!(state(&session.rows("AT Order 1")), "{\"n\":2}");
    for text in [
        "DEFINE REACTION end ON 'Order.paid' DO CLOSE Order (target.id)",
        "DEFINE SCHEDULE end EVERY 1d DO REOPEN Order 1",
    ] {
        assert!(session.error(text).contains("is said by people and programs"));
    }
}

#[test]
fn an_entity_of_the_database_cannot_be_closed() {
    let store = store(3);
    let session = Session::new(&store);
    assert!(session.error("CLOSE `$index` total").contains("'$' begins the database's"));
    let nobody = AppendRequest { events: vec![NewEvent::new("$history.closed")], ..AppendRequest::default() };
    assert!(store.append(nobody).unwrap_err().to_string().contains("an entity as its target"));
}

#[test]
fn closing_and_writing_at_once_is_decided_in_order() {
    let store = store(7);
    for n in 0..8 {
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let store = &store;
                scope.spawn(move || {
                    let text =
                        if writer == 3 { format!("CLOSE Order {n}") } else { format!("EMIT Order.paid {n}") };
                    for _ in 0..4 {
                        if let Err(error) = Session::new(store).run(&text) {
                            assert!(error.is_conflict(), "{error}");
                        }
                    }
                });
            }
        });
        let lines = Session::new(&store).lines(&format!("HISTORY Order {n}"));
        let closed = lines.iter().position(|line| line.contains("$history.closed"));
        assert_eq!(closed, Some(lines.len() - 1), "{lines:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is refused is what a look at the whole history refuses.
    #[test]
    fn an_entity_is_closed_by_its_last_event(
        steps in prop::collection::vec((0u8..3, 0u8..4, any::<bool>()), 1..40), memtable in 1usize..6,
    ) {
        let store = store(memtable);
        let session = Session::new(&store);
        let (mut closed, mut head) = (BTreeMap::<u8, u64>::new(), 0);
        for (entity, kind, checkpoint) in steps {
            let text = match kind {
                0 => format!("CLOSE Order {entity}"),
                1 => format!("REOPEN Order {entity}"),
                _ => format!("EMIT Order.paid {entity}"),
            };
            let allowed = closed.contains_key(&entity) == (kind == 1);
            let answer = session.run(&text);
            prop_assert!(answer.is_ok() == allowed, "{text}: {answer:?}");
            match (allowed, kind) {
                (true, 0) => drop(closed.insert(entity, head + 1)),
                (true, 1) => drop(closed.remove(&entity)),
                (false, 0 | 2 | 3) => prop_assert_eq!(conflict(answer).position(), closed.get(&entity).copied()),
                _ => {}
            }
            head += u64::from(allowed);
            if checkpoint {
                store.checkpoint().unwrap();
            }
        }
        prop_assert_eq!(store.snapshot().head(), Position(head));
    }
}
