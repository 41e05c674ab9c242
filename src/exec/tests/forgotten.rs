//! What is forgotten can be asked for, and a definition of entities says what it becomes.

use super::*;

const CONTACT: &str =
    "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, data.address, metadata.ip";

/// Two of whom one is forgotten.
fn two(session: &Session) {
    session.rows(CONTACT);
    session.rows(
        "EMIT User.named 7 {name: 'Ann', address: {city: 'Oslo'}, age: 44} META {ip: '10.0.0.9', by: 'web'}",
    );
    session.rows("EMIT User.named 8 {name: 'Bob', address: {city: 'Rome'}, age: 45}");
    session.rows("EMIT User.named 9 {name: NULL, address: {city: 'Lima'}, age: 46}");
}

#[test]
fn a_filter_and_a_column_tell_what_is_forgotten() {
    let store = store(3);
    let session = Session::new(&store);
    two(&session);
    assert!(session.positions("EVENTS WHERE is_forgotten(data.name)").is_empty());
    session.rows("FORGET User 7");
    for _ in 0..2 {
        for (field, is) in [
            ("data.name", true),
            ("data.address", true),
            ("data.address.city", true),
            ("data", true),
            ("metadata.ip", true),
            ("metadata", true),
            ("data.age", false),
            ("data.names", false),
            ("metadata.by", false),
            ("data.ip", false),
        ] {
            let found = session.positions(&format!("EVENTS 'User.*' WHERE is_forgotten({field})"));
            assert_eq!(found, if is { vec![2] } else { vec![] }, "{field}");
            let found = session.positions(&format!("EVENTS 'User.*' WHERE NOT is_forgotten({field})"));
            assert_eq!(found, if is { vec![3, 4] } else { vec![2, 3, 4] }, "{field}");
        }
        let gone = session.lines("EVENTS 'User.*' SELECT target.id AS id, is_forgotten(data.name) AS gone");
        let expected =
            [r#"{"id":"7","gone":true}"#, r#"{"id":"8","gone":false}"#, r#"{"id":"9","gone":false}"#];
        assert_eq!(gone, expected);
        let groups = session
            .lines("EVENTS 'User.*' GROUP BY is_forgotten(data.name) AS gone SELECT count() AS n ORDER BY n");
        assert_eq!(groups, [r#"{"gone":true,"n":1}"#, r#"{"gone":false,"n":2}"#]);
        assert_eq!(session.positions("HISTORY User 7 WHERE is_forgotten(data.name)"), [2]);
        // What is stored is as it was.
        assert!(session.positions("HISTORY User 7 WHERE is_forgotten(data.name) RAW").is_empty());
        store.checkpoint().unwrap();
    }
}

#[test]
fn what_is_kept_of_it_follows_when_somebody_is_forgotten() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY User ON named SET gone = is_forgotten(data.name)");
    session.rows("DEFINE INDEX gone ON 'User.*' AS is_forgotten(data.name)");
    session.rows(
        "DEFINE VIEW gone AS EVENTS 'User.*' GROUP BY is_forgotten(data.name) AS gone SELECT count() AS n",
    );
    session.rows("DEFINE VIEW known AS EVENTS 'User.*' WHERE NOT is_forgotten(data.name)");
    two(&session);
    store.checkpoint().unwrap();
    let same =
        |questions: &[&str]| questions.iter().map(|question| session.lines(question)).collect::<Vec<_>>();
    let questions = ["READ gone ORDER BY n", "READ known", "FIND User WHERE state.gone"];
    assert_eq!(session.positions("EVENTS BY gone = TRUE"), Vec::<u64>::new());
    assert_eq!(same(&questions)[0], [r#"{"gone":false,"n":3}"#]);
    session.rows("FORGET User 7");
    assert_eq!(session.positions("EVENTS BY gone = TRUE"), [6]);
    assert_eq!(session.positions("EVENTS BY gone = FALSE"), [7, 8]);
    let at_once = same(&questions);
    assert_eq!(at_once[0], [r#"{"gone":true,"n":1}"#, r#"{"gone":false,"n":2}"#]);
    assert!(at_once[1].len() == 2 && at_once[2].len() == 1, "{at_once:?}");
    assert_eq!(state(&session.rows("AT User 7")), r#"{"gone":true}"#);
    assert_eq!(state(&session.rows("AT User 7 AS OF #6")), r#"{"gone":true}"#);
    assert_eq!(state(&session.rows("AT User 8")), r#"{"gone":false}"#);
    store.shared().settle().unwrap();
    assert_eq!(same(&questions), at_once);
}

#[test]
fn fields_that_an_upcast_makes_of_what_is_forgotten_are_forgotten() {
    let store = store(3);
    let session = Session::new(&store);
    two(&session);
    session.rows("FORGET User 7");
    session.rows(
        "DEFINE EVENT User.named {person: any?} UPCAST SET data.person = {called: data.name, at: data.address}, \
         data.city = upper(data.address.city), data.years = data.age + 1 DELETE data.name",
    );
    let lines = session.lines("EVENTS 'User.*'");
    assert!(
        lines[0].ends_with(
            r#""data":{"address":null,"age":44,"person":{"called":null,"at":null},"city":null,"years":45},"metadata":{"ip":null,"by":"web"},"forgotten":["data.address","metadata.ip","data.person.called","data.person.at","data.city"]}"#
        ),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(r#""person":{"called":"Bob","at":{"city":"Rome"}},"city":"ROME""#),
        "{lines:?}"
    );
    for (field, is) in [
        ("data.person", true),
        ("data.person.called", true),
        ("data.person.at.city", true),
        ("data.city", true),
        ("data.years", false),
        ("data.name", false),
        ("data.person.other", false),
    ] {
        let found = session.positions(&format!("EVENTS 'User.*' WHERE is_forgotten({field})"));
        assert_eq!(found, if is { vec![2] } else { vec![] }, "{field}");
    }
    // Chains compose, and what is all of the data is so field by field.
    session.rows(
        "DEFINE EVENT User.named {was: any?} UPCAST SET data = {was: merge(put(data, 'extra', data.city), {x: 1})}",
    );
    let lines = session.lines("HISTORY User 7");
    assert!(
        lines[0].contains(
            r#""forgotten":["metadata.ip","data.was.address","data.was.person.called","data.was.person.at","data.was.city","data.was.extra"]"#
        ),
        "{lines:?}"
    );
    // What nothing is left of is not named.
    session.rows("DEFINE EVENT User.named {x: any?} UPCAST SET data = {x: 1}");
    assert!(session.lines("HISTORY User 7")[0].ends_with(r#""forgotten":["metadata.ip"]}"#));
    let plan = session.lines("EXPLAIN FORGET User 7");
    assert!(plan.iter().any(|line| line.contains("1 events are forgotten already")), "{plan:?}");
}

#[test]
fn it_is_refused_where_there_is_no_event() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows(CONTACT);
    session.rows("DEFINE VIEW all AS EVENTS 'User.*' GROUP BY target.id AS id SELECT count() AS n");
    session.rows("EMIT User.named 7 {name: 'Ann'}");
    for (text, told) in [
        ("FIND User WHERE is_forgotten(state.name)", "DEFINE ENTITY"),
        ("READ all WHERE is_forgotten(data.name)", "in its definition"),
        ("DEFINE VERB Name ON User REQUIRE NOT is_forgotten(data.name)", "DEFINE ENTITY"),
        ("EMIT User.named 7 {a: is_forgotten(data.name)}", "there is none here"),
        ("DEFINE EVENT User.named {a: any? CHECK is_forgotten(data.a)}", "of the data of the event alone"),
        ("EVENTS WHERE is_forgotten('data.name')", "like data.email"),
        ("EVENTS WHERE is_forgotten(target)", "a member of data or metadata"),
        ("EVENTS WHERE is_forgotten(data.list[0])", "the whole array is"),
        ("EVENTS WHERE is_forgotten()", "takes 1 argument"),
        ("EVENTS GROUP BY type SELECT is_forgotten(data.name)", "data.name"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}
