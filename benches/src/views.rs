//! A view of about a thousand groups over all of a real log, beside the query that it stands for.

use std::path::Path;
use std::time::{Duration, Instant};

use bygone::maintain::ImportOptions;
use bygone::{Db, NewEvent, Row, Statement};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::import::lines;
use crate::table::{Measured, Table, quantile};

const QUERY: &str = "EVENTS 'Plane.departed' GROUP BY bucket(timestamp, 1d) AS day, data.origin AS origin \
                     SELECT count() AS n, avg(data.delay) AS delay";

/// How many times as fast the view is to be.
const TARGET: f64 = 500.0;

const NAMES: [&str; 3] = ["READ", "READ behind an event", "the query"];

pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(file) = arguments.flights.as_ref().filter(|file| file.exists()) else {
        println!("\n13. Views: skipped, no file of events (--flights, or BYGONE_FLIGHTS)");
        return Ok(());
    };
    let folder = tempfile::Builder::new().prefix("bygone-bench-").tempdir_in(&arguments.dir)?;
    eprintln!("13. Views: importing");
    let db = into_bygone(file, folder.path())?;
    let (read, query) = (Statement::parse("READ delays")?, Statement::parse(QUERY)?);
    let began = Instant::now();
    let groups = rows(&db, &read)?.len();
    println!(
        "\nthe first READ after opening takes {:?}; {groups} groups of {} events",
        began.elapsed(),
        db.head().0
    );
    let mut table = Table::new("13. A view, and the query that it stands for", NAMES.into_iter());
    for round in 0..arguments.rounds {
        for turn in 0..NAMES.len() {
            let at = (round + turn) % NAMES.len();
            eprint!("\r13. Views — round {}: {:<30}", round + 1, NAMES[at]);
            let measured = match at {
                0 => slice(arguments.slice, || rows(&db, &read).map(drop), || Ok(()))?,
                1 => {
                    let event = NewEvent::new("Plane.departed").member("origin", "JFK").member("delay", 1);
                    slice(
                        arguments.slice,
                        || rows(&db, &read).map(drop),
                        || Ok(drop(db.append(event.clone())?)),
                    )?
                }
                _ => slice(arguments.slice, || rows(&db, &query).map(drop), || Ok(()))?,
            };
            table.add(at, measured);
        }
        if rows(&db, &read)? != rows(&db, &query)? {
            return Err("the view differs from the query".into());
        }
    }
    eprintln!();
    table.print_reads(NAMES[2]);
    for at in [0, 1] {
        let times = table.times(2, at);
        let verdict = if times >= TARGET { "pass" } else { "FAIL" };
        println!("{verdict}: {} is to be {TARGET}× as fast as the query, and is {times:.0}×", NAMES[at]);
    }
    Ok(())
}

fn rows(db: &Db, statement: &Statement) -> Result<Vec<Row>> {
    let rows = db.run(statement)?.rows;
    Ok(rows.collect::<bygone::Result<_>>()?)
}

/// Asks again and again. What comes before each asking is not measured.
fn slice(
    length: Slice,
    mut ask: impl FnMut() -> Result<()>,
    mut before: impl FnMut() -> Result<()>,
) -> Result<Measured> {
    let mut latencies = Vec::<Duration>::new();
    let begin = Instant::now();
    while match length {
        Slice::Time(time) => begin.elapsed() < time,
        Slice::Events(events) => latencies.len() < events,
    } {
        before()?;
        let began = Instant::now();
        ask()?;
        latencies.push(began.elapsed());
    }
    let rate = latencies.len() as f64 / latencies.iter().sum::<Duration>().as_secs_f64();
    let (median, slow) = (quantile(&mut latencies, 0.5), quantile(&mut latencies, 0.99));
    Ok(Measured { rate, running: rate, median, slow })
}

fn into_bygone(file: &Path, folder: &Path) -> Result<Db> {
    let path = folder.join("flights.bygone");
    let db = Db::create(&path)?;
    db.import(lines(file)?, &ImportOptions::new(), &mut |_| {})?;
    db.query(&format!("DEFINE VIEW delays AS {QUERY}"))?;
    db.wait_for_indexes(Duration::from_secs(600))?;
    // As one finds it the next morning.
    db.close()?;
    Ok(Db::open(&path)?)
}
