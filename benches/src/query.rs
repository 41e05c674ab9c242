//! Questions over all of a real log: filtered, grouped, and by an index.

use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use bygone::maintain::ImportOptions;
use bygone::read::Script;
use bygone::{Db, Row};
use rusqlite::{Connection, params};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::contestant::{BYGONE, SQLITE};
use crate::import::{Line, lines};
use crate::table::{Measured, Table, quantile};
use crate::write::settle_disk;

/// A question, in both languages. What is put in braces is how a contestant of SQLite is to find the rows.
struct Question {
    title: &'static str,
    bygone: &'static str,
    sqlite: &'static str,
    /// Names of contestants, and what stands in the braces.
    ways: &'static [(&'static str, &'static str)],
    target: f64,
}

const QUESTIONS: [Question; 3] = [
    Question {
        title: "5a. Count the departures more than an hour late",
        bygone: "EVENTS 'Plane.departed' WHERE data.delay > 60 SELECT count() AS n",
        sqlite: "SELECT count(*) FROM events {} WHERE type = 'Plane.departed' AND json_extract(data, '$.delay') > 60",
        ways: &[("SQLite", ""), ("SQLite, scanning", "NOT INDEXED")],
        target: 3.0,
    },
    Question {
        title: "5b. The average delay of departures by origin",
        bygone: "EVENTS 'Plane.departed' GROUP BY data.origin AS origin SELECT avg(data.delay) AS delay",
        sqlite: "SELECT json_extract(data, '$.origin'), avg(json_extract(data, '$.delay')) FROM events {}
                 WHERE type = 'Plane.departed' GROUP BY 1 ORDER BY 1",
        ways: &[("SQLite", ""), ("SQLite, scanning", "NOT INDEXED")],
        target: 3.0,
    },
    Question {
        title: "5c. The events of an airport since a day, by an index",
        bygone: "EVENTS BY origin = 'JFK' SINCE '2013-12-25'",
        sqlite:
            "SELECT position, type, timestamp, target_type, target_id, actor, data FROM events {}
                 WHERE json_extract(data, '$.origin') = 'JFK' AND timestamp >= '2013-12-25' ORDER BY position",
        ways: &[
            ("SQLite, with the time by hand", "INDEXED BY by_origin_and_time"),
            ("SQLite, origin", "INDEXED BY by_origin"),
        ],
        target: 1.0,
    },
];

pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(file) = arguments.flights.as_ref().filter(|file| file.exists()) else {
        println!("\n5. Questions: skipped, no file of events (--flights, or BYGONE_FLIGHTS)");
        return Ok(());
    };
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    eprintln!("5. Questions: importing");
    let db = into_bygone(file, folder.path())?;
    let connection = into_sqlite(file, folder.path())?;
    for question in QUESTIONS {
        let names: Vec<_> = [BYGONE].into_iter().chain(question.ways.iter().map(|(name, _)| *name)).collect();
        let mut table = Table::new(question.title, names.iter().copied());
        let script = Script::parse(question.bygone)?;
        for round in 0..arguments.rounds {
            let mut answers = Vec::new();
            for turn in 0..names.len() {
                let at = (round + turn) % names.len();
                eprint!("\r{} — round {}: {:<30}", question.title, round + 1, names[at]);
                settle_disk();
                let (measured, answer) = match at.checked_sub(1) {
                    None => slice(arguments.slice, || by_bygone(&db, &script))?,
                    Some(way) => {
                        let text = question.sqlite.replace("{}", question.ways[way].1);
                        slice(arguments.slice, || by_sqlite(&connection, &text))?
                    }
                };
                table.add(at, measured);
                answers.push(answer);
            }
            if answers.iter().any(|answer| *answer != answers[0]) {
                return Err(format!("the contestants do not agree: {answers:?}").into());
            }
        }
        eprintln!();
        table.print(BYGONE, SQLITE, question.target);
    }
    Ok(())
}

/// Asks again and again: how often a second, and the answer.
fn slice(length: Slice, mut ask: impl FnMut() -> Result<Vec<String>>) -> Result<(Measured, Vec<String>)> {
    let (mut latencies, mut answer) = (Vec::<Duration>::new(), Vec::new());
    let begin = Instant::now();
    while match length {
        Slice::Time(time) => begin.elapsed() < time,
        Slice::Events(events) => latencies.len() < events,
    } {
        let before = Instant::now();
        answer = ask()?;
        latencies.push(before.elapsed());
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    let (median, slow) = (quantile(&mut latencies, 0.5), quantile(&mut latencies, 0.99));
    Ok((Measured { rate, running: rate, median, slow }, answer))
}

/// Few rows are told as they are, many by their number.
fn told(mut rows: Vec<String>) -> Vec<String> {
    if rows.len() > 10 {
        rows = vec![format!("{} rows", rows.len())];
    }
    rows
}

fn by_bygone(db: &Db, script: &Script) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for statement in script.statements() {
        for row in db.run(statement)?.rows {
            rows.push(match row? {
                Row::Fields(fields) => {
                    fields.values().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
                }
                // As it is handed over; `data` is there to be read.
                Row::Event { event, .. } => {
                    event.target.map(|target| target.id().to_owned()).unwrap_or_default()
                }
                _ => String::new(),
            });
        }
    }
    Ok(told(rows))
}

fn by_sqlite(connection: &Connection, text: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(text)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if columns > 3 {
            let _position: i64 = row.get(0)?;
            let _texts: [String; 6] =
                [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
            found.push(String::new());
            continue;
        }
        let value = |at: usize| -> rusqlite::Result<String> {
            Ok(match row.get::<_, rusqlite::types::Value>(at)? {
                rusqlite::types::Value::Integer(n) => n.to_string(),
                rusqlite::types::Value::Real(x) => format!("{x:?}"),
                rusqlite::types::Value::Text(text) => format!("{text:?}"),
                other => format!("{other:?}"),
            })
        };
        found.push((0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>()?.join(" "));
    }
    Ok(told(found))
}

fn into_bygone(file: &Path, folder: &Path) -> Result<Db> {
    let path = folder.join("flights.bygone");
    let db = Db::create(&path)?;
    db.import(lines(file)?, &ImportOptions::new(), &mut |_| {})?;
    db.query("DEFINE INDEX origin ON '*' AS data.origin")?;
    db.wait_for_indexes(Duration::from_secs(600))?;
    // As one finds it the next morning.
    db.close()?;
    Ok(Db::open(&path)?)
}

fn into_sqlite(file: &Path, folder: &Path) -> Result<Connection> {
    let mut connection = Connection::open(folder.join("flights.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // As much as Bygone takes by default, in KiB.
    connection.pragma_update(None, "cache_size", -128 * 1024)?;
    connection.execute_batch(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, type TEXT NOT NULL, timestamp TEXT NOT NULL,
            target_type TEXT NOT NULL, target_id TEXT NOT NULL, actor TEXT NOT NULL, data TEXT NOT NULL);",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO events (type, timestamp, target_type, target_id, actor, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for line in lines(file)?.lines() {
            let line: Line = serde_json::from_str(&line?)?;
            let (target, data) = (&line.target, line.data.get());
            insert.execute(params![
                line.r#type,
                line.timestamp,
                target.r#type,
                target.id,
                line.actor.id,
                data
            ])?;
        }
    }
    transaction.commit()?;
    connection.execute_batch(
        "CREATE INDEX by_target ON events (target_type, target_id);
         CREATE INDEX by_type ON events (type);
         CREATE INDEX by_actor ON events (actor);
         CREATE INDEX by_origin ON events (json_extract(data, '$.origin'));
         CREATE INDEX by_origin_and_time ON events (json_extract(data, '$.origin'), timestamp);
         ANALYZE;",
    )?;
    Ok(connection)
}
