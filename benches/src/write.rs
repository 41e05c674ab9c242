//! Writing: one caller, many callers, batches.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::contestant::{self, BYGONE, Contestant, SQLITE, Store};
use crate::event::{Random, Sample};
use crate::table::{Measured, Table, quantile};

/// How many different events there are for all callers, made before anything is measured.
const POOL: usize = 1 << 16;
/// The events of a batch.
pub const BATCH: usize = 1000;

struct Scenario {
    number: usize,
    title: &'static str,
    callers: usize,
    batch: usize,
    contestants: Vec<Contestant>,
    /// How often as fast as SQLite Bygone is to be.
    target: f64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let scenarios = [
        Scenario {
            number: 1,
            title: "1. One caller, one event at a time",
            callers: 1,
            batch: 1,
            contestants: contestant::alone(),
            target: 1.0,
        },
        Scenario {
            number: 2,
            title: "2. 64 callers, one event at a time each",
            callers: 64,
            batch: 1,
            contestants: contestant::shared(),
            target: 5.0,
        },
        Scenario {
            number: 3,
            title: "3. One caller, batches of 1,000",
            callers: 1,
            batch: BATCH,
            contestants: contestant::alone(),
            target: 4.0,
        },
    ];
    for scenario in scenarios {
        if arguments.wants_scenario(scenario.number) {
            compare(&scenario, arguments)?;
        }
    }
    Ok(())
}

fn compare(scenario: &Scenario, arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let mut entrants: Vec<(Contestant, PathBuf)> = Vec::new();
    for contestant in &scenario.contestants {
        if arguments.wants_contestant(contestant.name) {
            let home = folder.path().join(entrants.len().to_string());
            std::fs::create_dir(&home)?;
            preload(contestant, &home, arguments.preload)?;
            entrants.push((*contestant, home));
        }
    }
    let mut table = Table::new(scenario.title, entrants.iter().map(|(contestant, _)| contestant.name));
    for round in 0..arguments.rounds {
        for turn in 0..entrants.len() {
            let at = (round + turn) % entrants.len();
            let (contestant, home) = &entrants[at];
            eprint!(
                "\r{} — round {} of {}: {:<30}",
                scenario.title,
                round + 1,
                arguments.rounds,
                contestant.name
            );
            settle_disk();
            table.add(at, slice(scenario, contestant, home, arguments.slice, round as u64)?);
        }
    }
    eprintln!();
    table.print(BYGONE, SQLITE, scenario.target);
    Ok(())
}

/// What is in each store before it is measured, so that none is measured empty.
fn preload(contestant: &Contestant, home: &Path, events: usize) -> Result<()> {
    let store = (contestant.open)(home)?;
    {
        let mut writer = store.writer()?;
        let mut random = Random(0);
        for _ in 0..events / BATCH {
            let events: Vec<_> = (0..BATCH).map(|_| Sample::new(&mut random)).collect();
            writer.append(&events)?;
        }
    }
    store.close()
}

/// What others have left to write would slow down whoever comes next.
pub fn settle_disk() {
    if cfg!(unix) {
        let _ = std::process::Command::new("sync").status();
    }
}

/// When a caller is done.
#[derive(Clone, Copy)]
enum End {
    At(Instant),
    /// After so many appends.
    After(usize),
}

/// One turn: open, write for a while, close. What a store puts off is done before it is closed, and counts.
fn slice(
    scenario: &Scenario,
    contestant: &Contestant,
    home: &Path,
    length: Slice,
    round: u64,
) -> Result<Measured> {
    let pools: Vec<Vec<Sample>> = (0..scenario.callers as u64)
        .map(|caller| {
            let mut random = Random(round << 32 | caller << 16 | 1);
            (0..POOL / scenario.callers).map(|_| Sample::new(&mut random)).collect()
        })
        .collect();
    let store = (contestant.open)(home)?;
    let begin = Instant::now();
    let end = match length {
        Slice::Time(time) => End::At(begin + time),
        Slice::Events(events) => End::After(events / scenario.batch / scenario.callers),
    };
    let mut latencies = if scenario.callers == 1 {
        write_until(&*store, end, scenario.batch, &pools[0])?
    } else {
        write_together(&*store, end, scenario.batch, &pools)?
    };
    let running = begin.elapsed();
    store.close()?;
    let closed = begin.elapsed();
    let events = (latencies.len() * scenario.batch) as f64;
    Ok(Measured {
        rate: events / closed.as_secs_f64(),
        running: events / running.as_secs_f64(),
        median: quantile(&mut latencies, 0.5),
        slow: quantile(&mut latencies, 0.99),
    })
}

fn write_together(store: &dyn Store, end: End, batch: usize, pools: &[Vec<Sample>]) -> Result<Vec<Duration>> {
    let start = Barrier::new(pools.len());
    thread::scope(|scope| {
        let callers: Vec<_> = pools
            .iter()
            .map(|pool| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    write_until(store, end, batch, pool)
                })
            })
            .collect();
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.join().map_err(|_| "a caller panicked")??);
        }
        Ok(all)
    })
}

/// Appends until it is done; how long each append took.
fn write_until(store: &dyn Store, end: End, batch: usize, pool: &[Sample]) -> Result<Vec<Duration>> {
    let mut writer = store.writer()?;
    let mut latencies = Vec::new();
    let mut before = Instant::now();
    let mut events = pool.chunks_exact(batch).cycle();
    while match end {
        End::At(time) => before < time,
        End::After(appends) => latencies.len() < appends,
    } {
        writer.append(events.next().ok_or("no events to write")?)?;
        let now = Instant::now();
        latencies.push(now - before);
        before = now;
    }
    Ok(latencies)
}
