//! Clocks that jump, instants that pass, and what is dropped meanwhile.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{PATH, PATIENCE, events, on, paid, run, wait_until};
use crate::maintain::{Clock, Durability};
use crate::store::disk::simulated::SimulatedDisk;
use crate::{Db, Delivery, Error, Options, Pattern, Position, Timestamp};

const MINUTE: i64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

/// A database in memory that is open live, its clock in milliseconds, and what is reported.
fn live() -> (Db, Arc<AtomicI64>, Receiver<String>) {
    let now = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock = now.clone();
    let (sender, reports) = channel();
    let sender = Mutex::new(sender);
    let options = Options::new()
        .live(true)
        .retries(1, Duration::from_millis(1))
        .clock(Clock::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst))))
        .reports(move |report| drop(sender.lock().unwrap().send(report.to_string())));
    (options.in_memory().unwrap(), now, reports)
}

#[track_caller]
fn wait_for_report(reports: &Receiver<String>, text: &str) {
    while !reports.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no report of '{text}'")).contains(text) {
    }
}

#[test]
fn a_subscription_until_an_instant_has_what_the_disk_does_not_have_by_then() {
    let disk = SimulatedDisk::new();
    let lazy = Durability::Interval(Duration::from_millis(400));
    let db = on(&disk).durability(lazy).create(PATH).unwrap();
    db.append(paid(7)).unwrap();
    let until = Timestamp::now().saturating_add(Duration::from_millis(30));
    let rows = run(&db, &format!("SUBSCRIBE 'Order.*' FROM START UNTIL '{until}'"));
    let told: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert!(told.iter().any(|row| row.contains("Order.paid")), "{told:?}");
}

#[test]
fn a_schedule_goes_on_after_the_clock_was_ahead_for_a_while() {
    let (db, now, reports) = live();
    run(&db, "DEFINE SCHEDULE often EVERY 1m DO EMIT Report.requested NEW");
    now.fetch_add(MINUTE, Ordering::SeqCst);
    wait_until("the first", || events(&db, "Report.requested").len() == 1);
    now.fetch_add(YEAR, Ordering::SeqCst);
    wait_until("the next", || events(&db, "Report.requested").len() == 2);
    now.fetch_sub(YEAR, Ordering::SeqCst);
    wait_for_report(&reports, "the clock was set back");
    for runs in 3..6 {
        now.fetch_add(MINUTE, Ordering::SeqCst);
        wait_until("one after the clock was set back", || events(&db, "Report.requested").len() == runs);
    }
}

#[test]
fn a_schedule_that_waits_for_somebody_says_so() {
    let (db, now, reports) = live();
    run(&db, "DEFINE VERB Count ON Stock EMIT counted");
    run(&db, "DEFINE SCHEDULE often EVERY 1m DO PERFORM Count Stock 1");
    run(&db, "DROP VERB Count");
    for failed in 1..=crate::exec::dead_letter::MOST {
        now.fetch_add(MINUTE, Ordering::SeqCst);
        wait_until("one that fails", || events(&db, "$schedule.failed").len() == failed);
    }
    wait_for_report(&reports, "waits for RETRY SCHEDULE often");
    run(&db, "DEFINE VERB Count ON Stock EMIT counted");
    run(&db, "RETRY SCHEDULE often");
    wait_until("those tried again", || events(&db, "Stock.counted").len() >= crate::exec::dead_letter::MOST);
}

#[test]
fn a_delay_that_lasts_because_the_clock_was_set_back_is_told() {
    let (db, now, reports) = live();
    run(&db, "DEFINE REACTION expire ON 'Order.paid' AFTER 30m DO EMIT Order.expired (target.id)");
    now.fetch_add(YEAR, Ordering::SeqCst);
    db.append(paid(1)).unwrap();
    now.fetch_sub(YEAR, Ordering::SeqCst);
    wait_for_report(&reports, "was the clock set back?");
    now.fetch_add(YEAR + 30 * MINUTE, Ordering::SeqCst);
    wait_until("what it waited with", || events(&db, "Order.expired").len() == 1);
}

#[test]
fn a_place_is_not_that_of_the_next_of_its_name() {
    let db = Db::in_memory().unwrap();
    for order in 0..10 {
        db.append(paid(order)).unwrap();
    }
    let mut first = db.subscribe(Pattern::all()).from_start().durable("mails").unwrap();
    let place = first.cursor();
    for _ in 0..10 {
        assert!(matches!(first.next(), Some(Ok(Delivery::Event(_)))));
    }
    drop(first);
    run(&db, "DROP SUBSCRIPTION mails");
    assert!(matches!(place.acknowledge(Position(10)), Err(Error::Conflict(_))));
    let second = db.subscribe(Pattern::all()).from_start().durable("mails").unwrap();
    let error = place.acknowledge(Position(10)).unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert!(error.to_string().contains("another of its name"), "{error}");
    assert!(place.position().is_err());
    assert_eq!(second.cursor().position().unwrap(), Position(0));
    second.acknowledge(Position(0)).unwrap();
}
