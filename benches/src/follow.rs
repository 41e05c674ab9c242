//! Following: how fast the past is caught up with through a pattern, and how soon a handler hears of what was appended.
//!
//! What each contestant stores and hands over of an event: Bygone all of it, that is position, version, id, type, when it occurred and when
//! it was recorded, target, actor and data; SQLite position, type, when it occurred, target, actor and data; tephra position, type, a tag
//! for target and one for actor, and data. So the others have less to do: no id, no version and no time of recording, and tephra no
//! time at all.

use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bygone::maintain::ImportOptions;
use bygone::{Db, Delivery, NewEvent};
use rusqlite::{Connection, params};
use tephra::{
    Event, EventType, Position, Query, QueryItem, SegmentConfig, SegmentSet, Tag, Tags, WriteCoordinator,
    WriteHandle, WriterConfig,
};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::contestant::{BYGONE, SQLITE};
use crate::import::{Line, lines};
use crate::table::{Measured, Table, quantile};
use crate::write::settle_disk;

/// How many times as fast as the best of the others.
const CATCH_UP: f64 = 1.5;
/// The most a handler may be late, in parts of a durable append.
const LATE: f64 = 0.5;

/// How many appends are heard of, and how many before they count.
const HEARD: u64 = 2000;
const WARMING: u64 = 100;

/// What is followed: all that a pattern of Bygone matches, and for the others the types that are.
const PATTERNS: [(&str, &str, &[&str]); 3] = [
    ("11a. Catch up with half of the log", "Plane.departed", &["Plane.departed"]),
    ("11b. Catch up with what is rare", "*.cancelled", &["Plane.cancelled"]),
    ("11c. Catch up with all of it", "Plane.*", &["Plane.departed", "Plane.landed", "Plane.cancelled"]),
];

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.wants_scenario(11) {
        catch_up(arguments)?;
    }
    if arguments.wants_scenario(12) {
        hear(arguments)?;
    }
    Ok(())
}

/// Goes through the past from its beginning; gives how many events there were.
type Follow<'a> = Box<dyn FnMut(&str, &[&str]) -> Result<u64> + 'a>;

fn catch_up(arguments: &Arguments) -> Result<()> {
    let Some(file) = arguments.flights.as_ref().filter(|file| file.exists()) else {
        println!("\n11. Following: skipped, no file of events (--flights, or BYGONE_FLIGHTS)");
        return Ok(());
    };
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    eprintln!("11. Following: importing");
    let db = into_bygone(file, folder.path())?;
    let connection = into_sqlite(file, folder.path())?;
    let (coordinator, handle) = into_tephra(file, folder.path())?;
    let mut contestants: Vec<(&str, Follow)> = vec![
        (BYGONE, Box::new(|pattern, _| by_bygone(&db, pattern))),
        (SQLITE, Box::new(|_, types| by_sqlite(&connection, "", types))),
        ("SQLite, scanning", Box::new(|_, types| by_sqlite(&connection, "NOT INDEXED", types))),
        ("tephra", Box::new(|_, types| by_tephra(&handle, types))),
    ];
    contestants.retain(|(name, _)| arguments.wants_contestant(name));
    for (title, pattern, types) in PATTERNS {
        let mut table = Table::new(title, contestants.iter().map(|(name, _)| *name));
        for round in 0..arguments.rounds {
            let mut counts = Vec::new();
            for turn in 0..contestants.len() {
                let at = (round + turn) % contestants.len();
                let (name, follow) = &mut contestants[at];
                eprint!("\r{title} — round {}: {name:<30}", round + 1);
                settle_disk();
                let (measured, count) = slice(arguments.slice, || follow(pattern, types))?;
                table.add(at, measured);
                counts.push(count);
            }
            if counts.iter().any(|count| *count != counts[0]) {
                return Err(format!("the contestants do not agree: {counts:?}").into());
            }
        }
        eprintln!();
        table.print(BYGONE, SQLITE, CATCH_UP);
        table.print(BYGONE, "tephra", CATCH_UP);
    }
    drop(contestants);
    drop(handle);
    drop(coordinator.shutdown());
    Ok(())
}

/// Again and again: how many of the events that are wanted a second.
fn slice(length: Slice, mut follow: impl FnMut() -> Result<u64>) -> Result<(Measured, u64)> {
    let (mut latencies, mut count) = (Vec::<Duration>::new(), 0);
    let begin = Instant::now();
    while match length {
        Slice::Time(time) => begin.elapsed() < time,
        Slice::Events(events) => latencies.len() < events,
    } {
        let before = Instant::now();
        count = follow()?;
        latencies.push(before.elapsed());
    }
    let rate = (count * latencies.len() as u64) as f64 / begin.elapsed().as_secs_f64();
    let (median, slow) = (quantile(&mut latencies, 0.5), quantile(&mut latencies, 0.99));
    Ok((Measured { rate, running: rate, median, slow }, count))
}

fn by_bygone(db: &Db, pattern: &str) -> Result<u64> {
    let mut count = 0;
    for delivery in db.subscribe(pattern).from_start() {
        match delivery? {
            // As it is handed over; `data` is there to be read.
            Delivery::Event(event) => count += u64::from(!event.data.is_empty()),
            Delivery::CaughtUp(_) => break,
        }
    }
    Ok(count)
}

fn by_sqlite(connection: &Connection, way: &str, types: &[&str]) -> Result<u64> {
    let places = vec!["?"; types.len()].join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT position, type, timestamp, target_type, target_id, actor, data FROM events {way}
         WHERE type IN ({places}) AND position > 0 ORDER BY position",
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(types))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let _position: i64 = row.get(0)?;
        let _names: [String; 5] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
        let data: String = row.get(6)?;
        count += u64::from(!data.is_empty());
    }
    Ok(count)
}

fn by_tephra(handle: &WriteHandle, types: &[&str]) -> Result<u64> {
    let types = types.iter().map(|name| EventType::new(*name)).collect::<std::result::Result<Vec<_>, _>>()?;
    let query = Query::item(QueryItem::of_types(types));
    let mut subscription = handle.subscribe(query, Position::ZERO);
    let mut count = 0;
    loop {
        let batch = subscription.poll_batch()?;
        if batch.is_empty() {
            return Ok(count);
        }
        for (_, event) in &batch {
            // Taken over as the rows of SQLite are.
            let event = event.as_ref();
            let _kind = event.event_type().to_string();
            let _tags: Vec<String> = event.tags().map(|tag| tag.to_string()).collect();
            count += u64::from(!event.data().is_empty());
        }
    }
}

fn into_bygone(file: &Path, folder: &Path) -> Result<Db> {
    let path = folder.join("flights.bygone");
    let db = Db::create(&path)?;
    db.import(lines(file)?, &ImportOptions::new(), &mut |_| {})?;
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
    connection.execute_batch("CREATE INDEX by_type ON events (type); ANALYZE;")?;
    Ok(connection)
}

/// By its type, and by a tag for its entity and its actor.
fn into_tephra(file: &Path, folder: &Path) -> Result<(WriteCoordinator, WriteHandle)> {
    let set = SegmentSet::open(folder.join("tephra"), SegmentConfig::new(256 << 20))?;
    let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
    let mut batch = Vec::new();
    for line in lines(file)?.lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let target = Tag::new(format!("{}:{}", line.target.r#type, line.target.id))?;
        let tags = Tags::new([target, Tag::new(format!("{}:{}", line.actor.r#type, line.actor.id))?])?;
        batch.push(Event::new(&EventType::new(line.r#type.as_str())?, &tags, line.data.get().as_bytes())?);
        if batch.len() == 1000 {
            handle.append(std::mem::take(&mut batch), None)?;
        }
    }
    handle.append(batch, None)?;
    Ok((coordinator, handle))
}

/// How long a durable append takes, and how long after its answer a handler's first line runs: nothing else happens.
fn hear(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let db = Db::create(folder.path().join("heard.bygone"))?;
    let (tell, told) = mpsc::channel();
    let handler = db.on("Order.*", move |_| {
        // First of all: the clock.
        let heard = Instant::now();
        tell.send(heard).map_err(|e| e.to_string())
    })?;
    let (mut appends, mut late) = (Vec::new(), Vec::new());
    for n in 0..HEARD + WARMING {
        // Idle: whoever appended last has long gone to sleep, and so has the handler.
        std::thread::sleep(Duration::from_millis(2));
        let begin = Instant::now();
        db.append(NewEvent::new("Order.paid").on(("Order", n % 100)).member("amount", n))?;
        let answered = Instant::now();
        let heard = told.recv()?;
        if n >= WARMING {
            appends.push(answered - begin);
            // It may begin before the answer is there.
            late.push(heard.saturating_duration_since(answered));
        }
    }
    handler.stop();
    handler.join()?;
    let micros = |values: &mut [Duration], part| quantile(values, part).as_secs_f64() * 1e6;
    let (append, heard) = (micros(&mut appends, 0.5), micros(&mut late, 0.5));
    println!("\n12. From the answer of a durable append to the first line of a handler, idle\n");
    println!("| {:<32} | {:>8} | {:>8} |\n|{:-<34}|{:->10}|{:->10}|", "", "p50 µs", "p99 µs", "", ":", ":");
    println!("| {:<32} | {append:>8.1} | {:>8.1} |", "a durable append", micros(&mut appends, 0.99));
    println!("| {:<32} | {heard:>8.1} | {:>8.1} |", "then, until the handler runs", micros(&mut late, 0.99));
    let verdict = if heard <= append * LATE { "pass" } else { "FAIL" };
    println!(
        "\n{verdict}: a handler is to run within {LATE} of an append, and does within {:.2}",
        heard / append
    );
    Ok(())
}
