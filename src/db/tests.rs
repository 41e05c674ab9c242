//! Databases that are open live, on disks that crash and by clocks that jump.

mod backup;
mod clocks;
mod crash;
mod outcomes;
mod running;
mod shared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::disk::simulated::SimulatedDisk;
use crate::{Db, Event, NewEvent, Options, Row};

const PATIENCE: Duration = Duration::from_secs(120);

const PATH: &str = "/shop.bygone";

fn on(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).cache(256 << 10)
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
