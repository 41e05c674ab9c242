//! Any row comes back from its JSON as it was.

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::event::{Event, NewEvent, Producer};
use crate::store::append_request::AppendRequest;
use crate::value::tests::any_value;
use crate::value::{Object, Value};

/// What is not on the wire: the hash of a key, and who made the id where that does not tell.
fn bare(row: &Row) -> Row {
    let event = |event: &Event| Event {
        seal: None,
        own_id: event.id.tells_its_place(event.recorded),
        ..event.clone()
    };
    let mut row = row.clone();
    match &mut row {
        Row::Event { event: of, .. } => *of = event(of),
        Row::Blame(leaf) => leaf.event = event(&leaf.event),
        Row::Step(step) => step.event = event(&step.event),
        Row::Traced(traced) => traced.event = event(&traced.event),
        _ => {}
    }
    row
}

fn read_again(row: &Row) -> Row {
    let json = serde_json::to_string(row).unwrap();
    let extra = row.extra().map(|extra| serde_json::to_string(&extra).unwrap());
    let read =
        Row::read(row.kind(), &json, extra.as_deref()).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(read.kind(), row.kind());
    assert_eq!(read.extra().map(|extra| serde_json::to_string(&extra).unwrap()), extra, "{json}");
    read
}

#[track_caller]
fn check(rows: &[Row]) {
    for row in rows {
        assert_eq!(read_again(row), bare(row));
    }
}

fn append(store: &Store, event: NewEvent) -> Result<()> {
    store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).map(|_| ())
}

/// Names that have a meaning where they stand in a path, and others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c]",
        2 => prop::sample::select(vec!["", "0", "00", "7", "a/b", "~1", "`", "a.b", "['']", "data", "é", "\n\u{0}\"\\", "$"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ]
}

fn object() -> impl Strategy<Value = Object> {
    // Arrays of what is alike make paths with indexes.
    let value = prop_oneof![
        4 => any_value(),
        1 => Just(Value::Float(-0.0)),
        1 => Just(Value::Null),
        2 => prop::collection::vec(0..4i64, 0..4).prop_map(Value::from),
        2 => prop::collection::vec((name(), any_value()), 0..3).prop_map(|members| Object::from_iter(members).into()),
    ];
    prop::collection::vec((name(), value), 0..5).prop_map(|members| members.into_iter().collect())
}

fn new_event() -> impl Strategy<Value = NewEvent> {
    let kinds = prop::sample::select(vec!["Order.created", "Order.paid", "Till.opened", "Order.item.added"]);
    let any_entity = (prop::sample::select(vec!["Order", "Till", "a b"]), "[12]|\\PC{1,4}");
    let entity = prop::option::weighted(0.8, prop_oneof![any_entity, Just(("Order", "1".to_owned()))]);
    let texts = (prop::option::of("\\PC{1,9}"), prop::option::of("[a-z]{1,9}"), prop::option::of("[kl]"));
    let facts = (
        any::<bool>(),
        prop::option::of(1..4u64),
        prop::option::of(0..90i64),
        prop::option::of(any::<u32>()),
    );
    (kinds, entity.clone(), entity, (object(), object()), texts, facts).prop_map(
        |(
            kind,
            target,
            actor,
            (data, metadata),
            (correlation, namespace, tag),
            (vector, cause, day, named),
        )| {
            let mut event = NewEvent::new(kind).data(&data).metadata(&metadata);
            event = match target {
                Some(target) => event.on(target),
                None => event.on_nobody(),
            };
            if let Some(actor) = actor {
                event = event.by(actor);
            }
            if let Some(day) = day {
                event = event.at(Timestamp::from_millis(1_700_000_000_000 + day * 86_400_001));
            }
            if vector {
                let vector = Some("oslo:3;paris:9007199254740991".parse().unwrap());
                event = event.produced_by(Producer { model: ("Till", 4).into(), version: None, vector });
            }
            match (cause, named) {
                (Some(cause), _) => event = event.caused_by(Position(cause)),
                (None, Some(id)) => event = event.caused_by_named("Else.where", &id.to_string()),
                (None, None) => {}
            }
            if let Some(correlation) = correlation {
                event = event.correlation(&correlation);
            }
            if let Some(namespace) = namespace {
                event = event.namespace(&namespace);
            }
            if let Some(tag) = tag {
                event = event.index(&tag, i64::MAX).index("other", "x").index("yes", true).index("part", 0.1);
            }
            event
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_row_comes_back_as_it_was(events in prop::collection::vec(new_event(), 1..12)) {
        let store = store(7);
        for event in events {
            // A cause may not be there yet.
            let _ = append(&store, event);
        }
        let session = Session::new(&store);
        for text in [
            "EVENTS",
            "HISTORY Order 1 LIMIT 3",
            "EXPLAIN EVENTS",
            "AT Order 1",
            "AT Order 1 AS OF #2",
            "AT Order 1 '2023-12-01'",
            "AT Order nobody",
            "REPLAY Order 1",
            "DIFF Order 1 FROM START",
            "BLAME Order 1",
            "BLAME Till 2",
            "TRACE #1",
            "TRACE CAUSES #2",
            "EVENTS GROUP BY type SELECT count() AS n, sum(data.a) AS sum, last(data.b) AS newest",
            "EVENTS SELECT data, target, tags, timestamp, data.a AS `odd name`",
            "EVENTS UNNEST data.a AS item, n UNNEST data.b AS other SELECT item, n, other, target",
            "FIND Order UNNEST state.a AS item",
            "FIND Order",
            "SHOW TYPES",
            "SHOW STATS",
            "DESCRIBE Order.paid",
        ] {
            match session.run(text) {
                Ok((rows, _)) => check(&rows),
                Err(error) => prop_assert!(!matches!(error, Error::Syntax(_)), "{}: {}", text, error),
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic(kind in "[a-z]{0,3}", json in any_value(), extra in prop::option::of(any_value())) {
        let extra = extra.map(|extra| extra.to_string());
        for kind in ["event", "state", "blame", "change", "step", "traced", "fields", "mark", &kind] {
            let _ = Row::read(kind, &json.to_string(), extra.as_deref());
        }
    }

    /// A row of which something is lost, or is something else.
    #[test]
    fn no_row_that_is_damaged_makes_it_panic(
        event in new_event(),
        at in any::<prop::sample::Index>(),
        instead in prop::option::of(any_value()),
    ) {
        let store = store(7);
        let _ = append(&store, event);
        for row in Session::new(&store).rows("EVENTS") {
            let Value::Object(mut members) = Value::of(&row).unwrap() else { panic!() };
            let name = members.get_index(at.index(members.len())).unwrap().0.clone();
            match &instead {
                Some(value) => drop(members.insert(name, value.clone())),
                None => drop(members.shift_remove(&name)),
            }
            let json = Value::Object(members).to_string();
            for kind in ["event", "traced", "state", "blame"] {
                if let Ok(row) = Row::read(kind, &json, None) {
                    let _ = (serde_json::to_string(&row).unwrap(), row.kind());
                }
            }
        }
    }
}

#[test]
fn a_row_is_equal_where_the_database_made_the_ids() {
    let options =
        Options::new().disk(Arc::new(MemoryDisk::new())).with_compiler(Arc::new(crate::exec::Compiler));
    let store = Store::create(path(), options).unwrap();
    let session = Session::new(&store);
    session.rows("EMIT Order.created 42 {total: 18446744073709551615, low: -9223372036854775808, half: 0.5, none: null}");
    session.rows("EMIT Order.paid 42 {items: [1, 2, {a: []}], empty: {}} META {by: 'web'} CAUSED BY #1");
    for text in [
        "EVENTS",
        "AT Order 42",
        "REPLAY Order 42",
        "BLAME Order 42",
        "TRACE #1",
        "DIFF Order 42 FROM VERSION 1",
    ] {
        let rows = session.rows(text);
        assert!(!rows.is_empty(), "{text}");
        rows.iter().for_each(|row| assert_eq!(read_again(row), *row, "{text}"));
    }
}

#[test]
fn what_is_repeated_or_forgotten_comes_back() {
    // What is private is refused on a log that is shared.
    let mut options = Options::new();
    options.own_journal = true;
    let store = store_with(7, options);
    let session = Session::new(&store);
    session.rows(
        "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, data.`e mail`.`a``b`, metadata.ip",
    );
    let emit = "EMIT User.named 7 {name: 'Ann', 'e mail': {'a`b': 'x'}} META {ip: '1'} KEY 'k'";
    session.rows(emit);
    let repeated = session.rows(emit);
    assert!(matches!(repeated[..], [Row::Event { repeated: true, .. }]), "{repeated:?}");
    check(&repeated);
    session.rows("FORGET User 7 BECAUSE 'asked'");
    let rows = session.rows("EVENTS");
    check(&rows);
    let forgotten = rows.iter().find_map(|row| match row {
        Row::Event { event, .. } => event.forgotten.as_ref(),
        _ => None,
    });
    assert_eq!(forgotten.unwrap().names().count(), 3);
}

#[test]
fn a_member_that_is_named_like_an_item_stays_one() {
    let store = store(7);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 {list: [null, 2], other: [1], map: {'0': 1, '00': 1}}");
    session.rows("EMIT Order.changed 1 {list: [3, 2], other: [null], map: {'0': 2, '00': 2}}");
    let rows = session.rows("DIFF Order 1 FROM VERSION 1");
    assert_eq!(rows.len(), 4, "{rows:?}");
    check(&rows);
    // Only the one that could be another is told in two ways.
    let told = |row: &Row| serde_json::to_string(&row.extra()).unwrap().contains("path");
    assert_eq!(rows.iter().filter(|row| told(row)).count(), 1);
}

#[test]
fn marks_come_back() {
    check(&[Row::CaughtUp(Position(7)), Row::Redefined(Position(u64::MAX))]);
    // In a line that says more.
    let line = r#"{"id":1,"mark":"caughtUp","position":7}"#;
    assert_eq!(Row::read("mark", line, None).unwrap(), Row::CaughtUp(Position(7)));
}

#[test]
fn what_nests_as_deep_as_it_may_comes_back() {
    let deepest = format!("{{a: {}{}}}", "[".repeat(99), "]".repeat(99));
    let store = store(7);
    let session = Session::new(&store);
    session.rows(&format!("EMIT Order.created 1 {deepest}"));
    for text in [
        "EVENTS",
        "AT Order 1",
        "REPLAY Order 1",
        "BLAME Order 1",
        "TRACE #1",
        "DIFF Order 1 FROM START",
        "EVENTS SELECT data",
        "EVENTS GROUP BY type SELECT last(data) AS newest",
    ] {
        check(&session.rows(text));
    }
}

#[test]
fn a_row_of_a_newer_program_is_told() {
    let error = Row::read("picture", "{}", None).unwrap_err();
    assert!(error.to_string().contains("found picture"), "{error}");
    let error = Row::read("event", r#"{"position":1}"#, None).unwrap_err();
    assert!(error.to_string().contains("missing field"), "{error}");
    // What it adds to a row that is known is passed over.
    let line = r##"{"position":1,"id":"e1","type":"A.b","timestamp":"2024-01-01T00:00:00Z","recorded":"2024-01-01T00:00:00Z","color":"#fff","data":{}}"##;
    assert!(matches!(Row::read("event", line, None).unwrap(), Row::Event { repeated: false, .. }));
}
