//! Views against the queries that they stand for, whatever is appended, defined, dropped, moved into the tables and broken off in
//! between; and so it is as of any point.

use proptest::prelude::*;

use super::*;
use crate::store::Durability;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::verify::verify;

const NAMES: [&str; 3] = ["v", "w", "Ü 1"];

const PATTERNS: [&str; 4] = ["'Order.*'", "'*.paid'", "'Order.paid, Car.*'", ""];
const BYS: [&str; 4] = ["", "", " BY actor = User 1", " BY tag IN (1, 'a')"];
const WHERES: [&str; 5] =
    ["", "", " WHERE data.n > 0", " WHERE data.c = 'a' OR data.n IS NULL", " WHERE target.id != '2'"];
const WINDOWS: [&str; 5] =
    ["", "", " SINCE #1", " UNTIL '2024-01-01T00:30:00Z'", " SINCE '2024-01-01T00:10:00Z'"];
const KEYS: [&str; 5] = [
    "",
    " GROUP BY data.c AS c",
    " GROUP BY data.c AS c, data.n % 2 AS odd",
    " GROUP BY bucket(timestamp, 10m) AS at, actor AS who",
    " GROUP BY data.o",
];
const SELECTS: [&str; 5] = [
    " SELECT count() AS n, sum(data.n) AS sum, avg(data.n) AS avg, count(data.c) AS some",
    " SELECT min(data.n) AS low, max(data.n) AS high, max(timestamp) AS latest, first(data.c) AS first, last(data) AS last",
    " SELECT distinct(data.n) AS different, sum(data.n * 0.1) / count() AS mean",
    " SELECT median(data.n) AS middle, percentile(data.n * 0.1, 0.9) AS most, stddev(data.n) AS spread",
    " SELECT first(actor) AS one, last(target) AS other, max(version) AS version",
];
const HAVINGS: [&str; 3] = ["", "", " HAVING count() > 1"];
const ROWS: [&str; 3] =
    ["", " SELECT data.c AS c, data.n + 1 AS more", " SELECT position AS p, type AS type, target.id AS id"];
const ITEMS: [&str; 7] = [
    " UNNEST data.l AS item",
    " UNNEST data.l AS item, at GROUP BY item.k AS k SELECT sum(item.n) AS sum, max(at) AS last, count() AS n",
    " UNNEST data.l AS item, at WHERE item.n > 1 SELECT position AS p, item.n AS n, at",
    " UNNEST data.l AS item UNNEST item.p AS part, i SELECT avg(part) AS mean, first(part) AS first, max(i) AS most",
    " UNNEST data.l AS item UNNEST item.p AS part WHERE part != 2 GROUP BY part SELECT count() AS n",
    " UNNEST data.l AS item GROUP BY data.c AS c SELECT distinct(item.k) AS different HAVING count() > 1",
    " UNNEST data.l AS a UNNEST data.l AS b WHERE a.n < b.n GROUP BY a.k AS k SELECT last(b.k) AS last, count() AS n",
];
const FOUND: [&str; 3] = ["", " WHERE state.n > 1", " WHERE target.id != '2' AND version > 1"];
const FOUND_ROWS: [&str; 8] = [
    "",
    " SELECT target.id AS id, state.n AS n",
    " GROUP BY state.c AS c SELECT count() AS n, sum(state.n) AS sum, first(target.id) AS first",
    " SELECT count() AS n, max(state.n) AS high",
    " UNNEST state.l AS item, at SELECT target.id AS id, item.n AS n, at",
    " UNNEST state.l AS item WHERE item.n > 0 GROUP BY item.k AS k SELECT count() AS n, sum(item.n) AS sum",
    " UNNEST state.l AS item UNNEST item.p AS part",
    " GROUP BY version SELECT distinct(state.n) AS different HAVING count() < 3",
];

const MODELS: [&str; 3] = [
    "ON paid SET n = coalesce(state.n, 0) + data.n, c = data.c, l = data.l ON closed DELETE",
    "INCLUDE 'Car.*' BY tag ON 'Car.*' SET n = coalesce(state.n, 0) + 1 ON closed DELETE",
    "",
];

#[derive(Debug, Clone)]
struct Said {
    kind: usize,
    id: usize,
    name: usize,
    n: usize,
    c: usize,
    minute: u32,
    actor: Option<u32>,
    tag: usize,
}

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Said>),
    Define(usize, String),
    Drop(usize),
    Model(usize),
    NoModel,
    Read(usize),
    Slice(u8),
    Settle,
    Checkpoint,
    Reopen,
    Crash(usize, u64),
    Hold,
    LetGo,
}

fn said() -> impl Strategy<Value = Said> {
    (0usize..2, 0usize..3, 0usize..8, 0usize..9, 0usize..4, 0u32..60, prop::option::of(1u32..3), 0usize..6)
        .prop_map(|(kind, id, name, n, c, minute, actor, tag)| Said {
            kind,
            id,
            name,
            n,
            c,
            minute,
            actor,
            tag,
        })
}

fn emit(said: &Said) -> String {
    let kind = ["Order", "Car"][said.kind];
    let name = ["paid", "paid", "paid", "paid", "moved", "moved", "noted", "closed"][said.name];
    let n = ["0", "1", "2", "-3", "0.1", "1e17", "2.5", "NULL", "3"][said.n];
    let c = ["'a'", "'b'", "1", "1.0"][said.c];
    let actor = said.actor.map_or(String::new(), |actor| format!(" BY User {actor}"));
    let tag = ["", "", " INDEX BY tag = 1", " INDEX BY tag = '2'", " INDEX BY tag = 'a'", ""][said.tag];
    let list = ["NULL", "'none'", "[]"].get((said.minute % 7) as usize).map_or_else(
        || {
            format!(
                "[{{k: {c}, n: {n}, p: [1, 2, {}]}}, {{k: 'b', n: 2}}, {n}, {{k: {c}, n: 1, p: [{n}]}}]",
                said.id
            )
        },
        |list| (*list).to_owned(),
    );
    format!(
        "EMIT {kind}.{name} {} {{n: {n}, c: {c}, o: {{k: {c}}}, l: {list}}}{actor} AT '2024-01-01T00:{:02}:00Z'{tag}",
        said.id + 1,
        said.minute
    )
}

fn query() -> impl Strategy<Value = String> {
    let of = |all: &'static [&'static str]| prop::sample::select(all);
    prop_oneof![
        4 => (of(&PATTERNS), of(&BYS), of(&WHERES), of(&WINDOWS), of(&KEYS), of(&SELECTS), of(&HAVINGS)).prop_map(
            |(pattern, by, filter, window, keys, select, having)| {
                format!("EVENTS {pattern}{by}{filter}{window}{keys}{select}{having}")
            }
        ),
        2 => (of(&PATTERNS), of(&BYS), of(&WHERES), of(&WINDOWS), of(&ROWS)).prop_map(
            |(pattern, by, filter, window, rows)| format!("EVENTS {pattern}{by}{filter}{window}{rows}")
        ),
        3 => (of(&PATTERNS), of(&BYS), of(&WHERES), of(&WINDOWS), of(&ITEMS)).prop_map(
            |(pattern, by, filter, window, items)| format!("EVENTS {pattern}{by}{filter}{window}{items}")
        ),
        3 => (of(&FOUND), of(&FOUND_ROWS)).prop_map(|(filter, rows)| format!("FIND Order{filter}{rows}")),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::collection::vec(said(), 1..6).prop_map(Op::Append),
        5 => (0usize..3, query()).prop_map(|(name, query)| Op::Define(name, query)),
        1 => (0usize..3).prop_map(Op::Drop),
        2 => (0usize..3).prop_map(Op::Model),
        1 => Just(Op::NoModel),
        3 => (0usize..3).prop_map(Op::Read),
        5 => (1u8..6).prop_map(Op::Slice),
        2 => Just(Op::Settle),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        2 => (0..4usize, any::<u64>()).prop_map(|(fate, seed)| Op::Crash(fate, seed)),
        1 => Just(Op::Hold),
        1 => Just(Op::LetGo),
    ]
}

fn options(disk: &SimulatedDisk, durability: Durability) -> Options {
    let mut options = by_hand_on(disk, durability, 9);
    options.index_slice = (5, 3);
    options
}

/// The rows of a statement, as lines, or why there are none.
fn answer(session: &Session, snapshot: &Snapshot, text: &str) -> Vec<String> {
    let plan = match session.plan(text, snapshot) {
        Ok(Plan::Read(plan)) => plan,
        other => panic!("{text}: {other:?}"),
    };
    let rows = match read(snapshot, &session.views, &plan) {
        Ok(answer) => answer.rows,
        Err(error) => return vec![error.to_string()],
    };
    let line =
        |row: Result<Row>| row.map_or_else(|e| e.to_string(), |row| serde_json::to_string(&row).unwrap());
    let mut lines: Vec<String> = rows.map(line).collect();
    // What was said is repeated in a state.
    lines.iter_mut().for_each(|line| {
        if let Some(at) = line.find(r#","asOf":"#) {
            let end = line[at + 1..].find(r#","state":"#).unwrap() + at + 1;
            line.replace_range(at..end, "");
        }
    });
    lines
}

/// Holds each view to its query, now and as of some points so far from the head.
fn views_hold(session: &Session, snapshot: &Snapshot, backs: &[u64], held: bool) -> Result<(), String> {
    let head = snapshot.head().0;
    for name in NAMES {
        let Some(view) = snapshot.indexes().usable_view(name) else { continue };
        let name = crate::entity::NameText(name);
        let query = view.text.strip_prefix(&format!("DEFINE VIEW {name} AS ")).unwrap();
        let points = backs.iter().map(|back| format!(" AS OF #{}", head - back.min(&head)));
        // Groups that somebody remembers may be newer than a snapshot that is held, where nothing says as of when.
        let newer = held && (view.groups().is_some() || query.contains("count()"));
        let latest = if newer { format!(" AS OF #{head}") } else { String::new() };
        for point in std::iter::once(latest).chain(points) {
            let (read, asked) = (format!("READ {name}{point}"), format!("{query}{point}"));
            let (found, expected) = (answer(session, snapshot, &read), answer(session, snapshot, &asked));
            if found != expected {
                return Err(format!("{read} of {query}: {found:#?}, not {expected:#?}"));
            }
        }
    }
    Ok(())
}

fn play(ops: &[Op], backs: &[u64], durability: Durability) -> Result<(), String> {
    let mut disk = SimulatedDisk::new();
    let mut store = Store::create(path(), options(&disk, durability)).unwrap();
    Session::new(&store).rows(&format!("DEFINE ENTITY Order {}", MODELS[0]));
    let mut held: Vec<Snapshot> = Vec::new();
    // As long as the store is open, one read leaves the next what it remembers.
    let mut views: Arc<ViewCaches> = Arc::default();
    for op in ops {
        let session = Session { views: views.clone(), ..Session::new(&store) };
        match op {
            Op::Append(events) => events.iter().for_each(|said| drop(session.rows(&emit(said)))),
            Op::Define(name, query) => {
                let name = crate::entity::NameText(NAMES[*name]);
                // Of entities that nobody defines there is none.
                let defined = session.run(&format!("DEFINE VIEW {name} AS {query}"));
                if let Err(error) = defined
                    && !["DEFINE ENTITY", "beyond the head", "INDEX BY"]
                        .iter()
                        .any(|why| error.to_string().contains(why))
                {
                    return Err(format!("{query}: {error}"));
                }
            }
            Op::Drop(name) => {
                drop(session.run(&format!("DROP VIEW {}", crate::entity::NameText(NAMES[*name]))))
            }
            Op::Model(model) => drop(session.rows(&format!("DEFINE ENTITY Order {}", MODELS[*model]))),
            Op::NoModel => drop(session.run("DROP ENTITY Order")),
            Op::Read(name) => {
                drop(session.run(&format!("READ {} LIMIT 1", crate::entity::NameText(NAMES[*name]))));
                continue;
            }
            Op::Slice(times) => {
                for _ in 0..*times {
                    store.work_by_hand().map_err(|e| e.to_string())?;
                }
            }
            Op::Settle => settle(&store),
            Op::Checkpoint => store.checkpoint().unwrap(),
            Op::Reopen => {
                held.clear();
                views = Arc::default();
                store.close().unwrap();
                store = Store::open(path(), options(&disk, durability)).map_err(|e| e.to_string())?;
            }
            Op::Crash(fate, seed) => {
                held.clear();
                views = Arc::default();
                disk = disk.crash(Fate::ALL[*fate], *seed);
                store = Store::open(path(), options(&disk, durability)).map_err(|e| e.to_string())?;
            }
            Op::Hold => held.push(store.snapshot()),
            Op::LetGo => held.clear(),
        }
        let session = Session { views: views.clone(), ..Session::new(&store) };
        views_hold(&session, &store.snapshot(), backs, false).map_err(|e| format!("after {op:?}: {e}"))?;
        for snapshot in &held {
            views_hold(&session, snapshot, backs, true)
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
    let session = Session { views, ..Session::new(&store) };
    let snapshot = store.snapshot();
    views_hold(&session, &snapshot, backs, false)?;
    let catalog = snapshot.indexes();
    if catalog.kept_views().count() != catalog.views().count()
        || !catalog.views().all(|view| view.is_complete())
    {
        return Err(format!("settled, and yet there is {:?}", session.lines("SHOW VIEWS")));
    }
    only_these_are_kept(&store, |definition| {
        catalog.models().any(|model| model.position.0 == definition)
            || catalog.views().any(|view| view.groups().is_some() && view.position.0 == definition)
    })
}

#[test]
fn nothing_is_kept_of_a_view_that_another_has_replaced() {
    let define = |query: &str| Op::Define(0, query.to_owned());
    let ops = [define("EVENTS 'Order.*' SELECT count() AS n"), Op::Slice(1), define("EVENTS 'Order.*'")];
    play(&ops, &[0], Durability::Sync).unwrap();
}

#[test]
fn nothing_is_kept_of_a_view_that_another_has_replaced_and_whose_entity_came_back() {
    let define = |query: &str| Op::Define(2, query.to_owned());
    let paid = Said { kind: 0, id: 0, name: 0, n: 0, c: 0, minute: 0, actor: None, tag: 0 };
    let ops = [
        define("EVENTS 'Order.*'"),
        Op::Slice(1),
        define("FIND Order"),
        Op::NoModel,
        Op::Reopen,
        Op::Model(0),
        Op::Append(vec![paid]),
        Op::Reopen,
    ];
    play(&ops, &[0], Durability::Sync).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_view_equals_its_query(
        ops in prop::collection::vec(op(), 1..40),
        backs in prop::collection::vec(0u64..40, 1..3),
        lazy in any::<bool>(),
    ) {
        let lazily = Durability::Interval(std::time::Duration::from_secs(3600));
        if let Err(fault) = play(&ops, &backs, if lazy { lazily } else { Durability::Sync }) {
            prop_assert!(false, "{}", fault);
        }
    }
}
