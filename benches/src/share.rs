//! Asking a database that another program has open: what the way over its socket costs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bygone::share::SharedDb;
use bygone::{Db, NewEvent, Options, Parameters};

use crate::Result;
use crate::arguments::Arguments;
use crate::event::{Random, Sample};
use crate::states::slice;
use crate::table::Table;
use crate::write::{BATCH, settle_disk};

const WRITES: [&str; 4] = ["one in the process", "one attached", "ten attached", "ten in the process"];
const SCANS: [&str; 2] = ["in the process, as JSON lines", "attached, as JSON lines"];

/// How many appends each of ten makes before the slowest is waited for.
const OF_EACH: u64 = 200;

/// What is to be held.
const ATTACHED_TIMES: f64 = 2.0;
const TEN_TIMES: f64 = 5.0;
const SCANNED: f64 = 200_000.0;

fn emit(db: &SharedDb) -> Result<u64> {
    let text = "EMIT Order.paid 42 {amount: $amount}";
    db.query_with(text, &Parameters::new().set("amount", 10))?.rows.try_for_each(|row| row.map(drop))?;
    Ok(1)
}

/// Each has a connection of its own, as ten programs have.
fn ten(writers: &[SharedDb]) -> Result<u64> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = writers
            .iter()
            .map(|db| scope.spawn(move || (0..OF_EACH).try_fold(0, |done, _| Ok::<u64, _>(done + emit(db)?))))
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer that does not panic")).sum()
    })
}

/// All events as lines, read as any client reads them.
fn scan_attached(socket: &Path) -> Result<u64> {
    let stream = UnixStream::connect(socket)?;
    (&stream).write_all(b"{\"id\":1,\"statement\":\"EVENTS\"}\n")?;
    let (mut lines, mut line) = (BufReader::with_capacity(256 << 10, stream), Vec::new());
    let mut rows = 0;
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        match line.get(8..14) {
            Some(b"\"kind\"") => rows += 1,
            Some(b"\"done\"") => return Ok(rows),
            Some(b"\"error") | None => return Err(String::from_utf8_lossy(&line).into()),
            Some(_) => {}
        }
    }
}

fn scan(db: &Db) -> Result<u64> {
    let (mut rows, mut line) = (0, Vec::new());
    for row in db.query("EVENTS")?.rows {
        line.clear();
        serde_json::to_writer(&mut line, &row?)?;
        std::hint::black_box(&line);
        rows += 1;
    }
    Ok(rows)
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    let path = folder.path().canonicalize()?.join("shop.bygone");
    let db = Options::new().share(true).create(&path)?;
    let mut random = Random(7);
    for _ in 0..arguments.preload / BATCH {
        let events: Vec<NewEvent> = (0..BATCH)
            .map(|_| {
                let sample = Sample::new(&mut random);
                NewEvent::new(sample.kind).on(("Order", sample.entity)).data(&sample.data)
            })
            .collect();
        db.append_all(events)?;
    }
    db.query("CHECKPOINT")?.rows.try_for_each(|row| row.map(drop))?;
    let (here, attached) = (SharedDb::from(db.clone()), Db::attach(&path)?);
    if arguments.wants_scenario(18) {
        let mut table = Table::new("18. Scans", SCANS.into_iter());
        for round in 0..arguments.rounds {
            for turn in 0..SCANS.len() {
                let at = (round + turn) % SCANS.len();
                let socket = path.with_file_name("shop.bygone-socket");
                let measured =
                    slice(arguments.slice, || if at == 0 { scan(&db) } else { scan_attached(&socket) })?;
                table.add(at, measured);
            }
        }
        table.print_reads(SCANS[0]);
        let scanned = table.rate(1) * arguments.preload as f64;
        verdict(scanned >= SCANNED, &format!("{scanned:.0} events a second, to be {SCANNED:.0}"));
    }
    if arguments.wants_scenario(17) {
        let writers: Vec<SharedDb> =
            (0..10).map(|_| Db::attach(&path)).collect::<std::result::Result<_, _>>()?;
        let threads: Vec<SharedDb> = (0..10).map(|_| here.clone()).collect();
        let mut table = Table::new("17. Durable EMIT", WRITES.into_iter());
        for round in 0..arguments.rounds {
            for turn in 0..WRITES.len() {
                let at = (round + turn) % WRITES.len();
                settle_disk();
                let one = || match at {
                    0 => emit(&here),
                    1 => emit(&attached),
                    2 => ten(&writers),
                    _ => ten(&threads),
                };
                table.add(at, slice(arguments.slice, one)?);
            }
        }
        table.print_reads(WRITES[0]);
        let times = table.times(1, 0);
        verdict(
            times <= ATTACHED_TIMES,
            &format!("attached {times:.2} times as long, to be {ATTACHED_TIMES:.1}"),
        );
        let ten = table.rate(2) / table.rate(1) * (10 * OF_EACH) as f64;
        let threads = table.rate(3) / table.rate(0) * (10 * OF_EACH) as f64;
        println!("ten in the process {threads:.1}× one");
        verdict(ten >= TEN_TIMES, &format!("ten attached {ten:.1}× one, to be {TEN_TIMES:.1}×"));
    }
    Ok(db.close()?)
}

fn verdict(holds: bool, told: &str) {
    println!("{}: {told}", if holds { "pass" } else { "FAIL" });
}
