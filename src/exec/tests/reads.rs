//! Reads, one form at a time.

use super::*;
use crate::entity::PositionRange;
use crate::event::record::Record;
use crate::plan::{FORCED, Forced};
use crate::store::snapshot::ScanDirection;

/// An order's life, with a late fact and one in the future, others' events between.
fn shop() -> Store {
    let store = store(4);
    let session = Session::new(&store);
    for text in [
        "EMIT Order.created 42 {total: 10, items: [{price: 3}, {price: 7}], 'odd name': 1} AT '2024-01-01' BY User ann INDEX BY customer = 'c-7'",
        "EMIT Order.created 43 {total: 1.5, note: null} AT '2024-01-02' BY User bob INDEX BY customer = 'c-8'",
        "EMIT Order.paid 42 {paid: true} AT '2024-03-01' BY User ann INDEX BY customer = 'c-7' META {ip: '::1'}",
        "EMIT Order.noted 42 {note: 'late', total: 11} AT '2024-02-01' BY Till 1 CAUSED BY #3",
        "EMIT Order.due 42 {due: true} AT '2030-01-01' KEY 'k5'",
        "EMIT Order.deleted 43 AT '2024-04-01'",
        "EMIT Order.created 43 {total: 2} AT '2024-05-01'",
        "EMIT Invoice.sent 9 {for: 'Order 42'} AT '2024-05-02' CAUSED BY #3",
    ] {
        session.rows(text);
    }
    store
}

#[test]
fn states() {
    let store = shop();
    let session = Session::new(&store);
    for (text, expected) in [
        (
            "AT Order 42 '2024-01-01'",
            r#"{"target":{"type":"Order","id":"42"},"version":1,"events":1,"at":"2024-01-01T00:00:00Z","state":{"total":10,"items":[{"price":3},{"price":7}],"odd name":1}}"#,
        ),
        (
            "AT Order 42 2024-02-15",
            r#""version":3,"events":2,"at":"2024-02-15T00:00:00Z","state":{"total":11,"items":[{"price":3},{"price":7}],"odd name":1,"note":"late"}}"#,
        ),
        ("AT Order 42 NOW", r#""version":3,"events":3,"at":"2024-06-01T12:00:00Z""#),
        ("AT Order 42", r#""version":3,"events":3,"state":{"total":11,"#),
        ("AT Order 42 #5", r#""version":4,"events":4,"at":5,"state":{"total":11,"#),
        ("REPLAY Order 42", r#""note":"late","due":true}}"#),
        ("AT Order 42 VERSION 1", r#""version":1,"events":1,"at":1,"state":{"total":10"#),
        ("AT Order 42 #3", r#""version":2,"events":2,"at":3,"#),
        ("AT Order 42 'e3'", r#""version":2,"events":2,"at":3,"#),
        (
            "AT Order 42 '2024-02-15' AS OF #3",
            r#""version":1,"events":1,"at":"2024-02-15T00:00:00Z","asOf":3,"#,
        ),
        (
            "AT Order 42 AS OF '2024-01-01'",
            r#""version":0,"events":0,"asOf":"2024-01-01T00:00:00Z","state":null}"#,
        ),
        ("REPLAY Order 43", r#""version":3,"events":3,"state":{"total":2}}"#),
        ("AT Order 43 '2024-04-02'", r#""version":2,"events":2,"at":"2024-04-02T00:00:00Z","state":null}"#),
        ("REPLAY Order 99", r#"{"target":{"type":"Order","id":"99"},"version":0,"events":0,"state":null}"#),
    ] {
        let lines = session.lines(text);
        assert!(lines.len() == 1 && lines[0].contains(expected), "{text}\n{lines:?}");
    }
    let (rows, notices) = session.run("AT Order 42 '2023-01-01'").unwrap();
    assert!(matches!(&rows[..], [Row::State(state)] if state.first == Some(time("2024-01-01"))));
    assert_eq!(notices, ["Order 42 has its first event at 2024-01-01T00:00:00Z: #1"]);
    assert_eq!(session.run("AT Order 42 VERSION 2").unwrap().1[0], "VERSION 2 is #3");
}

#[test]
fn steps() {
    let store = shop();
    let lines = Session::new(&store).lines("REPLAY Order 42 STEPS");
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with(r#"{"event":{"position":1,"#), "{}", lines[0]);
    assert!(lines[0].contains(r#""changes":[{"op":"replace","path":"","value":{"total":10"#), "{}", lines[0]);
    assert!(
        lines[2].ends_with(
            r#""changes":[{"op":"replace","path":"/total","value":11},{"op":"add","path":"/note","value":"late"}],"late":true}"#
        ),
        "{}",
        lines[2]
    );
}

#[test]
fn conditions() {
    let store = shop();
    let mut session = Session::new(&store);
    session.parameters = Parameters::from([("total", 10)]);
    for (condition, expected) in [
        ("data.total = 10", &[1][..]),
        ("data.total = 10.0", &[1]),
        ("data.total > 1", &[1, 2, 4, 7]),
        ("data.total > 1.5", &[1, 4, 7]),
        ("data.total >= $total", &[1, 4]),
        ("NOT data.total > 1.5", &[2]),
        ("data.total != 10", &[2, 3, 4, 5, 6, 7, 8]),
        ("data.total IS NULL", &[3, 5, 6, 8]),
        ("data.note = null", &[1, 2, 3, 5, 6, 7, 8]),
        ("data.total IN (10, 2)", &[1, 7]),
        ("data.total NOT IN (10, 2, null)", &[2, 4]),
        ("data.total BETWEEN 1.5 AND 2", &[2, 7]),
        ("data.items[1].price = 7", &[1]),
        ("data.items[0].price + data.items[1].price = data.total", &[1, 3, 5, 6, 8]), // null = null
        ("data.items[0].price + data.items[1].price >= data.total", &[1]),
        ("data['odd name'] = 1", &[1]),
        ("data.total / 4 = 2.5", &[1]),
        ("data.total % 4 = 2", &[1, 7]),
        ("data.items CONTAINS {price: 7.0}", &[1]),
        ("data.note CONTAINS 'at'", &[4]),
        ("data.paid", &[3]),
        ("NOT data.paid", &[]),
        ("data.paid OR data.due", &[3, 5]),
        ("data.total > 5 AND actor = User ann", &[1]),
        ("actor.type = 'Till' OR target.id = 43", &[2, 4, 6, 7]),
        ("target = Invoice 9", &[8]),
        ("target != Order 42 AND actor IS NULL", &[6, 7, 8]),
        ("type MATCHES 'Order.*' AND type NOT MATCHES '*.created'", &[3, 4, 5, 6]),
        ("timestamp > -7d", &[5]),
        ("timestamp < '2024-01-02'", &[1]),
        ("timestamp BETWEEN '2024-01-02' AND 2024-02-01", &[2, 4]),
        ("timestamp < recorded - 100d", &[1, 2, 4]),
        ("recorded - timestamp < 60d", &[5, 7, 8]),
        ("version = 3 OR position = 1", &[1, 4, 7]),
        ("key = 'k5'", &[5]),
        ("id = 'e2'", &[2]),
        ("cause.position = 3", &[4, 8]),
        ("correlation = 'e3'", &[4, 8]),
        ("tags.customer = 'c-8'", &[2]),
        ("metadata.ip = '::1'", &[3]),
        ("data.total = 'x' OR data.total < 'x'", &[]),
        ("producer.id = 9", &[8]),
        ("-data.total < -10", &[4]),
    ] {
        assert_eq!(session.positions(&format!("EVENTS WHERE {condition}")), expected, "{condition}");
    }
}

#[test]
fn events_and_their_windows() {
    let store = shop();
    let session = Session::new(&store);
    for (text, expected) in [
        ("EVENTS", &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("HISTORY Order 42", &[1, 3, 4, 5]),
        ("HISTORY Order 42 LAST 2", &[4, 5]),
        ("HISTORY Order 42 SINCE VERSION 1 UNTIL VERSION 3", &[3, 4]),
        ("HISTORY Order 42 WHERE data.total > 1 LIMIT 1", &[1]),
        ("HISTORY Order 99", &[]),
        ("EVENTS 'Order.created'", &[1, 2, 7]),
        ("EVENTS '*.created, Invoice.*' LAST 2", &[7, 8]),
        ("EVENTS '$*'", &[]),
        ("EVENTS 'Nothing.*'", &[]),
        ("EVENTS SINCE #2 UNTIL #4", &[3, 4]),
        ("EVENTS SINCE '2024-01-02' UNTIL '2024-03-01'", &[2, 4]),
        ("EVENTS SINCE -60d UNTIL NOW", &[7, 8]),
        ("EVENTS SINCE 'e6'", &[7, 8]),
        ("EVENTS AS OF #2", &[1, 2]),
        ("EVENTS AS OF NOW LIMIT 0", &[]),
        ("EVENTS AS OF 2024-01-01", &[]),
        ("EVENTS BY User ann", &[1, 3]),
        ("EVENTS 'Order.paid' BY User ann", &[3]),
        ("EVENTS BY User ann, customer = 'c-8'", &[]),
        ("EVENTS BY customer = 'c-7'", &[1, 3]),
        ("EVENTS BY customer = 'c-9'", &[]),
        ("EVENTS 'Order.created' BY customer = 'c-7', actor = User ann LAST 1", &[1]),
        ("EVENTS BY cause = 3", &[4, 8]),
        ("EVENTS BY correlation = 'e3'", &[4, 8]),
        ("EVENTS BY key = 'k5'", &[5]),
        ("EVENTS BY id = 'e5'", &[5]),
        ("EVENTS BY id = 'e5', target = Order 42 LAST 3", &[5]),
        ("EVENTS BY id = 'none'", &[]),
        ("EVENTS BY target = Order 42, type = 'Order.paid'", &[3]),
    ] {
        assert_eq!(session.positions(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let store = shop();
    let mut session = Session::new(&store);
    session.parameters = Parameters::from([("n", -1)]);
    for (text, expected) in [
        (
            "EVENTS BY colour = 'red'",
            "line 1, column 11: BY colour: no index answers it, and no event was emitted with INDEX BY colour; write DEFINE INDEX colour ON '*' AS data.colour, or WHERE data.colour = 'red'",
        ),
        ("EVENTS WHERE total > 1", "an event has no field 'total'; it has type, timestamp"),
        ("EVENTS WHERE total > 1", "(did you mean data.total?)"),
        ("EVENTS WHERE timstamp > -7d", "(did you mean timestamp?)"),
        ("EVENTS WHERE type = Order.paid", "(did you mean 'Order.paid'?)"),
        ("EVENTS WHERE lenght(type) > 1", "(did you mean length?)"),
        (
            "EVENTS SELECT DISTINCT type",
            "line 1, column 15: no DISTINCT before a value: distinct(type) counts the different ones, GROUP BY type",
        ),
        ("EVENTS SELECT count(distinct type)", "column 21: no DISTINCT before a value"),
        ("EVENTS ORDER BY type, LIMIT 3", "column 23: the comma before LIMIT is one too many"),
        ("EVENTS SELECT type, WHERE type = 'x'", "column 21: the comma before WHERE is one too many"),
        ("EVENTS GROUP BY type, SELECT type", "column 23: the comma before SELECT is one too many"),
        ("EVENTS SELECT type, last 3", "column 21: the comma before LAST is one too many"),
        ("EVENTS WHERE target.kind = 'x'", "target has no 'kind'; it has type, id"),
        ("EVENTS WHERE type.x = 'x'", "type has no parts"),
        ("EVENTS WHERE timestamp > 'yesterday'", "line 1, column 26: a text beside a time"),
        ("EVENTS WHERE timestamp > 7d", "(did you mean NOW - 7d?)"),
        ("EVENTS WHERE actor = 'User 7'", "(did you mean User 7?)"),
        ("EVENTS SINCE #99", "#99 is beyond the head, which is #8"),
        ("EVENTS SINCE 'what'", "neither"),
        ("EVENTS SINCE VERSION 1", "VERSION counts the events of one entity"),
        ("HISTORY Order 42 UNTIL VERSION 9", "Order 42 has no version 9; its newest is 4"),
        ("EVENTS LIMIT $n", "LIMIT: expected a number from 0 on, found $n = -1"),
        ("EVENTS BY colour > 'c'", "or WHERE data.colour > 'c'"),
        ("EVENTS BY custmer IN ('c', 1)", "data.custmer IN ('c', 1) (did you mean customer?)"),
        ("EVENTS BY customer BETWEEN 1 AND 'c'", "1 and 'c' are of two sorts"),
        ("EVENTS BY customer = null", "expected text, a number or a boolean"),
        ("EVENTS BY type > 'Order'", "BY type: it takes = and IN (…)"),
        ("EVENTS BY actor != User 7", "BY actor: it takes = and IN (…)"),
        ("EVENTS BY actor IN (User 7, 8)", "BY actor: expected an entity"),
        ("EXPLAIN ANALYZE EMIT Order.paid 42", "expected a read, found a write, which is not carried out"),
        ("EXPLAIN ANALYZE SUBSCRIBE '*'", "found a subscription, which has no end; EXPLAIN alone"),
        ("EVENTS '..'", "pattern: expected"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn what_is_shown() {
    let store = shop();
    let session = Session::new(&store);
    assert_eq!(
        session.lines("SHOW TYPES")[0],
        r#"{"type":"Invoice.sent","count":1,"first":"2024-05-02T00:00:00Z","last":"2024-05-02T00:00:00Z"}"#
    );
    assert!(session.lines("SHOW STATS")[0].starts_with(r#"{"events":8,"types":6,"fileBytes":"#));
    let before = session.lines("SHOW HEAD");
    assert!(before[0].starts_with(r#"{"position":8,"recorded":"2024-06-01T12:00:00Z","chain":""#));
    session.rows("CHECKPOINT");
    assert_eq!(session.lines("SHOW HEAD"), before);
    assert!(
        session.lines("SHOW STATS")[0]
            .contains(r#","checkpoint":8,"tailEvents":0,"tailBytes":0,"journalBytes":"#)
    );
    let verified = session.lines("VERIFY");
    assert_eq!(verified.len(), 1);
    assert!(verified[0].starts_with(r#"{"ok":true,"events":8,"entries":"#), "{verified:?}");
}

#[test]
fn a_subscription_wants_what_the_same_events_would_show() {
    let store = shop();
    let session = Session::new(&store);
    let snapshot = store.snapshot();
    for (text, from, past) in [
        ("SUBSCRIBE 'Order.*' FROM START", Some(0), &[1, 2, 3, 4, 5, 6, 7][..]),
        ("SUBSCRIBE 'Order.*' BY User ann FROM #1 WHERE data.paid", Some(1), &[3]),
        ("SUBSCRIBE BY customer = 'c-7', User ann", None, &[1, 3]),
        ("SUBSCRIBE BY colour = 'red'", None, &[]),
        ("SUBSCRIBE FROM '2024-06-01'", Some(0), &[1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        let Plan::Subscribe(subscription) = session.plan(text, &snapshot).unwrap() else { panic!("{text}") };
        assert_eq!(subscription.from.map(|from| from.0), from, "{text}");
        let after = subscription.from.unwrap_or_default();
        let found = crate::exec::EventScan::past(&snapshot, &subscription, after).unwrap();
        let found: Vec<u64> = found.map(|event| event.unwrap().position.0).collect();
        assert_eq!(found, past, "{text}");
        let log = snapshot.log(PositionRange::after(after), ScanDirection::Ascending).map(Result::unwrap);
        let wanted = log.filter(|(position, bytes)| {
            let event = Record::open(*position, bytes).unwrap();
            subscription.wants(&event, &snapshot.limits()).unwrap()
        });
        let wanted: Vec<u64> = wanted.map(|(position, _)| position.0).collect();
        assert_eq!(wanted, past, "{text}");
    }
    let until = |text: &str| match session.plan(text, &snapshot).unwrap() {
        Plan::Subscribe(subscription) => subscription.until,
        _ => None,
    };
    assert_eq!(
        until("SUBSCRIBE UNTIL NOW"),
        Some(crate::plan::SubscriptionEnd::Position(crate::entity::Position(8)))
    );
    assert_eq!(
        until("SUBSCRIBE UNTIL 2030-01-01"),
        Some(crate::plan::SubscriptionEnd::Recorded(time("2030-01-01")))
    );
}

#[test]
fn a_plan_says_what_will_be_read() {
    let store = shop();
    let session = Session::new(&store);
    for (text, forced, expected) in [
        (
            "EVENTS 'Order.created' BY customer = 'c-7' WHERE data.total > 1 SINCE 2024-01-01 LIMIT 3",
            Some(Forced::Every),
            "the first 3 events\n  where data.total > 1\n  after #0 through #8, occurred since 2024-01-01T00:00:00Z\n  \
             passing over runs of other times\n  from what is in all of, about 1 event\n    \
             the list of customer = 'c-7': 2 events\n    the list of type Order.created: 3 events",
        ),
        (
            "EVENTS 'Order.created' BY customer = 'c-7', User ann",
            None,
            "events\n  of a type like 'Order.created'\n  by customer = 'c-7'\n  by actor User ann\n  \
             after #0 through #8\n  from the whole log: 8 events",
        ),
        ("EVENTS", None, "events\n  after #0 through #8\n  from the whole log: 8 events"),
        (
            "EVENTS '*' BY id = 'e3' LAST 1",
            None,
            "the last 1 events, read backwards\n  after #0 through #8\n  from the one event #3",
        ),
        (
            "EVENTS '*.created, Order.paid'",
            Some(Forced::Lists),
            "events\n  after #0 through #8\n  from the lists of 2 types, merged: 4 events\n    \
             the list of type Order.created: 3 events\n    the list of type Order.paid: 1 event",
        ),
        (
            "EVENTS BY customer > 'c'",
            Some(Forced::Lists),
            "events\n  after #0 through #8\n  from the lists of customer > 'c', merged: 3 events\n    \
             2 lists in all",
        ),
        (
            "EVENTS BY customer != 'c-7', actor IN (User ann, User bob) WHERE type = 'Order.created' AND position > 1",
            Some(Forced::Every),
            "events\n  where type = 'Order.created' AND position > 1\n  after #1 through #8\n  from what is in all of, about 1 event",
        ),
        (
            "AT Order 42 '2024-02-01' AS OF #3",
            None,
            "fold the events of Order 42\n  after #0 through #3, occurred by 2024-02-01T00:00:00Z",
        ),
        (
            "SUBSCRIBE 'Order.*' BY User ann FROM #2 WHERE data.paid",
            None,
            "deliver events like 'Order.*'\n  of actor User ann\n  where data.paid\n  after #2",
        ),
        ("EMIT Order.paid NEW BY User 7 AT -1d", None, "append Order.paid on a new Order by User 7 1d ago"),
    ] {
        FORCED.set(forced);
        let plan = session.plan(text, &store.snapshot());
        FORCED.set(None);
        let plan = plan.unwrap().to_string();
        assert!(plan.starts_with(expected), "{text}\n{plan}");
    }
}

#[test]
fn many_of_the_last_events_are_found_within_the_memory_of_a_query() {
    let store = store_with(1000, crate::store::Options::new().query_memory(1 << 10));
    let events = (0..400).map(|_| crate::event::NewEvent::new("Order.paid")).collect();
    store.append(crate::store::append_request::AppendRequest { events, ..Default::default() }).unwrap();
    let session = Session::new(&store);
    assert_eq!(session.positions("EVENTS LAST 100").len(), 100);
    for text in ["EVENTS LAST 300", "EVENTS SELECT position LAST 300"] {
        let error = session.error(text);
        assert!(error.contains("LAST takes more than the 1 KiB"), "{error}");
    }
}
