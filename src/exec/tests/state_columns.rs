//! FIND by columns of states, held against a fold of each.

use super::*;
use crate::store::snapshot::MADE_AT;
use crate::value::Value;

/// What states have in `v`: what a column holds, and what it does not.
const VALUES: [&str; 12] = [
    "1",
    "1.0",
    "7",
    "-2.5",
    "'a'",
    "'a text that is longer than columns hold'",
    "true",
    "null",
    "[3, 9]",
    "{x: 1}",
    "18446744073709551615",
    "'2024-01-01'",
];

/// Conditions, and what is made of what passes.
const ASKED: [(&str, &str); 13] = [
    ("", "SELECT count()"),
    ("", "SELECT count(state.w)"),
    ("", "SELECT sum(state.w), min(state.v), max(state.v), count(state.v)"),
    ("state.w > 0", "SELECT sum(state.w), avg(state.w)"),
    ("", "GROUP BY state.v SELECT count(), sum(state.w)"),
    ("state.w IN (1, 2)", "GROUP BY state.w SELECT max(state.v), max(version)"),
    ("state.v = 1", ""),
    ("state.v BETWEEN -3 AND 1 AND state.w < 2", ""),
    ("state.v IS NULL OR state.w = 2", ""),
    ("state.v[0] = 3", ""),
    ("NOT state.v = 'a' AND events > 1", "LIMIT 3"),
    ("state.v MATCHES 'a*'", "SELECT target, state.v"),
    ("state.w > 0", "ORDER BY state.v DESC, target LIMIT 5"),
];

fn held(session: &Session) {
    for (condition, made) in ASKED {
        let asked = |condition: &str| session.lines(&format!("FIND Bill {condition} {made}"));
        // Columns say nothing of what an entity is called.
        let (columns, each) = match condition {
            "" => (String::new(), "WHERE target.id != ''".to_owned()),
            condition => (format!("WHERE {condition}"), format!("WHERE ({condition}) AND target.id != ''")),
        };
        assert_eq!(asked(&columns), asked(&each), "{condition} {made}");
    }
}

#[test]
fn what_columns_answer_is_what_the_states_are_whatever_came_since() {
    for memtable in [4, 1000] {
        let store = store(memtable);
        let session = Session::new(&store);
        session
            .rows("DEFINE ENTITY Bill ON paid SET v = coalesce(data.v, NULL), w = data.w ON closed DELETE");
        let pay = |id: usize, at: usize| {
            session.rows(&format!(
                "EMIT Bill.paid 'b{id:03}' {{v: {}, w: {}}}",
                VALUES[at % VALUES.len()],
                at % 4
            ));
        };
        // In every second place, and behind.
        (0..40).for_each(|id| pay(2 * id, id));
        store.checkpoint().unwrap();
        held(&session);
        for id in (0..100).step_by(7) {
            pay(id, id + 1);
            if id % 3 == 0 {
                session.rows(&format!("EMIT Bill.closed 'b{:03}'", (id + 4) % 80));
            }
            if id % 5 == 0 {
                held(&session);
            }
        }
        store.checkpoint().unwrap();
        held(&session);
    }
}

/// What is known of fields by now.
fn known(store: &Store) -> Vec<String> {
    store.shared().state_caches.columns.made()
}

#[test]
fn who_asks_for_a_field_of_all_states_for_the_second_time_has_it_remembered() {
    MADE_AT.set(2);
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET v = data.v, w = data.w ON closed DELETE");
    (0..9).for_each(|id| drop(session.rows(&format!("EMIT Bill.paid {id} {{v: {id}, w: {}}}", id % 2))));
    store.checkpoint().unwrap();
    // Of some of the rows a page has enough.
    for _ in 0..3 {
        session.rows("FIND Bill WHERE state.v > 1 LIMIT 2");
        assert_eq!(known(&store), [""; 0]);
    }
    for text in [
        "FIND Bill WHERE state.v > 1 SELECT sum(state.w)",
        "FIND Bill WHERE state.v > 1 GROUP BY state.w SELECT count()",
    ] {
        let first = session.lines(text);
        assert_eq!(session.lines(text), first);
    }
    assert_eq!(known(&store), ["state.v", "state.w"]);
    session.rows("FIND Bill SELECT count()");
    assert_eq!(known(&store).len(), 2);
    assert_eq!(session.lines("FIND Bill SELECT count()"), [r#"{"count()":9}"#]);
    assert_eq!(known(&store).len(), 3);
    // At the next checkpoint it is another.
    session.rows("EMIT Bill.closed 3");
    assert_eq!(session.lines("FIND Bill SELECT count()"), [r#"{"count()":8}"#]);
    let before = store.snapshot();
    store.checkpoint().unwrap();
    session.rows("EMIT Bill.closed 4");
    for _ in 0..3 {
        assert_eq!(session.lines("FIND Bill SELECT count()"), [r#"{"count()":7}"#]);
    }
    // Who looked before sees what was there then.
    let Plan::Read(plan) = session.plan("FIND Bill SELECT count()", &before).unwrap() else { panic!() };
    let rows: Vec<String> = read(&before, &session.views, &plan)
        .unwrap()
        .rows
        .map(|row| Value::of(&row.unwrap()).unwrap().to_string())
        .collect();
    assert_eq!(rows, [r#"{"count()":8}"#]);
    MADE_AT.set(1);
}

#[test]
fn what_has_a_state_that_cannot_be_told_is_told_of_each_time() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET v = data.v + 1");
    (0..9).for_each(|id| drop(session.rows(&format!("EMIT Bill.paid {id} {{v: {id}}}"))));
    let text = "FIND Bill WHERE state.v > 3 SELECT sum(state.v)";
    assert_eq!(session.lines(text), [r#"{"sum(state.v)":39}"#]);
    // In the memtable, then in the tables.
    session.rows("EMIT Bill.paid 5 {v: 'x'}");
    for _ in 0..2 {
        let error = session.error(text);
        assert!(error.contains("Bill 5"), "{error}");
        store.checkpoint().unwrap();
    }
}

#[test]
fn nothing_is_remembered_of_who_is_forgotten() {
    if cfg!(not(feature = "encryption")) {
        return;
    }
    // On a log that is shared nothing is private.
    let mut options = Options::new();
    options.own_journal = true;
    let store = store_with(4, options);
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name");
    session.rows("DEFINE ENTITY User ON joined SET name = data.name, n = data.n");
    (0..9)
        .for_each(|id| drop(session.rows(&format!("EMIT User.joined {id} {{name: 'name-{id}', n: {id}}}"))));
    store.checkpoint().unwrap();
    let text = "FIND User WHERE state.name = 'name-3' SELECT count()";
    assert_eq!(session.lines(text), [r#"{"count()":1}"#]);
    assert_eq!(known(&store), ["state.name"]);
    session.rows("FORGET User 3");
    assert_eq!(known(&store), [""; 0]);
    for _ in 0..2 {
        assert_eq!(session.lines(text), [r#"{"count()":0}"#]);
    }
}
