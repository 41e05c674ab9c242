//! Private values: what it takes to store them encrypted, to read them, and to forget somebody.

use std::path::Path;
use std::time::Instant;

use bygone::{Db, NewEvent};

use crate::Result;
use crate::arguments::Arguments;
use crate::event::{ENTITIES, Random, Sample};
use crate::states::slice;
use crate::table::{Table, median};
use crate::write::{BATCH, settle_disk};

/// Three of the eight fields of an event, each about its customer.
const PRIVATE: &str =
    "DEFINE PRIVATE contact ON 'Order.*' OF target FIELDS data.customer, data.note, data.order";

/// How many events the one has who is forgotten.
const OF_ONE: usize = 1_000;

/// The two databases, and what is done to them: of each pair the first is in plain.
const WRITES: [&str; 4] =
    ["one caller in plain", "one caller private", "batches in plain", "batches private"];
const READS: [&str; 4] = ["all rows in plain", "all rows private", "a count in plain", "a count private"];

/// What is to be held.
const WRITE_TARGET: f64 = 0.8;
const READ_TARGET: f64 = 0.5;

fn event(sample: &Sample) -> Result<NewEvent> {
    Ok(NewEvent::new(sample.kind)
        .on(("Order", sample.entity))
        .by(("User", sample.actor.as_str()))
        .data(&sample.data))
}

fn some(count: usize, random: &mut Random) -> Result<Vec<NewEvent>> {
    (0..count).map(|_| event(&Sample::new(random))).collect()
}

fn made(path: &Path, private: bool, events: usize) -> Result<Db> {
    let db = Db::create(path)?;
    if private {
        db.query(PRIVATE)?.rows.try_for_each(|row| row.map(drop))?;
    }
    let mut random = Random(7);
    for _ in 0..events / BATCH {
        db.append_all(some(BATCH, &mut random)?)?;
    }
    db.close()?;
    Ok(Db::open(path)?)
}

fn count(db: &Db, text: &str) -> Result<u64> {
    let mut rows = 0;
    for row in db.query(text)?.rows {
        drop(std::hint::black_box(row?));
        rows += 1;
    }
    Ok(rows)
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let dbs = [
        made(&folder.path().join("plain.bygone"), false, arguments.preload)?,
        made(&folder.path().join("private.bygone"), true, arguments.preload)?,
    ];
    if arguments.wants_scenario(14) {
        let mut random = Random(8);
        let write = |at: usize| {
            let events = some(if at < 2 { 1 } else { BATCH }, &mut random)?;
            Ok(dbs[at % 2].append_all(events)?.len() as u64)
        };
        pairs(arguments, "14. Appends", WRITES, WRITE_TARGET, write)?;
    }
    if arguments.wants_scenario(15) {
        // The whole log is in the tables.
        dbs.iter().try_for_each(|db| count(db, "CHECKPOINT").map(drop))?;
        let read = |at: usize| {
            let text = match at {
                0 | 1 => "EVENTS 'Order.*'",
                _ => "EVENTS 'Order.*' WHERE data.customer > 'customer-8' SELECT count()",
            };
            count(&dbs[at % 2], text)
        };
        pairs(arguments, "15. Scans", READS, READ_TARGET, read)?;
    }
    dbs.into_iter().try_for_each(|db| db.close())?;
    if arguments.wants_scenario(16) {
        forget(arguments, &folder.path().join("many.bygone"))?;
    }
    Ok(())
}

/// The four take turns.
fn pairs(
    arguments: &Arguments,
    title: &str,
    names: [&str; 4],
    target: f64,
    mut one: impl FnMut(usize) -> Result<u64>,
) -> Result<()> {
    let title = format!("{title}, {} events of {ENTITIES} subjects in each file", arguments.preload);
    let mut table = Table::new(&title, names.into_iter());
    for round in 0..arguments.rounds {
        for turn in 0..names.len() {
            let at = (round + turn) % names.len();
            if !arguments.wants_contestant(names[at]) {
                continue;
            }
            settle_disk();
            table.add(at, slice(arguments.slice, || one(at))?);
        }
    }
    table.print_reads(names[0]);
    for base in [0, 2]
        .into_iter()
        .filter(|base| names[*base..base + 2].iter().all(|name| arguments.wants_contestant(name)))
    {
        let ratio = 1.0 / table.times(base + 1, base);
        let verdict = if ratio >= target { "pass" } else { "FAIL" };
        let (name, other) = (names[base + 1], names[base]);
        println!("{verdict}: {name}: to be {target:.1}× as fast as {other}, and is {ratio:.2}×");
    }
    Ok(())
}

/// FORGET of one with a thousand events: it writes the file anew, as COMPACT does, whose time is taken off.
fn forget(arguments: &Arguments, path: &Path) -> Result<()> {
    let db = made(path, true, arguments.size as usize)?;
    let mut random = Random(9);
    let (mut forgotten, mut alone) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds as u64 {
        let one = ENTITIES + round;
        let events: Result<Vec<_>> = (0..OF_ONE).map(|_| event(&Sample::of(one, &mut random))).collect();
        db.append_all(events?)?;
        count(&db, "CHECKPOINT")?;
        let timed = |text: &str| -> Result<f64> {
            let begin = Instant::now();
            count(&db, text)?;
            Ok(begin.elapsed().as_secs_f64())
        };
        let compact = timed("COMPACT")?;
        let whole = timed(&format!("FORGET Order {one}"))?;
        forgotten.push(whole);
        alone.push(whole - compact);
    }
    let (forgotten, alone) = (median(forgotten.into_iter()), median(alone.into_iter()));
    println!("\n16. FORGET of one with {OF_ONE} events among {}\n", arguments.size);
    println!("in all {forgotten:.2} s; without writing the file anew (COMPACT, just before) {alone:.2} s");
    println!("{}: to be under a second", if alone < 1.0 { "pass" } else { "FAIL" });
    Ok(db.close()?)
}
