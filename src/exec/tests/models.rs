//! DEFINE ENTITY, DROP ENTITY, and what a definition makes of events.

use super::*;
use crate::entity::Position;

const ACCOUNT: &str = "DEFINE ENTITY Account INITIAL {balance: 0} \
    ON opened MERGE \
    ON deposited SET balance = state.balance + data.amount \
    ON withdrawn SET balance = state.balance - data.amount \
    ON closed DELETE";

/// An account that was opened, and what happened to it since.
fn account(session: &Session, events: &[&str]) {
    session.rows("EMIT Account.opened 7 {owner: 'ann'}");
    for event in events {
        session.rows(&format!("EMIT Account.{event}"));
    }
}

fn now(session: &Session) -> String {
    state(&session.rows("REPLAY Account 7"))
}

#[test]
fn a_balance_is_right_and_a_redefinition_holds_at_once() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows(ACCOUNT);
    account(&session, &["deposited 7 {amount: 100}", "withdrawn 7 {amount: 30}"]);
    assert_eq!(now(&session), r#"{"balance":70,"owner":"ann"}"#);
    // A withdrawal costs a fee from now on, and has always cost one.
    session.rows(&ACCOUNT.replace("- data.amount", "- data.amount - 1"));
    assert_eq!(now(&session), r#"{"balance":69,"owner":"ann"}"#);
    assert_eq!(state(&session.rows("AT Account 7 VERSION 2")), r#"{"balance":100,"owner":"ann"}"#);
    session.rows("EMIT Account.closed 7");
    assert_eq!(now(&session), "null");
    session.rows("EMIT Account.deposited 7 {amount: 1}");
    assert_eq!(now(&session), r#"{"balance":1}"#);
    session.rows("DROP ENTITY Account");
    assert_eq!(now(&session), r#"{"owner":"ann","amount":1}"#);
}

#[test]
fn a_definition_is_an_event_and_the_same_is_not_defined_again() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.actor = Some(Entity::from(("User", "ann")));
    session.parameters = Parameters::new().set("least", 5).set("every", 10).set("pattern", "Bank.*");
    let text = "define entity Account initial {limit: -$least, tags: [$least]} snapshot every $every \
                include $pattern by account on deposited set balance = greatest(data.amount, $least)";
    let line = session.lines(text).remove(0);
    for part in [
        r#""position":1,"version":1"#,
        r#""type":"$entity.defined""#,
        r#""target":{"type":"$entity","id":"Account"}"#,
        r#""actor":{"type":"User","id":"ann"}"#,
        r#""data":{"definition":"DEFINE ENTITY Account INITIAL {limit: -5, tags: [5]} SNAPSHOT EVERY 10 INCLUDE 'Bank.*' BY account ON deposited SET balance = greatest(data.amount, 5)"}"#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let again = session.lines(text).remove(0);
    assert!(again.contains(r#""position":1"#) && again.ends_with(r#""repeated":true}"#), "{again}");
    session.rows("DROP ENTITY Account");
    assert!(session.lines(text)[0].contains(r#""position":3,"version":3"#));
    assert!(session.error("DROP ENTITY Acount").contains("no entity 'Acount' is defined"));
    // Two at once who say the same are both right.
    let store = &store;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || Session::new(store).rows("DEFINE ENTITY Order ON paid MERGE"));
        }
    });
    assert_eq!(session.lines("EVENTS '$entity.*' WHERE target.id = 'Order'").len(), 1);
}

/// What a definition makes of events, each of the entity `T 1`; the last is the state, or why there is none.
fn folded(definition: &str, events: &[&str]) -> String {
    let store = store(100);
    let session = Session::new(&store);
    session.rows(&format!("DEFINE ENTITY T {definition}"));
    for event in events {
        session.rows(&format!("EMIT {event}"));
    }
    match session.run("REPLAY T 1") {
        Ok((rows, _)) => state(&rows),
        Err(error) => error.to_string(),
    }
}

#[test]
fn rules_match_in_order_and_make_what_they_say() {
    for (definition, events, expected) in [
        // Without a rule for it, an event is what it is without a definition.
        ("", &["T.a 1 {x: 1}", "T.b 1 {y: 2}"][..], r#"{"x":1,"y":2}"#),
        ("", &["T.a 1 {x: 1}", "T.deleted 1"], "null"),
        ("ELSE MERGE", &["T.a 1 {x: 1}", "T.deleted 1 {y: 2}"], r#"{"x":1,"y":2}"#),
        ("ELSE IGNORE ON a MERGE", &["T.b 1 {y: 1}", "T.a 1 {x: 1}", "T.deleted 1"], r#"{"x":1}"#),
        ("ELSE IGNORE", &["T.b 1 {y: 1}"], "null"),
        ("ELSE DELETE ON a MERGE", &["T.a 1 {x: 1}", "T.b 1"], "null"),
        // The whole type, or what follows the kind; the first wins.
        ("ON a MERGE ON T.b IGNORE", &["T.a 1 {x: 1}", "T.b 1 {x: 2}"], r#"{"x":1}"#),
        ("ON 'b*' IGNORE ON 'b,c' MERGE", &["T.b 1 {x: 1}", "T.bb 1 {x: 2}", "T.c 1 {x: 3}"], r#"{"x":3}"#),
        ("ON item.added SET n = 1 ELSE IGNORE", &["T.item.added 1", "T.added 1 {x: 1}"], r#"{"n":1}"#),
        ("ON U.a SET n = 1 ON a SET n = 2", &["U.a ON T 1", "T.b 1"], r#"{"n":1}"#),
        // MERGE and SET begin with INITIAL; what is ignored does not, and a deletion begins anew.
        ("INITIAL {n: 1} ON a IGNORE", &["T.a 1"], "null"),
        ("INITIAL {n: 1, m: {k: 2}} ON a MERGE", &["T.a 1 {m: {l: 3}}"], r#"{"n":1,"m":{"k":2,"l":3}}"#),
        (
            "INITIAL {n: 1} ON a SET n = state.n + 1",
            &["T.a 1", "T.a 1", "T.deleted 1", "T.a 1"],
            r#"{"n":2}"#,
        ),
        // All right sides first.
        ("INITIAL {a: 1, b: 2} ON s SET a = state.b, b = state.a", &["T.s 1"], r#"{"a":2,"b":1}"#),
        (
            "ON a SET l = append(state.l, data.x), n = length(coalesce(state.l, []))",
            &["T.a 1 {x: 1}", "T.a 1 {x: 2}"],
            r#"{"l":[1,2],"n":1}"#,
        ),
        ("INITIAL {l: [1]} ON a SET l[0] = 2, l = append(state.l, 3)", &["T.a 1"], r#"{"l":[1,3]}"#),
        (
            "INITIAL {m: {l: []}} ON a SET m.l = append(state.m.l, {k: data.x}, 2)",
            &["T.a 1 {x: 1}"],
            r#"{"m":{"l":[{"k":1},2]}}"#,
        ),
        (
            "ON a SET l = union(state.l, data.l), o = put(state.o, data.k, 1), m = merge(state.m, data)",
            &["T.a 1 {l: [1, 1], k: 'x'}"],
            r#"{"l":[1],"o":{"x":1},"m":{"l":[1,1],"k":"x"}}"#,
        ),
        // Left sides.
        ("ON a SET x.y[0].z = 1", &["T.a 1"], r#"{"x":{"y":[{"z":1}]}}"#),
        ("INITIAL {l: [1]} ON a SET l[1] = 2, l[0] = 3", &["T.a 1"], r#"{"l":[3,2]}"#),
        ("INITIAL {x: NULL} ON a SET x.y = 1", &["T.a 1"], r#"{"x":{"y":1}}"#),
        ("INITIAL {x: 1} ON a SET x = NULL", &["T.a 1"], r#"{"x":null}"#),
        ("ON a SET `select`.`a b` = 1", &["T.a 1"], r#"{"select":{"a b":1}}"#),
        // Missing members in conditions, and where something stands in for them.
        ("ON a SET n = coalesce(state.n, 0) + coalesce(data.n, 1)", &["T.a 1", "T.a 1 {n: 5}"], r#"{"n":6}"#),
        ("ON a SET n = if(data.n > 1, 'many', 'few')", &["T.a 1"], r#"{"n":"few"}"#),
        ("ON a SET n = data.n", &["T.a 1 {n: NULL}"], r#"{"n":null}"#),
        (
            "ON a SET by = actor, kind = type, v = version",
            &["T.a 1 BY User 7"],
            r#"{"by":{"type":"User","id":"7"},"kind":"T.a","v":1}"#,
        ),
        (
            "ON a SET at = timestamp, who = metadata.ip",
            &["T.a 1 META {ip: 'x'} AT '2024-01-01'"],
            r#"{"at":"2024-01-01T00:00:00Z","who":"x"}"#,
        ),
    ] {
        assert_eq!(folded(definition, events), expected, "{definition} {events:?}");
    }
}

#[test]
fn what_is_included_joins_and_never_deletes_by_name() {
    let include = "INCLUDE 'Car.*' BY trip";
    let events = [
        "T.a 1 {x: 1}",
        "Car.moved 5 {km: 3} INDEX BY trip = '1'",
        "Car.deleted 5 {y: 2} INDEX BY trip = '1'",
    ];
    assert_eq!(folded(include, &events), r#"{"x":1,"km":3,"y":2}"#);
    let rule = format!("{include} ON Car.moved SET km = data.km * 2 ON Car.deleted DELETE");
    assert_eq!(folded(&rule, &events), "null");
    assert_eq!(folded(&rule, &events[..2]), r#"{"x":1,"km":6}"#);
}

#[test]
fn a_fault_names_the_expression_and_what_to_do() {
    for (definition, event, expected) in [
        (
            "INITIAL {n: 0} ON a SET n = state.n - data.amount",
            "{}",
            "SET n = state.n - data.amount: data.amount is missing; coalesce(data.amount, 0) says what to take where it is",
        ),
        ("ON a SET n = state.n + 1", "{}", "state.n is missing; coalesce(state.n, 0)"),
        ("ON a SET n = data.x", "{}", "SET n = data.x: data.x is missing; coalesce(data.x, NULL)"),
        ("ON a SET n = {m: [data.x]}", "{}", "data.x is missing"),
        ("ON a SET n = metadata.x", "{}", "metadata.x is missing"),
        (
            "INITIAL {n: 'x'} ON a SET n = state.n - data.amount",
            "{amount: 5}",
            "expected numbers, with a result that 64 bits hold, found \"x\" - 5: state.n is text 'x'",
        ),
        ("ON a SET n = 1 + data.x", "{x: NULL}", "found 1 + null: data.x is null"),
        (
            "ON a SET n = data.x / data.y",
            "{x: 10, y: 0}",
            "SET n = data.x / data.y: expected numbers, with a result that 64 bits hold, found 10 / 0",
        ),
        ("ON a SET n = data.x + 1", "{x: 18446744073709551615}", "found 18446744073709551615 + 1"),
        ("ON a SET n = 1 / 0", "{}", "found 1 / 0"),
        ("ON a SET n = lower(data.x)", "{x: 1}", "expected lower(text), found lower(1)"),
        ("ON a SET n = -data.x", "{x: 'y'}", "expected a number, found \"y\": data.x is text 'y'"),
        ("ON a SET n = timestamp - recorded", "{}", "found a length of time"),
        ("ON a SET n.m = 1", "{}", ""),
        (
            "INITIAL {l: 5} ON a SET l = append(state.l, 1)",
            "{}",
            "expected append(list, x, …), found append(5, 1)",
        ),
        ("INITIAL {l: []} ON a SET l = append(state.l, data.x)", "{}", "data.x is missing"),
        ("ON a SET l = append(data.l, 1)", "{}", "data.l is missing"),
        (
            "INITIAL {n: 1} ON a SET n.m = 1",
            "{}",
            "SET n.m = 1: expected an object, found state.n, which is a number 1",
        ),
        (
            "INITIAL {n: {}} ON a SET n[0] = 1",
            "{}",
            "expected an array, found state.n, which is an object {}",
        ),
        (
            "INITIAL {n: [1]} ON a SET n[2] = 1",
            "{}",
            "expected an index up to 1, the length of state.n, found 2",
        ),
        ("ON a SET n[1] = 1", "{}", "expected the index 0, for there is no state.n yet, found 1"),
    ] {
        let found = folded(definition, &[&format!("T.a 1 {event}")]);
        let failed = found.starts_with("T 1 has no state: T.a at #2 could not be folded in: SET ");
        assert!(found.contains(expected) && failed != expected.is_empty(), "{definition}: {found}");
    }
}

#[test]
fn a_fault_blocks_no_append_and_heals() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows(ACCOUNT);
    account(&session, &["deposited 7 {amount: 100}", "withdrawn 7 {sum: 30}", "deposited 7 {amount: 5}"]);
    let error = session.error("REPLAY Account 7");
    assert!(error.starts_with("Account 7 has no state: Account.withdrawn at #4 could not"), "{error}");
    assert_eq!(state(&session.rows("AT Account 7 #3")), r#"{"balance":100,"owner":"ann"}"#);
    let heal = ACCOUNT.replace("- data.amount", "- coalesce(data.amount, data.sum)");
    session.rows(&heal);
    assert_eq!(now(&session), r#"{"balance":75,"owner":"ann"}"#);
    session.rows(ACCOUNT);
    session.rows("EMIT Account.closed 7");
    assert_eq!(now(&session), "null");
}

#[test]
fn show_and_describe_tell_which_entities_cannot_be_folded() {
    let store = store(4);
    let session = Session::new(&store);
    let kept = || {
        store.checkpoint().unwrap();
        assert!(store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    };
    let told = |text: &str| -> Vec<String> {
        let (_, mut notices) = session.run(text).unwrap();
        notices.retain(|notice| notice.contains("no state"));
        notices
    };
    session.rows(ACCOUNT);
    account(&session, &["withdrawn 7 {sum: 30}", "withdrawn 8 {sum: 30}", "deposited 9 {amount: 5}"]);
    kept();
    let two = "2 entities of Account have no state, because an event could not be folded in: AT Account 7 NOW tells which";
    for text in ["SHOW KINDS", "DESCRIBE Account"] {
        assert_eq!(told(text), [two], "{text}");
    }
    session.rows("EMIT Account.closed 7");
    kept();
    let one = "one entity of Account has no state, because an event could not be folded in: AT Account 8 NOW tells which";
    assert_eq!(told("SHOW KINDS"), [one]);
    let verified = crate::store::verify::verify(&store.snapshot()).unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    session.rows(&ACCOUNT.replace("- data.amount", "- coalesce(data.amount, data.sum)"));
    kept();
    assert_eq!(told("DESCRIBE Account"), [""; 0]);
}

#[test]
fn what_is_set_is_set_as_a_whole_or_not_at_all() {
    let (_, fold) = crate::exec::model::compile(
        "DEFINE ENTITY T ON a SET k = append(state.k, 1), x.y = 1, l[1] = 2, z = 3, x.y.z = 4",
    )
    .unwrap();
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT T.a 1");
    let bytes = store.snapshot().read(|view| view.event(Position(1))).unwrap().unwrap();
    let record = crate::event::record::Record::open(crate::entity::Position(1), &bytes).unwrap();
    for before in [
        "null",
        r#"{"l":[1]}"#,
        r#"{"l":[1,5],"x":{"k":1}}"#,
        r#"{"l":null,"x":null}"#,
        r#"{"x":{"y":[]},"l":[0]}"#,
    ] {
        let mut state = before.parse().unwrap();
        assert!(fold.apply(&mut state, &record, true, &crate::allowance::Limits::default()).is_err());
        assert_eq!(state.to_string(), before);
    }
}

#[test]
fn what_cannot_be_meant_is_an_error_that_points_at_it() {
    let store = store(4);
    let session = Session::new(&store);
    for (definition, expected) in [
        ("T ON a SET n = NOW", "a definition means the same at any time"),
        ("T ON a SET n = if(timestamp > -7d, 1, 2)", "a definition means the same at any time"),
        ("T INITIAL {n: NOW}", "a definition means the same at any time"),
        ("T INITIAL {n: data.x}", "'data' names a field, and there is no event here"),
        ("T INITIAL {n: 1 / 0}", "expected numbers"),
        ("T ON a SET n = state.n + total", "there is no field 'total'"),
        ("T ON a SET n = sum(data.x)", "sum() is worked out from many events"),
        ("T ON a SET state.n = 1", "the left side of SET is a path in the state"),
        ("T ON a SET n = 1, n = 2", "n is set twice"),
        ("T SNAPSHOT EVERY 0", "expected a number of events from 1 on"),
        ("T ON a MERGE ON a DELETE", "ON a stands twice"),
        (
            "T ON '*' MERGE ON closed DELETE",
            "no event comes as far as ON closed: ON '*' before it takes them all",
        ),
        ("T ON 'i*' MERGE ON item.added DELETE", "no event comes as far as ON item.added"),
        ("T ON a MERGE ON T.a DELETE", "no event comes as far as ON T.a"),
        ("T ON 'a*' MERGE ON 'ab*,ac' DELETE", "no event comes as far as ON 'ab*,ac'"),
        ("T ON a MERGE ON b MERGE ON 'a,b' DELETE", "no event comes as far as"),
        ("T ON T.a MERGE ON a DELETE", "no event comes as far as ON a: ON 'T.a' before it"),
        ("T ON '*' MERGE ELSE IGNORE", "nothing is left for ELSE"),
        ("T ON '' MERGE", "expected what happened, like paid"),
        ("T INCLUDE 'Car' BY trip", "expected types or patterns"),
        ("T INCLUDE 'Car.*' BY actor", "is the name of an index value"),
        ("`$entity`", "is the database's own"),
        ("`a.b`", "a name without a dot"),
        ("T INITIAL {} INITIAL {}", "INITIAL"),
    ] {
        let error = session.error(&format!("DEFINE ENTITY {definition}"));
        assert!(error.contains(expected), "{definition}: {error}");
    }
    // What looks alike and can be meant.
    for definition in [
        "T ON 'a*' MERGE ON 'b*' DELETE ON '*' IGNORE",
        "T ON T.a.b MERGE ON 'a.*' IGNORE",
        "T ON a SET state = 1",
    ] {
        session.rows(&format!("DEFINE ENTITY {definition}"));
    }
    let error = session.error("EVENTS WHERE state.x = 1");
    assert!(error.contains("DEFINE ENTITY") && error.contains("did you mean data.state.x"), "{error}");
}

#[test]
fn kinds_are_shown_and_described() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.actor = Some(Entity::from(("User", "ann")));
    session.rows("DEFINE ENTITY Account ON closed DELETE");
    session.rows(ACCOUNT);
    session.rows("DEFINE ENTITY Trip INCLUDE 'Car.*' BY trip");
    session.rows("DEFINE INDEX owner ON 'Account.*' AS data.owner");
    session.rows("DEFINE INDEX balance ON 'Account' AS state.balance");
    session.rows("DEFINE INDEX when ON 'Order.*' AS data.when");
    session.rows("EMIT Account.opened 7 {owner: 'ann', at: {street: 'x', no: 1}} AT '2024-01-01'");
    session.rows("EMIT Account.opened 8 {owner: NULL, at: {no: 'a'}} AT '2024-01-03'");
    session.rows("EMIT Order.paid ON Car 5");
    store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(
        session.lines("SHOW KINDS"),
        [
            r#"{"kind":"Account","types":1,"defined":2,"recorded":"2024-06-01T12:00:00Z","by":{"type":"User","id":"ann"}}"#,
            r#"{"kind":"Car","types":0,"defined":null,"recorded":null,"by":null}"#,
            r#"{"kind":"Trip","types":0,"defined":3,"recorded":"2024-06-01T12:00:00Z","by":{"type":"User","id":"ann"}}"#,
        ]
    );
    let by = r#""recorded":"2024-06-01T12:00:00Z","by":{"type":"User","id":"ann"}"#;
    assert_eq!(
        session.lines("DESCRIBE Account"),
        [
            &format!(r#"{{"entity":"Account","definition":"{ACCOUNT}","position":2,{by},"before":1}}"#),
            &format!(
                r#"{{"index":"owner","definition":"DEFINE INDEX owner ON 'Account.*' AS data.owner","position":4,{by},"before":0}}"#
            ),
            &format!(
                r#"{{"index":"balance","definition":"DEFINE INDEX balance ON 'Account' AS state.balance","position":5,{by},"before":0}}"#
            ),
            r#"{"type":"Account.opened","count":2,"first":"2024-01-01T00:00:00Z","last":"2024-01-03T00:00:00Z","looked":2}"#,
            r#"{"type":"Account.opened","field":"data.at","is":"object","in":2,"of":2}"#,
            r#"{"type":"Account.opened","field":"data.at.no","is":"number, text","in":2,"of":2}"#,
            r#"{"type":"Account.opened","field":"data.at.street","is":"text","in":1,"of":2}"#,
            r#"{"type":"Account.opened","field":"data.owner","is":"null, text","in":2,"of":2}"#,
        ]
    );
    assert_eq!(session.lines("DESCRIBE owner").len(), 1);
    assert_eq!(session.lines("DESCRIBE balance").len(), 1);
    assert!(session.run("DESCRIBE Car").unwrap().1[0].contains("Car is not defined: its events are merged"));
    let error = session.error("DESCRIBE Acount");
    assert!(
        error.contains("nothing is called 'Acount'") && error.contains("did you mean Account?"),
        "{error}"
    );
}

#[test]
fn events_of_a_defined_kind_are_of_its_namespace() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT Account.opened 1 KEY 'k'");
    session.rows("DEFINE ENTITY Account NAMESPACE bank");
    session.rows("EMIT Account.opened 2 KEY 'l'");
    session.rows("EMIT Order.paid ON Account 2");
    session.rows("EMIT Order.paid 2");
    // A key that was met is met again, whatever the definition says now.
    session.rows("DEFINE ENTITY Account NAMESPACE other");
    for key in ["1 KEY 'k'", "2 KEY 'l'"] {
        let again = session.lines(&format!("EMIT Account.opened {key}")).remove(0);
        assert!(again.ends_with(r#""repeated":true}"#), "{again}");
    }
    assert_eq!(
        session.lines("EVENTS SELECT position, namespace"),
        [
            r#"{"position":1,"namespace":null}"#,
            r#"{"position":3,"namespace":"bank"}"#,
            r#"{"position":4,"namespace":"bank"}"#,
            r#"{"position":5,"namespace":null}"#,
        ]
    );
}

#[test]
fn what_exists_is_what_has_a_state() {
    const TRIP: &str =
        "DEFINE ENTITY Trip INCLUDE 'Car.*' BY trip ON seen IGNORE ON ended DELETE ON Car.scrapped DELETE";
    for (before, holds) in [
        (&[][..], false),
        (&["Trip.begun 1"], true),
        (&["Trip.seen 1"], false),
        (&["Trip.begun 1", "Trip.seen 1", "Trip.seen 1"], true),
        (&["Trip.begun 1", "Trip.ended 1"], false),
        (&["Trip.begun 1", "Trip.ended 1", "Trip.seen 1"], false),
        (&["Trip.begun 1", "Trip.deleted 1"], false),
        (&["Car.moved 5 INDEX BY trip = 1"], true),
        (&["Car.moved 5 INDEX BY trip = 2"], false),
        (&["Bus.moved 5 INDEX BY trip = 1"], false),
        (&["Trip.begun 1", "Car.scrapped 5 INDEX BY trip = '1'"], false),
        (&["Trip.begun 1", "Car.scrapped 5 INDEX BY trip = '1'", "Trip.seen 1"], false),
        (&["Trip.ended 1", "Car.deleted 5 INDEX BY trip = '1'"], true),
    ] {
        // Committed, in the tables and not; and staged in one group with the guard.
        for memtable in [2, 100] {
            let store = store(memtable);
            let session = Session::new(&store);
            session.rows(TRIP);
            before.iter().for_each(|event| drop(session.rows(&format!("EMIT {event}"))));
            let state = state(&session.rows("REPLAY Trip 1"));
            assert_eq!(state != "null", holds, "{before:?}");
            let explained = session.lines("EXPLAIN EMIT Trip.went 1 EXPECT EXISTS").join("");
            assert_eq!(explained.contains("EXPECT EXISTS holds"), holds, "{before:?}: {explained}");
            assert_eq!(session.run("EMIT Trip.went 1 EXPECT EXISTS").is_ok(), holds, "{before:?}");
        }
        let store = store(100);
        let session = Session::new(&store);
        session.rows(TRIP);
        let acts: Vec<String> = before.iter().map(|event| format!("EMIT {event}; ")).collect();
        let done = session.run(&format!("ATOMIC ({}EMIT Trip.went 1 EXPECT EXISTS)", acts.concat()));
        assert_eq!(done.is_ok(), holds, "{before:?}");
    }
    let store = store(4);
    let session = Session::new(&store);
    session.rows(TRIP);
    session.rows("EMIT Trip.begun 1");
    session.rows("EMIT Car.scrapped 5 INDEX BY trip = 1");
    assert_eq!(
        session.error("EMIT Trip.went 1 EXPECT EXISTS"),
        "conflict: Trip 1: expected a state, found version 1, last Trip.begun at #2, and no state since Car.scrapped at #3"
    );
    // Included events are not counted.
    session.rows("EMIT Trip.seen 1 EXPECT VERSION 1");
}

#[test]
fn of_many_who_end_it_at_once_one_does() {
    let store = store(50);
    Session::new(&store).rows("DEFINE ENTITY Trip ON ended DELETE ON seen IGNORE");
    let ended = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let session = Session::new(&store);
                for trip in 0..20 {
                    session.rows(&format!("EMIT Trip.begun {trip} KEY 'b{trip}'"));
                    let ending = session.run(&format!(
                        "ATOMIC (EMIT Trip.seen {trip}; EMIT Trip.ended {trip} EXPECT EXISTS)"
                    ));
                    ended.fetch_add(u32::from(ending.is_ok()), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(ended.into_inner(), 20);
}
