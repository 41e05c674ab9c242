//! Databases that are open live: what is done once stays done once, whatever crashes, is skipped, or is brought from elsewhere.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::db::Db;
use crate::event::NewEvent;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::{Durability, Options};
use crate::transfer::{ExportOptions, ImportOptions};
use crate::verb::Verb;

const PATIENCE: Duration = Duration::from_secs(60);

fn run(db: &Db, text: &str) -> usize {
    let rows = db.query(text).unwrap_or_else(|e| panic!("{text}: {e}")).rows;
    let rows: Vec<_> = rows.map(|row| row.unwrap_or_else(|e| panic!("{text}: {e}"))).collect();
    rows.len()
}

fn count(db: &Db, pattern: &str) -> usize {
    db.events(pattern).unwrap().count()
}

#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn idle(db: &Db) {
    until(|| db.is_idle().unwrap());
}

fn on(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).cache(1 << 20).retries(1, Duration::from_millis(1))
}

fn live(disk: &SimulatedDisk) -> Options {
    on(disk).live(true)
}

fn pay(db: &Db, order: u64) -> u64 {
    db.append(NewEvent::new("Order.paid").on(("Order", order))).unwrap().position.0
}

/// A reaction whose verb is gone: it fails for each event.
fn failing(disk: &SimulatedDisk) -> Db {
    let db = live(disk).create("/shop.bygone").unwrap();
    run(&db, "DEFINE VERB Ship ON Order EMIT shipped");
    run(&db, "DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)");
    run(&db, "DROP VERB Ship");
    db
}

#[test]
fn an_effect_is_durable_before_the_place_that_says_so() {
    for fate in Fate::ALL {
        let disk = SimulatedDisk::new();
        let lazy = |disk: &SimulatedDisk| live(disk).durability(Durability::Interval(Duration::from_secs(2)));
        let db = lazy(&disk).create("/shop.bygone").unwrap();
        run(&db, "DEFINE REACTION ship ON 'Order.paid' DO EMIT Order.shipped (target.id)");
        pay(&db, 7);
        until(|| count(&db, "Order.shipped") == 1);
        // Long enough for the place to be written, and not for the next sync.
        std::thread::sleep(Duration::from_millis(400));
        let crashed = disk.crash(fate, 1);
        let after = lazy(&crashed).open("/shop.bygone").unwrap();
        idle(&after);
        assert_eq!(count(&after, "Order.paid"), count(&after, "Order.shipped"), "{fate:?}");
        drop(db);
    }
}

#[test]
fn what_was_skipped_stays_undone_over_a_crash() {
    for (fate, written) in Fate::ALL.into_iter().zip([false, true, false, true]) {
        let disk = SimulatedDisk::new();
        let db = failing(&disk);
        pay(&db, 7);
        until(|| count(&db, "$reaction.failed") == 1);
        if written {
            // The place is behind it by then; it is tried again, in vain.
            std::thread::sleep(Duration::from_millis(300));
            run(&db, "RETRY REACTION ship");
            until(|| count(&db, "$reaction.failed") == 2);
        }
        let crashed = disk.crash(fate, 1);
        let looked = on(&crashed).open("/shop.bygone").unwrap();
        run(&looked, "SKIP REACTION ship");
        run(&looked, "DEFINE VERB Ship ON Order EMIT shipped");
        looked.close().unwrap();
        let after = live(&crashed).open("/shop.bygone").unwrap();
        pay(&after, 8);
        until(|| count(&after, "Order.shipped") == 1);
        idle(&after);
        assert_eq!(count(&after, "Order.shipped"), 1, "{fate:?}");
        drop(db);
    }
}

#[test]
fn what_is_restored_is_not_done_again() {
    let disk = SimulatedDisk::new();
    let db = failing(&disk);
    pay(&db, 1);
    until(|| count(&db, "$reaction.failed") == 1);
    run(&db, "SKIP REACTION ship");
    run(&db, "DEFINE VERB Ship ON Order EMIT shipped");
    run(&db, "DEFINE SCHEDULE often EVERY 1s DO EMIT Clock.ticked NEW");
    until(|| count(&db, "Clock.ticked") == 1);
    let mut lines = Vec::new();
    db.export(ExportOptions::new(), &mut lines, &mut |_| {}).unwrap();
    let ticks = count(&db, "Clock.ticked");
    db.close().unwrap();
    let other = SimulatedDisk::new();
    let db = on(&other).create("/shop.bygone").unwrap();
    db.import(lines.as_slice(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    db.close().unwrap();
    let db = live(&other).open("/shop.bygone").unwrap();
    pay(&db, 2);
    until(|| count(&db, "Order.shipped") == 1);
    idle(&db);
    assert_eq!(count(&db, "Order.shipped"), 1);
    assert_eq!(count(&db, "$schedule.missed"), 0);
    until(|| count(&db, "Clock.ticked") > ticks);
}

#[test]
fn keys_of_programs_are_theirs() {
    let db = Options::new().live(true).in_memory().unwrap();
    run(&db, "DEFINE REACTION mark ON 'Order.paid' DO EMIT Mark.made (target.id)");
    for event in [NewEvent::new("Note.made").key("$reaction mark 1 2"), NewEvent::new("Note.made").key("$")] {
        let error = db.append(event).unwrap_err().to_string();
        assert!(error.contains("does not begin with '$'"), "{error}");
    }
    assert!(db.append_once("$x", [NewEvent::new("Note.made")]).is_err());
    pay(&db, 1);
    until(|| count(&db, "Mark.made") == 1);
    let long = "x".repeat(300);
    let text = format!("DEFINE REACTION `{long}` ON 'Order.paid' DO EMIT Mark.made (target.id)");
    let error = db.query(&text).unwrap_err().to_string();
    assert!(error.contains("at most 255 bytes"), "{error}");
}

#[test]
fn whoever_listens_may_panic_and_may_not_close() {
    let cell: Arc<OnceLock<Db>> = Arc::default();
    let (inner, (sender, told)) = (cell.clone(), channel());
    let sender = Mutex::new(sender);
    let listener = move |_: &crate::store::Report| {
        let Some(db) = inner.get() else { return };
        sender.lock().unwrap().send(db.close().unwrap_err().to_string()).unwrap();
        panic!("on purpose");
    };
    let db = Options::new().live(true).reports(listener).in_memory().unwrap();
    assert!(cell.set(db.clone()).is_ok());
    run(&db, "DEFINE VERB Ship ON Order REQUIRE state.never = 1 EMIT shipped");
    run(&db, "DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)");
    for order in 1..=2 {
        pay(&db, order);
        let error = told.recv_timeout(PATIENCE).unwrap();
        assert!(error.contains("cannot be closed by what it runs"), "{error}");
    }
    until(|| count(&db, "$reaction.refused") == 2);
    db.close().unwrap();
}

#[test]
fn a_verb_that_would_close_stops_nothing() {
    let cell: Arc<OnceLock<Db>> = Arc::default();
    let inner = cell.clone();
    let db = Options::new().live(true).in_memory().unwrap();
    assert!(cell.set(db.clone()).is_ok());
    let close =
        move |_: &crate::verb::VerbContext| inner.get().map_or(Ok(()), Db::close).map(|()| Vec::new());
    db.add_verb(Verb::new("Close", "Order", close)).unwrap();
    run(&db, "DEFINE REACTION mark ON 'Order.paid' DO EMIT Mark.made (target.id)");
    assert!(db.query("PERFORM Close Order 1").is_err());
    pay(&db, 2);
    until(|| count(&db, "Mark.made") == 1);
    db.close().unwrap();
}
