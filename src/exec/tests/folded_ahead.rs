//! What the memtables make of kept states is folded as it comes: whoever asks finds it done, whatever comes in between.

use std::time::Duration;

use super::*;
use crate::entity::Position;

fn ready(store: &Store) {
    while store.work_by_hand().unwrap() {}
    assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
}

fn by_hand() -> Store {
    let mut options = Options::new();
    options.by_hand = true;
    let store = store_with(10_000, options);
    let session = Session::new(&store);
    session.rows(
        "DEFINE ENTITY Account INITIAL {balance: 0} ON deposited SET balance = state.balance + data.amount",
    );
    session.rows("DEFINE INDEX balance ON 'Account' AS state.balance");
    deposit(&session, &[(1, 1), (2, 2), (3, 3)]);
    store.checkpoint().unwrap();
    ready(&store);
    store
}

fn deposit(session: &Session, amounts: &[(u64, i64)]) {
    for (id, amount) in amounts {
        session.rows(&format!("EMIT Account.deposited {id} {{amount: {amount}}}"));
    }
}

const ASKED: &str = "FIND Account WHERE state.balance >= 3 SELECT target.id AS id";

fn found(session: &Session) -> String {
    session.lines(ASKED).concat()
}

/// The rows of a snapshot that was taken before.
fn lines_of(session: &Session, snapshot: &Snapshot, text: &str) -> Vec<String> {
    let Plan::Read(plan) = session.plan(text, snapshot).unwrap() else { panic!("{text}") };
    let rows = read(snapshot, &session.views, &plan).unwrap().rows;
    rows.map(|row| serde_json::to_string(&row.unwrap()).unwrap()).collect()
}

fn through(store: &Store) -> Vec<Position> {
    store.shared().state_caches.overlays.through()
}

#[test]
fn what_is_asked_for_is_folded_by_the_background_and_what_is_not_is_not() {
    let store = by_hand();
    let session = Session::new(&store);
    deposit(&session, &[(1, 1)]);
    ready(&store);
    assert_eq!(through(&store), [], "nobody asked");
    store.checkpoint().unwrap();
    assert_eq!(found(&session), r#"{"id":"3"}"#);
    deposit(&session, &[(1, 5), (2, 0), (1, 1), (4, 4), (1, 1)]);
    assert!(store.work_by_hand().unwrap());
    let some = through(&store);
    assert!(some.len() == 1 && some[0] < store.snapshot().head(), "a slice: {some:?}");
    // In the midst of it, and after it.
    assert_eq!(found(&session), r#"{"id":"1"}{"id":"3"}{"id":"4"}"#);
    deposit(&session, &[(2, 2), (3, -3)]);
    ready(&store);
    assert_eq!(through(&store), [store.snapshot().head()]);
    assert_eq!(found(&session), r#"{"id":"1"}{"id":"2"}{"id":"4"}"#);
}

#[test]
fn a_checkpoint_leaves_what_changed_since_and_the_second_without_a_question_all_of_it() {
    let store = by_hand();
    let session = Session::new(&store);
    found(&session);
    deposit(&session, &[(1, 5), (4, 4)]);
    ready(&store);
    store.checkpoint().unwrap();
    deposit(&session, &[(2, 7)]);
    ready(&store);
    assert_eq!(through(&store), [store.snapshot().head()]);
    assert_eq!(found(&session), r#"{"id":"1"}{"id":"2"}{"id":"3"}{"id":"4"}"#);
    for left in [1, 0] {
        deposit(&session, &[(2, -7)]);
        store.checkpoint().unwrap();
        ready(&store);
        assert_eq!(through(&store).len(), left);
    }
    assert_eq!(found(&session), r#"{"id":"1"}{"id":"3"}{"id":"4"}"#);
}

#[test]
fn a_snapshot_from_before_what_is_folded_sees_its_own() {
    let store = by_hand();
    let session = Session::new(&store);
    found(&session);
    deposit(&session, &[(1, 4), (2, 1)]);
    for asked in [
        ASKED,
        "FIND Account ORDER BY state.balance DESC LIMIT 2 SELECT target.id AS id",
        "FIND Account SELECT sum(state.balance)",
    ] {
        // A little before, and far.
        for more in [1, 12] {
            let before = store.snapshot();
            let expected = session.lines(asked);
            for n in 0..more {
                deposit(&session, &[(n % 4 + 1, -9), (20 + n, 50)]);
            }
            ready(&store);
            let newer = through(&store);
            assert_eq!(newer, [store.snapshot().head()]);
            assert_eq!(lines_of(&session, &before, asked), expected, "{asked}");
            assert_eq!(through(&store), newer, "an older snapshot takes nothing from others");
            for n in 0..more {
                deposit(&session, &[(n % 4 + 1, 9), (20 + n, -50)]);
            }
        }
    }
}

#[test]
fn another_definition_of_an_index_or_of_an_entity_has_its_own() {
    let store = by_hand();
    let session = Session::new(&store);
    found(&session);
    deposit(&session, &[(1, 5), (4, 4)]);
    ready(&store);
    session.rows("DEFINE INDEX balance ON 'Account' AS -state.balance");
    ready(&store);
    assert_eq!(found(&session), r#"{"id":"1"}{"id":"3"}{"id":"4"}"#);
    assert_eq!(
        session.lines("FIND Account WHERE -state.balance <= -5 SELECT target.id AS id"),
        [r#"{"id":"1"}"#]
    );
    session.rows(
        "DEFINE ENTITY Account INITIAL {balance: 100} ON deposited SET balance = state.balance - data.amount",
    );
    ready(&store);
    assert_eq!(
        session.lines("FIND Account WHERE -state.balance >= -96 SELECT target.id AS id"),
        [r#"{"id":"1"}"#, r#"{"id":"4"}"#]
    );
    deposit(&session, &[(4, -1)]);
    ready(&store);
    assert_eq!(
        session.lines("FIND Account WHERE -state.balance >= -96 SELECT target.id AS id"),
        [r#"{"id":"1"}"#]
    );
}
