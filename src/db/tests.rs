//! Databases that are open live, on disks that crash and by clocks that jump.

mod backup;
mod clocks;
mod compact;
mod crash;
#[cfg(feature = "encryption")]
mod encryption;
mod faults;
mod forgetting;
mod kill;
mod load;
mod outcomes;
mod proof;
mod rescue;
mod rewriting;
mod running;
mod schemas;
mod shared;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::entity::PositionRange;
use crate::event::codec;
use crate::maintain::Clock;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::snapshot::ScanDirection;
use crate::{Db, Event, NewEvent, Options, Row, Timestamp};

const PATIENCE: Duration = Duration::from_secs(120);

const PATH: &str = "/shop.bygone";

fn on(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).cache(256 << 10)
}

/// A clock in microseconds that goes on by one with each look: what is recorded at an instant is due a little later.
fn ticking(now: &Arc<AtomicI64>) -> Clock {
    let now = now.clone();
    Clock::new(move || {
        let micros = now.fetch_add(1, Ordering::SeqCst);
        let part = Duration::from_micros((micros % 1000).unsigned_abs());
        Timestamp::from_millis(micros / 1000).saturating_add(part)
    })
}

/// How far a test goes: as far as a variable says, or so far.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// Says what a test went through, of a run that passes too.
fn report(what: std::fmt::Arguments) {
    use std::io::Write;
    // A closed standard error is no fault of the database.
    let _ = writeln!(std::io::stderr(), "{what}");
}

#[track_caller]
fn run(db: &Db, text: &str) -> Vec<Row> {
    let rows = db.query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    rows.rows.map(|row| row.unwrap()).collect()
}

fn events(db: &Db, pattern: &str) -> Vec<Event> {
    let found = db.events(pattern).unwrap();
    found.map(|event| event.unwrap()).collect()
}

/// Every event, those of definitions too.
fn all_events(db: &Db) -> crate::Result<Vec<Event>> {
    let snapshot = db.store().snapshot();
    let rows = snapshot.log(PositionRange::ALL, ScanDirection::Ascending);
    rows.map(|row| row.and_then(|(position, bytes)| codec::decode(position, bytes))).collect()
}

fn paid(order: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", order))
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Small memtables, so that checkpoints come between.
fn small(disk: &SimulatedDisk) -> Options {
    on(disk).memtable(40, 1 << 20)
}

fn define(db: &Db, round: u64) {
    match round % 4 {
        0 => run(db, "DEFINE ENTITY Order ON paid MERGE"),
        1 => run(db, "DEFINE INDEX amounts ON 'Order.*' AS data.amount"),
        2 => run(
            db,
            "DEFINE VIEW totals AS EVENTS 'Order.*' GROUP BY target.id SELECT sum(data.amount) AS sum",
        ),
        _ => run(db, "DROP INDEX amounts"),
    };
}

/// Appends from four threads while definitions change, and does something meanwhile.
fn while_written<T>(db: &Db, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let (stop, appended) = (AtomicBool::new(false), AtomicU64::new(0));
    let (stop, appended) = (&stop, &appended);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let event = paid(writer * 3 + n % 3).member("amount", n).index("writer", writer);
                    // A disk that fails is met by trying again.
                    if db.append(event).is_ok() {
                        appended.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(move || {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                define(db, round % 3);
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        let done = work(appended);
        stop.store(true, Ordering::Relaxed);
        done
    })
}
