//! `INDEX BY` with several values under one name, and names that are declared before any event has them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::error::Conflict;

#[test]
fn an_event_is_found_by_each_of_its_values() {
    for memtable in [1, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        let lines =
            session.lines("EMIT Exam.held INDEX BY course = ['a', 7, 'a', TRUE], room = ['r'], none = []");
        assert!(lines[0].contains(r#""tags":{"course":["a",7,true],"room":"r"}"#), "{lines:?}");
        session.rows("EMIT Exam.held INDEX BY course = 'b'");
        session.rows("EMIT Exam.held {course: ['b', 'c']} INDEX BY course");
        for (by, found) in [
            ("course = 'a'", vec![1]),
            ("course = 7.0", vec![1]),
            ("course = TRUE", vec![1]),
            ("course = 'b'", vec![2, 3]),
            ("course IN ('a', 'c')", vec![1, 3]),
            ("course = 'b', course = 'c'", vec![3]),
            ("course >= 'b'", vec![2, 3]),
            ("room = 'r', course = 7", vec![1]),
        ] {
            assert_eq!(session.positions(&format!("EVENTS BY {by}")), found, "{by}");
        }
        let rows = session.lines("EVENTS SELECT tags, tags.course AS course, tags.room AS room LIMIT 1");
        assert_eq!(rows, [r#"{"tags":{"course":["a",7,true],"room":"r"},"course":["a",7,true],"room":"r"}"#]);
        assert_eq!(session.positions("EVENTS WHERE tags.course CONTAINS 'c'"), [3]);
        let again = session.lines("EVENTS LIMIT 1");
        assert!(again[0].contains(r#""course":["a",7,true]"#), "{again:?}");
        let refused = conflict(session.run("EMIT Exam.held EXPECT NONE (BY course = 'c')"));
        assert!(matches!(refused, Conflict::None { .. }) && refused.position() == Some(3));
    }
}

#[test]
fn one_number_in_two_forms_is_in_one_list_once() {
    let store = store(1);
    let session = Session::new(&store);
    session.rows("EMIT A.b INDEX BY n = [1, 1.0, 2]");
    assert_eq!(session.positions("EVENTS BY n = 1"), [1]);
    store.checkpoint().unwrap();
    assert_eq!(session.positions("EVENTS BY n = 1"), [1]);
    assert_eq!(session.positions("EVENTS BY n >= 1"), [1]);
    assert!(crate::store::verify::verify(&store.snapshot()).unwrap().faults.is_empty());
}

#[test]
fn what_is_no_value_is_refused_within_an_array_too() {
    let store = store(3);
    let session = Session::new(&store);
    for value in ["[1, NULL]", "[[1]]", "[{a: 1}]", "NULL"] {
        let error = session.error(&format!("EMIT A.b INDEX BY n = {value}"));
        assert!(error.contains("text, a number or a boolean, found"), "{error}");
    }
    let many =
        format!("[{}]", (0..=crate::event::MAX_TAGS).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
    assert!(session.error(&format!("EMIT A.b INDEX BY n = {many}")).contains("at most 16384"));
}

#[test]
fn verbs_and_keys_know_several_values() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Enrol ON Student EMIT enrolled INDEX BY course = data.courses");
    session.rows("PERFORM Enrol Student 7 {courses: ['a', 'b']}");
    assert_eq!(session.positions("EVENTS BY course = 'b'"), [2]);
    let text = "EMIT A.b INDEX BY course = ['a', 'c'] ID 'x' KEY 'k'";
    assert_eq!(session.positions(text), session.positions(text));
    let other = text.replace("'c'", "'d'");
    assert!(session.run(&other).is_err() && session.run(&other.replace(" KEY 'k'", "")).is_err());
    // In another order they say the same, by an id.
    assert_eq!(session.positions("EMIT A.b INDEX BY course = ['c', 'a'] ID 'x'"), [3]);
}

#[test]
fn a_name_that_is_declared_is_empty_and_no_error() {
    let store = store(3);
    let session = Session::new(&store);
    assert!(session.error("EVENTS BY course = 'a'").contains("no index answers it"));
    let lines = session.lines("DEFINE INDEX course ON '*'");
    assert!(lines[0].contains(r#""data":{"name":"course","on":"*","as":"NULL"}"#), "{lines:?}");
    assert!(session.rows("EVENTS BY course = 'a'").is_empty());
    session.rows("EMIT A.b EXPECT NONE (BY course = 'a')");
    session.rows("EMIT A.b INDEX BY course = ['a', 'b']");
    assert_eq!(session.positions("EVENTS BY course = 'b'"), [3]);
    assert_eq!(conflict(session.run("EMIT A.b EXPECT NONE (BY course = 'a')")).position(), Some(3));
    store.checkpoint().unwrap();
    assert_eq!(session.positions("EVENTS BY course = 'b'"), [3]);
    // The same again writes nothing, and it may be given a meaning, or end.
    let head = store.snapshot().head();
    session.rows("DEFINE INDEX course ON '*' AS NULL");
    assert_eq!(store.snapshot().head(), head);
    session.rows("DEFINE INDEX course ON 'A.*' AS data.course");
    session.rows("DROP INDEX course");
    assert_eq!(session.positions("EVENTS BY course = 'b'"), [3]);
    assert!(session.error("DEFINE INDEX course ON '*' AS 7").contains("the same for every event"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is found by a value is what a look at each event finds.
    #[test]
    fn each_value_finds_its_events(
        log in prop::collection::vec(prop::collection::vec(0u8..5, 0..4), 1..20), memtable in 1usize..6,
    ) {
        let store = store(memtable);
        let session = Session::new(&store);
        session.rows("DEFINE INDEX k ON '*'");
        for values in &log {
            let text = values.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            session.rows(&format!("EMIT A.b INDEX BY k = [{text}]"));
        }
        let sets: Vec<BTreeSet<u8>> = log.iter().map(|values| values.iter().copied().collect()).collect();
        let naive = |holds: &dyn Fn(&BTreeSet<u8>) -> bool| -> Vec<u64> {
            (2..).zip(&sets).filter(|(_, set)| holds(set)).map(|(at, _)| at).collect()
        };
        for k in 0..5 {
            prop_assert_eq!(session.positions(&format!("EVENTS BY k = {k}")), naive(&|set| set.contains(&k)));
            prop_assert_eq!(
                session.positions(&format!("EVENTS BY k IN (0, {k})")), naive(&|set| set.contains(&0) || set.contains(&k))
            );
            prop_assert_eq!(
                session.positions(&format!("EVENTS BY k = 1, k = {k}")), naive(&|set| set.contains(&1) && set.contains(&k))
            );
            prop_assert_eq!(session.positions(&format!("EVENTS BY k > {k}")), naive(&|set| set.iter().any(|v| *v > k)));
            prop_assert_eq!(session.positions(&format!("EVENTS BY k != {k}")), naive(&|set| set.iter().any(|v| *v != k)));
        }
    }
}
