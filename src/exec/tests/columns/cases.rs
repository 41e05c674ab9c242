//! Columns, case by case.

use std::collections::BTreeMap;

use super::super::private::is_on_disk;
use super::*;
use crate::entity::Position;

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn defined(store: &Store, column: &str) -> Position {
    store.snapshot().indexes().column(column).unwrap().position
}

/// The blocks of a column as they are stored, by their keys.
fn blocks(store: &Store, column: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (read, mut blocks) = (store.shared().tables.read().unwrap(), Vec::new());
    read.groups_from(defined(store, column), &[], |key, block| {
        blocks.push((key.to_vec(), block.unwrap().to_vec()));
        Ok(true)
    })
    .unwrap();
    blocks
}

fn put_block(store: &Store, column: &str, key: &[u8], block: Vec<u8>) {
    let position = defined(store, column);
    store.shared().tables.write("a test", |tables| tables.put_group(position, key, block)).unwrap();
}

/// What columns answer, which is what the events say.
fn answered(store: &Store, text: &str) -> Vec<String> {
    let (session, snapshot) = (Session::new(store), store.snapshot());
    let query = Query { text: text.to_owned(), window: None };
    assert_eq!(columns_hold(&session, &snapshot, &[query], &[]), Ok(1), "{text}");
    session.lines(text)
}

/// A store with some events of `A.b`, and columns of what they say.
fn with_said(columns: &[(&str, &str)], events: &[&str]) -> Store {
    let mut options = Options::new();
    options.by_hand = true;
    let store = store_with(1000, options);
    let session = Session::new(&store);
    for (name, expression) in columns {
        session.rows(&format!("DEFINE COLUMN {name} ON 'A.b' AS {expression}"));
    }
    for data in events {
        session.rows(&format!("EMIT A.b 1 {data}"));
    }
    store.checkpoint().unwrap();
    settle(&store);
    store
}

#[test]
fn equal_keys_of_several_forms_are_one_group_in_the_order_of_the_log() {
    let columns = [("c", "data.c"), ("n", "data.n"), ("third", "data.c % 3")];
    for (a, b) in [("1", "1.0"), ("0.0", "-0.0"), ("-0.0", "0"), ("9007199254740992.0", "9007199254740992")] {
        let event = |c: &str, n: u8| format!("{{c: {c}, n: {n}}}");
        let events = [event(a, 10), event(b, 20), event("'x'", 7), event(a, 30)];
        let store = with_said(&columns, &events.each_ref().map(String::as_str));
        let last =
            answered(&store, "EVENTS 'A.b' GROUP BY data.c SELECT last(data.n) AS l, first(data.n) AS f");
        assert!(last[0].ends_with(r#","l":30,"f":10}"#) && last.len() == 2, "{last:?}");
        let keys =
            answered(&store, "EVENTS 'A.b' GROUP BY data.c AS c SELECT last(data.c) AS l, min(data.c) AS m");
        assert_eq!(keys.len(), 2);
        let thirds = answered(&store, "EVENTS 'A.b' GROUP BY data.c % 3 SELECT last(data.n) AS l");
        assert!(thirds.iter().any(|row| row.ends_with(r#","l":30}"#)) && thirds.len() == 2, "{thirds:?}");
    }
}

#[test]
fn the_greatest_of_32_bits_is_counted() {
    for most in [4_294_967_293u64, 4_294_967_294, 4_294_967_295, 4_294_967_296] {
        let most = format!("{{n: {most}}}");
        for first in ["{n: 0}", "{n: NULL}"] {
            let store = with_said(&[("n", "data.n")], &[first, "{n: 0}", "{n: 1}", &most]);
            let counted = "EVENTS 'A.b' WHERE data.n > 1 SELECT count() AS n";
            assert_eq!(answered(&store, counted), [r#"{"n":1}"#], "{most}");
        }
    }
}

#[test]
fn an_expression_is_a_column_only_to_the_last_bit() {
    let store = with_said(&[("x", "coalesce(data.x, 0.0)")], &["{x: NULL}", "{x: 2}"]);
    let session = Session::new(&store);
    let of = |zero: &str| format!("EVENTS 'A.b' GROUP BY coalesce(data.x, {zero}) AS x SELECT count() AS n");
    assert_eq!(answered(&store, &of("0.0"))[0], r#"{"x":0.0,"n":1}"#);
    assert!(by_columns(&session, &store.snapshot(), &of("-0.0")).is_none());
    assert_eq!(session.lines(&of("-0.0"))[0], r#"{"x":-0.0,"n":1}"#);
    // Nor is one that has its members in another order.
    let first =
        |a: &str, b: &str| format!("get(keys(coalesce(data.x, put(put(null, '{a}', 1), '{b}', 1))), 0)");
    let store = with_said(&[("k", &first("a", "b"))], &["{}", "{}"]);
    let of = |a: &str, b: &str| format!("EVENTS 'A.b' GROUP BY {} AS k SELECT count() AS n", first(a, b));
    assert_eq!(answered(&store, &of("a", "b"))[0], r#"{"k":"a","n":2}"#);
    assert_eq!(Session::new(&store).lines(&of("b", "a"))[0], r#"{"k":"b","n":2}"#);
}

#[test]
fn of_two_columns_of_the_same_the_one_that_is_kept_further_is_read() {
    let store = with_said(&[("a", "data.n"), ("b", "data.n")], &["{n: 1}", "{n: 2}"]);
    let session = Session::new(&store);
    let counted = "EVENTS 'A.b' WHERE data.n > 1 SELECT count() AS n";
    let read = || {
        let rows = session.lines(&format!("EXPLAIN {counted}"));
        rows.iter().find(|row| row.contains("from the column")).cloned()
    };
    assert_eq!(read().unwrap(), r#"{"plan":"  from the column a"}"#);
    let a = defined(&store, "a");
    store.shared().tables.write("a test", |tables| tables.set_followed(a, Position(2))).unwrap();
    assert_eq!(read().unwrap(), r#"{"plan":"  from the column b"}"#);
}

#[test]
fn a_page_ends_where_it_has_enough_bytes() {
    let store = with_columns(Options::new());
    let snapshot = store.snapshot();
    let definitions = [defined(&store, "delay"), defined(&store, "origin")];
    let whole = snapshot.stored_page(&definitions, &[], usize::MAX, usize::MAX).unwrap().unwrap();
    assert!(whole.is_last && whole.groups.len() > 3);
    for most_bytes in [0, 100, 200, 300, 1000] {
        let (mut groups, mut from) = (BTreeMap::new(), Vec::new());
        loop {
            let page = snapshot.stored_page(&definitions, &from, usize::MAX, most_bytes).unwrap().unwrap();
            assert!(page.groups.len() == 1 || page.bytes <= most_bytes, "{} {most_bytes}", page.bytes);
            from = page.groups.last_key_value().unwrap().0.clone();
            from.push(0);
            groups.extend(page.groups);
            if page.is_last {
                break;
            }
        }
        assert_eq!(groups, whole.groups);
    }
}

#[test]
fn a_block_that_is_damaged_is_told_and_never_believed() {
    let store = with_columns(Options::new());
    let session = Session::new(&store);
    let averages =
        "EVENTS 'Plane.departed' WHERE data.delay > 10 GROUP BY data.origin SELECT avg(data.delay) AS delay";
    let expected = answered(&store, averages);
    for column in ["delay", "origin"] {
        let stored = blocks(&store, column);
        let (key, block) = stored[2].clone();
        // Some of the same events, and no others.
        let (_, last) = stored.last().unwrap().clone();
        let mut fewer = block.clone();
        fewer[1] -= 1;
        // No block, one that is cut, one of other events, and one that says that it has fewer rows.
        for damaged in [vec![0; 40], block[..block.len() - 1].to_vec(), last, fewer] {
            put_block(&store, column, &key, damaged);
            assert_eq!(answered(&store, averages), expected);
            assert!(session.run("VERIFY").is_err());
        }
        put_block(&store, column, &key, Vec::new());
        assert_eq!(answered(&store, averages), expected);
        put_block(&store, column, &key, block);
        assert!(session.run("VERIFY").is_ok());
        // Of the last block less may be asked than there is.
        let (end, last) = stored.last().unwrap().clone();
        put_block(&store, column, &end, stored[2].1.clone());
        assert_eq!(answered(&store, averages), expected);
        put_block(&store, column, &end, last);
    }
}

#[test]
fn what_columns_do_not_hold_is_read_once() {
    // Of a few each is read in its place, of many the stretches that have them.
    for (apart, least) in [(2, 150), (20, 8)] {
        let event =
            |n: usize| if n.is_multiple_of(apart) { "{n: [1]}".to_owned() } else { format!("{{n: {n}}}") };
        let events: Vec<String> = (0..150).map(event).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let store = with_said(&[("n", "data.n")], &events);
        let query = "EVENTS 'A.b' GROUP BY data.n = 7 SELECT count() AS n, last(data.n) AS last";
        answered(&store, query);
        let rows = Session::new(&store).rows(&format!("EXPLAIN ANALYZE {query}"));
        let read: usize = rows.last().unwrap().get("eventsRead").unwrap();
        assert!((least..least + 4).contains(&read), "{apart}: {read}");
    }
}

#[test]
fn where_memory_is_short_the_log_is_read() {
    let mut options = Options::new().query_memory(2000);
    options.by_hand = true;
    let store = store_with(1000, options);
    let session = Session::new(&store);
    session.rows("DEFINE COLUMN n ON 'A.b' AS data.n");
    session.rows("DEFINE COLUMN t ON 'A.b' AS data.t");
    for n in 0..100u64 {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        session.rows(&format!("EMIT A.b 1 {{n: {n}, t: '{:012}'}}", n % 1_000_000_000_000));
    }
    store.checkpoint().unwrap();
    settle(&store);
    answered(&store, "EVENTS 'A.b' WHERE data.n > 5 AND data.t > '0' SELECT count() AS n");
}

#[test]
fn blocks_are_the_same_whatever_a_value_may_take() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk, Durability::Sync)).unwrap();
    let session = Session::new(&store);
    session.rows("DEFINE COLUMN n ON 'A.b' AS length(upper(data.t))");
    session.rows(&format!("EMIT A.b 1 {{t: '{}'}}", "x".repeat(3000)));
    store.checkpoint().unwrap();
    settle(&store);
    store.close().unwrap();
    let store = Store::open(path(), options(&disk, Durability::Sync).largest_value(1000)).unwrap();
    assert_eq!(verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
}

/// A store with so many events in its tables, and columns over them.
fn with_columns(options: Options) -> Store {
    let mut options = options;
    options.by_hand = true;
    let store = store_with(1000, options);
    let session = Session::new(&store);
    for n in 0..200 {
        let (name, hub) = (if n % 4 == 3 { "landed" } else { "departed" }, ["EWR", "JFK", "LGA"][n % 3]);
        session.rows(&format!("EMIT Plane.{name} {} {{delay: {}, origin: '{hub}'}}", n % 7, n as i64 - 20));
    }
    session.rows("DEFINE COLUMN delay ON 'Plane.departed' AS data.delay");
    session.rows("DEFINE COLUMN origin ON 'Plane.departed' AS data.origin");
    store.checkpoint().unwrap();
    settle(&store);
    store
}

#[test]
fn a_column_spares_the_events() {
    let store = with_columns(Options::new());
    let session = Session::new(&store);
    let analyzed = |text: &str| {
        let rows = session.rows(&format!("EXPLAIN ANALYZE {text}"));
        let read: u64 = rows.last().unwrap().get("eventsRead").unwrap();
        let passed: u64 = rows.last().unwrap().get("blocksPassedOver").unwrap_or_default();
        (read, passed)
    };
    let counted = "EVENTS 'Plane.departed' WHERE data.delay > 60 SELECT count() AS n";
    assert_eq!(session.lines(counted), [r#"{"n":89}"#]);
    let (read, passed) = analyzed(counted);
    // Some blocks hold none of them, and no event is read but what was appended since: the definitions of columns.
    assert!(read <= 2 && passed >= 2, "{read} {passed}");
    let averages = "EVENTS 'Plane.departed' GROUP BY data.origin SELECT avg(data.delay) AS delay";
    assert_eq!(session.lines(averages).len(), 3);
    assert!(analyzed(averages).0 <= 2);
    // What is asked of events of another pattern, or of more than columns have, is read.
    for other in [
        "EVENTS 'Plane.*' WHERE data.delay > 60 SELECT count() AS n",
        "EVENTS 'Plane.departed' WHERE data.delay > 60 AND data.dest IS NULL SELECT count() AS n",
    ] {
        assert!(analyzed(other).0 > 50, "{other}");
    }
}

#[test]
fn what_was_just_appended_counts() {
    let store = with_columns(Options::new());
    let session = Session::new(&store);
    let counted = "EVENTS 'Plane.departed' WHERE data.delay > 60 SELECT count() AS n";
    session.rows("EMIT Plane.departed 1 {delay: 61, origin: 'EWR'}");
    session.rows("EMIT Plane.departed 1 {delay: 60, origin: 'EWR'}");
    assert_eq!(session.lines(counted), [r#"{"n":90}"#]);
    store.checkpoint().unwrap();
    // The checkpoint took it along.
    assert_eq!(session.lines(counted), [r#"{"n":90}"#]);
    let shown = session.rows("SHOW COLUMNS");
    let number = |row: &Row, member: &str| row.get::<u64>(member).unwrap();
    assert_eq!(number(&shown[0], "through"), store.snapshot().head().0);
    assert_eq!(number(&shown[0], "events"), 152);
    assert!((100..4000).contains(&number(&shown[0], "bytes")));
}

#[test]
fn nothing_of_who_is_forgotten_stays_in_a_column() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk, Durability::Sync)).unwrap();
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.city");
    session.rows("DEFINE COLUMN city ON 'User.*' AS data.city");
    for (id, city) in [(1, "Oslo"), (2, "Rome"), (3, "Oslo")] {
        session.rows(&format!("EMIT User.moved {id} {{city: '{city}'}}"));
    }
    store.checkpoint().unwrap();
    settle(&store);
    let cities = "EVENTS 'User.*' GROUP BY data.city AS city SELECT count() AS n";
    let answer = || {
        assert!(by_columns(&session, &store.snapshot(), cities).is_some());
        session.lines(cities)
    };
    assert_eq!(answer(), [r#"{"city":"Oslo","n":2}"#, r#"{"city":"Rome","n":1}"#]);
    // Nobody else has that in plain.
    assert!(blocks(&store, "city").iter().any(|(_, block)| has(block, "Rome")));
    assert!(is_on_disk(&disk, "Rome").is_some());
    session.rows("FORGET User 2");
    let left = [r#"{"city":null,"n":1}"#, r#"{"city":"Oslo","n":2}"#];
    assert_eq!(answer(), left);
    settle(&store);
    assert_eq!(answer(), left);
    let kept = blocks(&store, "city");
    assert!(!kept.is_empty() && kept.iter().all(|(_, block)| !has(block, "Rome")));
    store.checkpoint().unwrap();
    settle(&store);
    assert_eq!(is_on_disk(&disk, "Rome"), None);
    assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
}

#[test]
fn a_definition_is_of_what_a_column_holds() {
    let store = store(100);
    let session = Session::new(&store);
    for (said, why) in [
        ("DEFINE COLUMN x ON 'Order.*' AS 1 + 1", "is the same for every event"),
        ("DEFINE COLUMN x ON 'Order.*' AS target", "did you mean target.id?"),
        ("DEFINE COLUMN x ON 'Order.*' AS state.total", "state"),
        ("DROP COLUMN x", "no column 'x' is defined"),
    ] {
        let error = session.error(said);
        assert!(error.contains(why), "{said}: {error}");
    }
    session.rows("DEFINE COLUMN total ON 'Order.*' AS data.total");
    assert!(session.error("DROP COLUMN totol").contains("did you mean"));
    // The same is not defined again.
    let head = store.snapshot().head();
    session.rows("DEFINE COLUMN total ON 'Order.*' AS data.total");
    assert_eq!(store.snapshot().head(), head);
    session.rows("DROP COLUMN total");
    assert!(session.rows("SHOW COLUMNS").is_empty());
}
