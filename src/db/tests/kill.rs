//! A process that is killed while it does everything: whatever it told a witness is so in the files that it left.
//!
//! The witness is the parent, which reads what the child was told from a pipe. A kill takes no page that was written: what is tried here is
//! that nothing is told before it is written, whatever thread is where.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::faults::{effects_are_single, verified};
use super::load::{COPIES, Load, Plan, Promise};
use super::sweep::place_is_right;
use super::{all_events, number, report};
use crate::disk::RealDisk;
use crate::store::disk::simulated::random::Random;
use crate::{Db, NewEvent, Options, Position};

const CHILD: &str = "BYGONE_TEST_KILL_ALL";

/// How many kills one file goes through.
const EACH: u64 = 25;

fn plan(seed: u64) -> Plan {
    Plan { live: true, sessions: &[], ..Plan::new(seed) }
}

/// What the witness has been told.
#[derive(Default)]
struct Witness {
    events: BTreeMap<u64, String>,
    promise: Promise,
}

/// One write a line, so that the lines of threads do not mix.
fn tell(line: &str) {
    // Without a witness there is nobody to work for.
    if std::io::stdout().write_all(format!("{line}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}

fn tell_promise(before: &mut Promise, promise: &Promise) {
    let Promise { head, place, asked, copies } = *promise;
    let told = |what: &str, before: Position, now: Position| {
        if before != now {
            tell(&format!("told {what} {}", now.0));
        }
    };
    told("asked", before.asked, asked);
    told("place", before.place, place);
    told("head", before.head, head);
    for (which, copy) in ["copy-0", "copy-1"].into_iter().zip(0..) {
        let of = |copies: [Option<Position>; 2]| copies[copy].unwrap_or(Position::START);
        told(which, of(before.copies), of(copies));
    }
    *before = *promise;
}

/// Not a test of its own: the process that is to be killed, when the test below runs it.
#[test]
fn work_until_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (round, path) = told.split_once(' ').unwrap();
    let round: u64 = round.parse().unwrap();
    let mut before = Promise::default();
    let mut load = plan(round + 1).load(move |promise| tell_promise(&mut before, promise));
    load.skip_hours(10 * round as i64 + 10);
    let db = options(&load, round).open(path).unwrap();
    thread::scope(|scope| {
        for writer in 0..2u64 {
            let db = &db;
            scope.spawn(move || {
                for n in 0.. {
                    let event = NewEvent::new("Extra.made").on(("Extra", writer)).member("n", n);
                    let event = db.append(event).unwrap();
                    tell(&format!("told event {} {}", event.position.0, event.id));
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        loop {
            load.step(&db, Path::new(path)).unwrap();
            for (position, id) in std::mem::take(&mut load.acknowledged) {
                tell(&format!("told event {} {id}", position.0));
            }
        }
    });
}

fn options(load: &Load, round: u64) -> Options {
    load.options(&plan(round + 1), Arc::new(RealDisk::new()))
}

impl Witness {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let position = |text: &str| text.parse().map(Position);
        // The last line may have been cut by the kill: what it would have said is not known.
        match words[..] {
            ["told", "event", at, id] if id.len() == 36 => {
                drop(self.events.insert(at.parse().unwrap(), id.to_owned()))
            }
            ["told", what, at] => {
                let Ok(at) = position(at) else { return };
                let Promise { head, place, asked, copies: [grown, anew] } = &mut self.promise;
                match what {
                    // A number that was cut is a smaller one, and none that was told later.
                    "asked" => *asked = at.max(*asked),
                    "place" => *place = at.max(*place),
                    "head" => *head = at.max(*head),
                    "copy-0" => *grown = (*grown).max(Some(at)),
                    "copy-1" => *anew = (*anew).max(Some(at)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Holds the files that were left to all that was told.
    fn holds(&self, path: &Path, options: &Options, live: bool) -> Result<(), String> {
        let db = options.clone().live(false).open(path).map_err(|e| format!("opening: {e}"))?;
        let log = all_events(&db).map_err(|e| format!("reading: {e}"))?;
        for (position, id) in &self.events {
            if log.get(*position as usize - 1).is_none_or(|event| event.id.to_string() != *id) {
                return Err(format!(
                    "#{position} was acknowledged, and is not there: the log ends at {}",
                    log.len()
                ));
            }
        }
        if (log.len() as u64) < self.promise.head.0 {
            return Err(format!("the log ends at {}, of {}", log.len(), self.promise.head));
        }
        place_is_right(&db, &self.promise)?;
        verified(&db, "as it is")?;
        db.close().map_err(|e| format!("closing: {e}"))?;
        for (name, copy) in COPIES.into_iter().zip(self.promise.copies) {
            let Some(least) = copy else { continue };
            let copy = options.clone().live(false).read_only(true).open(path.with_file_name(name));
            let copy = copy.map_err(|e| format!("opening the backup {name}: {e}"))?;
            if copy.head() < least {
                return Err(format!("the backup {name} ends at {}, of {least}", copy.head()));
            }
            verified(&copy, name)?;
        }
        if live { effects_are_single(options, path) } else { Ok(()) }
    }
}

/// A child that works, and what it tells.
fn begin(round: u64, path: &Path) -> (std::process::Child, Receiver<String>, thread::JoinHandle<()>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "db::tests::kill::work_until_killed", "--nocapture"])
        .env(CHILD, format!("{round} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let read = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = thread::spawn(move || read.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    (child, lines, reader)
}

#[test]
fn what_a_killed_process_was_told_is_so_whatever_it_was_doing() {
    let kills = number("BYGONE_KILLS", 50);
    let (mut dice, mut told) = (Random(3), 0);
    for file in 0..kills.div_ceil(EACH) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let mut load = plan(1).load(|_| {});
        let created: Db = options(&load, 0).live(false).create(&path).unwrap();
        load.begin(&created).unwrap();
        created.close().unwrap();
        let mut witness = Witness::default();
        for round in file * EACH..kills.min((file + 1) * EACH) {
            let (mut child, lines, reader) = begin(round, &path);
            // Not before it has begun to work; whatever it is at, then.
            loop {
                let line = lines.recv_timeout(Duration::from_secs(60)).expect("the child works");
                witness.hear(&line);
                if line.starts_with("told event") {
                    break;
                }
            }
            thread::sleep(Duration::from_millis(dice.next() % 300));
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap();
            lines.try_iter().for_each(|line| witness.hear(&line));
            let after = plan(1).load(|_| {});
            after.skip_hours(10 * round as i64 + 20);
            let live = round % 5 == 4;
            if let Err(fault) = witness.holds(&path, &options(&after, round), live) {
                panic!("kill {round}: {fault} (left in {})", folder.keep().display());
            }
        }
        told += witness.events.len();
    }
    report(format_args!("{told} acknowledged events, of a load of everything, survived {kills} kills"));
}

/// The witness notices what is not so.
#[test]
fn a_witness_that_was_told_more_than_is_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let load = plan(1).load(|_| {});
    let options = options(&load, 0).live(false);
    let db = options.clone().create(&path).unwrap();
    let event = db.append(NewEvent::new("Bill.noted").on(("Bill", 1))).unwrap();
    db.close().unwrap();
    let mut witness = Witness::default();
    witness.hear(&format!("told event 1 {}", event.id));
    assert_eq!(witness.holds(&path, &options, false), Ok(()));
    for line in
        ["told head 2", "told place 1", "told copy-0 1", "told event 1 01234567-0123-0123-0123-012345678901"]
    {
        let mut witness = Witness::default();
        witness.hear(line);
        assert!(witness.holds(&path, &options, false).is_err(), "{line}");
    }
}
