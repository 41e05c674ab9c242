//! The store, broken on purpose: crashes at every point, failures of the disk, threads that race.
//!
//! A [`script`] is run on a disk that records all that is done to it, and notes what was promised when. At each point of the
//! record the disk could have crashed: [`images`] takes what would be found, and [`held`] holds it to the promises.
//! [`controls`] breaks the protocols one at a time, to see that the same eyes notice. The rest is about single
//! promises, a file for each kind.

mod controls;
mod cuts;
mod displaced;
mod durable;
mod failures;
mod faults;
mod ghosts;
mod held;
mod images;
mod kill;
mod lines;
mod names;
mod opening;
mod order;
mod readers;
mod recovery;
mod script;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::append_request::AppendRequest;
use super::catalog::tests::members;
use super::disk::Disk;
use super::disk::simulated::random::Random;
use super::options::Options;
use super::{Store, locked};
use crate::event::NewEvent;
use crate::time::{Clock, Timestamp};

const PATH: &str = "/shop.bygone";

fn path() -> &'static Path {
    Path::new(PATH)
}

/// Says what a test went through, in the log of a run that passes too: output that is printed is only shown of one that fails.
fn report(what: std::fmt::Arguments) {
    use std::io::Write;
    // A closed standard error is no fault of the store.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Memtables of a few events, a journal that grows in small steps, a small cache, and a clock of its own. Indexes are built and
/// dropped when a test says so, in slices of a few events.
fn tiny(disk: &(impl Disk + Clone)) -> Options {
    let mut options = Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(10, 1 << 20)
        .journal_steps(4096, 8192)
        .cache(256 << 10)
        .clock(steady())
        .with_compiler(members());
    options.by_hand = true;
    options.index_slice = (5, 3);
    options
}

/// A clock that goes on by a third of a millisecond each time it is looked at.
fn steady() -> Clock {
    let nanos = AtomicI64::new(0);
    Clock::new(move || {
        let passed = nanos.fetch_add(333_000, Ordering::Relaxed);
        let base = Timestamp::from_millis(1_700_000_000_000);
        base.saturating_add(std::time::Duration::from_nanos(passed.unsigned_abs()))
    })
}

/// The process of a store is killed: its locks go, and nothing is written any more.
fn release(store: &Store) {
    let shared = store.shared();
    // Its threads are not killed: they are to have nothing left to do.
    while shared.log.wants_maintenance() {
        shared.background.ask(|asked| asked.fill = true);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    drop(locked(&store.open).take());
}

fn let_go(store: Store) {
    release(&store);
    std::mem::forget(store);
}

fn one(event: NewEvent) -> AppendRequest {
    AppendRequest { events: vec![event], ..AppendRequest::default() }
}
