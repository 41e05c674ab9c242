//! DEFINE INDEX, DROP INDEX, SHOW INDEXES, and what an index derives.

use std::time::Duration;

use super::*;
use crate::entity::{Position, PositionRange};
use crate::plan::{FORCED, Forced};
use crate::store::catalog::Index;
use crate::store::index::term::IndexKey;
use crate::store::snapshot::ScanDirection;
use crate::store::state::stored_state::StoredState;
use crate::value::Value;

fn ready(store: &Store) {
    assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
}

fn found(store: &Store, name: &str, key: impl Into<IndexKey>) -> Vec<u64> {
    let snapshot = store.snapshot();
    let index: &Index = snapshot.indexes().usable(name).unwrap_or_else(|| panic!("{name} is not ready"));
    let Some(term) = index.term(&key.into()) else { return Vec::new() };
    snapshot
        .list(term, PositionRange::ALL, ScanDirection::Ascending)
        .map(|position| position.unwrap().0)
        .collect()
}

impl<V: Into<Value>> From<V> for IndexKey {
    fn from(value: V) -> IndexKey {
        IndexKey::Value(value.into())
    }
}

/// What SHOW INDEXES says, once nothing is to be dropped any more.
fn shown(session: &Session) -> Vec<String> {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let lines = session.lines("SHOW INDEXES");
        if !lines.iter().any(|line| line.contains("dropping") || line.contains("building")) {
            return lines;
        }
        assert!(std::time::Instant::now() < until, "{lines:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_index_is_defined_shown_and_dropped() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.rows("EMIT Order.created 1 {customer: 'c-7'}");
    session.rows("EMIT Order.created 2 {customer: 'c-8'}");
    assert!(session.lines("SHOW INDEXES").is_empty());
    session.actor = Some(Entity::from(("User", "ann")));
    let text = "define index customer on 'Order.*' as data.customer";
    let (rows, notices) = session.run(text).unwrap();
    let line = serde_json::to_string(&rows[0]).unwrap();
    for part in [
        r#""position":3,"version":1"#,
        r#""type":"$index.defined""#,
        r#""target":{"type":"$index","id":"customer"}"#,
        r#""actor":{"type":"User","id":"ann"}"#,
        r#""data":{"name":"customer","on":"Order.*","as":"data.customer"}"#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(
        notices,
        [
            "customer is built from 2 events before it, while this database is open; SHOW INDEXES tells how far it is"
        ]
    );
    session.rows("EMIT Order.paid 2 {customer: 'c-7'}");
    session.rows("EMIT Parcel.sent 2 {customer: 'c-7'}");
    ready(&store);
    assert_eq!(found(&store, "customer", "c-7"), [1, 4]);
    assert_eq!(
        shown(&session),
        [
            r#"{"name":"customer","on":"Order.*","as":"data.customer","defined":3,"state":"ready","percent":100}"#
        ]
    );

    // The same again is no other; something else is, and takes over.
    let again = session.lines(text);
    assert!(again[0].contains(r#""position":3,"#) && again[0].ends_with(r#""repeated":true}"#), "{again:?}");
    session.rows("DEFINE INDEX customer ON '*' AS data.customer");
    ready(&store);
    assert_eq!(found(&store, "customer", "c-7"), [1, 4, 5]);
    store.checkpoint().unwrap();
    assert_eq!(shown(&session).len(), 1);

    let error = session.error("DROP INDEX custommer");
    assert!(error.contains("no index 'custommer' is defined (did you mean customer?)"), "{error}");
    let dropped = session.lines("DROP INDEX customer");
    assert!(dropped[0].contains(r#""version":3"#) && dropped[0].contains("$index.dropped"), "{dropped:?}");
    store.checkpoint().unwrap();
    assert!(shown(&session).is_empty());
    assert!(session.error("DROP INDEX customer").contains("no index 'customer' is defined"));
    assert_eq!(session.positions("EVENTS '$index.*'"), [3, 6, 7]);
    assert_eq!(session.lines("VERIFY"), [r#"{"ok":true,"events":7,"entries":26,"states":0}"#]);
}

#[test]
fn an_index_holds_texts_numbers_booleans_times_and_the_items_of_arrays() {
    let store = store(3);
    let session = Session::new(&store);
    for text in [
        "EMIT A.b 1 {v: 1, at: 1} AT '2024-01-01'",
        "EMIT A.b 1 {v: 1.0} AT '2024-01-02'",
        "EMIT A.b 1 {v: 'x'} AT '2024-01-01'",
        "EMIT A.b 1 {v: ['x', 'y', 'x', 1, null, {}, [1]]}",
        "EMIT A.b 1 {v: true}",
        "EMIT A.b 1 {v: null}",
        "EMIT A.b 1 {v: {a: 1}}",
        "EMIT A.b 1",
        "DEFINE INDEX v ON '*' AS data.v",
        "DEFINE INDEX day ON 'A.*' AS timestamp",
        "DEFINE INDEX sum ON 'A.*' AS data.v + 1",
        "DEFINE INDEX big ON 'A.*' AS data.v > 0 AND data.at IS NULL",
        "DEFINE INDEX both ON 'A.*' AS [data.v, data.at]",
        "DEFINE INDEX who ON 'A.*' AS coalesce(target.id, 'x')",
        "EMIT A.b 2 {v: 1} AT '2024-01-02'",
    ] {
        session.rows(text);
    }
    ready(&store);
    assert_eq!(found(&store, "v", 1), [1, 2, 4, 15]);
    assert_eq!(found(&store, "v", "x"), [3, 4]);
    assert_eq!(found(&store, "v", true), [5]);
    assert_eq!(found(&store, "v", Value::Null), [0u64; 0]);
    assert_eq!(found(&store, "day", IndexKey::Time(time("2024-01-02"))), [2, 15]);
    assert_eq!(found(&store, "day", "2024-01-02T00:00:00Z"), [0u64; 0]);
    assert_eq!(found(&store, "sum", 2), [1, 2, 15]);
    assert_eq!(found(&store, "big", true), [2, 15]);
    assert_eq!(found(&store, "both", 1), [1, 2, 15]);
    assert_eq!(found(&store, "who", "2"), [15]);
    assert!(session.lines("VERIFY")[0].contains(r#""ok":true"#));
}

#[test]
fn parameters_are_their_values_then() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.parameters =
        Parameters::new().set("n", -5).set("list", Value::Array(vec![1.into(), "it's".into()]));
    session.rows("DEFINE INDEX x ON '*' AS data.a - $n IN (-$n, 2) OR data.b IN ($n, 1) OR data.c = $list");
    let text = r#""as":"data.a - -5 IN (5, 2) OR data.b IN (-5, 1) OR data.c = [1, 'it''s']""#;
    assert!(session.lines("SHOW INDEXES")[0].contains(text), "{:?}", session.lines("SHOW INDEXES"));
    session.rows("EMIT A.b 1 {a: 0}");
    session.rows("EMIT A.b 1 {c: [1, \"it's\"]}");
    session.rows("EMIT A.b 1 {b: 7}");
    ready(&store);
    assert_eq!(found(&store, "x", true), [2, 3]);
}

#[test]
fn what_is_no_index_is_told() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT A.b 1");
    for (text, expected) in [
        ("DEFINE INDEX x ON '*' AS timestamp > NOW", "column 38: a definition means the same at any time"),
        ("DEFINE INDEX x ON '*' AS timestamp > -7d", "column 38: a definition means the same at any time"),
        ("DEFINE INDEX x ON '*' AS actor", "found an entity (did you mean actor.id?)"),
        ("DEFINE INDEX x ON '*' AS lower(count())", "count"),
        ("DEFINE INDEX x ON '*' AS day(NOW)", "column 30: a definition means the same at any time"),
        ("DEFINE INDEX x ON '*' AS total", "did you mean data.total?"),
        ("DEFINE INDEX x ON '*' AS data.a = $x", "$x was given no value"),
        ("DEFINE INDEX x ON 'a b' AS data.a", "pattern: expected types"),
        ("DEFINE INDEX key ON '*' AS data.a", "BY key needs no index"),
        ("DROP VIEW x", "no view 'x' is defined"),
        ("DROP INDEX x", "no index 'x' is defined"),
        ("EMIT `$index`.defined x", "'$' begins the database's"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(store.snapshot().head().0, 1);
}

#[test]
fn of_many_who_define_the_same_one_does() {
    let store = store(1000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let session = Session::new(store);
                for n in 0..20 {
                    session.rows(&format!("EMIT A.b {thread} {{n: {n}}}"));
                    session.rows(&format!("DEFINE INDEX i{n} ON 'A.*' AS data.n"));
                }
            });
        }
    });
    ready(&store);
    assert_eq!(store.snapshot().head().0, 4 * 20 + 20);
    for n in 0..20 {
        assert_eq!(found(&store, &format!("i{n}"), n).len(), 4);
    }
    assert!(Session::new(&store).lines("VERIFY")[0].contains(r#""ok":true"#));
}

#[test]
fn a_subscription_loses_nothing_when_its_index_is_dropped_or_replaced() {
    for change in ["DROP INDEX customer", "DEFINE INDEX customer ON 'Parcel.*' AS data.customer"] {
        let store = store(4);
        let session = Session::new(&store);
        session.rows("EMIT Order.created 1 {customer: 'c-7'}");
        session.rows("DEFINE INDEX customer ON 'Order.*' AS data.customer");
        ready(&store);
        let plan = session.plan("SUBSCRIBE BY customer = 'c-7' FROM START", &store.snapshot()).unwrap();
        let Plan::Subscribe(subscription) = plan else { panic!("{plan:?}") };
        session.rows(change);
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while store.snapshot().indexes().iter().any(|index| index.position.0 == 2) {
            assert!(std::time::Instant::now() < until, "{change}: it is kept up");
            std::thread::sleep(Duration::from_millis(2));
        }
        session.rows("EMIT Order.created 2 {customer: 'c-7'}");
        for force in [Forced::Log, Forced::Lists, Forced::Every] {
            FORCED.set(Some(force));
            let found =
                crate::exec::EventScan::past(&store.snapshot(), &subscription, Position::START).unwrap();
            let found: Vec<u64> = found.map(|event| event.unwrap().position.0).collect();
            FORCED.set(None);
            assert_eq!(found, [1, 4], "{change}, {force:?}");
        }
    }
}

/// In the way of `BETWEEN`: read by one range, and found as without any index.
#[test]
fn two_bounds_are_one_range() {
    let store = store(16);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET v = data.v");
    session.rows("DEFINE INDEX value ON 'Bill.*' AS data.v");
    session.rows("DEFINE INDEX kept ON 'Bill' AS state.v");
    let values = [
        "1",
        "5",
        "5.5",
        "9",
        "'5'",
        "'2024-01-05'",
        "'2024-01-05T00:00:00Z'",
        "'x'",
        "true",
        "null",
        "[1, 9]",
    ];
    for (n, value) in values.iter().cycle().take(44).enumerate() {
        session.rows(&format!("EMIT Bill.paid {n} {{v: {value}}} AT '2024-01-{:02}'", n % 9 + 1));
    }
    store.checkpoint().unwrap();
    ready(&store);
    let bounds = [
        ">= 5",
        "> 5",
        ">= 1.5",
        "< 9",
        "<= 9",
        "< 5.5",
        "< '6'",
        ">= '2024-01-04'",
        "<= '2024-01-05'",
        "> 'a'",
        ">= true",
        "BETWEEN 1 AND 6",
        "BETWEEN '2' AND 'y'",
    ];
    let found = |text: &str, force| {
        FORCED.set(force);
        let rows = session.lines(text);
        FORCED.set(None);
        rows
    };
    for first in bounds {
        for second in bounds {
            for third in ["", "AND 3 <= {}", "AND {} < 99"] {
                let third = third.replace("{}", "X");
                let condition = format!("X {first} AND X {second} {third}");
                let text = format!("EVENTS 'Bill.*' WHERE {}", condition.replace('X', "data.v"));
                let expected = found(&text, Some(Forced::Log));
                assert_eq!(found(&text, Some(Forced::Lists)), expected, "{text}");
                assert_eq!(found(&text, Some(Forced::Every)), expected, "{text}");
                let find = |of: &str| format!("FIND Bill WHERE {}", condition.replace('X', of));
                // No index is of that.
                assert_eq!(
                    session.lines(&find("state.v")),
                    session.lines(&find("coalesce(state.v)")),
                    "{condition}"
                );
            }
        }
    }
    let explained = |text: &str| session.lines(&format!("EXPLAIN {text}")).concat();
    for (bounds, range) in [
        (">= 5 AND X < 9", ">= 5 and < 9"),
        ("> 1 AND 9 >= X AND X < 9 AND X > 0", "> 1 and < 9"),
        (">= 5 AND X <= 9", "BETWEEN 5 AND 9"),
        ("BETWEEN 1 AND 7 AND X > 5", "> 5 and <= 7"),
    ] {
        FORCED.set(Some(Forced::Lists));
        let events = explained(&format!("EVENTS 'Bill.*' WHERE data.v {}", bounds.replace('X', "data.v")));
        FORCED.set(None);
        assert!(events.contains(&format!("value {range}")), "{events}");
        let states = explained(&format!("FIND Bill WHERE state.v {}", bounds.replace('X', "state.v")));
        assert!(states.contains(&format!("from the index kept {range}")), "{states}");
    }
}

#[test]
fn no_advice_names_a_definition_that_would_be_replaced_or_refused() {
    let store = store(4);
    let session = Session::new(&store);
    for text in [
        "DEFINE ENTITY Item INITIAL {stock: 0} ON stored SET stock = state.stock + data.amount",
        "EMIT Item.stored 1 {amount: 4}",
        "DEFINE INDEX stock ON 'Item' AS state.stock",
        "DEFINE VIEW sums AS EVENTS GROUP BY type SELECT count() AS n",
        "DEFINE VERB Store ON Item EMIT stored",
        "DEFINE REACTION follow ON 'Item.*' DO EMIT Mail.sent 1",
    ] {
        session.rows(text);
    }
    ready(&store);
    for (name, what) in [
        ("stock", "stock is an index of the states of Item, which FIND Item WHERE state.stock = … takes"),
        ("sums", "sums is a view, which READ sums reads"),
        ("Store", "Store is a verb"),
        ("follow", "follow is a reaction"),
        ("Item", "Item is a kind of entities"),
    ] {
        for text in [
            format!("EVENTS BY {name} = 4"),
            format!("EMIT Item.counted 1 EXPECT NONE ('Item.*' BY {name} = 4)"),
        ] {
            let error = session.error(&text);
            assert!(error.contains(what), "{text}: {error}");
            assert!(!error.contains(&format!("DEFINE INDEX {name}")), "{text}: {error}");
        }
    }
    // What is free may be defined.
    let error = session.error("EVENTS BY amount = 4");
    assert!(
        error.contains("write DEFINE INDEX amount ON '*' AS data.amount, or WHERE data.amount = 4"),
        "{error}"
    );
}

#[test]
fn what_is_kept_of_states_and_is_not_as_their_events_make_it_is_told() {
    let mut options = Options::new();
    options.by_hand = true;
    let store = store_with(4, options);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET sum = data.sum");
    session.rows("DEFINE INDEX sums ON 'Bill' AS state.sum");
    (1..=6).for_each(|n| drop(session.rows(&format!("EMIT Bill.paid {n} {{sum: {n}}}"))));
    store.checkpoint().unwrap();
    while store.work_by_hand().unwrap() {}
    let faults = || crate::store::verify::verify(&store.snapshot()).unwrap().faults;
    assert_eq!(faults(), Vec::<String>::new());

    let snapshot = store.snapshot();
    let model = snapshot.indexes().model("Bill").unwrap().position;
    let finder = snapshot.indexes().finders_of("Bill").find(|finder| finder.name == "sums").unwrap().clone();
    let mut states = Vec::new();
    let read = store.shared().tables.read().unwrap();
    read.each_state_after(model, None, usize::MAX, |id, bytes| {
        states.push((id.to_owned(), bytes?.to_vec()));
        Ok(true)
    })
    .unwrap();
    let state = |n: usize| states[n - 1].1.clone();
    let term = |n: usize| {
        let kept = state(n);
        let kept = StoredState::open(&kept).unwrap();
        finder.terms(&n.to_string(), &kept, &snapshot.limits()).unwrap().remove(0)
    };
    let tables = &store.shared().tables;
    // Of an index: an entry that is not there, and one too many.
    tables.write("a test", |tables| tables.remove_found(model, &term(3), "3")).unwrap();
    assert_eq!(faults(), ["the index sums does not have the state of Bill 3"]);
    tables.write("a test", |tables| tables.put_found(model, &term(3), "3")).unwrap();
    tables.write("a test", |tables| tables.put_found(model, &term(3), "4")).unwrap();
    assert_eq!(faults(), ["the index sums has 7 entries of states, not 6"]);
    tables.write("a test", |tables| tables.remove_found(model, &term(3), "4")).unwrap();
    assert_eq!(faults(), Vec::<String>::new());
    // Of the states: that of another, and one of an entity that has no event.
    session.rows("DROP INDEX sums");
    tables.write("a test", |tables| tables.put_state(model, "2", state(1))).unwrap();
    tables.write("a test", |tables| tables.put_state(model, "9", state(1))).unwrap();
    let told = faults();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(
        told[0],
        "the state of Bill 2 is kept as {\"sum\":1} of 1 events up to #3, and its events make {\"sum\":2} of 1 events up to #4"
    );
    assert!(told[1].starts_with("the state of Bill 9 is kept as {\"sum\":1} of 1 events"), "{told:?}");
    assert_eq!(told[2], "the state of Bill 9 is kept, and it has no event");
}
