//! What one evaluation may take: whatever is defined and asked, it ends with an error that says so, and nothing else stands in its way.

use std::time::{Duration, Instant};

use super::*;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::event::NewEvent;
use crate::event::record::Record;
use crate::exec::reaction::ReactionExecutor;
use crate::store::append_request::AppendRequest;
use crate::store::catalog::ProgramKind;

/// As little as makes tests quick.
const LITTLE: usize = 64 << 10;

fn little(memtable: usize) -> Store {
    store_with(memtable, Options::new().largest_value(LITTLE))
}

/// Whether an error tells of what an evaluation may take, and what to do.
fn told(error: &str) -> bool {
    error.contains("64 KiB") && error.contains("--largest-value")
}

/// Waits for the background, whatever becomes of what it does.
fn settled(store: &Store) {
    let _ = store.wait_for_indexes(Duration::from_secs(20));
}

const DOUBLES: &str =
    "DEFINE ENTITY Dbl INITIAL {s: 'xxxxxxxxxxxxxxxx'} ON x SET s = concat(state.s, state.s)";

/// Doubles each time: so often that no memory would do.
fn doubled(of: &str, times: usize) -> String {
    (0..times).fold(of.to_owned(), |inner, _| format!("text([{inner}])"))
}

#[test]
fn a_state_that_doubles_ends_where_it_is_too_large_and_nothing_else_does() {
    for memtable in [3, 1000] {
        let store = little(memtable);
        let session = Session::new(&store);
        session.rows(DOUBLES);
        (0..40).for_each(|_| drop(session.rows("EMIT Dbl.x 1")));
        session.rows("EMIT Dbl.x 2");
        settled(&store);
        for query in ["AT Dbl 1", "FIND Dbl", "REPLAY Dbl 1 STEPS", "BLAME Dbl 1", "FIND Dbl SELECT count()"]
        {
            let error = session.error(query);
            // 16 bytes, doubled twelve times, are 64 KiB.
            assert!(told(&error) && error.contains("#13"), "{query}: {error}");
        }
        assert_eq!(state(&session.rows("AT Dbl 1 VERSION 2")).len(), 72);
        assert_eq!(state(&session.rows("AT Dbl 2")).len(), 40);
        assert_eq!(session.rows("HISTORY Dbl 1").len(), 40);
        assert_eq!(session.rows("EVENTS 'Dbl.*'").len(), 41);
        session.rows("DESCRIBE Dbl");
        store.checkpoint().unwrap();
        let found = crate::store::verify::verify(&store.snapshot()).unwrap();
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        session.rows("DROP ENTITY Dbl");
        assert_eq!(state(&session.rows("AT Dbl 1")), "{}");
        session.rows("DEFINE ENTITY Dbl INITIAL {n: 0} ON x SET n = state.n + 1");
        assert_eq!(state(&session.rows("AT Dbl 1")), r#"{"n":40}"#);
    }
}

#[test]
fn states_have_a_limit_however_they_grow() {
    let store = little(1000);
    let mut session = Session::new(&store);
    for (name, rules) in [
        ("Appended", "ON x SET l = append(state.l, data)"),
        ("Merged", "ON x MERGE"),
        ("Put", "ON x SET m = put(state.m, data.k, data.v)"),
        ("United", "ON x SET l = union(state.l, [data])"),
        ("Placed", "ON x SET m = merge(state.m, data.m)"),
        ("Told", "ON x SET t = text([state])"),
        ("Split", "ON x SET s = split(concat(coalesce(text(state.s), ''), 'aaaaaaaaaaaaaaaa'), 'a')"),
        ("Copied", "ON x SET a = [state, state]"),
        ("Named", "ON x SET o = {a: state, b: state}"),
        ("Plain", ""),
    ] {
        if !rules.is_empty() {
            session.rows(&format!("DEFINE ENTITY {name} INITIAL {{}} {rules}"));
        }
        let mut fault = None;
        for n in 0..800 {
            let data =
                format!(r#"{{"k": "k{n}", "m": {{"m{n}": 1}}, "m{n}": {{}}, "v": "{}"}}"#, "v".repeat(200));
            session.parameters = Parameters::new().set("data", data.parse::<crate::value::Value>().unwrap());
            session.rows(&format!("EMIT {name}.x 1 WITH $data"));
            let asked = session.run(&format!("AT {name} 1"));
            if let Err(error) = asked {
                fault = Some((n, error.to_string()));
                break;
            }
        }
        let (n, error) = fault.unwrap_or_else(|| panic!("{name} has no end"));
        assert!(n >= 3 && told(&error), "{name} after {n}: {error}");
    }
}

#[test]
fn the_limit_of_a_state_is_the_same_wherever_its_fold_begins() {
    let text = "DEFINE ENTITY Log INITIAL {l: []} SNAPSHOT EVERY 3 ON x SET l = append(state.l, data.t) ON y SET l = []";
    let (few, many) = (little(2), little(100_000));
    for store in [&few, &many] {
        let session = Session::new(store);
        session.rows(text);
        for n in 0..150 {
            let kind = if n % 97 == 60 { "y" } else { "x" };
            session.rows(&format!("EMIT Log.{kind} 1 {{t: '{}'}}", "t".repeat(900)));
        }
    }
    settled(&few);
    let at = |store: &Store, n: usize| {
        let answer = Session::new(store).run(&format!("AT Log 1 VERSION {n}"));
        answer.map(|(rows, _)| state(&rows).len()).map_err(|error| error.to_string())
    };
    let mut faults = 0;
    for n in 1..=150 {
        let found = at(&few, n);
        faults += usize::from(found.is_err());
        assert_eq!(found, at(&many, n), "{n}");
    }
    assert!((10..140).contains(&faults), "{faults}");
}

/// Expressions that make much of a little, of `data.t`, a text, and `data.l`, a list.
const LARGE: [&str; 20] = [
    "concat(data.t, data.t, data.t)",
    "upper(concat(data.t, data.t))",
    "lower(concat(data.t, data.t))",
    "split(data.t, 'x')",
    "append(data.l, data.l, data.l)",
    "union(data.l, split(data.t, 'x'))",
    "put({}, 'a', [data.t, data.t, data.t])",
    "merge({a: data.t}, {b: data.t, c: data.t})",
    "text([data.l, data.l, data.l, data.t, data.t])",
    "[data.t, data.t, data.t]",
    "{a: data.t, b: data.t, c: data.t}",
    "values({a: data.t, b: data.t})",
    "keys(merge({a: data.l}, {b: data.l}))",
    "slice([data.t, data.t, data.t], 1)",
    "without([data.t, data.t, data.t], 1)",
    "get([data.t, data.t, data.t], 1)",
    "greatest([data.t, data.t], [data.t])",
    "least([data.t, data.t], [data.t])",
    "coalesce(null, concat(data.t, data.t, data.t))",
    "if(true, concat(data.t, data.t, data.t), 1)",
];

fn with_text(session: &mut Session) {
    session.parameters = Parameters::new().set("t", "x".repeat(30_000)).set("l", vec![1; 400]);
    session.rows("EMIT Doc.made 1 {t: $t, l: $l}");
    session.parameters = Parameters::new();
}

#[test]
fn what_a_query_makes_is_bounded_and_never_null_instead() {
    let store = little(1000);
    let mut session = Session::new(&store);
    with_text(&mut session);
    for large in LARGE {
        for query in [
            format!("EVENTS SELECT {large} AS a"),
            format!("EVENTS WHERE typeof({large}) = 'nothing'"),
            format!("EVENTS WHERE NOT ({large} = 1)"),
            format!("EVENTS WHERE length({large}) IS NULL"),
            format!("EVENTS ORDER BY {large}"),
            format!("EVENTS GROUP BY {large} AS a SELECT count()"),
            format!("EVENTS SELECT max({large})"),
            format!("EVENTS SELECT count() AS n HAVING max({large}) = 1"),
            format!("FIND Doc SELECT {}", large.replace("data.", "state.")),
            format!("FIND Doc WHERE {} IN (1, 2)", large.replace("data.", "state.")),
        ] {
            let error = session.error(&query);
            assert!(told(&error), "{query}: {error}");
        }
    }
    // What is no larger than it may be is worked out.
    assert_eq!(session.rows("EVENTS WHERE length(concat(data.t, data.t)) = 60000").len(), 1);
    assert_eq!(session.rows("EVENTS SELECT slice(data.l, -2)").len(), 1);
}

#[test]
fn a_query_makes_no_more_than_it_may_hold() {
    let store = store_with(1000, Options::new().query_memory(50_000));
    let mut session = Session::new(&store);
    with_text(&mut session);
    for query in ["EVENTS SELECT concat(data.t, data.t)", "EVENTS SELECT length(split(data.t, 'x'))"] {
        let error = session.error(query);
        assert!(error.contains("50000 bytes") && error.contains("--memory"), "{query}: {error}");
    }
    // A fold makes the same for all who ask.
    session.rows("DEFINE ENTITY Doc ON made SET t = concat(data.t, data.t)");
    assert_eq!(state(&session.rows("AT Doc 1")).len(), 60_008);
}

#[test]
fn what_doubles_ends_wherever_it_is_said() {
    let store = little(1000);
    let session = Session::new(&store);
    let (of_data, of_constant) = (doubled("data.q", 40), doubled("'\"'", 40));
    session.rows("EMIT Doc.made 1 {q: '\"'}");
    for statement in [
        format!("EVENTS SELECT {of_data}"),
        format!("EVENTS WHERE {of_data} = 'x'"),
        format!("EVENTS SELECT {of_constant}"),
        format!("EMIT Doc.made 2 {{q: {of_constant}}}"),
        format!("EMIT Doc.made 2 {{q: 1}} INDEX BY q = {of_constant}"),
    ] {
        let error = session.error(&statement);
        assert!(error.contains("--largest-value"), "{statement}: {error}");
    }
    session.rows(&format!("DEFINE VERB Ask ON Doc REQUIRE {of_data} = 'x' EMIT asked"));
    session.rows(&format!("DEFINE VERB Case ON Doc WHEN {of_data} = 'x' EMIT asked"));
    session.rows(&format!("DEFINE VERB Say ON Doc EMIT said {{q: {of_data}}}"));
    for verb in ["Ask", "Case", "Say"] {
        let error = session.error(&format!("PERFORM {verb} Doc 1 {{q: '\"'}}"));
        assert!(told(&error), "{verb}: {error}");
    }
    session.rows(&format!("DEFINE ENTITY Doc ON made SET q = {of_data}"));
    let error = session.error("AT Doc 1");
    assert!(told(&error) && error.contains("SET q ="), "{error}");
    for deed in [
        format!("DO EMIT Mail.sent (1) {{q: {of_data}}}"),
        format!("WHERE {of_data} = 1 DO EMIT Mail.sent (1)"),
    ] {
        session.rows(&format!("DEFINE REACTION mail ON 'Doc.made' {deed}"));
        let snapshot = store.snapshot();
        let program = snapshot.indexes().program(ProgramKind::Reaction, "mail").unwrap();
        let reaction = ReactionExecutor::new(&program.text, program.position).unwrap();
        let bytes = snapshot.encoded(Position(1)).unwrap().unwrap();
        let effects = reaction.effects(&Record::open(Position(1), &bytes).unwrap(), &snapshot).unwrap();
        assert!(told(&effects.unwrap().unwrap_err()), "{deed}");
    }
    for drop in ["ENTITY Doc", "VERB Ask", "REACTION mail"] {
        session.rows(&format!("DROP {drop}"));
    }
}

#[test]
fn an_index_refuses_what_it_cannot_be_worked_out_for_and_fails_for_what_was_before() {
    for memtable in [2, 1000] {
        let options = || Options::new().largest_value(LITTLE).with_compiler(Arc::new(crate::exec::Compiler));
        let disk = Arc::new(MemoryDisk::new());
        let store =
            Store::create(Path::new("/a.bygone"), options().disk(disk.clone()).memtable(memtable, 1 << 20))
                .unwrap();
        let session = Session::new(&store);
        session.rows("EMIT Doc.made 1 {q: '\"'}");
        let text = doubled("data.q", 40);
        let defined = format!("DEFINE INDEX quotes ON 'Doc.*' AS {text}");
        session.rows(&defined);
        session.rows(&format!("DEFINE VIEW rows AS EVENTS 'Doc.*' WHERE {text} = 'x'"));
        settled(&store);
        // What was there before is found as ever, and not by this.
        let failed = |session: &Session| {
            // The one that fails first ends the waiting.
            let until = Instant::now() + Duration::from_secs(20);
            let is_building = |show| session.lines(show)[0].contains("building");
            while is_building("SHOW INDEXES") || is_building("SHOW VIEWS") {
                assert!(Instant::now() < until);
                std::thread::sleep(Duration::from_millis(5));
            }
            for (show, name) in [("INDEXES", "quotes"), ("VIEWS", "rows")] {
                let shown = session.lines(&format!("SHOW {show}"));
                assert!(shown[0].contains(name) && shown[0].contains(r#""state":"failed""#), "{shown:?}");
            }
            assert_eq!(session.rows("EVENTS 'Doc.*'").len(), 1);
            assert!(told(&session.error("EVENTS 'Doc.*' BY quotes = 'x'")));
            assert!(told(&session.error("READ rows")));
            let error = session.error("EMIT Doc.made 2 {q: '\"'}");
            assert!(told(&error) && error.contains("DROP INDEX quotes"), "{error}");
        };
        failed(&session);
        session.rows("EMIT Order.paid 3 {q: '\"'}");
        store.checkpoint().unwrap();
        let found = crate::store::verify::verify(&store.snapshot()).unwrap();
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        store.close().unwrap();
        drop(store);
        let store = Store::open(Path::new("/a.bygone"), options().disk(disk.clone())).unwrap();
        let session = Session::new(&store);
        settled(&store);
        assert!(session.lines("SHOW INDEXES")[0].contains(r#""state":"failed""#));
        assert!(session.run("EMIT Doc.made 2 {q: '\"'}").is_err());
        session.rows("DROP INDEX quotes");
        session.rows("DROP VIEW rows");
        session.rows("EMIT Doc.made 2 {q: '\"'}");
    }
}

#[test]
fn a_regular_expression_has_a_size_and_a_text_a_length_that_it_is_looked_for_in() {
    let store = store(1000);
    let mut session = Session::new(&store);
    session.parameters = Parameters::new().set("t", "a".repeat(3_000_000));
    session.rows("EMIT Doc.made 1 {t: $t}");
    session.parameters = Parameters::new();
    let many = "(a|b)*".repeat(20_000);
    for of in ["data.t", "'a'"] {
        let error = session.error(&format!("EVENTS SELECT regex({of}, '{many}')"));
        assert!(error.contains("120000 bytes") && error.contains("16 KiB"), "{error}");
    }
    assert!(
        session.error(&format!("DEFINE INDEX r ON 'Doc.*' AS regex(data.t, '{many}')")).contains("16 KiB")
    );
    let groups = "(a|b)*".repeat(2000);
    assert!(
        session.error(&format!("EVENTS SELECT regex(data.t, '{groups}')")).contains("no regular expression")
    );
    let began = Instant::now();
    let slow = format!("{}b", "(a?){50}".repeat(3));
    let error = session.error(&format!("EVENTS SELECT regex(data.t, '{slow}')"));
    assert!(error.contains("steps") && error.contains("--largest-value"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // A short text is looked through.
    assert_eq!(session.rows(&format!("EVENTS WHERE regex('aaa', '{slow}')")).len(), 0);
    assert_eq!(session.rows("EVENTS WHERE regex(substring(data.t, 0, 10000), '^a+$')").len(), 1);
}

#[test]
fn a_definition_that_is_too_large_is_there_to_be_dropped() {
    let options = || Options::new().largest_value(LITTLE).with_compiler(Arc::new(crate::exec::Compiler));
    let disk = Arc::new(MemoryDisk::new());
    let path = Path::new("/a.bygone");
    let store = Store::create(path, options().disk(disk.clone())).unwrap();
    // As a version did that had no limit.
    let many = format!("regex(data.t, '{}')", "(a|b)*".repeat(20_000));
    let large = doubled("'\"'", 30);
    let define = |kind: &str, name: &str, members: &[(&str, &str)]| {
        let event = NewEvent::new(&format!("{kind}.defined")).on((kind, name));
        let event = members.iter().fold(event, |event, (name, value)| event.member(name, *value));
        store
            .append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })
            .unwrap();
    };
    define("$index", "r", &[("name", "r"), ("on", "Doc.*"), ("as", &many)]);
    define(
        "$entity",
        "Doc",
        &[("definition", &format!("DEFINE ENTITY Doc INITIAL {{q: {large}}} ON made SET t = {many}"))],
    );
    define("$view", "v", &[("definition", &format!("DEFINE VIEW v AS EVENTS 'Doc.*' WHERE {many}"))]);
    store.close().unwrap();
    drop(store);
    let store = Store::open(path, options().disk(disk.clone())).unwrap();
    let session = Session::new(&store);
    settled(&store);
    assert!(session.error("EMIT Doc.made 1 {t: 'a'}").contains("DROP INDEX r"));
    session.rows("DROP INDEX r");
    assert!(session.error("EMIT Doc.made 1 {t: 'a'}").contains("DROP VIEW v"));
    session.rows("DROP VIEW v");
    session.rows("EMIT Doc.made 1 {t: 'a'}");
    let error = session.error("AT Doc 1");
    assert!(error.contains("INITIAL") && error.contains("--largest-value"), "{error}");
    session.rows("DROP ENTITY Doc");
    assert_eq!(state(&session.rows("AT Doc 1")), r#"{"t":"a"}"#);
}

#[test]
fn a_file_whose_states_are_too_large_opens_and_is_mended() {
    let options = |largest: usize| {
        Options::new()
            .largest_value(largest)
            .memtable(5, 1 << 20)
            .with_compiler(Arc::new(crate::exec::Compiler))
    };
    let disk = Arc::new(MemoryDisk::new());
    let path = Path::new("/a.bygone");
    let store = Store::create(path, options(64 << 20).disk(disk.clone())).unwrap();
    let session = Session::new(&store);
    session.rows(&DOUBLES.replace(" ON x", " SNAPSHOT EVERY 4 ON x"));
    (0..16).for_each(|_| drop(session.rows("EMIT Dbl.x 1")));
    session.rows("EMIT Dbl.x 2");
    assert_eq!(state(&session.rows("AT Dbl 1")).len(), (16 << 16) + 8);
    settled(&store);
    store.close().unwrap();
    drop(store);
    let store = Store::open(path, options(LITTLE).disk(disk.clone())).unwrap();
    let session = Session::new(&store);
    session.rows("SHOW HEAD");
    assert_eq!(session.rows("EVENTS 'Dbl.*'").len(), 17);
    assert!(told(&session.error("AT Dbl 1")));
    assert!(told(&session.error("FIND Dbl")));
    session.rows("EMIT Dbl.x 1");
    assert!(told(&session.error("AT Dbl 1")));
    assert_eq!(state(&session.rows("AT Dbl 2")).len(), 40);
    session.rows("DEFINE ENTITY Dbl INITIAL {n: 0} ON x SET n = state.n + 1");
    settled(&store);
    assert_eq!(session.rows("FIND Dbl").len(), 2);
    assert_eq!(state(&session.rows("AT Dbl 1")), r#"{"n":17}"#);
}

#[test]
fn an_evaluation_is_ended_while_it_is_under_way() {
    let store = store(1000);
    let mut session = Session::new(&store);
    session.parameters = Parameters::new().set("l", vec![7; 100_000]);
    session.rows("EMIT Doc.made 1 {l: $l}");
    session.parameters = Parameters::new();
    let snapshot = store.snapshot();
    // Each passes over the whole list: all of them take seconds.
    let terms: Vec<String> = (0..3000).map(|n| format!("data.l CONTAINS {}", 8 + n)).collect();
    let text = format!("EVENTS WHERE {}", terms.join(" OR "));
    let Plan::Read(plan) = session.plan(&text, &snapshot).unwrap() else { panic!() };
    let began = Instant::now();
    let limited = snapshot.cancelled_by(&Cancel::after(Duration::from_millis(50)));
    let answer =
        read(&limited, &session.views, &plan).and_then(|answer| answer.rows.collect::<Result<Vec<_>>>());
    let error = answer.unwrap_err().to_string();
    assert!(error.contains("time limit") || error.contains("steps"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
