//! One entity of many events, and one of a hundredth of them: a state in the middle of either costs the same.

use std::path::{Path, PathBuf};

use bygone::{Db, NewEvent, Options, Timestamp};

use super::{in_a_child, rows, slice, told, wait_until};
use crate::Result;
use crate::arguments::Arguments;
use crate::event::Random;
use crate::import::peak_memory;
use crate::table::{Table, median};
use crate::write::{BATCH, settle_disk};

/// After so many events a snapshot is kept.
const EVERY: u64 = 1000;
/// The file of many may take so many times the time of the file of few.
const MOST: f64 = 1.5;
/// And so many more MiB of memory.
const MOST_MEMORY: f64 = 8.0;
/// When the first event occurred, in seconds; each next one is a second later.
const BEGIN: u64 = 1_700_000_000;

/// How an entity's events are folded, and when they occurred.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    defined: bool,
    /// Every how manieth event tells of something so many seconds before.
    late: Option<(u64, u64)>,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "defined", defined: true, late: None },
    Shape { name: "defined, some late", defined: true, late: Some((1_009, 4_000)) },
    Shape { name: "defined, all over late", defined: true, late: Some((97, 30)) },
    Shape { name: "not defined", defined: false, late: None },
    Shape { name: "not defined, some late", defined: false, late: Some((1_009, 4_000)) },
];

pub fn run(arguments: &Arguments) -> Result<()> {
    let sizes = [(arguments.size / 100).max(2 * EVERY), arguments.size];
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let mut over = Vec::new();
    let mut memory = Vec::new();
    for shape in SHAPES.iter().filter(|shape| arguments.wants_contestant(shape.name)) {
        let mut files = Vec::new();
        for size in sizes {
            eprintln!("7. One entity, {}: writing {size} events", shape.name);
            let path = folder.path().join(format!("{}-{size}.bygone", shape.name.replace(", ", "-")));
            fill(*shape, size, &path)?;
            files.push(path);
        }
        let open = files.iter().map(Db::open).collect::<bygone::Result<Vec<_>>>()?;
        let names = sizes.map(|size| format!("{size} events"));
        for by_time in [false, true] {
            let by = if by_time { "by time" } else { "by version" };
            let title =
                format!("7. AT of one entity, {}, {by}, half-way from a snapshot to the next", shape.name);
            let mut table = Table::new(&title, names.iter().map(String::as_str));
            for round in 0..arguments.rounds {
                for turn in 0..sizes.len() {
                    let at = (round + turn) % sizes.len();
                    eprint!("\r{title} — round {}: {:<20}", round + 1, names[at]);
                    settle_disk();
                    let mut random = Random(round as u64);
                    let ask = || rows(&open[at], &question(sizes[at], by_time, &mut random));
                    table.add(at, slice(arguments.slice, ask)?);
                }
            }
            eprintln!();
            table.print_reads(&names[0]);
            let ratio = table.times(1, 0);
            if ratio > MOST {
                over.push(format!("{}, {by}: {ratio:.2}", shape.name));
            }
        }
        for db in open {
            db.close()?;
        }
        for (what, _) in QUESTIONS {
            let mut peaks = Vec::new();
            for file in &files {
                let peak = (0..3).map(|_| Ok(in_a_child(what, file)?[0])).collect::<Result<Vec<_>>>()?;
                peaks.push(median(peak.into_iter()));
            }
            memory.push((format!("{what}, {}", shape.name), peaks[0], peaks[1]));
        }
        for file in files {
            std::fs::remove_file(file)?;
        }
    }
    match over.as_slice() {
        [] => println!("pass: a hundred times the events take at most {MOST} times as long"),
        over => println!("FAIL: more than {MOST} times as long: {}", over.join("; ")),
    }
    print_memory(&sizes, &memory);
    Ok(())
}

fn print_memory(sizes: &[u64; 2], memory: &[(String, f64, f64)]) {
    println!("\n7. Memory at most, in MiB, with a cache of {} MiB\n", CACHE >> 20);
    println!(
        "| {:<32} | {:>16} | {:>16} |",
        "",
        format!("{} events", sizes[0]),
        format!("{} events", sizes[1])
    );
    println!("|{:-<34}|{:->18}|{:->18}|", "", ":", ":");
    for (what, few, many) in memory {
        println!("| {what:<32} | {few:>16.1} | {many:>16.1} |");
    }
    let over: Vec<_> = memory.iter().filter(|(_, few, many)| many - few > MOST_MEMORY + CACHE_MIB).collect();
    match over.as_slice() {
        [] => println!("\npass: memory does not grow with the events"),
        over => println!("\nFAIL: memory grows with the events: {over:?}"),
    }
}

fn question(size: u64, by_time: bool, random: &mut Random) -> String {
    // In the middle half, half-way between two snapshots.
    let stretches = size / EVERY;
    let event = (stretches / 4 + random.below((stretches / 2).max(1))) * EVERY + EVERY / 2;
    if by_time { format!("AT Account 1 '{}'", time(event)) } else { format!("AT Account 1 VERSION {event}") }
}

fn time(event: u64) -> Timestamp {
    Timestamp::from_millis(((BEGIN + event) * 1000) as i64)
}

fn fill(shape: Shape, size: u64, path: &Path) -> Result<()> {
    let db = Db::create(path)?;
    if shape.defined {
        rows(
            &db,
            "DEFINE ENTITY Account INITIAL {balance: 0, deposits: 0}
               ON deposited SET balance = state.balance + data.amount, deposits = state.deposits + 1, last = data.note
               ELSE MERGE",
        )?;
    }
    let mut random = Random(3);
    let mut next = 1;
    while next <= size {
        let end = (next + BATCH as u64).min(size + 1);
        db.append_all((next..end).map(|event| {
            let before = shape.late.filter(|(every, _)| event % every == 0).map_or(0, |(_, seconds)| seconds);
            NewEvent::new("Account.deposited")
                .on(("Account", 1))
                .by(("User", random.below(500)))
                .at(time(event.saturating_sub(before)))
                .member("amount", random.below(1000))
                .member("note", format!("{:016x}", random.next()))
        }))?;
        next = end;
    }
    drop(db);
    // What is in the tables is asked about, and all of its snapshots are there.
    let db = Db::open(path)?;
    let newest = size - size % EVERY;
    let question = format!("EXPLAIN ANALYZE AT Account 1 VERSION {newest}");
    let waited = wait_until("keeping snapshots", || {
        let read = told(&db, &question, "eventsRead")?.and_then(|read| read.as_i64());
        Ok(read.is_some_and(|read| read <= 2 * EVERY as i64))
    });
    if let Err(error) = waited {
        println!("{}: {error}", shape.name);
    }
    db.close()?;
    Ok(())
}

/// Little, so that what is measured is not how much of the file is read.
const CACHE: usize = 4 << 20;
const CACHE_MIB: f64 = 4.0;

const QUESTIONS: [(&str, &str); 4] = [
    ("AT a time", "AT Account 1 '{}'"),
    ("REPLAY", "REPLAY Account 1"),
    ("BLAME", "BLAME Account 1"),
    ("STEPS", "REPLAY Account 1 STEPS"),
];

/// The child: asks, and says how much memory that took.
pub fn child(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().ok_or("an argument is missing");
    let (what, file) = (next()?, PathBuf::from(next()?));
    let db = Options::new().cache(CACHE).open(&file)?;
    let (_, question) = QUESTIONS.iter().find(|(name, _)| *name == what).ok_or("what is asked?")?;
    let middle = db.version(("Account", 1))?.0 / 2;
    rows(&db, &question.replace("{}", &time(middle).to_string()))?;
    println!("{}", peak_memory());
    Ok(())
}
