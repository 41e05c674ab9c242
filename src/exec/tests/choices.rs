//! What is chosen never matters for the answer, only for what is read.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::entity::{Position, PositionRange};
use crate::event::record::Record;
use crate::event::{Event, NewEvent};
use crate::plan::{FORCED, Forced};
use crate::store::append_request::AppendRequest;
use crate::store::index::term::Term;
use crate::store::snapshot::ScanDirection;
use crate::value::{Object, Value};

const FORCES: [Option<Forced>; 4] = [None, Some(Forced::Log), Some(Forced::Lists), Some(Forced::Every)];

fn forced<T>(force: Option<Forced>, work: impl FnOnce() -> T) -> T {
    FORCED.set(force);
    let done = work();
    FORCED.set(None);
    done
}

fn append(store: &Store, events: impl IntoIterator<Item = NewEvent>) {
    let group = AppendRequest { events: events.into_iter().collect(), ..AppendRequest::default() };
    store.append(group).unwrap();
}

fn number(row: &Row, name: &str) -> u64 {
    match row {
        Row::Fields(fields) => match &fields[name] {
            Value::Int(n) => n.unsigned_abs(),
            other => panic!("{name}: {other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_of_entities_are_counted_and_others_are_estimated() {
    let store = store(100_000);
    for batch in 0..40u64 {
        let event = |n: u64| {
            let at = batch * 1000 + n;
            // Dense in the first half, sparse in the second.
            let kind =
                if at < 20_000 && at.is_multiple_of(2) || at % 50 == 1 { "Order.paid" } else { "Order.sent" };
            NewEvent::new(kind).on(("Order", at % 7)).index("rare", (at % 1000 == 3) as i64)
        };
        append(&store, (0..1000).map(event));
    }
    store.checkpoint().unwrap();
    append(&store, (0..10).map(|_| NewEvent::new("Order.paid").on(("Order", 3))));
    let snapshot = store.snapshot();
    let head = snapshot.head().0;
    for (term, is_exact) in [
        (Term::entity(&Entity::from(("Order", 3))).unwrap(), true),
        (Term::kind(&"Order.paid".parse().unwrap()).unwrap(), false),
        (Term::kind(&"Order.sent".parse().unwrap()).unwrap(), false),
        (Term::tag("rare", &1.into()).unwrap(), true),
        (Term::tag("rare", &2.into()).unwrap(), true),
    ] {
        for (first, last) in
            [(1, head), (1, 10_000), (15_000, 25_000), (30_000, head), (39_990, head), (5, 4)]
        {
            let range = PositionRange::new(Position(first), Position(last));
            let list = snapshot.list(term.clone(), range, ScanDirection::Ascending);
            let real = list.map(Result::unwrap).count() as u64;
            let estimate = snapshot.estimate(&term, range).unwrap();
            if is_exact || estimate.exact {
                assert_eq!(estimate.entries, real, "{} from {range}", term.name());
            }
            assert!(estimate.exact >= is_exact, "{} from {range}", term.name());
            let near = real / 2..=real * 2;
            assert!(near.contains(&estimate.entries), "{}: {estimate} of {real}", term.name());
            // From one end: as if it were as dense everywhere.
            for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
                let ends = snapshot.estimate_from(&term, range, (direction, 64)).unwrap();
                let part = (range.len() / 10).max(1000).min(range.len());
                let end = match direction {
                    ScanDirection::Ascending => PositionRange::new(range.first, range.first.plus(part)),
                    ScanDirection::Descending => PositionRange::new(range.last.minus(part), range.last),
                };
                let there = snapshot.list(term.clone(), end, direction).map(Result::unwrap).count() as u64;
                if ends.exact {
                    assert_eq!(ends.entries, real, "{} from {range}", term.name());
                } else {
                    let dense = there * range.len() / (part + 1);
                    let near = dense / 3..=dense * 3;
                    assert!(
                        near.contains(&ends.entries),
                        "{}: {ends} of {dense} {direction:?} {range}",
                        term.name()
                    );
                }
            }
        }
    }
}

#[test]
fn analyzing_tells_what_was_read() {
    let store = store(100_000);
    // Ten runs of the log, one a month, in no table row for the last.
    for month in 1..=10 {
        let day = |day: u64| format!("2024-{month:02}-{:02}", day + 1);
        let event = |n: u64| {
            let event = NewEvent::new("Order.paid").on(("Order", n % 100)).at(time(&day(n % 28)));
            event.index("month", month as i64)
        };
        append(&store, (0..600).map(event));
        if month < 10 {
            store.checkpoint().unwrap();
        }
    }
    let session = Session::new(&store);
    let last = |text: &str, force| forced(force, || session.rows(text)).pop().unwrap();
    for force in FORCES {
        let row = last("EXPLAIN ANALYZE EVENTS SINCE '2024-03-01' UNTIL '2024-04-01'", force);
        assert_eq!((number(&row, "rows"), number(&row, "eventsAdmitted")), (600, 600));
        // The third run, and what is in no run yet.
        assert_eq!((number(&row, "eventsRead"), number(&row, "runsPassedOver")), (1200, 8), "{force:?}");
        let row = last(
            "EXPLAIN ANALYZE EVENTS WHERE timestamp BETWEEN '2024-03-01' AND '2024-03-31' LAST 5",
            force,
        );
        assert_eq!((number(&row, "rows"), number(&row, "runsPassedOver")), (5, 6), "{force:?}");
    }
    let row = last("EXPLAIN ANALYZE EVENTS BY month = 4 LIMIT 10", Some(Forced::Lists));
    assert_eq!((number(&row, "chunksRead"), number(&row, "eventsRead")), (1, 10));
    let row = last("EXPLAIN ANALYZE HISTORY Order 7 SINCE '2024-09-01'", None);
    assert_eq!(number(&row, "rows"), 12);
    assert!(number(&row, "eventsRead") == 12 && number(&row, "runsPassedOver") > 0, "{row:?}");
    let plan = session.lines("EXPLAIN EVENTS SINCE '2024-03-01' UNTIL '2024-04-01'");
    assert!(
        plan.contains(&r#"{"plan":"  in 1 of 9 runs of the log, by their times"}"#.to_owned()),
        "{plan:?}"
    );
}

#[test]
fn a_list_is_taken_where_it_is_short_and_the_log_where_it_is_not() {
    let store = store(100_000);
    for batch in 0..10u64 {
        let event = |n: u64| {
            let at = batch * 1000 + n;
            let event = NewEvent::new(if at.is_multiple_of(20) { "Order.paid" } else { "Order.sent" });
            event.on(("Order", at)).by(("User", at % 400)).index("at", at as i64)
        };
        append(&store, (0..1000).map(event));
    }
    store.checkpoint().unwrap();
    let session = Session::new(&store);
    for (text, expected) in [
        ("EVENTS 'Order.sent'", "from the whole log"),
        ("EVENTS WHERE type = 'Order.sent'", "from the whole log"),
        ("EVENTS 'Order.sent' BY User 7", "from the list of actor User 7"),
        ("EVENTS WHERE actor = User 7 AND data.x = 1", "from the list of actor User 7"),
        ("EVENTS BY at = 7, User 7", "from the list of at = 7"),
        ("EVENTS BY at BETWEEN 5 AND 14", "from the lists of at BETWEEN 5 AND 14, merged: 10 events"),
        ("EVENTS BY at < 300", "from the lists of at < 300, gathered: about"),
        ("EVENTS BY at > 300", "from the whole log"),
        (
            "EVENTS WHERE tags.at IN (1, 2, 3) AND type = 'Order.sent'",
            "from the lists of at IN (1, 2, 3), merged",
        ),
        ("HISTORY Order 7 WHERE type = 'Order.sent'", "from the list of history of Order 7: 1 event"),
        ("EVENTS BY id = 'e77'", "from the one event #77"),
        ("EVENTS WHERE id = 'e77' AND actor = User 7", "from the one event #77"),
        ("EVENTS WHERE position IN (7, 9)", "after #6 through #9"),
        (
            "EVENTS WHERE tags.at = 7 OR actor = User 7 AND data.x = 1",
            "from what is in one of, merged: about 26 events\n    the list of at = 7: 1 event\n    the list of actor User 7: 25 events",
        ),
        (
            "EVENTS WHERE (tags.at = 7 OR actor = User 7) AND (type = 'Order.paid' OR key = 'k')",
            "from what is in all of, about 2 events\n    what is in one of, merged: about 26 events\n      the list of at = 7: 1 event",
        ),
        ("EVENTS WHERE tags.at = 7 OR data.x = 1", "from the whole log"),
        ("EVENTS WHERE tags.at = 7 OR tags.at > 8", "from the whole log"),
        ("EVENTS WHERE tags.at CONTAINS 7", "from the list of at = 7: 1 event"),
    ] {
        let plan = session.plan(text, &store.snapshot()).unwrap().to_string();
        assert!(plan.contains(expected), "{text}\n{plan}");
    }
}

#[test]
fn a_few_that_lie_close_together_do_not_stand_for_a_whole_log() {
    let store = store(100_000);
    let (events, burst, many) = (30_000, 80, 900);
    for from in (0..events).step_by(1000) {
        let event = |n: u64| {
            NewEvent::new(match n {
                n if n < burst => "Order.early",
                n if n < burst + many => "Order.soon",
                n if n >= events - burst => "Order.late",
                n if n >= events - burst - many => "Order.lately",
                n if n.is_multiple_of(2) => "Order.even",
                _ => "Order.odd",
            })
        };
        append(&store, (from..from + 1000).map(event));
    }
    store.checkpoint().unwrap();
    let session = Session::new(&store);
    for (text, expected) in [
        ("EVENTS 'Order.early' LIMIT 100", "from the list of"),
        ("EVENTS 'Order.early' WHERE data.x IS NULL LIMIT 60", "from the list of"),
        ("EVENTS 'Order.early' LAST 100", "from the list of"),
        ("EVENTS 'Order.late' LAST 100", "from the list of"),
        ("EVENTS 'Order.late' LIMIT 100", "from the list of"),
        ("EVENTS 'Order.soon' LIMIT 1000", "from the list of"),
        ("EVENTS 'Order.lately' LAST 1000", "from the list of"),
        // As many as are wanted are close.
        ("EVENTS 'Order.early' LIMIT 50", "from the whole log"),
        ("EVENTS 'Order.late' LAST 50", "from the whole log"),
        ("EVENTS 'Order.even' LAST 500", "from the whole log"),
    ] {
        let plan = session.plan(text, &store.snapshot()).unwrap().to_string();
        assert!(plan.contains(expected), "{text}\n{plan}");
    }
}

#[test]
fn explaining_a_write_writes_nothing() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 42 KEY 'k1'");
    let explained = |text: &str| {
        let line = |row: &Row| match row {
            Row::Fields(fields) => fields["plan"].as_text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        session.rows(text).iter().map(line).collect::<Vec<_>>().join("\n")
    };
    for (text, expected) in [
        (
            "EXPLAIN EMIT Order.paid 42 {a: 1 + 1} EXPECT VERSION 1",
            "would be Order.paid at #2\n    data {\"a\":2}",
        ),
        (
            "EXPLAIN EMIT Order.paid 42 EXPECT VERSION 1",
            "EXPECT VERSION 1 holds: version 1, last Order.created",
        ),
        ("EXPLAIN EMIT Order.paid 42 EXPECT NEW", "EXPECT NEW does not hold: version 1, last Order.created"),
        ("EXPLAIN EMIT Order.paid 43 EXPECT EXISTS", "EXPECT EXISTS does not hold: no event yet"),
        (
            "EXPLAIN EMIT Order.paid 42 KEY 'k1'",
            "the key 'k1' was met at #1: its first outcome is given back, if this says the same as then",
        ),
        (
            "EXPLAIN ATOMIC (EMIT Order.deleted 42 EXPECT EXISTS; EMIT Order.paid 42 EXPECT EXISTS)",
            "EXPECT EXISTS does not hold: version 2, last Order.deleted",
        ),
        ("EXPLAIN DEFINE INDEX total ON 'Order.*' AS data.total", "would be built from 1 events"),
        ("EXPLAIN SUBSCRIBE 'Order.*' BY User 7", "deliver events like 'Order.*'\n  of actor User 7"),
        ("EXPLAIN SHOW TYPES", ""),
    ] {
        if expected.is_empty() {
            assert!(session.error(text).contains("expected"), "{text}");
            continue;
        }
        let plan = explained(text);
        assert!(plan.contains(expected), "{text}\n{plan}");
    }
    assert_eq!(store.snapshot().head(), Position(1));
    assert!(session.error("EXPLAIN EMIT Order.paid 42 {a: 'x' + 1}").contains("arithmetic"));
}

/// A value of `data`, of all sorts, some too long for a term.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (-3..6i64).prop_map(Value::Int),
        1 => prop::sample::select(vec![1.5, 1.0, -0.0, 9_223_372_036_854_775_808.0, 1e300]).prop_map(Value::Float),
        1 => prop::sample::select(vec![i64::MAX, i64::MAX - 1, i64::MIN]).prop_map(Value::Int),
        1 => prop::sample::select(vec![u64::MAX, 1 << 63]).prop_map(Value::UInt),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => "[ab]{0,2}".prop_map(Value::Text),
        1 => (496..512usize, "[ab]{0,2}").prop_map(|(long, end)| Value::Text("a".repeat(long) + &end)),
        1 => (1..9u8).prop_map(|day| Value::Text(format!("2024-01-0{day}"))),
        1 => Just(Value::Null),
        1 => Just(Value::Object(Object::from_iter([("k".to_owned(), 1.into())]))),
        1 => prop::collection::vec(item(), 0..3).prop_map(Value::Array),
    ]
}

fn item() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (-3..6i64).prop_map(Value::Int),
        1 => "[ab]{0,2}".prop_map(Value::Text),
        1 => Just(Value::Text("a".repeat(511))),
        1 => Just(Value::Null),
        1 => Just(Value::Array(vec![1.into()])),
    ]
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    value()
        .prop_filter("a scalar", |value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_)))
}

/// A comparison as the language writes it.
fn asked() -> impl Strategy<Value = String> {
    let comparisons = prop_oneof![Just("="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    prop_oneof![
        4 => (comparisons, scalar()).prop_map(|(sign, value)| format!("{sign} {}", literal(&value))),
        1 => prop::collection::vec(scalar(), 1..4).prop_map(|values| {
            format!("IN ({})", values.iter().map(literal).collect::<Vec<_>>().join(", "))
        }),
        1 => (-3..6i64, -3..6i64).prop_map(|(low, high)| format!("BETWEEN {low} AND {high}")),
        1 => (0..3usize, 0..3usize).prop_map(|(low, high)| {
            let text = |at: usize| ["a".to_owned(), "a".repeat(505), "b".to_owned()][at].clone();
            format!("BETWEEN '{}' AND '{}'", text(low), text(high))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// With an index and without, by lists and by the log, live and past: all the same.
    #[test]
    fn an_index_answers_what_the_events_say(
        values in prop::collection::vec((0..3usize, value(), 1..28u8), 1..60),
        asked in prop::collection::vec(asked(), 1..8),
        others in prop::collection::vec(asked(), 1..8),
        items in prop::collection::vec(scalar().prop_map(|value| literal(&value)), 1..8),
        defined in 0..60usize,
        on in prop::sample::select(vec!["Order.*", "Order.paid, Order.sent", "Order.paid", "Nobody.*, Order.*"]),
        memtable in 1..12usize,
        checkpoint in 0..60usize,
    ) {
        let store = store(memtable);
        let session = Session::new(&store);
        for (at, (kind, value, day)) in values.iter().enumerate() {
            if at == defined.min(values.len() - 1) {
                session.rows(&format!("DEFINE INDEX x ON '{on}' AS data.x"));
                session.rows("DEFINE INDEX day ON '*' AS timestamp");
            }
            if at == checkpoint {
                store.checkpoint().unwrap();
            }
            let kind = ["Order.paid", "Order.sent", "Till.rung"][*kind];
            let data = Value::Object(Object::from_iter([("x".to_owned(), value.clone())]));
            append(&store, [NewEvent::new(kind).data(&data).at(time(&format!("2024-01-{day:02}")))]);
        }
        prop_assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
        let snapshot = store.snapshot();
        for (at, asked) in asked.iter().enumerate() {
            let (or, item) = (&others[at % others.len()], &items[at % items.len()]);
            // WHERE, by reading everything, is what WHERE is by lists.
            for text in [
                format!("EVENTS 'Order.*' WHERE data.x {asked}"),
                format!("EVENTS 'Order.paid' WHERE data.x {asked} AND type != 'Order.sent' LAST 3"),
                format!("EVENTS WHERE data.x {asked} LIMIT 4"),
                format!("EVENTS 'Order.*, Till.*' WHERE NOT data.x {asked} AND position > 3.5 LAST 9"),
                format!("EVENTS 'Order.*' WHERE data.x {asked} AS OF #{} ORDER BY position DESC LIMIT 5", defined % values.len()),
                format!("EVENTS 'Order.sent, Order.paid' WHERE data.x {asked} AND type IN ('Order.paid', 'No.such') SINCE '2024-01-09'"),
                "EVENTS 'Order.*' WHERE timestamp >= '2024-01-05' AND timestamp < '2024-01-20'".to_owned(),
                format!("EVENTS 'Order.*' WHERE data.x {asked} OR data.x {or}"),
                format!("EVENTS WHERE type = 'Order.paid' AND data.x {asked} OR timestamp = '2024-01-05' LAST 4"),
                format!(
                    "EVENTS 'Order.*, Till.*' WHERE (data.x {asked} OR timestamp BETWEEN '2024-01-05' AND '2024-01-07') \
                     AND (position < 9 AND data.x {or} OR type = 'Till.rung' OR type = 'Order.sent' AND (data.x {or} OR position = 3)) LIMIT 6"
                ),
                format!("EVENTS 'Order.*' WHERE NOT data.x {asked} OR data.x {or} AS OF #{}", defined % values.len()),
                format!("EVENTS 'Order.*' WHERE data.x CONTAINS {item}"),
                format!("EVENTS 'Order.*' WHERE data.x CONTAINS {item} OR data.x {asked} LAST 5"),
            ] {
                let plain = forced(Some(Forced::Log), || session.positions(&text));
                for force in FORCES {
                    let found = forced(force, || session.positions(&text));
                    prop_assert_eq!(&found, &plain, "{} {:?}", &text, force);
                }
            }
            // BY is the same by lists, by the log, and for whoever subscribes.
            for (what, asked) in [("x", asked.as_str()), ("day", "BETWEEN '2024-01-05' AND '2024-01-20'"), ("day", "!= '2024-01-05'")] {
                let by = format!("'Order.*, Till.*' BY {what} {asked}");
                let plain = forced(Some(Forced::Log), || session.positions(&format!("EVENTS {by}")));
                for force in FORCES {
                    let found = forced(force, || session.positions(&format!("EVENTS {by}")));
                    prop_assert_eq!(&found, &plain, "{} {:?}", &by, force);
                }
                let Plan::Subscribe(subscription) =
                    session.plan(&format!("SUBSCRIBE {by}"), &snapshot).unwrap() else { panic!() };
                let wanted: Vec<u64> = snapshot
                    .log(PositionRange::ALL, ScanDirection::Ascending)
                    .map(Result::unwrap)
                    .filter(|(position, bytes)| {
                        let event = Record::open(*position, bytes).unwrap();
                        subscription.wants(&event, &snapshot.limits()).unwrap()
                    })
                    .map(|(position, _)| position.0)
                    .collect();
                prop_assert_eq!(&wanted, &plain, "{}", &by);
            }
        }
        // An array is held under each of its items, and what is asked of one of them is asked of the event.
        let events: Vec<Event> =
            (1..=snapshot.head().0).filter_map(|at| snapshot.event(Position(at)).unwrap()).collect();
        let holds = |event: &&Event| {
            event.kind.prefix() == "Order"
                && (on != "Order.paid" || event.kind.last() == "paid")
                && match event.data.get("x") {
                    Some(Value::Array(items)) => items.contains(&2.into()),
                    Some(value) => value == 2.into(),
                    None => false,
                }
        };
        let expected: Vec<u64> = events.iter().filter(holds).map(|event| event.position.0).collect();
        prop_assert_eq!(session.positions("EVENTS BY x = 2"), expected);
    }
}

#[test]
fn what_ends_a_question_ends_the_choice_too() {
    let store = store(100);
    append(&store, (0..10).map(|n| NewEvent::new("Order.paid").index("at", n)));
    let session = Session::new(&store);
    let snapshot = store.snapshot();
    let Plan::Read(read) = session.plan("EVENTS WHERE tags.at = 3", &snapshot).unwrap() else { panic!() };
    let crate::plan::ReadKind::Events(events) = read.kind else { panic!() };
    let question = crate::plan::AccessQuery {
        pattern: None,
        by: Vec::new(),
        predicate: events.predicate,
        window: events.window,
        take: events.take,
        indexed: false,
    };
    let cancel = crate::cancel::Cancel::new();
    let snapshot = snapshot.cancelled_by(&cancel);
    assert_eq!(crate::plan::choose(&snapshot, question.clone()).unwrap().window, events.window);
    cancel.cancel();
    assert!(crate::plan::choose(&snapshot, question).is_err());
}
