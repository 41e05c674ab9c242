//! DEFINE VERB, PERFORM, and what is refused.

use super::*;
use crate::error::Refusal;

const DOCUMENT: [&str; 4] = [
    "DEFINE VERB Submit ON Document BY User REQUIRE state.status = 'draft' ELSE 'only a draft is submitted' \
     EMIT submitted {status: 'submitted', by: actor.id, at: NOW}",
    "DEFINE VERB Approve ON Document BY User, Admin \
     REQUIRE state.status = 'submitted' ELSE 'not submitted yet' \
     REQUIRE actor.state.role = 'editor' OR actor.type = 'Admin' \
     REQUIRE actor.id != state.by \
     EMIT approved {status: 'approved', note: data.note} META {level: 1} INDEX BY approver = actor.id \
     EMIT Mail.requested ON Mail (number(target.id) + 1000) {to: state.by}",
    "EMIT Document.drafted 42 {status: 'draft', title: 'x'}",
    "EMIT User.registered ann {role: 'editor'}",
];

fn documents(memtable: usize) -> Store {
    let store = store(memtable);
    DOCUMENT.iter().for_each(|text| drop(Session::new(&store).rows(text)));
    store
}

/// The types, positions and data of events.
fn made(rows: &[Row]) -> Vec<String> {
    let made = |row: &Row| match row {
        Row::Event { event, .. } => format!("{} {} {}", event.position, event.kind, event.data),
        other => panic!("{other:?}"),
    };
    rows.iter().map(made).collect()
}

fn refusal(session: &Session, text: &str) -> Refusal {
    match session.run(text) {
        Err(error @ Error::Refused(_)) => {
            assert!(error.is_refused());
            let Error::Refused(refusal) = error else { unreachable!() };
            *refusal
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_verb_checks_and_then_records() {
    for memtable in [1, 3, 100] {
        let store = documents(memtable);
        let session = Session::new(&store);
        let head = store.snapshot().head();
        let refused = refusal(&session, "PERFORM Approve Document 42 {note: 'ok'} BY User ann");
        assert_eq!(refused.why, "not submitted yet");
        assert_eq!(refused.condition.as_deref(), Some("state.status = 'submitted'"));
        assert_eq!(refused.values, [("state.status".to_owned(), "draft".into())]);
        assert_eq!((refused.verb.as_str(), refused.entity.as_str()), ("Approve", "Document 42"));
        assert_eq!(store.snapshot().head(), head, "nothing was written");

        let rows = session.rows("PERFORM Submit Document 42 BY User bob AT '2024-01-01' META {ip: '::1'}");
        assert_eq!(
            made(&rows),
            [format!(r#"#5 Document.submitted {{"status":"submitted","by":"bob","at":"{NOW}"}}"#)]
        );
        let line = serde_json::to_string(&rows[0]).unwrap();
        for part in [r#""actor":{"type":"User","id":"bob"}"#, r#""metadata":{"ip":"::1"}"#, r#""version":2"#]
        {
            assert!(line.contains(part), "{line}");
        }

        let bob = refusal(&session, "PERFORM Approve Document 42 {note: 'ok'} BY User bob");
        assert_eq!(bob.why, "actor.state.role = 'editor' OR actor.type = 'Admin'");
        assert_eq!(
            bob.values,
            [("actor.state".to_owned(), crate::value::Value::Null), ("actor.type".to_owned(), "User".into())]
        );
        let own = refusal(&session, "PERFORM Approve Document 42 {note: 'ok'} BY Admin bob");
        assert_eq!(
            own.values,
            [("actor.id".to_owned(), "bob".into()), ("state.by".to_owned(), "bob".into())]
        );
        let own = session.error("PERFORM Approve Document 42 {note: 'ok'} BY Admin bob");
        assert_eq!(
            own,
            r#"refused: Approve Document 42: expected actor.id != state.by; actor.id is "bob", state.by is "bob""#
        );

        let text = "PERFORM Approve Document 42 {note: 'ok'} BY User ann META {ip: '::2', level: 9} KEY 'k' CAUSED BY #5";
        let rows = session.rows(text);
        assert_eq!(
            made(&rows),
            [
                r#"#6 Document.approved {"status":"approved","note":"ok"}"#,
                r#"#7 Mail.requested {"to":"bob"}"#,
            ]
        );
        let lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
        assert!(lines[0].contains(r#""metadata":{"ip":"::2","level":1}"#), "{}", lines[0]);
        assert!(
            lines[0].contains(r#""key":"k""#) && lines[0].contains(r#""cause":{"position":5}"#),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains(r#""metadata":{"ip":"::2","level":9}"#), "{}", lines[1]);
        assert!(lines[1].contains(r#""target":{"type":"Mail","id":"1042"}"#), "{}", lines[1]);
        assert!(lines[1].contains(r#""type":"Document","id":"42""#), "the producer: {}", lines[1]);
        assert_eq!(session.positions("EVENTS BY approver = 'ann'"), [6]);
        // The same key gives back the first outcome, though the verb would be refused now.
        assert_eq!(session.positions(text), [6, 7]);
        assert_eq!(store.snapshot().head().0, 7);
        assert_eq!(crate::store::verify::verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
    }
}

#[test]
fn who_may_act_is_checked_by_kind() {
    let store = documents(3);
    let mut session = Session::new(&store);
    let refused = refusal(&session, "PERFORM Submit Document 42");
    assert_eq!(refused.why, "expected an actor of kind User, found nobody");
    let refused = refusal(&session, "PERFORM Approve Document 42 BY Clerk 3");
    assert_eq!(refused.why, "expected an actor of kind User or Admin, found Clerk 3");
    assert_eq!(refused.condition.as_deref(), Some("BY User, Admin"));
    session.actor = Some(Entity::from(("User", "ann")));
    session.rows("PERFORM Submit Document 42");
    session.rows("DEFINE VERB Touch ON Document");
    session.actor = None;
    assert_eq!(made(&session.rows("PERFORM Touch Document 42")), ["#7 Document.touched {}"]);
}

#[test]
fn the_first_case_that_holds_wins() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows(
        "DEFINE VERB Withdraw ON Account REQUIRE data.amount > 0 ELSE 'nothing to withdraw' \
         WHEN state.balance >= data.amount EMIT withdrawn {balance: state.balance - data.amount} \
         WHEN state.gold REQUIRE data.amount <= 100 ELSE 'too much even so' \
           EMIT overdrawn {balance: state.balance - data.amount} EMIT Fee.due ON Fee (target.id) {version: version} \
         WHEN state.closed = TRUE",
    );
    session.rows("EMIT Account.opened 7 {balance: 50}");
    let ask = |text: &str| made(&session.rows(&format!("PERFORM Withdraw Account {text}")));
    let no = |text: &str| refusal(&session, &format!("PERFORM Withdraw Account {text}"));
    assert_eq!(ask("7 {amount: 20}"), [r#"#3 Account.withdrawn {"balance":30}"#]);
    assert_eq!(no("7 {amount: 0}").why, "nothing to withdraw");
    // What is missing is null, and null does not hold.
    assert_eq!(no("7").why, "nothing to withdraw");
    let refused = no("7 {amount: 31}");
    assert_eq!(refused.why, "none of its cases holds");
    assert_eq!(
        refused.condition.as_deref(),
        Some("WHEN state.balance >= data.amount, WHEN state.gold, WHEN state.closed = TRUE")
    );
    let names: Vec<&str> = refused.values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["state.balance", "data.amount", "state.gold", "state.closed"]);
    let nobody = no("8 {amount: 1}");
    assert_eq!(nobody.values[0], ("state".to_owned(), crate::value::Value::Null));
    session.rows("EMIT Account.promoted 7 {gold: TRUE}");
    assert_eq!(no("7 {amount: 101}").why, "too much even so");
    assert_eq!(
        ask("7 {amount: 31}"),
        [r#"#5 Account.overdrawn {"balance":-1}"#, r#"#6 Fee.due {"version":3}"#]
    );
    session.rows("EMIT Account.closed 9 {closed: TRUE}");
    // Without EMIT the participle, and the arguments.
    assert_eq!(ask("9 {amount: 1}"), [r#"#8 Account.withdrawn {"amount":1}"#]);
}

#[test]
fn what_cannot_be_written_refuses_the_verb() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("EMIT Account.opened 7 {owner: {name: 'ann'}, limit: 'x'}");
    for (emit, why) in [
        ("EMIT a {x: data.x}", "EMIT a {x: data.x}: data.x is missing; coalesce(data.x, NULL) says"),
        ("EMIT a {x: state.limit + 1}", "expected numbers, with a result that 64 bits hold, found"),
        ("EMIT a {x: actor.state.age + 1}", "actor.state.age is missing; coalesce(actor.state.age, 0)"),
        ("EMIT a WITH state.limit", "data: expected an object, found text"),
        ("EMIT a WITH state.nothing", "state.nothing is missing"),
        ("EMIT a META {x: data.x}", "data.x is missing"),
        (
            "EMIT a ON User (state.owner)",
            "ON User (state.owner): an id: expected a text or a whole number, found an object",
        ),
        ("EMIT a ON User (data.user)", "ON User (data.user): data.user is missing"),
        (
            "EMIT a ON User (actor.id)",
            "ON User (actor.id): an id: expected a text or a whole number, found null",
        ),
        ("EMIT a ON User (state.limit + 0.5)", "expected numbers"),
        ("EMIT a INDEX BY x", "index by: expected a member `x` in data"),
        (
            "EMIT a INDEX BY x = state.owner",
            "the index value x: expected text, a number or a boolean, found an object",
        ),
        ("EMIT a INDEX BY x = data.x", "INDEX BY x: data.x is missing"),
    ] {
        session.rows(&format!("DEFINE VERB Act ON Account {emit} EMIT b"));
        let head = store.snapshot().head();
        let refused = refusal(&session, "PERFORM Act Account 7");
        assert!(refused.why.contains(why), "{emit}: {}", refused.why);
        assert!(refused.why.starts_with("EMIT a"), "{}", refused.why);
        assert_eq!(store.snapshot().head(), head);
    }
    session
        .rows("DEFINE VERB Act ON Account EMIT a WITH merge(state, {n: version, m: metadata.m, k: target})");
    assert_eq!(
        made(&session.rows("PERFORM Act Account 7 META {m: 1}")),
        [r#"#16 Account.a {"owner":{"name":"ann"},"limit":"x","n":1,"m":1,"k":{"type":"Account","id":"7"}}"#]
    );
    session.rows("DEFINE VERB Act ON Account EMIT a EMIT b EXPECT VERSION 4 EMIT Log.c ON Log 1 EXPECT NEW");
    assert!(session.error("PERFORM Act Account 7").contains("conflict: Account 7: expected version 4"));
    session.rows("EMIT Account.noted 7");
    assert_eq!(session.positions("PERFORM Act Account 7"), [19, 20, 21]);
}

#[test]
fn now_is_the_moment_of_the_commit() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Remind ON Loan REQUIRE time(state.due) < NOW ELSE 'not due' REQUIRE time(state.due) > -30d EMIT reminded {at: NOW}");
    session.rows("EMIT Loan.granted 1 {due: '2024-05-20'}");
    session.rows("EMIT Loan.granted 2 {due: '2024-06-20'}");
    session.rows("EMIT Loan.granted 3 {due: '2024-04-20'}");
    let rows = session.rows("PERFORM Remind Loan 1");
    let [Row::Event { event, .. }] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(event.data.get("at"), Some(event.recorded.to_string().into()));
    let refused = refusal(&session, "PERFORM Remind Loan 2");
    assert_eq!(
        refused.values,
        [("state.due".to_owned(), "2024-06-20".into()), ("NOW".to_owned(), NOW.into())]
    );
    assert_eq!(refusal(&session, "PERFORM Remind Loan 3").why, "time(state.due) > -30d");
}

#[test]
fn verbs_and_events_are_one_group() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Withdraw ON Account REQUIRE state.balance >= data.amount EMIT withdrawn {balance: state.balance - data.amount}");
    session.rows(
        "DEFINE VERB Deposit ON Account EMIT deposited {balance: coalesce(state.balance, 0) + data.amount}",
    );
    session.rows("EMIT Account.opened 1 {balance: 100}");
    let transfer = "ATOMIC (PERFORM Withdraw Account 1 {amount: $n}; EMIT Log.noted 1 {n: $n}; PERFORM Deposit Account 2 {amount: $n}) \
                    BY User ann KEY $key";
    let mut session = Session::new(&store);
    session.parameters = Parameters::from([("n", crate::value::Value::from(60)), ("key", "a".into())]);
    let rows = session.rows(transfer);
    assert_eq!(
        made(&rows),
        [
            r#"#4 Account.withdrawn {"balance":40}"#,
            r#"#5 Log.noted {"n":60}"#,
            r#"#6 Account.deposited {"balance":60}"#,
        ]
    );
    assert!(serde_json::to_string(&rows[2]).unwrap().contains(r#""actor":{"type":"User","id":"ann"}"#));
    assert_eq!(session.positions(transfer), [4, 5, 6]);
    session.parameters = Parameters::from([("n", crate::value::Value::from(60)), ("key", "b".into())]);
    assert_eq!(refusal(&session, transfer).values[0], ("state.balance".to_owned(), 40.into()));
    assert_eq!(store.snapshot().head().0, 6);
    // A verb sees what is before it in its own group.
    session.parameters = Parameters::new();
    let twice = "ATOMIC (PERFORM Withdraw Account 1 {amount: 30}; PERFORM Withdraw Account 1 {amount: 30})";
    assert_eq!(refusal(&session, twice).values[0], ("state.balance".to_owned(), 10.into()));
    let noted = "ATOMIC (PERFORM Deposit Account 1 {amount: 30, at: NOW}; EMIT Log.noted NEW) KEY 'c'";
    assert_eq!(session.positions(noted), [7, 8]);
    assert_eq!(session.positions(noted), [7, 8], "what NOW and NEW are is not what is said");
    assert!(session.error(&noted.replace("30", "31")).contains("key 'c'"));
    for (text, expected) in [
        (
            "ATOMIC (PERFORM Deposit Account 1 {amount: 1} KEY 'd'; EMIT Log.noted 1)",
            "say one KEY behind the brackets",
        ),
        (
            "ATOMIC (PERFORM Deposit Account 1 {amount: 1}; EMIT Log.noted 1 KEY 'd')",
            "one key for all of them",
        ),
        ("PERFORM Deposit Account 1 {amount: 1} INDEX BY amount", "the EMIT of the verb says it"),
    ] {
        assert!(session.error(text).contains(expected), "{text}: {}", session.error(text));
    }
    assert!(
        session
            .error("PERFORM Deposit Account 1 {amount: 1} EXPECT VERSION 9")
            .contains("expected version 9")
    );
    assert_eq!(session.positions("PERFORM Deposit Account 1 {amount: 1} EXPECT EXISTS"), [9]);
}

#[test]
fn what_is_not_there_is_told() {
    let store = documents(3);
    let session = Session::new(&store);
    for (text, expected) in [
        (
            "PERFORM Aprove Document 42",
            "no verb 'Aprove' is defined; SHOW VERBS tells which are (did you mean Approve?)",
        ),
        ("PERFORM Pay Document 42", "no verb 'Pay' is defined"),
        ("PERFORM Approve Order 42", "Approve is a verb of Document, not of Order (did you mean Document?)"),
        ("DROP VERB Aprove", "no verb 'Aprove' is defined (did you mean Approve?)"),
        ("DESCRIBE Aprove", "(did you mean Approve?)"),
        (
            "DEFINE VERB Pay ON Order REQUIRE EXISTS state.x",
            "what is there is not null (did you mean state.x IS NOT NULL?)",
        ),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_definition_that_cannot_be_meant_is_an_error() {
    let store = documents(3);
    let session = Session::new(&store);
    for (rest, expected) in [
        (
            "x ON Document REQUIRE status = 'a'",
            "a verb sees no 'status'; it sees state, data, metadata, actor, target, version",
        ),
        ("x ON Document REQUIRE status = 'a'", "(did you mean state.status or data.status?)"),
        ("x ON Document REQUIRE id = 'a'", "(did you mean target.id?)"),
        ("x ON Document REQUIRE recorded < NOW", "(did you mean NOW?)"),
        ("x ON Document REQUIRE acto.id = 'a'", "(did you mean actor?)"),
        (
            "x ON Document REQUIRE actor.role = 'a'",
            "actor has no 'role'; it has type, id, state (did you mean actor.state.role?)",
        ),
        ("x ON Document REQUIRE actor.stat.a = 1", "(did you mean state?)"),
        ("x ON Document REQUIRE target.state.a = 1", "target has no 'state'; it has type, id"),
        ("x ON Document REQUIRE version.a = 1", "version has no parts"),
        ("x ON Document REQUIRE count() > 1", "a verb sees what they made: state"),
        ("x ON Document REQUIRE TRUE", "REQUIRE TRUE is always the same"),
        ("x ON Document REQUIRE 1 < 2", "REQUIRE 1 < 2 is always the same"),
        ("x ON Document WHEN FALSE EMIT a", "WHEN FALSE is always the same: WHEN TRUE is for what is left"),
        (
            "x ON Document WHEN TRUE EMIT a WHEN data.a = 1",
            "nothing comes as far as WHEN data.a = 1: WHEN TRUE before it",
        ),
        (
            "x ON Document WHEN data.a = 1 EMIT a WHEN data.a = 1 EMIT b",
            "nothing comes as far as WHEN data.a = 1",
        ),
        (
            "x ON Document REQUIRE data.a = 1 AND Order 1",
            "a condition is true or false, and Order 1 is an entity",
        ),
        ("x ON Document EMIT '$index.defined'", "a type that begins with $ is the database's own"),
        ("x ON Document EMIT 'a b.'", "names joined by single dots"),
        ("x ON `$index`", "a kind that begins with $"),
        ("x ON Document BY User, User", "BY User stands twice"),
        ("`$x` ON Document", "a name that begins with $ is the database's own"),
        ("`a.b*` ON Document", "no event is named after `a.b*`: say what it EMITs"),
        (
            "Storniere ON Document",
            "what has happened after Storniere is known of English verbs alone: say what it EMITs, as in EMIT Document.done",
        ),
        ("Prüfe ON Document", "what has happened after Prüfe is known of English verbs alone"),
        ("x ON Document EMIT a BY User 1", "BY belongs to PERFORM"),
        ("x ON Document EMIT a AT NOW", "AT belongs to PERFORM"),
        ("x ON Document EMIT a KEY 'k'", "KEY belongs to PERFORM"),
        ("x ON Document EMIT a CAUSED BY #1", "CAUSED BY belongs to PERFORM"),
        ("x ON Document EMIT a EXPECT NONE ('Order.*')", "EXPECT NONE belongs to PERFORM"),
        (
            "x ON Document EMIT a ON User (actor)",
            "an id: expected a text or a whole number, found an entity (did you mean actor.id?)",
        ),
        ("x ON Document EMIT a ON User (1.5)", "an id: expected a text or a whole number, found"),
        ("x ON Document EMIT a WITH 5", "WITH: expected an object"),
        ("x ON Document EMIT a INDEX BY actor = 1", "expected a name that is no field of the event"),
        ("User ON Document", "User is a kind of entities: a verb needs a name of its own"),
        ("Approve ON Order", "Approve is a verb of Document, defined at #2: DROP VERB Approve first"),
    ] {
        let error = session.error(&format!("DEFINE VERB {rest}"));
        assert!(error.contains(expected), "{rest}: {error}");
    }
    assert!(session.error("DEFINE ENTITY Approve").contains("Approve is a verb, defined at #2"));
    assert_eq!(store.snapshot().head().0, 4);
}

#[test]
fn a_definition_is_an_event_and_ends_when_it_is_dropped() {
    let store = store(2);
    let mut session = Session::new(&store);
    session.actor = Some(Entity::from(("User", "ann")));
    session.parameters = Parameters::from([
        ("n", crate::value::Value::from(5)),
        ("why", "too few".into()),
        ("box", "b 1".into()),
    ]);
    let text = "define verb Pack on Order by User require data.n >= $n else $why when data.n < $n * 2 \
                emit packed {n: data.n, least: $n} meta {why: $why} index by n = $n expect version $n \
                emit Box.filled on Box $box with {x: $n}";
    let line = session.lines(text).remove(0);
    let canonical = "DEFINE VERB Pack ON Order BY User REQUIRE data.n >= 5 ELSE 'too few' WHEN data.n < 5 * 2 \
                     EMIT packed {n: data.n, least: 5} META {why: 'too few'} EXPECT VERSION 5 INDEX BY n = 5 \
                     EMIT Box.filled ON Box 'b 1' WITH {x: 5}";
    assert!(line.contains(canonical), "{line}");
    assert!(
        line.contains(r#""type":"$verb.defined""#)
            && line.contains(r#""target":{"type":"$verb","id":"Pack"}"#)
    );
    assert!(session.lines(text)[0].contains(r#""repeated":true"#));
    assert_eq!(store.snapshot().head().0, 1);
    session.parameters = Parameters::new();
    assert_eq!(
        session.lines("SHOW VERBS"),
        [
            r#"{"name":"Pack","on":"Order","by":"User","emits":"Order.packed, Box.filled","defined":1,"state":"ready"}"#
        ]
    );
    let described = session.lines("DESCRIBE Pack").remove(0);
    for part in [
        r#"{"verb":"Pack","definition":"DEFINE VERB Pack ON Order"#,
        r#""position":1"#,
        r#""by":{"type":"User","id":"ann"},"before":0"#,
        r#""on":"Order","actors":["User"],"requires":["data.n >= 5"],"whens":["data.n < 5 * 2"],"emits":["Order.packed","Box.filled"]"#,
    ] {
        assert!(described.contains(part), "{part}: {described}");
    }
    session.rows("EMIT Order.placed 1");
    assert!(session.lines("DESCRIBE Order")[0].starts_with(r#"{"verb":"Pack""#));
    session.rows("DROP VERB Pack");
    assert_eq!(session.lines("SHOW VERBS"), [""; 0]);
    assert!(session.error("PERFORM Pack Order 1 {n: 5}").contains("no verb 'Pack' is defined"));
    session.rows("DEFINE VERB Pack ON Parcel");
    assert_eq!(made(&session.rows("PERFORM Pack Parcel 1")), ["#5 Parcel.packed {}"]);
    session.rows("DEFINE VERB Pack ON Parcel EMIT boxed");
    assert_eq!(made(&session.rows("PERFORM Pack Parcel 1")), ["#7 Parcel.boxed {}"]);
}

#[test]
fn what_happens_without_a_word_is_in_the_log() {
    let store = store(2);
    let session = Session::new(&store);
    for (said, kept) in [
        ("Pay ON Order", "Pay ON Order EMIT paid"),
        ("Pay ON Order REQUIRE state.due > 0", "Pay ON Order REQUIRE state.due > 0 EMIT paid"),
        (
            "Pay ON Order WHEN state.due = 0 EMIT settled WHEN state.open REQUIRE data.n > 0 WHEN TRUE",
            "Pay ON Order WHEN state.due = 0 EMIT settled WHEN state.open REQUIRE data.n > 0 EMIT paid WHEN TRUE EMIT paid",
        ),
        ("`Pay it` ON `My order`", "`Pay it` ON `My order` EMIT 'paid it'"),
        ("`Set.up` ON Order", "`Set.up` ON Order EMIT Order.set.up"),
    ] {
        let line = session.lines(&format!("DEFINE VERB {said}")).remove(0);
        assert!(line.contains(&format!(r#""definition":"DEFINE VERB {kept}""#)), "{said}: {line}");
        assert!(session.lines(&format!("DEFINE VERB {said}"))[0].contains(r#""repeated":true"#), "{said}");
        assert!(session.lines(&format!("DEFINE VERB {kept}"))[0].contains(r#""repeated":true"#), "{said}");
    }
}

#[test]
fn a_stray_event_takes_no_name_from_a_verb() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Approve ON Order");
    session.rows("EMIT Approve.done 1");
    session.rows("DEFINE VERB Approve ON Order EMIT approved {by: actor.id}");
    assert_eq!(made(&session.rows("PERFORM Approve Order 1 BY User 7")), [r#"#4 Order.approved {"by":"7"}"#]);
    session.rows("DROP VERB Approve");
    assert!(session.error("DEFINE VERB Approve ON Order").contains("Approve is a kind of entities"));
}

#[test]
fn a_known_key_gives_the_first_outcome_whatever_there_is_by_now() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Pay ON Order");
    session.rows("DEFINE INDEX coupon ON 'Order.*' AS data.coupon");
    let one = "PERFORM Pay Order 1 {n: 1} KEY 'k1'";
    let two = "ATOMIC (PERFORM Pay Order 2; EMIT Mail.sent 1) KEY 'k2'";
    let guarded = "PERFORM Pay Order 3 EXPECT NONE ('Order.*' BY coupon = 'X') KEY 'k3'";
    let emitted = "ATOMIC (EMIT Order.shipped 3 KEY 'k4' EXPECT NONE ('Order.*' BY coupon = 'X'); EMIT Mail.sent 2 KEY 'k5')";
    let all = [(one, vec![3]), (two, vec![4, 5]), (guarded, vec![6]), (emitted, vec![7, 8])];
    for (text, positions) in &all {
        assert_eq!(session.positions(text), *positions, "{text}");
    }
    for end in ["DROP VERB Pay", "DROP INDEX coupon"] {
        session.rows(end);
        for (text, positions) in &all {
            assert_eq!(session.positions(text), *positions, "{text}");
            assert!(
                session
                    .lines(&format!("EXPLAIN {text}"))
                    .last()
                    .unwrap()
                    .contains("its first outcome is given back")
            );
        }
    }
    session.rows("DEFINE VERB Pay ON Parcel");
    assert_eq!(session.positions(one), [3]);
    assert!(session.run("PERFORM Pay Order 1 {n: 2} KEY 'k1'").unwrap_err().is_conflict());
    // With a new key, it is what is there that counts.
    assert!(session.error("PERFORM Pay Order 1 KEY 'k9'").contains("Pay is a verb of Parcel"));
    session.rows("DROP VERB Pay");
    for (text, expected) in [
        ("PERFORM Pay Order 1 KEY 'k9'", "no verb 'Pay' is defined"),
        ("ATOMIC (PERFORM Pay Order 2; EMIT Mail.sent 1) KEY 'k9'", "no verb 'Pay' is defined"),
        ("EMIT Order.shipped 3 KEY 'k9' EXPECT NONE ('Order.*' BY coupon = 'X')", "no index answers it"),
        (
            "ATOMIC (EMIT Order.shipped 3 KEY 'k4' EXPECT NONE ('Order.*' BY coupon = 'X'); EMIT Mail.sent 2 KEY 'k9')",
            "no index answers it",
        ),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn verbs_of_the_program_are_told_too() {
    #[derive(Debug)]
    struct Nothing;
    impl crate::store::verb::VerbHandler for Nothing {
        fn kind(&self) -> &str {
            "Account"
        }
        fn sees_actor(&self) -> bool {
            false
        }
        fn decide(
            &self,
            _: &crate::store::verb::PerformRequest,
            _: &mut dyn crate::store::verb::CommitContext,
        ) -> Result<Vec<crate::event::NewEvent>> {
            Ok(Vec::new())
        }
    }
    let store = documents(3);
    let session = Session::new(&store);
    store.add_verb("Withdraw", std::sync::Arc::new(Nothing)).unwrap();
    store.add_verb("Deposit", std::sync::Arc::new(Nothing)).unwrap();
    let shown = session.lines("SHOW VERBS");
    assert_eq!(shown.len(), 4);
    assert_eq!(
        shown[2],
        r#"{"name":"Deposit","on":"Account","by":null,"emits":null,"defined":null,"state":"added by the program"}"#
    );
    let (rows, notices) = session.run("DESCRIBE Withdraw").unwrap();
    assert_eq!(
        serde_json::to_string(&rows[0]).unwrap(),
        r#"{"verb":"Withdraw","on":"Account","state":"added by the program"}"#
    );
    assert_eq!(notices, ["Withdraw is a verb of this program: what it decides is not in the log"]);
    session.rows("EMIT Account.opened 1");
    assert!(session.lines("DESCRIBE Account")[..2].iter().all(|line| line.contains("added by the program")));
    for text in ["PERFORM Witdraw Account 1", "DESCRIBE Witdraw"] {
        assert!(session.error(text).contains("(did you mean Withdraw?)"), "{text}");
    }
    assert!(session.error("DROP VERB Withdraw").contains("is a verb of this program"));
}

#[test]
fn a_dry_run_tells_what_would_come_of_it_and_writes_nothing() {
    let store = documents(3);
    let session = Session::new(&store);
    let head = store.snapshot().head();
    let told = |text: &str| {
        let plan = |row: &Row| match row {
            Row::Fields(fields) => fields["plan"].as_text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        session.rows(&format!("EXPLAIN {text}")).iter().map(plan).collect::<Vec<_>>()
    };
    assert_eq!(
        told("PERFORM Approve Document 42 BY User ann"),
        [
            "append what Approve of Document 42 makes at the commit by User ann",
            r#"  REQUIRE state.status = 'submitted' does not hold: state.status is "draft""#,
            r#"  would be refused: Approve Document 42: not submitted yet (state.status = 'submitted'); state.status is "draft""#,
        ]
    );
    assert_eq!(
        told("PERFORM Approve Document 42"),
        [
            "append what Approve of Document 42 makes at the commit",
            "  would be refused: Approve Document 42: expected an actor of kind User or Admin, found nobody (BY User, Admin)",
        ]
    );
    // The second sees what the first would make.
    assert_eq!(
        told("ATOMIC (PERFORM Submit Document 42 BY User bob; PERFORM Approve Document 42 {note: 'x'} BY User ann) KEY 'k'"),
        [
            "append all of it or nothing".to_owned(),
            "  what Submit of Document 42 makes at the commit by User bob".to_owned(),
            "  what Approve of Document 42 makes at the commit by User ann".to_owned(),
            "  once for the key 'k'".to_owned(),
            r#"  REQUIRE state.status = 'draft' holds: state.status is "draft""#.to_owned(),
            "  would be Document.submitted at #5".to_owned(),
            format!(r#"    data {{"status":"submitted","by":"bob","at":"{NOW}"}}"#),
            "    version 2 of Document 42".to_owned(),
            r#"  REQUIRE state.status = 'submitted' holds: state.status is "submitted""#.to_owned(),
            r#"  REQUIRE actor.state.role = 'editor' OR actor.type = 'Admin' holds: actor.state.role is "editor", actor.type is "User""#
                .to_owned(),
            r#"  REQUIRE actor.id != state.by holds: actor.id is "ann", state.by is "bob""#.to_owned(),
            "  would be Document.approved at #6".to_owned(),
            r#"    data {"status":"approved","note":"x"}"#.to_owned(),
            "    version 3 of Document 42".to_owned(),
            "  would be Mail.requested at #7".to_owned(),
            r#"    data {"to":"bob"}"#.to_owned(),
            "    version 1 of Mail 1042".to_owned(),
            "  the key 'k' is new".to_owned(),
        ]
    );
    assert_eq!(store.snapshot().head(), head);
    assert!(session.error("EXPLAIN ANALYZE PERFORM Submit Document 42").contains("EXPLAIN ANALYZE"));
}

mod naively {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::lang::generator::{Choices, Deriver, Random};
    use crate::lang::grammar::Grammar;

    #[derive(Debug, Clone)]
    enum Step {
        Deposit(u8, i64),
        Withdraw(u8, i64),
        Transfer(u8, u8, i64),
        Checkpoint,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (account, amount) = (0..3u8, -5..60i64);
        prop_oneof![
            (account.clone(), amount.clone()).prop_map(|(account, amount)| Step::Deposit(account, amount)),
            (account.clone(), amount.clone()).prop_map(|(account, amount)| Step::Withdraw(account, amount)),
            (account.clone(), account, amount)
                .prop_map(|(from, to, amount)| Step::Transfer(from, to, amount)),
            Just(Step::Checkpoint),
        ]
    }

    /// Balances, and what they allow.
    #[derive(Debug, Clone, Default)]
    struct Plain(BTreeMap<u8, i64>);

    impl Plain {
        fn deposit(&mut self, account: u8, amount: i64) -> bool {
            let allowed = amount > 0;
            if allowed {
                *self.0.entry(account).or_default() += amount;
            }
            allowed
        }

        fn withdraw(&mut self, account: u8, amount: i64) -> bool {
            let balance = self.0.get(&account).copied();
            let allowed = amount > 0 && balance.is_some_and(|balance| balance >= amount);
            if allowed {
                *self.0.entry(account).or_default() -= amount;
            }
            allowed
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn verbs_decide_as_a_plain_model_does(steps in prop::collection::vec(step(), 1..40), memtable in 1usize..12) {
            let store = store(memtable);
            let session = Session::new(&store);
            session.rows("DEFINE ENTITY Account ON deposited SET balance = coalesce(state.balance, 0) + data.amount \
                          ON withdrawn SET balance = state.balance - data.amount");
            session.rows("DEFINE VERB Deposit ON Account REQUIRE data.amount > 0");
            session.rows("DEFINE VERB Withdraw ON Account REQUIRE data.amount > 0 \
                          WHEN state.balance < data.amount REQUIRE version < 0 \
                          WHEN state.balance >= data.amount EMIT withdrawn {amount: data.amount}");
            let mut plain = Plain::default();
            for step in &steps {
                let (text, allowed) = match step {
                    Step::Deposit(account, amount) => {
                        let text = format!("PERFORM Deposit Account {account} {{amount: {amount}}}");
                        (text, plain.deposit(*account, *amount))
                    }
                    Step::Withdraw(account, amount) => {
                        let text = format!("PERFORM Withdraw Account {account} {{amount: {amount}}}");
                        (text, plain.withdraw(*account, *amount))
                    }
                    Step::Transfer(from, to, amount) => {
                        let mut after = plain.clone();
                        let allowed = after.withdraw(*from, *amount) && after.deposit(*to, *amount);
                        if allowed {
                            plain = after;
                        }
                        let text = format!(
                            "ATOMIC (PERFORM Withdraw Account {from} {{amount: {amount}}}; \
                             PERFORM Deposit Account {to} {{amount: {amount}}})"
                        );
                        (text, allowed)
                    }
                    Step::Checkpoint => ("CHECKPOINT".to_owned(), true),
                };
                // The dry run says so before.
                if !matches!(step, Step::Checkpoint) {
                    let told = session.lines(&format!("EXPLAIN {text}")).join("\n");
                    prop_assert_eq!(!told.contains("would be refused"), allowed, "{}: {}", text, told);
                }
                let head = store.snapshot().head();
                match session.run(&text) {
                    Ok(_) => prop_assert!(allowed, "{}", text),
                    Err(Error::Refused(_)) => {
                        prop_assert!(!allowed, "{}", text);
                        prop_assert_eq!(store.snapshot().head(), head);
                    }
                    Err(other) => prop_assert!(false, "{}: {}", text, other),
                }
            }
            for account in 0..3 {
                let found = state(&session.rows(&format!("AT Account {account}")));
                let expected = plain.0.get(&account);
                let expected = expected.map_or("null".to_owned(), |balance| format!(r#"{{"balance":{balance}}}"#));
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(crate::store::verify::verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
        }
    }

    /// Whatever the grammar makes: it is refused, or it is kept in a text that means the same.
    #[test]
    fn any_definition_is_refused_or_understood() {
        let grammar = Grammar::read();
        let mut deriver = Deriver::new(&grammar, Random::new(7));
        let store = store(100);
        let mut session = Session::new(&store);
        session.parameters = Parameters::from([("p", 5), ("where", 7)]);
        let mut kept = 0;
        for _ in 0..4000 {
            let depth = 3 + deriver.choices.below(8);
            let text = format!("DEFINE {}", deriver.sentence("verb", depth).join(" "));
            let snapshot = store.snapshot();
            let Ok(Plan::Write(crate::plan::WritePlan::Define(verb))) = session.plan(&text, &snapshot) else {
                continue;
            };
            let again = lang::parse_one(&verb.text).unwrap_or_else(|error| panic!("{text}\n{error}"));
            assert_eq!(again.statement.to_string(), verb.text, "{text}");
            crate::exec::verb::compile(&verb.text).unwrap_or_else(|error| panic!("{text}\n{error}"));
            kept += 1;
        }
        assert!(kept > 100, "{kept}");
    }
}
