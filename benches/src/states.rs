//! States: what entities are, of one that has a million events, and of a million that have three each.

mod depth;
mod many;
mod replay;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bygone::read::Script;
use bygone::{Db, Row};

use crate::Result;
use crate::arguments::{Arguments, Slice};
use crate::table::{Measured, quantile};

/// What makes this program ask of one entity in a process of its own, before anything else.
pub const CHILD: &str = "ask-in-this-process";

pub use depth::child;

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.wants_scenario(7) {
        depth::run(arguments)?;
    }
    if arguments.wants_scenario(8) {
        replay::run(arguments)?;
    }
    if arguments.wants_scenario(9) {
        many::run(arguments)?;
    }
    Ok(())
}

/// Asks again and again: how often a second. What is asked gives a number that must not be none.
pub fn slice(length: Slice, mut ask: impl FnMut() -> Result<u64>) -> Result<Measured> {
    let mut latencies = Vec::<Duration>::new();
    let begin = Instant::now();
    while match length {
        Slice::Time(time) => begin.elapsed() < time,
        Slice::Events(events) => latencies.len() < events,
    } || latencies.is_empty()
    {
        let before = Instant::now();
        if ask()? == 0 {
            return Err("nothing was found where something is".into());
        }
        latencies.push(before.elapsed());
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    let (median, slow) = (quantile(&mut latencies, 0.5), quantile(&mut latencies, 0.99));
    Ok(Measured { rate, running: rate, median, slow })
}

/// Runs a statement to its end, and counts its rows; each is looked at.
fn rows(db: &Db, text: &str) -> Result<u64> {
    let script = Script::parse(text)?;
    let mut count = 0;
    for statement in script.statements() {
        for row in db.run(statement)?.rows {
            drop(std::hint::black_box(row?));
            count += 1;
        }
    }
    Ok(count)
}

/// The first value of a row that a text of JSON would have under a name; of the last row that has it.
fn told(db: &Db, text: &str, name: &str) -> Result<Option<bygone::Value>> {
    let mut found = None;
    for row in db.query(text)?.rows {
        if let Row::Fields(fields) = row? {
            found = fields.get(name).cloned().or(found);
        }
    }
    Ok(found)
}

/// Waits for what the background is to do; how long it took.
fn wait_until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let begin = Instant::now();
    while !done()? {
        if begin.elapsed() > Duration::from_secs(900) {
            return Err(format!("{what}: not done after 15 minutes").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(begin.elapsed())
}

/// Asks this program something in a process of its own; the numbers that it says.
fn in_a_child(what: &str, file: &Path) -> Result<Vec<f64>> {
    let output = Command::new(std::env::current_exe()?).args([CHILD, what]).arg(file).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let said = String::from_utf8(output.stdout)?;
    Ok(said.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}
