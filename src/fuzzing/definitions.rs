//! Arbitrary definitions over a small database with events.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::query::{self, Names};
use super::roundtrip::GRAMMAR;
use crate::db::Db;
use crate::entity::Position;
use crate::error::{Error, ErrorClass, Result};
use crate::event::Event;
use crate::exec::Row;
use crate::lang::generator::{Bytes, Choices, Deriver};
use crate::store::Options;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::time::{Clock, Timestamp};

const PATH: &str = "/fuzz.bygone";

/// What is built in the background is waited for so long: longer, and it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// No input defines more than this.
const MOST: usize = 6;

/// What is of every database that is tried, and its events, those of definitions too.
struct Origin {
    disk: SimulatedDisk,
    log: Vec<Event>,
}

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| {
    let disk = SimulatedDisk::new();
    let db = options(&disk).create(PATH).expect("the disk is whole");
    query::filled(&db);
    let log = log(&db);
    db.close().expect("the disk is whole");
    Origin { disk: disk.crash(Fate::KeepAll, 0), log }
});

fn options(disk: &SimulatedDisk) -> Options {
    let start: Timestamp = "2024-06-01T12:00:00Z".parse().expect("it is a time");
    let options = Options::new().disk(Arc::new(disk.clone())).clock(Clock::new(move || start));
    // Memtables that are full soon, and values that are too large soon.
    options.memtable(16, 1 << 20).cache(1 << 20).journal_steps(4096, 65536).largest_value(1 << 18).threads(1)
}

/// The bytes choose definitions, most of them of what the events have, some any sentence of the grammar; and events that come between.
/// Each is accepted or refused. No event is lost; `VERIFY` finds nothing; a view is what its question answers; and the database answers
/// the same once it was closed and opened.
///
/// How many definitions were accepted.
pub fn definitions(bytes: &[u8]) -> usize {
    let mut choices = Bytes(bytes);
    let disk = ORIGIN.disk.crash(Fate::KeepAll, 0);
    let db = options(&disk).open(PATH).expect("the file is whole");
    let mut texts = Vec::new();
    for _ in 0..1 + choices.below(MOST) {
        let text = definition(&mut choices);
        if accepted(&db, &text) {
            texts.push(text);
        }
        if choices.below(3) == 0 {
            happens(&db, &mut choices);
        }
    }
    happens(&db, &mut choices);
    is_whole(&db, &texts);
    let (log, answers) = (log(&db), answers(&db));
    assert_eq!(log[..ORIGIN.log.len()], ORIGIN.log[..], "{texts:#?}");
    views_answer_as_asked(&db, &texts);
    db.close().unwrap_or_else(|e| panic!("{texts:#?}\n{e}"));
    let db = options(&disk).open(PATH).unwrap_or_else(|e| panic!("{texts:#?}\n{e}"));
    is_whole(&db, &texts);
    assert_eq!(self::log(&db), log, "{texts:#?}");
    for (before, after) in answers.iter().zip(self::answers(&db)) {
        assert_eq!(*before, after, "{texts:#?}");
    }
    db.close().unwrap_or_else(|e| panic!("{texts:#?}\n{e}"));
    texts.len()
}

/// Whether it is accepted. What is refused says why, and leaves the log as it is.
fn accepted(db: &Db, text: &str) -> bool {
    let head = db.head();
    match rows(db, text) {
        Ok(_) => true,
        Err(error) => {
            // What cannot be evaluated of an event leaves its entity without a state.
            let told = matches!(error.class(), ErrorClass::Usage | ErrorClass::Refused)
                || matches!(error, Error::Unfoldable { .. });
            assert!(told, "{text}\n{error}");
            assert_eq!(db.head(), head, "{text} was refused: {error}");
            false
        }
    }
}

/// Some events, and a verb. A definition may have no place for what they say.
fn happens(db: &Db, choices: &mut Bytes<'_>) {
    for _ in 0..1 + choices.below(3) {
        let kind =
            choices.pick(&["Order.paid", "Order.created", "Invoice.paid", "Order.item.added", "Trip.alpha"]);
        let total = choices.pick(&["3", "'x'", "[1, 2]", "2.5", "NULL", "{k0: {a: 1}}"]);
        accepted(db, &format!("EMIT {kind} e{} {{total: {total}, name: 'tea', alpha: 1}}", choices.below(4)));
    }
    accepted(db, &format!("PERFORM Act Order e{} {{total: {}}}", choices.below(5), choices.below(4)));
    if choices.below(3) == 0 {
        rows(db, "CHECKPOINT").expect("the disk is whole");
    }
}

/// What is defined is there at last, and is what the log says.
fn is_whole(db: &Db, texts: &[String]) {
    let ready = db.wait_for_indexes(PATIENCE).unwrap_or_else(|e| panic!("{texts:#?}\n{e}"));
    assert!(ready, "it is not built after {PATIENCE:?}: {texts:#?}");
    let found = db.verify().unwrap_or_else(|e| panic!("{texts:#?}\n{e}"));
    assert!(found.faults.is_empty(), "VERIFY finds {:?}: {texts:#?}", found.faults);
}

fn rows(db: &Db, text: &str) -> Result<Vec<Row>> {
    db.query(text)?.rows.collect()
}

/// Every event, the database's own, too.
fn log(db: &Db) -> Vec<Event> {
    let positions = Position::FIRST.onwards().take(db.head().0 as usize);
    positions.map(|position| db.event(position).expect("it is read").expect("none is left out")).collect()
}

/// What is asked: of each kind of what is defined.
const QUESTIONS: [&str; 18] = [
    "AT Order e0",
    "AT Order e1",
    "AT Order e2 #40",
    "AT Invoice e1",
    "AT User e2",
    "AT Trip e1",
    "HISTORY Order e1",
    "FIND Order",
    "FIND Order WHERE state.total > 2 ORDER BY state.total",
    "FIND Invoice",
    "FIND User",
    "EVENTS BY i0 > 1",
    "EVENTS BY i1 <= 'x'",
    "EVENTS BY total = 10",
    "READ v0",
    "READ v1",
    "SHOW VERBS",
    "EVENTS '$*' SELECT type, data",
];

fn answers(db: &Db) -> Vec<(&'static str, std::result::Result<Vec<String>, String>)> {
    let told = |rows: Vec<Row>| rows.iter().map(|row| format!("{row:?}")).collect();
    QUESTIONS.map(|text| (text, rows(db, text).map(told).map_err(|e: Error| e.to_string()))).to_vec()
}

/// A view that was defined last of its name is what its question answers, in some order.
fn views_answer_as_asked(db: &Db, texts: &[String]) {
    for name in ["v0", "v1"] {
        let begin = format!("DEFINE VIEW {name} AS ");
        let about = |text: &&String| text.starts_with(&begin) || text.ends_with(&format!("VIEW {name}"));
        let Some(question) = texts.iter().rfind(about).and_then(|text| text.strip_prefix(&begin)) else {
            continue;
        };
        let (Ok(mut kept), Ok(mut asked)) = (told(db, &format!("READ {name}")), told(db, question)) else {
            continue;
        };
        kept.sort();
        asked.sort();
        assert_eq!(kept, asked, "{question}");
    }
}

fn told(db: &Db, text: &str) -> Result<Vec<String>> {
    Ok(rows(db, text)?.iter().map(|row| format!("{row:?}")).collect())
}

const OF_CHANGES: Names = Names {
    fields: &[
        "state.total",
        "data.total",
        "data.name",
        "state.part",
        "data.items[0]",
        "state",
        "state.n",
        "data",
    ],
    texts: &["data.name", "state.name", "data.total"],
};

const OF_DATA: Names = Names {
    fields: &[
        "data.total",
        "data.name",
        "data.part.k0",
        "data.items[0]",
        "data.items",
        "data.nothing",
        "type",
    ],
    texts: &["data.name", "type", "data.total"],
};

const OF_STATES: Names = Names {
    fields: &["state.total", "state.name", "state.n", "state.part", "state.items"],
    texts: &["state.name", "state.total"],
};

const PATTERNS: [&str; 5] = ["Order.*", "*", "*.paid", "Order.paid, Invoice.*", "Nothing.*"];

/// A definition, or that one is dropped.
fn definition(choices: &mut Bytes<'_>) -> String {
    let n = choices.below(2);
    match choices.below(12) {
        0 | 1 => sentence(choices),
        2..5 => entity(choices),
        5 => format!(
            "DEFINE INDEX i{n} ON '{}' AS {}",
            choices.pick(&PATTERNS),
            query::value(choices, &OF_DATA, 3)
        ),
        6 => {
            let kind = *choices.pick(&["Order", "Invoice", "User"]);
            format!("DEFINE INDEX i{n} ON '{kind}' AS {}", query::value(choices, &OF_STATES, 2))
        }
        7 | 8 => format!("DEFINE VIEW v{n} AS {}", query::question(choices)),
        9 => format!(
            "DEFINE VERB Act ON Order REQUIRE {} ELSE 'no' EMIT paid {{total: {}}}",
            query::condition(choices, &OF_CHANGES, 2),
            query::value(choices, &OF_CHANGES, 2)
        ),
        10 => format!(
            "DEFINE REACTION r{n} ON '{}' WHERE {} DO EMIT Trip.alpha (target.id) {{total: {}}}",
            choices.pick(&PATTERNS),
            query::condition(choices, &OF_DATA, 2),
            query::value(choices, &OF_DATA, 2)
        ),
        _ => {
            let dropped =
                ["ENTITY Order", "INDEX total", "INDEX i0", "VIEW v0", "VIEW v1", "VERB Act", "INDEX worth"];
            format!("DROP {}", choices.pick(&dropped))
        }
    }
}

fn entity(choices: &mut Bytes<'_>) -> String {
    let mut text = format!("DEFINE ENTITY {}", choices.pick(&["Order", "Order", "Invoice", "User"]));
    match choices.below(3) {
        0 => {}
        1 => text += " INITIAL {total: 0, n: 0}",
        _ => text += &format!(" INITIAL {{total: {}}}", query::value(choices, &OF_CHANGES, 1)),
    }
    if choices.below(2) == 1 {
        text += &format!(" SNAPSHOT EVERY {}", 1 + choices.below(5));
    }
    let change = |choices: &mut Bytes<'_>| match choices.below(6) {
        0 => "MERGE".to_owned(),
        1 => "IGNORE".to_owned(),
        2 => "DELETE".to_owned(),
        3 => "SET n = state.n + 1".to_owned(),
        _ => format!(
            "SET total = {}, part.k1 = {}",
            query::value(choices, &OF_CHANGES, 2),
            query::value(choices, &OF_CHANGES, 1)
        ),
    };
    for happening in ["created", "paid", "item.added", "signedIn"] {
        if choices.below(2) == 1 {
            text += &format!(" ON {happening} {}", change(choices));
        }
    }
    if choices.below(2) == 1 {
        text += &format!(" ELSE {}", change(choices));
    }
    text
}

/// Any definition of the grammar.
fn sentence(choices: &mut Bytes<'_>) -> String {
    let depth = 3 + choices.below(10);
    let mut deriver = Deriver::new(&GRAMMAR, Bytes(choices.0));
    let text = deriver.sentence("define", depth).join(" ");
    choices.0 = deriver.choices.0;
    text
}
