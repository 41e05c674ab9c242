//! Reading: what applications ask for most, from files that were closed and opened again.

use std::path::Path;
use std::time::Instant;

use bygone::read::Script;
use bygone::{Db, Pattern, Row};
use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::contestant::{
    BYGONE, Open, SQLITE, bygone as bygone_store, sqlite,
    tephra::{self as tephra_store, Tephra},
};
use crate::event::{Data, Random, Sample, TYPES};
use crate::table::{Measured, Table, quantile};
use crate::write::{BATCH, settle_disk};

/// Each entity has so many events, scattered over the log.
const HISTORY: u64 = 100;
const ENTITIES: u64 = 2000;

/// A question, answered once; gives what it counted, to be compared.
trait Reader {
    fn history(&mut self, entity: u64) -> Result<u64>;
    fn newest(&mut self, kind: &str) -> Result<u64>;
    fn state(&mut self, entity: u64) -> Result<u64>;
    fn scan(&mut self) -> Result<u64>;
    /// The digests of all data, decoded into a struct, summed up.
    fn typed(&mut self) -> Result<u64>;

    fn answers(&self, _: Question) -> bool {
        true
    }
}

#[derive(Clone, Copy)]
enum Question {
    History,
    Newest,
    State,
    Scan,
    Typed,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    eprintln!("4. Reading: writing {} events", ENTITIES * HISTORY);
    fill(bygone_store::open, folder.path())?;
    fill(sqlite::open, folder.path())?;
    let digest = fill(tephra_store::open, folder.path())?;

    let questions = [
        ("4a. Load an entity of 100 events", Question::History),
        ("4b. The newest 10 events of a type", Question::Newest),
        ("4c. The state of an entity of 100 events", Question::State),
        ("4d. Scan the whole log (200,000 events)", Question::Scan),
        ("4e. Scan the whole log, data decoded into a struct", Question::Typed),
    ];
    let mut readers: Vec<(&str, Box<dyn Reader>)> = vec![
        (BYGONE, Box::new(Db::open(bygone_store::file(folder.path()))?)),
        (SQLITE, Box::new(sqlite::connect(&sqlite::file(folder.path()))?)),
        ("tephra", Box::new(tephra_store::start(folder.path())?)),
    ];
    readers.retain(|(name, _)| arguments.wants_contestant(name));
    for (title, question) in questions {
        if !arguments.wants_part(&title[1..2]) {
            continue;
        }
        let answering: Vec<usize> =
            (0..readers.len()).filter(|&at| readers[at].1.answers(question)).collect();
        let mut table = Table::new(title, answering.iter().map(|&at| readers[at].0));
        for round in 0..arguments.rounds {
            for turn in 0..answering.len() {
                let at = (round + turn) % answering.len();
                let (name, reader) = &mut readers[answering[at]];
                eprint!("\r{title} — round {} of {}: {name:<30}", round + 1, arguments.rounds);
                settle_disk();
                table.add(at, slice(&mut **reader, question, arguments.slice, round as u64, digest)?);
            }
        }
        eprintln!();
        table.print_reads(SQLITE);
    }
    Ok(())
}

/// Writes the events; tells what the digests of their data are in all.
fn fill(open: Open, folder: &Path) -> Result<u64> {
    let mut random = Random(7);
    let mut entities: Vec<u64> = (0..ENTITIES * HISTORY).map(|n| n % ENTITIES).collect();
    for at in (1..entities.len()).rev() {
        entities.swap(at, random.below(at as u64 + 1) as usize);
    }
    let (store, mut digest) = (open(folder)?, 0u64);
    {
        let mut writer = store.writer()?;
        for entities in entities.chunks(BATCH) {
            let events: Vec<_> = entities.iter().map(|&entity| Sample::of(entity, &mut random)).collect();
            digest = events.iter().fold(digest, |sum, event| sum.wrapping_add(event.data.digest()));
            writer.append(&events)?;
        }
    }
    store.close()?;
    Ok(digest)
}

/// Asks again and again; how often a second.
fn slice(
    reader: &mut dyn Reader,
    question: Question,
    length: Slice,
    round: u64,
    digest: u64,
) -> Result<Measured> {
    let mut random = Random(round);
    let mut latencies = Vec::new();
    let begin = Instant::now();
    while match length {
        Slice::Time(time) => begin.elapsed() < time,
        Slice::Events(events) => latencies.len() < events,
    } {
        let (entity, kind) = (random.below(ENTITIES), TYPES[random.below(TYPES.len() as u64) as usize]);
        let before = Instant::now();
        let (found, expected) = match question {
            Question::History => (reader.history(entity)?, HISTORY),
            Question::Newest => (reader.newest(kind)?, 10),
            Question::State => (reader.state(entity)?, 8),
            Question::Scan => (reader.scan()?, ENTITIES * HISTORY),
            Question::Typed => (reader.typed()?, digest),
        };
        latencies.push(before.elapsed());
        if found != expected {
            return Err(format!("{found} found where {expected} are").into());
        }
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    Ok(Measured {
        rate,
        running: rate,
        median: quantile(&mut latencies, 0.5),
        slow: quantile(&mut latencies, 0.99),
    })
}

impl Reader for Db {
    fn history(&mut self, entity: u64) -> Result<u64> {
        let mut count = 0;
        for event in Db::history(self, ("Order", entity))? {
            count += u64::from(!event?.data.is_empty());
        }
        Ok(count)
    }

    fn newest(&mut self, kind: &str) -> Result<u64> {
        // SQLite keeps its statements too, but parses each of them once; this one is parsed each time.
        let script = Script::parse(&format!("EVENTS '{kind}' LAST 10"))?;
        let mut count = 0;
        for statement in script.statements() {
            let answer = self.run(statement)?;
            for row in answer.rows {
                count += u64::from(matches!(row?, Row::Event { .. }));
            }
        }
        Ok(count)
    }

    fn state(&mut self, entity: u64) -> Result<u64> {
        let state = Db::state(self, ("Order", entity))?.state;
        Ok(if let bygone::Value::Object(members) = state { members.len() as u64 } else { 0 })
    }

    fn scan(&mut self) -> Result<u64> {
        let all: Pattern = "*".parse()?;
        let mut count = 0;
        for event in self.events(&all)? {
            count += u64::from(!event?.data.is_empty());
        }
        Ok(count)
    }

    fn typed(&mut self) -> Result<u64> {
        let all: Pattern = "*".parse()?;
        let mut sum = 0u64;
        for event in self.events(&all)? {
            sum = sum.wrapping_add(event?.data.parse::<Data>()?.digest());
        }
        Ok(sum)
    }
}

impl Reader for Connection {
    fn history(&mut self, entity: u64) -> Result<u64> {
        let mut statement = self.prepare_cached(
            "SELECT position, type, target_type, target_id, actor, data FROM events
             WHERE target_type = 'Order' AND target_id = ?1 ORDER BY position",
        )?;
        count(statement.query(params![entity.to_string()])?)
    }

    fn newest(&mut self, kind: &str) -> Result<u64> {
        let mut statement = self.prepare_cached(
            "SELECT position, type, target_type, target_id, actor, data FROM events
             WHERE type = ?1 ORDER BY position DESC LIMIT 10",
        )?;
        count(statement.query(params![kind])?)
    }

    fn state(&mut self, entity: u64) -> Result<u64> {
        let mut statement = self.prepare_cached(
            "SELECT data FROM events WHERE target_type = 'Order' AND target_id = ?1 ORDER BY position",
        )?;
        let mut rows = statement.query(params![entity.to_string()])?;
        let mut state: Map<String, Value> = Map::new();
        while let Some(row) = rows.next()? {
            state.extend(serde_json::from_str::<Map<_, _>>(row.get_ref(0)?.as_str()?)?);
        }
        Ok(state.len() as u64)
    }

    fn scan(&mut self) -> Result<u64> {
        let mut statement = self.prepare_cached(
            "SELECT position, type, target_type, target_id, actor, data FROM events ORDER BY position",
        )?;
        count(statement.query([])?)
    }

    fn typed(&mut self) -> Result<u64> {
        let mut statement = self.prepare_cached(
            "SELECT position, type, target_type, target_id, actor, data FROM events ORDER BY position",
        )?;
        let (mut rows, mut sum) = (statement.query([])?, 0u64);
        while let Some(row) = rows.next()? {
            let _position: i64 = row.get(0)?;
            let _names: [String; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            sum = sum.wrapping_add(serde_json::from_str::<Data>(row.get_ref(5)?.as_str()?)?.digest());
        }
        Ok(sum)
    }
}

impl Reader for Tephra {
    fn history(&mut self, _: u64) -> Result<u64> {
        Err("not asked".into())
    }

    fn newest(&mut self, _: &str) -> Result<u64> {
        Err("not asked".into())
    }

    fn state(&mut self, _: u64) -> Result<u64> {
        Err("not asked".into())
    }

    fn scan(&mut self) -> Result<u64> {
        let mut count = 0;
        self.each(|data| {
            count += u64::from(!data.to_vec().is_empty());
            Ok(())
        })?;
        Ok(count)
    }

    fn typed(&mut self) -> Result<u64> {
        let mut sum = 0u64;
        self.each(|data| {
            sum = sum.wrapping_add(serde_json::from_slice::<Data>(data)?.digest());
            Ok(())
        })?;
        Ok(sum)
    }

    fn answers(&self, question: Question) -> bool {
        matches!(question, Question::Scan | Question::Typed)
    }
}

/// Takes the rows over into values of one's own, as an application does.
fn count(mut rows: rusqlite::Rows) -> Result<u64> {
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let _position: i64 = row.get(0)?;
        let _names: [String; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
        let data: String = row.get(5)?;
        count += u64::from(!data.is_empty());
    }
    Ok(count)
}
