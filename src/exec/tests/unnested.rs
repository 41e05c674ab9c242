//! `UNNEST`: a row of each item of a list.

use super::*;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;
use crate::value::Value;

/// Orders with lines, and some with something else.
fn shop(options: Options) -> Store {
    let store = store_with(3, options);
    let session = Session::new(&store);
    for (id, data) in [
        (
            1,
            "{customer: 'a', lines: [{sku: 'tea', qty: 2, parts: ['x', 'y']}, {sku: 'cup', qty: 1, parts: []}]}",
        ),
        (2, "{customer: 'b', lines: [{sku: 'tea', qty: 5, parts: ['z']}]}"),
        (3, "{customer: 'b', lines: []}"),
        (4, "{customer: 'c'}"),
        (5, "{customer: 'c', lines: {sku: 'tea', qty: 7}}"),
        (6, "{customer: 'a', lines: [3, {sku: 'cup', qty: 4, parts: 'w'}, NULL]}"),
    ] {
        session.rows(&format!("EMIT Order.placed {id} {data}"));
    }
    store
}

fn told(session: &Session, text: &str, rows: &[&str], notices: &[&str]) {
    let (found, said) = session.run(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let found: Vec<String> = found.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_eq!(found, rows, "{text}");
    assert_eq!(said, notices, "{text}");
}

const NO_LIST: &str = "data.lines is something else than a list in 1 event, which gives no row";

#[test]
fn there_is_a_row_of_each_item() {
    let store = shop(Options::new());
    let session = Session::new(&store);
    told(
        &session,
        "EVENTS 'Order.placed' UNNEST data.lines AS line GROUP BY line.sku SELECT sum(line.qty) AS qty, count() AS n",
        &[
            r#"{"line.sku":null,"qty":null,"n":2}"#,
            r#"{"line.sku":"cup","qty":5,"n":2}"#,
            r#"{"line.sku":"tea","qty":7,"n":2}"#,
        ],
        &[NO_LIST],
    );
    told(
        &session,
        "EVENTS UNNEST data.lines AS line, n WHERE line.qty > 1 SELECT position AS p, n, line.sku AS sku ORDER BY line.qty DESC LIMIT 2",
        &[r#"{"p":2,"n":0,"sku":"tea"}"#, r#"{"p":6,"n":1,"sku":"cup"}"#],
        &[NO_LIST],
    );
    // Two in a row, the second within the first, with a condition behind each.
    let parts = "EVENTS WHERE data.customer != 'b' UNNEST data.lines AS line WHERE line.qty > 0 UNNEST line.parts AS part, n";
    told(
        &session,
        &format!("{parts} ORDER BY position, n"),
        &[
            r#"{"line":{"sku":"tea","qty":2,"parts":["x","y"]},"part":"x","n":0}"#,
            r#"{"line":{"sku":"tea","qty":2,"parts":["x","y"]},"part":"y","n":1}"#,
        ],
        &[NO_LIST, "line.parts is something else than a list in 1 item of line, which gives no row"],
    );
    told(
        &session,
        &format!("{parts} SELECT count() AS n"),
        &[r#"{"n":2}"#],
        &[NO_LIST, "line.parts is something else than a list in 1 item of line, which gives no row"],
    );
    // Beside each other: all pairs.
    let pairs = session
        .lines("HISTORY Order 1 UNNEST data.lines AS one, m UNNEST data.lines AS other, n SELECT m, n");
    assert_eq!(pairs, [r#"{"m":0,"n":0}"#, r#"{"m":0,"n":1}"#, r#"{"m":1,"n":0}"#, r#"{"m":1,"n":1}"#]);
    // A condition before it is one on events.
    assert_eq!(session.lines("EVENTS WHERE data.lines IS NULL UNNEST data.lines AS line").len(), 0);
    assert_eq!(session.lines("EVENTS UNNEST data.lines AS line LIMIT 2").len(), 2);
    assert_eq!(session.lines("EVENTS UNNEST data.lines AS line LIMIT 0").len(), 0);
}

#[test]
fn there_is_a_row_of_each_item_of_a_state() {
    let store = shop(Options::new());
    let session = Session::new(&store);
    for definition in ["", "DEFINE ENTITY Order SNAPSHOT EVERY 2"] {
        if !definition.is_empty() {
            session.rows(definition);
            settle(&store);
        }
        told(
            &session,
            "FIND Order UNNEST state.lines AS line WHERE line.qty > 0 GROUP BY line.sku AS sku SELECT sum(line.qty) AS qty",
            &[r#"{"sku":"cup","qty":5}"#, r#"{"sku":"tea","qty":7}"#],
            &["state.lines is something else than a list in 1 state, which gives no row"],
        );
        told(
            &session,
            "FIND Order WHERE state.customer = 'a' UNNEST state.lines AS line, n SELECT target.id AS id, n LIMIT 4",
            &[r#"{"id":"1","n":0}"#, r#"{"id":"1","n":1}"#, r#"{"id":"6","n":0}"#, r#"{"id":"6","n":1}"#],
            &[],
        );
        told(
            &session,
            "FIND Order WHERE state.customer != 'c' UNNEST state.lines AS line, n SELECT target.id AS id, n ORDER BY n DESC, id DESC LIMIT 3",
            &[r#"{"id":"6","n":2}"#, r#"{"id":"6","n":1}"#, r#"{"id":"1","n":1}"#],
            &[],
        );
    }
}

#[test]
fn a_name_of_an_item_is_known_from_its_place_on() {
    let store = shop(Options::new());
    let session = Session::new(&store);
    for (text, expected) in [
        (
            "EVENTS WHERE line.qty > 1 UNNEST data.lines AS line",
            "line is of an item, and here there is none yet",
        ),
        (
            "EVENTS UNNEST part.x AS y UNNEST data.parts AS part",
            "part is of an item, and here there is none yet",
        ),
        ("EVENTS UNNEST line.parts AS line", "line is of an item, and here there is none yet"),
        ("EVENTS UNNEST data.lines AS data", "data is a field of what is unnested"),
        ("EVENTS UNNEST data.lines AS line, position", "position is a field of what is unnested"),
        ("EVENTS UNNEST data.lines AS state", "state is a field of what is unnested"),
        ("FIND Order UNNEST state.lines AS events", "events is a field of what is unnested"),
        ("EVENTS UNNEST data.lines AS line, line", "line is a name that UNNEST has given already"),
        (
            "EVENTS UNNEST data.lines AS line UNNEST data.x AS line",
            "line is a name that UNNEST has given already",
        ),
        ("EVENTS UNNEST target AS t", "target is never a list"),
        ("EVENTS UNNEST data.lines AS line, n UNNEST n AS m", "n is never a list"),
        ("EVENTS UNNEST data.lines AS line, n SELECT n.x", "n has no parts"),
        ("EVENTS UNNEST data.lines AS line SELECT lin.qty", "did you mean line?"),
        ("EVENTS UNNEST state.lines AS line", "state is what events make of an entity"),
        ("FIND Order UNNEST data.lines AS line", "did you mean state.lines?"),
        ("EVENTS UNNEST data.lines AS line SELECT line, count()", "line is not one value of a group"),
        ("HISTORY Order 1 OF state.lines UNNEST data.lines AS line", "the history of a field"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let nine: String = (0..9).map(|n| format!(" UNNEST data.lines AS l{n}")).collect();
    assert!(session.error(&format!("EVENTS{nine}")).contains("at most 8"));
}

#[test]
fn its_step_is_told_and_columns_are_passed_over() {
    let store = shop(Options::new());
    let session = Session::new(&store);
    session.rows("DEFINE COLUMN customer ON 'Order.placed' AS data.customer");
    session.rows("DEFINE ENTITY Order SNAPSHOT EVERY 2");
    settle(&store);
    let plan = |text: &str| session.lines(&format!("EXPLAIN {text}")).join("\n");
    let by_column = "EVENTS 'Order.placed' GROUP BY data.customer SELECT count()";
    assert!(plan(by_column).contains("column"), "{}", plan(by_column));
    let text = "EVENTS 'Order.placed' UNNEST data.lines AS line, n WHERE n < 1 GROUP BY data.customer SELECT count() AS n";
    let told = plan(text);
    assert!(told.contains("unnest data.lines as line, n") && told.contains("where n < 1"), "{told}");
    assert!(!told.contains("column"), "{told}");
    let expected = [r#"{"data.customer":"a","n":2}"#, r#"{"data.customer":"b","n":1}"#];
    assert_eq!(session.lines(text), expected);
    let text = "FIND Order UNNEST state.lines AS line GROUP BY state.customer AS c SELECT count() AS n";
    assert!(plan(text).contains("unnest state.lines as line"), "{}", plan(text));
    for _ in 0..3 {
        assert_eq!(session.lines(text), [r#"{"c":"a","n":5}"#, r#"{"c":"b","n":1}"#]);
    }
}

#[test]
fn rows_go_on_within_a_list_and_end_with_what_cannot_be_made() {
    let store = store_with(3, Options::new().query_memory(1 << 20));
    let event = |n: i64| {
        let items = (0..n).map(|n| Value::Array((0..n % 3).map(Value::Int).collect())).collect();
        NewEvent::new("List.made").on(("List", n)).member("l", Value::Array(items))
    };
    let events = vec![event(100), event(0), event(7)];
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    let session = Session::new(&store);
    let expected: Vec<String> = [100, 7]
        .iter()
        .flat_map(|n| (0..*n).flat_map(|at| (0..at % 3).map(move |i| format!(r#"{{"at":{at},"i":{i}}}"#))))
        .collect();
    for source in ["EVENTS UNNEST data.l", "FIND List UNNEST state.l"] {
        let text = format!("{source} AS x, at UNNEST x AS y, i SELECT at, i");
        let mut found = session.lines(&text);
        if source.starts_with("FIND") {
            // By the ids: as texts.
            found.rotate_left(0);
        }
        assert_eq!(found, expected, "{text}");
        for limit in [1, 2, 3, 50, 1000] {
            let limited = session.lines(&format!("{text} LIMIT {limit}"));
            assert_eq!(limited, expected[..limit.min(expected.len())], "{text} {limit}");
        }
    }
    // What is sorted is held, and no more than may be.
    let wide = "EVENTS UNNEST data.l AS x UNNEST data.l AS y UNNEST data.l AS z ORDER BY position";
    assert!(session.error(&format!("{wide} DESC")).contains("ORDER BY"));
    assert_eq!(session.lines(&format!("{wide} LIMIT 3")).len(), 3);
}

#[test]
fn whoever_ends_it_need_not_wait_for_all_rows() {
    let store = store(3);
    let items = Value::Array((0..10_000).map(Value::Int).collect());
    let events = vec![NewEvent::new("List.made").member("l", items)];
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    let cancel = crate::cancel::Cancel::new();
    cancel.cancel();
    let snapshot = store.snapshot().cancelled_by(&cancel);
    let session = Session::new(&store);
    let text = "EVENTS UNNEST data.l AS x UNNEST data.l AS y UNNEST data.l AS z SELECT count() AS n";
    let Ok(Plan::Read(plan)) = session.plan(text, &store.snapshot()) else { panic!("no read") };
    assert!(read(&snapshot, &session.views, &plan).is_err());
}

#[test]
fn prepared_values_are_put_behind_it_too() {
    let store = shop(Options::new());
    let mut session = Session::new(&store);
    for (least, expected) in [(1, 4), (4, 2), (9, 0)] {
        session.parameters = Parameters::new().set("least", least);
        let text = "FIND Order UNNEST state.lines AS line WHERE line.qty >= $least";
        assert_eq!(session.lines(text).len(), expected, "{least}");
    }
}

const SOLD: &str = "EVENTS 'Order.placed' UNNEST data.lines AS line GROUP BY line.sku AS sku SELECT sum(line.qty) AS qty, count() AS n";
const LINES: &str = "EVENTS 'Order.placed' UNNEST data.lines AS line, n WHERE line.qty > 0 SELECT target.id AS id, n, line.qty AS qty";
const HELD: &str = "FIND Order UNNEST state.lines AS line, n SELECT target.id AS id, n, line.sku AS sku";

/// The views are what their queries are.
fn views_hold(session: &Session, told: &str) {
    for (view, query) in [("sold", SOLD), ("lines", LINES), ("held", HELD)] {
        assert_eq!(session.lines(&format!("READ {view}")), session.lines(query), "{view} {told}");
    }
}

#[test]
fn views_of_items_follow_the_log() {
    let store = shop(Options::new());
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Order SNAPSHOT EVERY 2");
    for (view, query) in [("sold", SOLD), ("lines", LINES), ("held", HELD)] {
        session.rows(&format!("DEFINE VIEW {view} AS {query}"));
    }
    views_hold(&session, "before they are built");
    store.shared().settle().unwrap();
    views_hold(&session, "built");
    session.rows("EMIT Order.placed 7 {lines: [{sku: 'cup', qty: 10}, {sku: 'pot', qty: 1}]}");
    views_hold(&session, "with what came later");
    store.checkpoint().unwrap();
    store.shared().settle().unwrap();
    views_hold(&session, "kept");
    // What is asked of their rows.
    assert_eq!(
        session.lines("READ sold WHERE qty > 5 SELECT sku ORDER BY qty DESC LIMIT 1"),
        [r#"{"sku":"cup"}"#]
    );
    assert_eq!(
        session.lines("READ lines WHERE qty > 3 ORDER BY qty DESC LIMIT 2"),
        [r#"{"id":"7","n":0,"qty":10}"#, r#"{"id":"2","n":0,"qty":5}"#]
    );
    assert_eq!(session.lines("READ lines WHERE qty > 3 LIMIT 1"), [r#"{"id":"2","n":0,"qty":5}"#]);
    assert_eq!(session.lines("READ held WHERE sku = 'pot'"), [r#"{"id":"7","n":1,"sku":"pot"}"#]);
    assert_eq!(
        session.lines("READ held WHERE id = '7' ORDER BY n DESC LIMIT 1"),
        [r#"{"id":"7","n":1,"sku":"pot"}"#]
    );
    let told = session.lines("EXPLAIN READ lines WHERE qty > 3").join("\n");
    assert!(
        told.contains("unnest data.lines as line, n") && told.contains("where (line.qty > 0) AND (qty > 3)"),
        "{told}"
    );
    assert!(
        session.error("READ lines UNNEST data.lines AS x").contains("belongs in the definition of the view")
    );
    assert!(session.error("SUBSCRIBE VIEW held").contains("which have no name to be told by"));
    for (query, expected) in [
        ("EVENTS UNNEST data.lines AS removed", "SUBSCRIBE VIEW tells by this name that a row is no more"),
        ("EVENTS UNNEST data.lines AS line, mark", "SUBSCRIBE VIEW tells by this name how far it has come"),
    ] {
        let error = session.error(&format!("DEFINE VIEW other AS {query}"));
        assert!(error.contains(expected), "{query}: {error}");
    }
    // Events are read in another shape from here on.
    session.rows(
        "DEFINE EVENT Order.placed {lines: any?} UPCAST SET data.lines = if(data.customer = 'b', [{sku: 'none', qty: 1}], coalesce(data.lines, NULL))",
    );
    views_hold(&session, "read otherwise");
    store.shared().settle().unwrap();
    views_hold(&session, "made anew");
    assert_eq!(session.lines("READ sold WHERE sku = 'none'"), [r#"{"sku":"none","qty":2,"n":2}"#]);
}

#[test]
fn items_of_whoever_is_forgotten_are_no_rows() {
    let mut options = Options::new();
    options.own_journal = true;
    let store = store_with(3, options);
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE what ON 'Order.*' OF target FIELDS data.lines");
    session.rows("DEFINE ENTITY Order SNAPSHOT EVERY 2");
    for (view, query) in [("sold", SOLD), ("lines", LINES), ("held", HELD)] {
        session.rows(&format!("DEFINE VIEW {view} AS {query}"));
    }
    for id in 1..4 {
        session.rows(&format!(
            "EMIT Order.placed {id} {{lines: [{{sku: 'tea', qty: {id}}}, {{sku: 'cup', qty: 1}}]}}"
        ));
    }
    store.checkpoint().unwrap();
    store.shared().settle().unwrap();
    views_hold(&session, "before");
    assert_eq!(session.lines("READ sold WHERE sku = 'tea'"), [r#"{"sku":"tea","qty":6,"n":3}"#]);
    session.rows("FORGET Order 3");
    views_hold(&session, "at once");
    assert_eq!(session.lines("READ sold WHERE sku = 'tea'"), [r#"{"sku":"tea","qty":3,"n":2}"#]);
    store.shared().settle().unwrap();
    views_hold(&session, "made anew");
    assert_eq!(session.lines("READ lines").len(), 4);
}

#[test]
fn whoever_pulls_rows_is_told_of_those_that_come_first() {
    let store = store(3);
    let events = (0..300)
        .map(|n: i64| {
            let event = NewEvent::new("List.made").on(("List", n));
            if n % 3 == 0 {
                event.member("l", "none")
            } else {
                event.member("l", Value::Array(vec![n.into()]))
            }
        })
        .collect();
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    let session = Session::new(&store);
    for (text, many) in [
        ("EVENTS WHERE position < 10 UNNEST data.l AS x", "3 events"),
        ("EVENTS UNNEST data.l AS x", "at least 32 events"),
        ("EVENTS UNNEST data.l AS x LIMIT 2", "at least 1 event"),
        ("EVENTS UNNEST data.l AS x ORDER BY x LIMIT 2", "100 events"),
    ] {
        let (rows, notices) = session.run(text).unwrap();
        assert!(!rows.is_empty());
        let [notice] = notices.as_slice() else { panic!("{text}: {notices:?}") };
        assert!(notice.contains(&format!("in {many}, which")), "{text}: {notice}");
    }
}
