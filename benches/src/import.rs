//! Importing: a large file of events, each time into a new database and by a new process, whose peak of memory is its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bygone::Db;
use bygone::maintain::ImportOptions;
use flate2::read::MultiGzDecoder;
use rusqlite::params;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Result;
use crate::arguments::Arguments;
use crate::contestant::{BYGONE, SQLITE, sqlite};
use crate::table::median;
use crate::write::settle_disk;

/// What makes this program import in a process of its own, before anything else.
pub const CHILD: &str = "import-in-this-process";
/// The most memory an import may take, in MiB.
const MOST_MEMORY: f64 = 300.0;
/// What SQLite gets at once.
const BATCH: usize = 1000;

pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(file) = arguments.flights.as_ref().filter(|file| file.exists()) else {
        println!("\n6. Import: skipped, no file of events (--flights, or BYGONE_FLIGHTS)");
        return Ok(());
    };
    let names = [BYGONE, SQLITE];
    let mut found = [Vec::new(), Vec::new()];
    for round in 0..arguments.rounds.min(3) {
        for turn in 0..names.len() {
            let at = (round + turn) % names.len();
            eprint!("\r6. Import — round {}: {:<10}", round + 1, names[at]);
            found[at].push(in_a_child(names[at], file, &arguments.dir)?);
        }
    }
    eprintln!();
    print(&names, &found);
    Ok(())
}

/// What an import took.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    events: f64,
    /// In MiB, both.
    memory: f64,
    file: f64,
}

fn in_a_child(name: &str, file: &Path, dir: &Path) -> Result<Took> {
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(dir)?;
    settle_disk();
    let program = std::env::current_exe()?;
    let output = Command::new(program).args([CHILD, name]).arg(file).arg(folder.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let said = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = said.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let [seconds, events, memory, file] = numbers[..] else { return Err("four numbers expected".into()) };
    Ok(Took { seconds, events, memory, file })
}

/// The child: imports, and says what it took.
pub fn child(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().ok_or("an argument is missing");
    let (name, file, folder) = (next()?, PathBuf::from(next()?), PathBuf::from(next()?));
    let input = lines(&file)?;
    let begin = Instant::now();
    let (events, path) =
        if name == BYGONE { into_bygone(input, &folder)? } else { into_sqlite(input, &folder)? };
    let seconds = begin.elapsed().as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("{seconds} {events} {} {}", peak_memory(), mib(path.metadata()?.len()));
    Ok(())
}

fn into_bygone(input: impl BufRead, folder: &Path) -> Result<(u64, PathBuf)> {
    let path = folder.join("flights.bygone");
    let db = Db::create(&path)?;
    let imported = db.import(input, &ImportOptions::new(), &mut |_| {})?;
    db.close()?;
    Ok((imported.added, path))
}

/// The lines of a file of events.
pub fn lines(file: &Path) -> Result<impl BufRead> {
    Ok(BufReader::with_capacity(1 << 20, MultiGzDecoder::new(File::open(file)?)))
}

/// What SQLite is given of an event.
#[derive(Deserialize)]
pub struct Line {
    pub r#type: String,
    pub timestamp: String,
    pub target: Named,
    pub actor: Named,
    pub data: Box<RawValue>,
}

#[derive(Deserialize)]
pub struct Named {
    pub r#type: String,
    pub id: String,
}

fn into_sqlite(input: impl BufRead, folder: &Path) -> Result<(u64, PathBuf)> {
    let path = sqlite::file(folder);
    let mut connection = sqlite::connect(&path)?;
    let mut lines = input.lines();
    let mut count = 0;
    loop {
        let before = count;
        let transaction = connection.transaction()?;
        for line in lines.by_ref().take(BATCH) {
            let line: Line = serde_json::from_str(&line?)?;
            let (target, actor, data) = (&line.target, &line.actor.id, line.data.get());
            transaction.prepare_cached(sqlite::INSERT)?.execute(params![
                line.r#type,
                target.r#type,
                target.id,
                actor,
                data
            ])?;
            count += 1;
        }
        transaction.commit()?;
        if count == before {
            break;
        }
    }
    connection.close().map_err(|(_, error)| error)?;
    Ok((count, path))
}

/// In MiB; nothing where the system does not tell.
pub fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn print(names: &[&str; 2], found: &[Vec<Took>; 2]) {
    let of = |at: usize, what: fn(&Took) -> f64| median(found[at].iter().map(what));
    println!("\n6. Import of {:.0} events\n", of(0, |took| took.events));
    println!(
        "| {:<10} | {:>8} | {:>9} | {:>6} | {:>10} | {:>9} |",
        "", "seconds", "events/s", "ratio", "memory MiB", "file MiB"
    );
    println!("|{:-<12}|{:->10}|{:->11}|{:->8}|{:->12}|{:->11}|", "", ":", ":", ":", ":", ":");
    for (at, name) in names.iter().enumerate() {
        println!(
            "| {:<10} | {:>8.2} | {:>9.0} | {:>5.2}× | {:>10.0} | {:>9.0} |",
            name,
            of(at, |took| took.seconds),
            of(at, |took| took.events / took.seconds),
            median(found[1].iter().zip(&found[at]).map(|(base, took)| base.seconds / took.seconds)),
            of(at, |took| took.memory),
            of(at, |took| took.file),
        );
    }
    let memory = of(0, |took| took.memory);
    let verdict = if memory < MOST_MEMORY { "pass" } else { "FAIL" };
    println!("\n{verdict}: an import is to take less than {MOST_MEMORY:.0} MiB, and takes {memory:.0}");
}
