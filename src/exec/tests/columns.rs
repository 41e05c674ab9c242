//! Columns against the events that they are of, whatever is appended, defined, dropped, forgotten, read in another form, moved into the tables
//! and broken off in between; and so it is as of any point.

mod cases;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::plan::{ReadKind, ReadPlan};
use crate::store::Durability;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::verify::verify;

const FIELDS: [&str; 7] =
    ["data.n", "data.c", "data.m", "timestamp", "target.id", "data.n % 3", "coalesce(data.c, 'none')"];
const PATTERNS: [&str; 3] = ["Order.paid", "Order.*", "Car.*, Order.paid"];
const TERMS: [&str; 19] = [
    "data.n > 1",
    "3 >= data.n",
    "data.n < 2.5",
    "data.n BETWEEN -3 AND 3",
    "data.n = 1",
    "data.n != 1",
    "data.n IN (1, 2, 'a')",
    "data.n IS NULL",
    "data.c = 'a'",
    "data.c >= 'b'",
    "data.m IS NOT NULL",
    "timestamp > '2024-01-01T00:20:00Z'",
    "data.n > data.m",
    "data.c MATCHES 'a*' OR data.m = 2",
    "NOT data.n > 1",
    "NOT (data.c = 'a' OR data.n IS NULL)",
    "data.n > 1 OR data.c = 'b'",
    "NOT (data.n BETWEEN 0 AND 1 AND data.m > 0)",
    "-0.0 <= data.n",
];
const KEYS: [&str; 8] = [
    "",
    "",
    " GROUP BY data.c",
    " GROUP BY data.m",
    " GROUP BY data.c, data.m",
    " GROUP BY data.n",
    " GROUP BY data.n % 3 AS third",
    " GROUP BY upper(data.c) AS upper",
];
const SELECTS: [&str; 8] = [
    " SELECT count() AS n",
    " SELECT count() AS n, sum(data.n) AS sum, avg(data.n) AS avg, count(data.n) AS some",
    " SELECT min(data.n) AS low, max(data.n) AS high, first(data.n) AS first, last(data.n) AS last",
    " SELECT min(data.m) AS low, max(data.m) AS high, first(data.c) AS first, distinct(data.m) AS different",
    " SELECT max(timestamp) AS latest, min(timestamp) AS first, last(target.id) AS id",
    " SELECT distinct(data.c) AS texts, last(data.m) AS m, count() AS n",
    " SELECT first(data.n) AS n, last(data.c) AS c, max(data.c) AS high",
    " SELECT sum(data.n * 2) AS twice, avg(data.m) AS m, sum(data.m) AS sum",
];
const HAVINGS: [&str; 3] = ["", "", " HAVING count() > 1"];
const ORDERS: [&str; 5] =
    ["", "", "", " ORDER BY count() DESC LIMIT 2", " ORDER BY max(data.n), count() LIMIT 3"];

/// What an event says, in many forms of the same, and behind those what a column does not hold, or not with the others.
const NUMBERS: [&str; 17] = [
    "0",
    "1",
    "1.0",
    "2",
    "0.0",
    "-0.0",
    "1",
    "1.0",
    "0",
    "-3",
    "2.5",
    "NULL",
    "7",
    "'a'",
    "18446744073709551615",
    "-9223372036854775808",
    "[1]",
];
const TEXTS: [&str; 13] = [
    "'a'",
    "'b'",
    "1",
    "1.0",
    "'c'",
    "NULL",
    "0.0",
    "-0.0",
    "9007199254740992",
    "9007199254740992.0",
    "'a'",
    "'longer than a column holds'",
    "{k: 1}",
];

#[derive(Debug, Clone)]
struct EventFields {
    kind: usize,
    id: usize,
    n: usize,
    c: usize,
    m: usize,
    minute: u32,
}

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<EventFields>),
    Define(usize, usize),
    Drop(usize),
    Upcast(usize),
    NoUpcast,
    Private,
    Forget(usize),
    Slice(u8),
    Settle,
    Checkpoint,
    Reopen,
    Crash(usize, u64),
    Hold,
    LetGo,
}

fn event_fields() -> impl Strategy<Value = EventFields> {
    let of = |usual: usize, all: usize| prop_oneof![29 => 0..usual, 1 => usual..all];
    (0usize..5, 0usize..3, of(13, NUMBERS.len()), of(11, TEXTS.len()), 0usize..11, 0u32..60)
        .prop_map(|(kind, id, n, c, m, minute)| EventFields { kind, id, n, c, m, minute })
}

fn emit(fields: &EventFields) -> String {
    let kind = ["Order.paid", "Order.paid", "Order.paid", "Order.moved", "Car.paid"][fields.kind];
    let (n, c) = (NUMBERS[fields.n], TEXTS[fields.c]);
    let m = ["1", "2", "3", "0.1", "-0.0", "1e17", "TRUE", "0.3", "1.0", "NULL", "0.0"][fields.m];
    let m = if fields.minute.is_multiple_of(7) { String::new() } else { format!(", m: {m}") };
    format!("EMIT {kind} {} {{n: {n}, c: {c}{m}}} AT '2024-01-01T00:{:02}:00Z'", fields.id + 1, fields.minute)
}

/// A query, and the part of the log that it is of.
#[derive(Debug, Clone)]
struct Query {
    text: String,
    window: Option<(u64, u64)>,
}

fn query() -> impl Strategy<Value = Query> {
    let of = |all: &'static [&'static str]| prop::sample::select(all);
    let terms = prop::collection::vec(of(&TERMS), 0..3);
    let shape = (of(&KEYS), of(&SELECTS), of(&HAVINGS), of(&ORDERS));
    let window = prop::option::weighted(0.3, (any::<u64>(), any::<u64>()));
    (of(&PATTERNS), terms, shape, window).prop_map(
        |(pattern, terms, (keys, select, having, order), window)| {
            let terms = terms.iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" AND ");
            let filter = if terms.is_empty() { terms } else { format!(" WHERE {terms}") };
            Query { text: format!("EVENTS '{pattern}'{filter}{keys}{select}{having}{order}"), window }
        },
    )
}

impl Query {
    /// As of a point, if that is not now.
    fn text(&self, head: u64, point: Option<u64>) -> String {
        let mut text = self.text.clone();
        if let Some((since, until)) = self.window {
            text.push_str(&format!(" SINCE #{} UNTIL #{}", since % (head + 1), until % (head + 1)));
        }
        if let Some(point) = point {
            text.push_str(&format!(" AS OF #{point}"));
        }
        text
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        14 => prop::collection::vec(event_fields(), 1..24).prop_map(Op::Append),
        6 => (0..FIELDS.len(), 0..PATTERNS.len()).prop_map(|(field, pattern)| Op::Define(field, pattern)),
        1 => (0..FIELDS.len()).prop_map(Op::Drop),
        1 => (0usize..2).prop_map(Op::Upcast),
        1 => Just(Op::NoUpcast),
        1 => Just(Op::Private),
        1 => (0usize..3).prop_map(Op::Forget),
        5 => (1u8..6).prop_map(Op::Slice),
        3 => Just(Op::Settle),
        4 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        2 => (0..4usize, any::<u64>()).prop_map(|(fate, seed)| Op::Crash(fate, seed)),
        1 => Just(Op::Hold),
        1 => Just(Op::LetGo),
    ]
}

fn options(disk: &SimulatedDisk, durability: Durability) -> Options {
    let mut options = by_hand_on(disk, durability, 40);
    options.index_slice = (15, 3);
    options.own_journal = true;
    options
}

/// How a query is answered, if columns do.
fn by_columns(session: &Session, snapshot: &Snapshot, text: &str) -> Option<ReadPlan> {
    match session.plan(text, snapshot) {
        Ok(Plan::Read(plan)) => {
            let is_by_columns = matches!(&plan.kind, ReadKind::Shaped(shaped) if shaped.columns.is_some());
            is_by_columns.then_some(plan)
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// The rows of a plan, as lines, or why there are none.
fn answer(session: &Session, snapshot: &Snapshot, plan: &ReadPlan) -> Vec<String> {
    let line =
        |row: Result<Row>| row.map_or_else(|e| e.to_string(), |row| serde_json::to_string(&row).unwrap());
    match read(snapshot, &session.views, plan) {
        Ok(answer) => answer.rows.map(line).collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// Holds what columns answer to what the events say, now and as of some points so far from the head. Tells how often columns answered.
fn columns_hold(
    session: &Session,
    snapshot: &Snapshot,
    queries: &[Query],
    backs: &[u64],
) -> Result<usize, String> {
    let (head, mut answered) = (snapshot.head().0, 0);
    let points: Vec<Option<u64>> =
        std::iter::once(None).chain(backs.iter().map(|back| Some(head - back.min(&head)))).collect();
    for query in queries {
        for point in &points {
            let text = query.text(point.unwrap_or(head), *point);
            let Some(by_columns) = by_columns(session, snapshot, &text) else { continue };
            answered += 1;
            let mut by_events = by_columns.clone();
            if let ReadKind::Shaped(shaped) = &mut by_events.kind {
                shaped.columns = None;
            }
            let found = answer(session, snapshot, &by_columns);
            let expected = answer(session, snapshot, &by_events);
            if found != expected {
                return Err(format!("{text}: {found:#?}, not {expected:#?}"));
            }
        }
    }
    Ok(answered)
}

fn name_of(field: usize) -> String {
    format!("c{field}")
}

fn act(session: &Session, store: &Store, op: &Op) -> Result<(), String> {
    match op {
        Op::Append(events) => events.iter().for_each(|fields| drop(session.rows(&emit(fields)))),
        Op::Define(field, pattern) => {
            let (name, on, of) = (name_of(*field), PATTERNS[*pattern], FIELDS[*field]);
            session.rows(&format!("DEFINE COLUMN {name} ON '{on}' AS {of}"));
        }
        Op::Drop(field) => drop(session.run(&format!("DROP COLUMN {}", name_of(*field)))),
        Op::Upcast(which) => {
            let set = ["data.m = 2", "data.c = 'b', data.k = data.n"][*which];
            // One that fails for an event that there is is refused.
            drop(session.run(&format!("DEFINE EVENT Order.paid {{v: any?}} WARN UPCAST SET {set}")));
        }
        Op::NoUpcast => drop(session.run("DROP EVENT Order.paid")),
        Op::Private => {
            session.rows("DEFINE PRIVATE p ON 'Order.*' OF target FIELDS data.c, data.m");
        }
        Op::Forget(id) => drop(session.run(&format!("FORGET Order {}", id + 1))),
        Op::Slice(times) => {
            for _ in 0..*times {
                store.work_by_hand().map_err(|e| e.to_string())?;
            }
        }
        Op::Settle => settle(store),
        Op::Checkpoint => store.checkpoint().unwrap(),
        Op::Reopen | Op::Crash(..) | Op::Hold | Op::LetGo => {}
    }
    Ok(())
}

/// Tells how often columns answered.
fn play(ops: &[Op], queries: &[Query], backs: &[u64], durability: Durability) -> Result<usize, String> {
    let mut disk = SimulatedDisk::new();
    let mut store = Store::create(path(), options(&disk, durability)).unwrap();
    let (mut held, mut answered): (Vec<Snapshot>, usize) = (Vec::new(), 0);
    for op in ops {
        match op {
            Op::Reopen => {
                held.clear();
                store.close().unwrap();
                store = Store::open(path(), options(&disk, durability)).map_err(|e| e.to_string())?;
            }
            Op::Crash(fate, seed) => {
                held.clear();
                disk = disk.crash(Fate::ALL[*fate], *seed);
                store = Store::open(path(), options(&disk, durability)).map_err(|e| e.to_string())?;
            }
            Op::Hold => held.push(store.snapshot()),
            // Who is forgotten is not while somebody reads.
            Op::LetGo | Op::Forget(_) => held.clear(),
            _ => {}
        }
        let session = Session::new(&store);
        act(&session, &store, op)?;
        answered += columns_hold(&session, &store.snapshot(), queries, backs)
            .map_err(|e| format!("after {op:?}: {e}"))?;
        for snapshot in &held {
            columns_hold(&session, snapshot, queries, backs)
                .map_err(|e| format!("held at {}, after {op:?}: {e}", snapshot.head()))?;
        }
        match verify(&store.snapshot()).map_err(|e| e.to_string())?.faults.as_slice() {
            [] => {}
            faults => return Err(format!("after {op:?}: {faults:?}")),
        }
    }
    drop(held);
    store.checkpoint().unwrap();
    settle(&store);
    let session = Session::new(&store);
    let snapshot = store.snapshot();
    answered += columns_hold(&session, &snapshot, queries, backs)?;
    let shown = session.rows("SHOW COLUMNS");
    let is_ready = |row: &Row| row.get::<String>("state").as_deref().ok() == Some("ready");
    if shown.len() != snapshot.indexes().columns().count() || !shown.iter().all(is_ready) {
        return Err(format!("settled, and yet there is {:?}", session.lines("SHOW COLUMNS")));
    }
    only_these_are_kept(&store, |definition| {
        snapshot.indexes().columns().any(|column| column.position.0 == definition)
    })?;
    Ok(answered)
}

#[test]
fn columns_answer_as_events_do() {
    let answered = Cell::new(0);
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(60) };
    let ops = prop::collection::vec(op(), 1..30);
    let queries = prop::collection::vec(query(), 1..6);
    let backs = prop::collection::vec(0u64..80, 1..3);
    let played = TestRunner::new(config).run(&(ops, queries, backs, any::<bool>()), |case| {
        let (ops, queries, backs, is_lazy) = case;
        let lazily = Durability::Interval(std::time::Duration::from_secs(3600));
        // Enough columns for some of the queries to be answered by them.
        let defined = (0..FIELDS.len()).map(|field| Op::Define(field, 0));
        let ops: Vec<Op> = defined.chain(ops).collect();
        match play(&ops, &queries, &backs, if is_lazy { lazily } else { Durability::Sync }) {
            Ok(times) => answered.set(answered.get() + times),
            Err(fault) => prop_assert!(false, "{}", fault),
        }
        Ok(())
    });
    if let Err(fault) = played {
        panic!("{fault}");
    }
    // Else nothing was compared.
    assert!(answered.get() > 60, "columns answered {} times", answered.get());
}
