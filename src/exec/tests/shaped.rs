//! `GROUP BY`, `SELECT`, `HAVING`, `ORDER BY`: one form at a time.

use super::*;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;
use crate::value::Value;

/// Departures from three places; one has no delay, one has an odd one.
fn airport(memory: usize) -> Store {
    let store = store_with(4, Options::new().query_memory(memory));
    let session = Session::new(&store);
    for (i, (origin, delay)) in
        [("JFK", "10"), ("EWR", "5"), ("JFK", "20.5"), ("LGA", "NULL"), ("EWR", "'late'"), ("EWR", "-3")]
            .iter()
            .enumerate()
    {
        let day = i + 1;
        session.rows(&format!(
            "EMIT Plane.departed p{} {{origin: '{origin}', delay: {delay}}} AT '2024-01-{day:02}T08:00:00Z'",
            i % 2
        ));
    }
    session.rows("EMIT Plane.landed p0 {dest: 'JFK'} AT '2024-01-09'");
    store
}

#[test]
fn rows_have_the_columns_that_are_asked_for() {
    let store = airport(1 << 20);
    let session = Session::new(&store);
    for (text, expected) in [
        (
            "EVENTS 'Plane.departed' GROUP BY data.origin SELECT count() AS n, avg(data.delay), max(data.delay) AS most",
            &[
                r#"{"data.origin":"EWR","n":3,"avg(data.delay)":1,"most":"late"}"#,
                r#"{"data.origin":"JFK","n":2,"avg(data.delay)":15.25,"most":20.5}"#,
                r#"{"data.origin":"LGA","n":1,"avg(data.delay)":null,"most":null}"#,
            ][..],
        ),
        (
            "EVENTS 'Plane.departed' GROUP BY data.origin AS o SELECT count() AS n ORDER BY n DESC, o HAVING n > 1 LIMIT 5",
            &[r#"{"o":"EWR","n":3}"#, r#"{"o":"JFK","n":2}"#],
        ),
        (
            "EVENTS GROUP BY data.origin",
            &[
                r#"{"data.origin":null}"#,
                r#"{"data.origin":"EWR"}"#,
                r#"{"data.origin":"JFK"}"#,
                r#"{"data.origin":"LGA"}"#,
            ],
        ),
        (
            "EVENTS GROUP BY data.origin ORDER BY count() DESC, data.origin DESC LIMIT 2",
            &[r#"{"data.origin":"EWR"}"#, r#"{"data.origin":"JFK"}"#],
        ),
        (
            "EVENTS GROUP BY upper(substring(data.origin, 0, 1)) AS o, type SELECT upper(substring(data.origin, 0, 1)) = 'J' AS j HAVING type != 'Plane.landed' AND o > 'E'",
            &[
                r#"{"o":"J","type":"Plane.departed","j":true}"#,
                r#"{"o":"L","type":"Plane.departed","j":false}"#,
            ],
        ),
        (
            "EVENTS SELECT count(), count(data.delay), sum(data.delay), distinct(data.origin), min(timestamp), last(type)",
            &[
                r#"{"count()":7,"count(data.delay)":5,"sum(data.delay)":32.5,"distinct(data.origin)":3,"min(timestamp)":"2024-01-01T08:00:00Z","last(type)":"Plane.landed"}"#,
            ],
        ),
        (
            "EVENTS 'No.such' SELECT count(), sum(data.x), avg(data.x), first(type) AS f, distinct(type) AS d",
            &[r#"{"count()":0,"sum(data.x)":null,"avg(data.x)":null,"f":null,"d":0}"#],
        ),
        ("EVENTS 'No.such' GROUP BY type SELECT count()", &[]),
        ("EVENTS SELECT count() HAVING count() > 7", &[]),
        ("EVENTS LAST 2 SELECT count() AS n, first(position) AS p", &[r#"{"n":2,"p":6}"#]),
        ("EVENTS SELECT coalesce(sum(data.x), 0) + 1 AS s", &[r#"{"s":1}"#]),
        (
            "EVENTS SELECT max(timestamp) - min(timestamp) AS d, max(timestamp) > 2024-01-05 AS late",
            &[r#"{"d":"184h","late":true}"#],
        ),
        (
            "EVENTS GROUP BY date(timestamp) AS day SELECT count() AS n HAVING day >= 2024-01-06",
            &[r#"{"day":"2024-01-06","n":1}"#, r#"{"day":"2024-01-09","n":1}"#],
        ),
        (
            "EVENTS GROUP BY bucket(timestamp, 1w) AS w SELECT count() AS n HAVING w >= '2024-01-01'",
            &[r#"{"w":"2024-01-01T00:00:00Z","n":6}"#, r#"{"w":"2024-01-08T00:00:00Z","n":1}"#],
        ),
        (
            "EVENTS LIMIT 2 SELECT position, data.origin AS o",
            &[r#"{"position":1,"o":"JFK"}"#, r#"{"position":2,"o":"EWR"}"#],
        ),
        ("EVENTS LAST 2 SELECT position", &[r#"{"position":6}"#, r#"{"position":7}"#]),
        (
            "EVENTS LIMIT 2 SELECT position ORDER BY position DESC",
            &[r#"{"position":7}"#, r#"{"position":6}"#],
        ),
        (
            "EVENTS LIMIT 2 SELECT position, -position AS p ORDER BY p",
            &[r#"{"position":7,"p":-7}"#, r#"{"position":6,"p":-6}"#],
        ),
        ("EVENTS LIMIT 0 SELECT position ORDER BY data.x", &[]),
        ("EVENTS LIMIT 0 GROUP BY type", &[]),
        // A key may be a part of another, and its name is good in SELECT already.
        (
            "EVENTS GROUP BY data.origin AS o, coalesce(data.origin, type) AS both SELECT lower(o) AS l HAVING coalesce(data.origin, type) > 'K' ORDER BY coalesce(data.origin, type)",
            &[r#"{"o":"LGA","both":"LGA","l":"lga"}"#, r#"{"o":null,"both":"Plane.landed","l":null}"#],
        ),
        (
            "HISTORY Plane p1 SELECT version ORDER BY version DESC",
            &[r#"{"version":3}"#, r#"{"version":2}"#, r#"{"version":1}"#],
        ),
    ] {
        assert_eq!(session.lines(text), expected, "{text}");
    }
}

#[test]
fn events_come_in_the_order_that_is_asked_for() {
    let store = airport(1 << 20);
    let session = Session::new(&store);
    for (text, expected) in [
        // null, then numbers, then text; what is equal stays in the order of the log.
        ("EVENTS ORDER BY data.delay", &[4, 7, 6, 2, 1, 3, 5][..]),
        ("EVENTS ORDER BY data.delay DESC", &[5, 3, 1, 2, 6, 4, 7]),
        ("EVENTS ORDER BY data.delay DESC LIMIT 2", &[5, 3]),
        ("EVENTS ORDER BY data.origin, data.delay DESC", &[7, 5, 2, 6, 3, 1, 4]),
        ("EVENTS ORDER BY type DESC LIMIT 3", &[7, 1, 2]),
        ("EVENTS ORDER BY position", &[1, 2, 3, 4, 5, 6, 7]),
        ("EVENTS ORDER BY position DESC, type LIMIT 2", &[7, 6]),
        ("EVENTS ORDER BY recorded", &[1, 2, 3, 4, 5, 6, 7]),
        ("EVENTS ORDER BY recorded DESC LIMIT 3", &[1, 2, 3]),
        ("EVENTS 'Plane.departed' BY target = Plane p0 ORDER BY position DESC", &[5, 3, 1]),
        ("HISTORY Plane p0 ORDER BY timestamp DESC WHERE data.delay > 0", &[3, 1]),
    ] {
        assert_eq!(session.positions(text), expected, "{text}");
    }
}

#[test]
fn clauses_that_do_not_fit_are_told() {
    let store = airport(1 << 20);
    let session = Session::new(&store);
    for (text, expected) in [
        (
            "EVENTS GROUP BY type SELECT data.origin, count()",
            "line 1, column 29: data.origin is not one value of a group: put it in GROUP BY, or say which is meant, like max(data.origin)",
        ),
        (
            "EVENTS SELECT count(), lower(type)",
            "line 1, column 30: type is not one value of a group: put it in GROUP BY, or say which is meant, like max(type)",
        ),
        (
            "EVENTS GROUP BY type HAVING data.x > 1",
            "line 1, column 29: data.x is not one value of a group: put it in GROUP BY, or say which is meant, like max(data.x)",
        ),
        (
            "EVENTS GROUP BY type ORDER BY timestamp",
            "line 1, column 31: timestamp is not one value of a group: put it in GROUP BY, or say which is meant, like max(timestamp)",
        ),
        (
            "EVENTS SELECT sum(1 + max(data.x))",
            "line 1, column 23: max() within an aggregate: aggregates do not nest",
        ),
        (
            "EVENTS GROUP BY count()",
            "line 1, column 17: count() is worked out from many events: it belongs in SELECT, HAVING or ORDER BY",
        ),
        (
            "EVENTS GROUP BY 1",
            "line 1, column 17: GROUP BY: 1 is the same for every event; say the expression itself",
        ),
        (
            "EVENTS ORDER BY 2 DESC",
            "line 1, column 17: ORDER BY: 2 is the same for every row; say the name of a column, or an expression",
        ),
        (
            "EVENTS GROUP BY type SELECT type, count()",
            "line 1, column 29: type is in GROUP BY, which comes first in the row: leave it out of SELECT",
        ),
        (
            "EVENTS SELECT data.a AS x, data.b AS x",
            "line 1, column 38: two columns are called x: give one another name with AS",
        ),
        (
            "EVENTS SELECT count(), count()",
            "line 1, column 24: two columns are called count(): give one another name with AS",
        ),
        (
            "EVENTS SELECT type HAVING type = 'x'",
            "line 1, column 27: HAVING chooses among groups, and there are none; events are chosen by WHERE (did you mean WHERE?)",
        ),
        (
            "EVENTS HAVING count() > 1",
            "line 1, column 15: an aggregate, and nothing that makes rows of many events: add GROUP BY or SELECT",
        ),
        (
            "EVENTS ORDER BY count()",
            "line 1, column 17: an aggregate, and nothing that makes rows of many events: add GROUP BY or SELECT",
        ),
        (
            "EVENTS LAST 2 ORDER BY type",
            "line 1, column 15: LAST is the newest events, in order: it does not go together with ORDER BY",
        ),
        (
            "EVENTS GROUP BY type SELECT count() AS many ORDER BY mny",
            "line 1, column 54: there is no column and no field 'mny'; the columns are type, many, the fields type, timestamp, recorded, position, version, id, target, actor, data, metadata, tags, key, cause, correlation, producer, namespace (did you mean many?)",
        ),
        (
            "EVENTS GROUP BY type SELECT count() AS many HAVING may > 2",
            "line 1, column 52: there is no column and no field 'may'; the columns are type, many, the fields type, timestamp, recorded, position, version, id, target, actor, data, metadata, tags, key, cause, correlation, producer, namespace (did you mean many?)",
        ),
    ] {
        assert_eq!(session.error(text), expected, "{text}");
    }
}

#[test]
fn what_a_query_holds_is_bounded() {
    let store = airport(400);
    let session = Session::new(&store);
    let more = |what: &str| {
        format!(
            "stopped: {what} takes more than the 400 bytes that a query may hold in memory; narrow it with WHERE, SINCE or \
             LIMIT, or raise Options::query_memory (--memory)"
        )
    };
    assert_eq!(session.error("EVENTS ORDER BY data.delay"), more("ORDER BY"));
    assert_eq!(session.error("EVENTS GROUP BY position"), more("GROUP BY"));
    assert_eq!(session.error("EVENTS SELECT distinct(position)"), more("what the aggregates keep"));
    // The best two are all that is held of a hundred.
    assert_eq!(session.positions("EVENTS ORDER BY data.delay LIMIT 2"), [4, 7]);
    assert_eq!(session.positions("EVENTS ORDER BY position DESC"), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(session.lines("EVENTS SELECT count() AS n"), [r#"{"n":7}"#]);
    assert_eq!(session.rows("EVENTS SELECT data.delay").len(), 7);
}

/// A log of several stretches, each gathered by itself: the parts join to what one pass gives.
#[test]
fn answers_do_not_depend_on_threads() {
    const EVENTS: u64 = 70_000;
    let place = |n: u64| if n.is_multiple_of(5) { None } else { Some(n % 7) };
    for threads in [1, 3] {
        let store = store_with(100_000, Options::new().threads(threads));
        for batch in 0..EVENTS / 5000 {
            let event =
                |n: u64| NewEvent::new("Order.paid").member("n", n as f64 / 8.0).member("place", place(n));
            let events = (1..=5000).map(|n| event(batch * 5000 + n)).collect();
            store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
        }
        let session = Session::new(&store);
        let groups = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)].map(|key| {
            let members: Vec<u64> = (1..=EVENTS).filter(|n| place(*n) == key).collect();
            let sum = members.iter().sum::<u64>() as f64 / 8.0;
            let (first, last) = (members[0], members[members.len() - 1]);
            let key = key.map_or("null".to_owned(), |key| key.to_string());
            let count = members.len();
            format!(
                r#"{{"place":{key},"n":{count},"s":{},"f":{first},"l":{last},"m":{},"d":{count}}}"#,
                Value::Float(sum),
                Value::Float(last as f64 / 8.0)
            )
        });
        let text = "EVENTS GROUP BY data.place AS place SELECT count() AS n, sum(data.n) AS s, first(position) AS f, \
                    last(position) AS l, max(data.n) AS m, distinct(data.n) AS d";
        assert_eq!(session.lines(text), groups);
        assert_eq!(session.lines("EVENTS SELECT count(data.place) AS n"), [r#"{"n":56000}"#]);

        let mut sorted: Vec<u64> = (1..=EVENTS).collect();
        sorted.sort_by_key(|n| (std::cmp::Reverse(place(*n)), std::cmp::Reverse(n % 1000)));
        let text = "EVENTS WHERE position > 0 ORDER BY data.place DESC, position % 1000 DESC";
        assert_eq!(session.positions(&format!("{text} LIMIT 300")), sorted[..300]);
        assert_eq!(session.positions(text), sorted);
    }
}

#[test]
fn a_plan_tells_what_it_holds() {
    let store = airport(1 << 20);
    let session = Session::new(&store);
    let plan = |text: &str| session.plan(text, &store.snapshot()).unwrap().to_string();
    let starts = |text: &str, expected: &str| {
        let plan = plan(text);
        assert!(plan.starts_with(expected), "{text}\n{plan}");
    };
    starts(
        "EVENTS WHERE data.delay > 1 GROUP BY data.origin AS o SELECT count() AS n, avg(data.delay) HAVING n > 1 ORDER BY n DESC, o LIMIT 5",
        "group by data.origin as o\n  keeping count(), avg(data.delay)\n  having n > 1\n  sort by n descending, o\n  the first 5\n  \
         select data.origin as o, count() as n, avg(data.delay)\nof events\n  where data.delay > 1\n",
    );
    starts(
        "EVENTS SELECT count()",
        "one row of everything\n  keeping count()\n  select count()\nof events\n",
    );
    starts(
        "EVENTS ORDER BY data.delay DESC LIMIT 9",
        "sort by data.delay descending\n  keeping the first 9\nof events\n",
    );
    starts("EVENTS ORDER BY type SELECT id", "sort by type\n  keeping all\n  select id\nof events\n");
    starts("EVENTS SELECT id, type AS t LIMIT 2", "select id, type as t\nof the first 2 events\n");
    starts("EVENTS ORDER BY position DESC LIMIT 2", "the newest 2 events, newest first\n");
    starts("EVENTS ORDER BY position DESC", "events, newest first\n");
}
