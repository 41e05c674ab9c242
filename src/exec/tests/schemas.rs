//! DEFINE EVENT: what is refused, what is warned of, what is told.

use super::*;
use crate::error::{MemberMismatch, SchemaMismatch};

const PLACED: &str = "DEFINE EVENT Order.placed {customer: text, total: number CHECK data.total >= 0, items: [text], note: text?}";

fn mismatch(session: &Session, text: &str) -> SchemaMismatch {
    match session.run(text) {
        Err(Error::Schema(mismatch)) => *mismatch,
        other => panic!("{text}: {other:?}"),
    }
}

/// Path, expected, found.
fn members(mismatch: &SchemaMismatch) -> Vec<(&str, &str, &str)> {
    let members = mismatch.members.iter();
    members
        .map(|MemberMismatch { path, expected, found }| (path.as_str(), expected.as_str(), found.as_str()))
        .collect()
}

#[test]
fn what_does_not_fit_is_refused_with_path_expected_and_found() {
    for memtable in [1, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        session.rows(PLACED);
        session.rows("EMIT Order.placed 1 {customer: 'ann', total: 0, items: [], more: 1}");
        session.rows("EMIT Order.placed 2 {customer: 'ann', total: 1.5, items: ['a'], note: NULL}");
        session.rows("EMIT Order.paid 1 {total: -1}");
        let head = store.snapshot().head();
        let found =
            mismatch(&session, "EMIT Order.placed 3 {customer: 7, total: -5, items: ['a', 5], note: {a: 1}}");
        assert_eq!(
            members(&found),
            [
                ("data.customer", "text", "a number 7"),
                ("data.total", "data.total >= 0", "data.total = -5"),
                ("data.items[1]", "text", "a number 5"),
                ("data.note", "text", "an object"),
            ]
        );
        assert_eq!((found.version, found.definition), (1, Some(1)));
        let error = session.error("EMIT Order.placed 3");
        assert_eq!(
            error,
            "refused: Order.placed does not fit version 1 of its schema, defined at #1: data.customer: expected text, found \
             nothing; data.total: expected a number, found nothing; data.items: expected an array, found nothing"
        );
        assert_eq!(store.snapshot().head(), head, "nothing was written");
        session.rows("DROP EVENT Order.placed");
        session.rows("EMIT Order.placed 3");
    }
}

#[test]
fn one_that_does_not_fit_takes_its_group_with_it() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows(PLACED);
    let head = store.snapshot().head();
    mismatch(&session, "ATOMIC (EMIT Order.paid 1; EMIT Order.placed 1)");
    assert_eq!(store.snapshot().head(), head);
}

#[test]
fn strict_refuses_what_it_does_not_name_at_any_depth() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT A.b {a: {b: integer?}?, c: [{d: boolean}]?} STRICT");
    for fits in ["{}", "{a: {}}", "{a: {b: 1}}", "{a: NULL, c: []}", "{c: [{d: TRUE}]}"] {
        session.rows(&format!("EMIT A.b 1 {fits}"));
    }
    for (wrong, path) in [
        ("{x: 1}", "data.x"),
        ("{a: {b: 1, c: 2}}", "data.a.c"),
        ("{c: [{d: TRUE}, {d: TRUE, `e f`: 1}]}", "data.c[1].`e f`"),
    ] {
        let found = mismatch(&session, &format!("EMIT A.b 1 {wrong}"));
        assert_eq!(members(&found)[0].0, path);
    }
}

#[test]
fn each_type_of_data_takes_what_it_says() {
    let values = [
        ("NULL", ""),
        ("TRUE", "any boolean"),
        ("7", "any number integer"),
        ("18446744073709551615", "any number integer"),
        ("1.0", "any number"),
        ("'x'", "any text"),
        ("'2024-01-01T10:00:00Z'", "any text time"),
        ("'2024-01-01'", "any text time"),
        ("[]", "any array [text]"),
        ("['x']", "any array [text]"),
        ("[1]", "any array"),
        ("[NULL]", "any array"),
        ("{}", "any object"),
        ("{a: 1}", "any object {a:number}"),
    ];
    let store = store(100);
    let session = Session::new(&store);
    for of in
        ["any", "text", "number", "integer", "boolean", "time", "object", "array", "[text]", "{a:number}"]
    {
        for (optional, sign) in [(false, ""), (true, "?")] {
            session.rows(&format!("DEFINE EVENT A.b {{x: {of}{sign}}}"));
            for (value, fitting) in values {
                let fits = fitting.split(' ').any(|one| one == of) || optional && value == "NULL";
                let answer = session.run(&format!("EMIT A.b 1 {{x: {value}}}"));
                assert_eq!(answer.is_ok(), fits, "{of}{sign} of {value}: {answer:?}");
            }
            assert_eq!(session.run("EMIT A.b 1 {}").is_ok(), optional, "{of}{sign} of nothing");
        }
    }
}

#[test]
fn a_check_is_asked_of_what_is_there_and_of_its_type() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT A.b {low: number?, high: number? CHECK data.high > data.low, in: {deep: text? CHECK length(data.in.deep) < 3}?}");
    for fits in
        ["{}", "{low: 1}", "{low: 1, high: 2}", "{low: 5, high: NULL}", "{in: {}}", "{in: {deep: 'ab'}}"]
    {
        session.rows(&format!("EMIT A.b 1 {fits}"));
    }
    // Null does not hold.
    let found = mismatch(&session, "EMIT A.b 1 {high: 2}");
    assert_eq!(members(&found), [("data.high", "data.high > data.low", "data.high = 2, data.low = null")]);
    // Of another type it is told once.
    let found = mismatch(&session, "EMIT A.b 1 {high: 'x', in: {deep: 'abc'}}");
    assert_eq!(
        members(&found),
        [
            ("data.high", "a number", "text \"x\""),
            ("data.in.deep", "length(data.in.deep) < 3", "data.in.deep = \"abc\"")
        ]
    );
}

#[test]
fn only_so_much_is_told() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT A.b {x: [text]}");
    let found = mismatch(&session, "EMIT A.b 1 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}");
    assert_eq!((found.members.len(), found.more), (8, 2));
    assert!(found.to_string().ends_with("; and 2 more"), "{found}");
}

#[test]
fn a_schema_that_warns_appends_and_tells() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT A.b {x: text} WARN");
    let (rows, notices) = session.run("EMIT A.b 1 {x: 5}").unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        notices,
        [
            "#2 is appended, and A.b does not fit version 1 of its schema, defined at #1: data.x: expected text, found a number 5"
        ]
    );
    assert!(session.run("EMIT A.b 1 {x: 'y'}").unwrap().1.is_empty());
    session.rows("ATOMIC (EMIT A.b 1; EMIT A.b 1 {x: 'y'}; EMIT A.b 2)");
    let metrics = store.snapshot().metrics().unwrap();
    assert_eq!(metrics.value("bygone_schema_warnings_total"), Some(3.0));
    // One that refuses is none that warns.
    session.rows("DEFINE EVENT A.b {x: text}");
    mismatch(&session, "EMIT A.b 1 {x: 5}");
    assert_eq!(store.snapshot().metrics().unwrap().value("bygone_schema_warnings_total"), Some(3.0));
}

#[test]
fn what_a_key_stands_for_is_given_back_whatever_fits_since() {
    let store = store(1);
    let session = Session::new(&store);
    session.rows("EMIT A.b 1 {x: 5} KEY 'k'");
    session.rows("DEFINE EVENT A.b {x: text}");
    let rows = session.rows("EMIT A.b 1 {x: 5} KEY 'k'");
    assert!(matches!(rows.as_slice(), [Row::Event { repeated: true, .. }]), "{rows:?}");
    mismatch(&session, "EMIT A.b 1 {x: 5} KEY 'l'");
}

#[test]
fn what_verbs_make_is_held_to_it() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT Order.paid {amount: number CHECK data.amount > 0}");
    session.rows("DEFINE VERB Pay ON Order REQUIRE data.by IS NULL");
    session.rows("EMIT Order.placed 1");
    mismatch(&session, "PERFORM Pay Order 1 {amount: 0}");
    mismatch(&session, "PERFORM Pay Order 1 {amount: 0} KEY 'k'");
    session.rows("PERFORM Pay Order 1 {amount: 5} KEY 'k'");
    let told = session.lines("EXPLAIN PERFORM Pay Order 1 {amount: 0}").join("\n");
    assert!(told.contains("would be refused: Order.paid does not fit version 1 of its schema"), "{told}");
}

#[test]
fn each_definition_is_the_next_version_until_it_is_dropped() {
    for memtable in [1, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        session.rows("EMIT A.b 1");
        session.rows("DEFINE EVENT A.b {x: text?}");
        session.rows("ATOMIC (EMIT A.b 1; EMIT A.b 1)");
        // The same again is no version.
        session.rows("DEFINE EVENT A.b { x : text? }");
        session.rows("DEFINE EVENT A.b {x: text?} STRICT");
        session.rows("EMIT A.b 1");
        let described = session.lines("DESCRIBE A.b");
        let of = |part: &str| described.iter().filter(|line| line.contains(part)).count();
        assert!(described[0].contains(r#""version":0,"definition":null,"events":1}"#), "{described:?}");
        assert!(
            described[1].contains(r#""version":1,"definition":"DEFINE EVENT A.b {x: text?}","position":2"#)
        );
        assert!(described[1].ends_with(r#""events":2}"#), "{described:?}");
        assert!(
            described[2]
                .contains(r#""version":2,"definition":"DEFINE EVENT A.b {x: text?} STRICT","position":5"#)
        );
        assert!(described[2].ends_with(r#""events":1}"#) && of(r#""version""#) == 3, "{described:?}");
        let shown = session.lines("SHOW SCHEMAS");
        assert_eq!(
            shown,
            [
                r#"{"type":"A.b","version":2,"strict":true,"warn":false,"as":"DEFINE EVENT A.b {x: text?} STRICT","defined":5,"state":"ready"}"#
            ]
        );
        session.rows("DROP EVENT A.b");
        assert!(session.lines("SHOW SCHEMAS").is_empty());
        assert!(session.error("DROP EVENT A.b").contains("no event 'A.b' is defined"));
        session.rows("DEFINE EVENT A.b {x: number?}");
        assert!(session.lines("SHOW SCHEMAS")[0].contains(r#""version":1"#));
    }
}

#[test]
fn a_type_without_a_schema_is_described_with_one_to_copy() {
    let store = store(2);
    let session = Session::new(&store);
    session.rows("EMIT Order.placed 1 {customer: 'ann', total: 10, items: ['tea']}");
    session.rows("EMIT Order.placed 2 {customer: 'bob', total: 1.5, items: [], note: 'x'}");
    let (rows, notices) = session.run("DESCRIBE Order.placed").unwrap();
    let proposed: String = rows[0].get("proposed").unwrap();
    assert_eq!(
        proposed,
        "DEFINE EVENT Order.placed {customer: text, total: number, items: [text], note: text?}"
    );
    assert!(notices[0].starts_with("Order.placed has no schema"), "{notices:?}");
    session.rows(&proposed);
    let error = session.error("DESCRIBE Order.plased");
    assert!(
        error.contains("no event is of type 'Order.plased'") && error.contains("Order.placed"),
        "{error}"
    );
}

#[test]
fn it_is_told_before_what_would_not_fit() {
    let store = store(2);
    let session = Session::new(&store);
    assert!(session.lines(&format!("EXPLAIN {PLACED}")).join("\n").contains("there is no Order.placed yet"));
    session.rows("EMIT Order.placed 1 {customer: 'ann', total: 10, items: ['tea']}");
    assert!(
        session
            .lines(&format!("EXPLAIN {PLACED}"))
            .join("\n")
            .contains("the one Order.placed that there is fits")
    );
    session.rows("EMIT Order.placed 2 {customer: 'ann', total: -10, items: ['tea']}");
    let told = session.lines(&format!("EXPLAIN {PLACED}")).join("\n");
    assert!(told.contains("1 of 2 Order.placed that there are do not fit; they stay as they are"), "{told}");
    assert!(told.contains("#2: data.total: expected data.total >= 0, found data.total = -10"), "{told}");
    assert_eq!(store.snapshot().head().0, 2);
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    let store = store(2);
    let session = Session::new(&store);
    for (text, told) in [
        ("DEFINE EVENT A.b {x: string}", "did you mean text?"),
        ("DEFINE EVENT A.b {x: txt}", "did you mean text?"),
        ("DEFINE EVENT A.b {x: [{y: number CHECK data.x > 1}]}", "put it behind the array"),
        ("DEFINE EVENT A.b {x: number CHECK data.y > 1}", "data.y, which is no member of the schema"),
        ("DEFINE EVENT A.b {x: number CHECK 1 > 0}", "is always the same"),
        ("DEFINE EVENT A.b {x: number CHECK target.id = 'a'}", "CHECK is of the data of the event alone"),
        ("DEFINE EVENT A.b {x: text, x: number}", "the key x comes twice"),
        ("DEFINE EVENT `$order`.b {x: text}", "the database's own"),
        ("DEFINE EVENT A {x: text}", "has a prefix"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

mod in_commit_order {
    //! Whatever was looked up before an append waits for its turn: what holds is what is defined before it in the log.

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::NewEvent;
    use crate::store::append_request::{AppendRequest, Prepared};
    use crate::store::queue::Pending;

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Emit(Data),
        Define(Option<Data>, bool),
        Checkpoint,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Data {
        Text,
        Number,
    }

    fn data() -> impl Strategy<Value = Data> {
        prop_oneof![Just(Data::Text), Just(Data::Number)]
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => data().prop_map(Act::Emit),
            3 => (prop::option::weighted(0.8, data()), any::<bool>()).prop_map(|(data, warn)| Act::Define(data, warn)),
            1 => Just(Act::Checkpoint),
        ]
    }

    fn request(act: Act) -> Option<AppendRequest> {
        let event = match act {
            Act::Checkpoint => return None,
            Act::Emit(Data::Text) => NewEvent::new("A.b").on(("A", 1)).member("x", "one"),
            Act::Emit(Data::Number) => NewEvent::new("A.b").on(("A", 1)).member("x", 1),
            Act::Define(None, _) => NewEvent::new("$event.dropped").on(("$event", "A.b")),
            Act::Define(Some(data), warn) => {
                let data = if data == Data::Text { "text" } else { "number" };
                let text = format!("DEFINE EVENT A.b {{x: {data}}}{}", if warn { " WARN" } else { "" });
                NewEvent::new("$event.defined").on(("$event", "A.b")).member("definition", text)
            }
        };
        Some(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn an_append_is_held_to_what_is_defined_before_it(
            batches in prop::collection::vec(prop::collection::vec(act(), 1..8), 1..6),
        ) {
            let store = store(3);
            let mut schema: Option<(Data, bool)> = None;
            for batch in batches {
                let requests: Vec<(Act, AppendRequest)> =
                    batch.iter().filter_map(|act| Some((*act, request(*act)?))).collect();
                // All of them look before any of them is appended.
                let pending: Vec<Arc<Pending>> = requests
                    .iter()
                    .map(|(_, request)| Pending::new(Prepared::new(store.shared(), request.clone()).unwrap()))
                    .collect();
                let led: Vec<bool> = pending.iter().map(|one| store.shared().queue.push(one).unwrap()).collect();
                if led.first() == Some(&true) {
                    store.shared().commits.lead();
                }
                for ((act, _), pending) in requests.iter().zip(&pending) {
                    let answer = store.shared().commits.wait(pending);
                    match *act {
                        Act::Emit(data) => match schema {
                            Some((wanted, false)) if wanted != data => {
                                prop_assert!(matches!(answer, Err(Error::Schema(_))), "{:?}", answer);
                            }
                            Some((wanted, true)) if wanted != data => {
                                prop_assert_eq!(answer.unwrap().warnings.count, 1);
                            }
                            _ => prop_assert_eq!(answer.unwrap().warnings.count, 0),
                        },
                        Act::Define(data, warn) => {
                            answer.unwrap();
                            schema = data.map(|data| (data, warn));
                        }
                        Act::Checkpoint => {}
                    }
                }
                if batch.iter().any(|act| matches!(act, Act::Checkpoint)) {
                    store.checkpoint().unwrap();
                }
            }
        }
    }
}
