//! Crashes of a database that is open live: at many points of what was written, each with every fate of what was not synced.
//!
//! Whatever is in the log after the crash has one outcome once all is idle again: an effect, a refusal, or it is set aside. None is
//! lost and none is doubled. What was skipped is not done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use super::crash::{POINTS, crash};
use super::{PATH, events, on, paid, run, ticking, wait_until};
use crate::append::Cause;
use crate::maintain::Durability;
use crate::store::disk::simulated::random::Random;
use crate::store::disk::simulated::{SimulatedDisk, Trace};
use crate::{Db, Event, Options, Position, Timestamp, Value};

const MINUTE: i64 = 60_000;

fn live(disk: &SimulatedDisk, durability: Durability, now: &Arc<AtomicI64>) -> Options {
    on(disk).live(true).durability(durability).retries(1, Duration::from_millis(1)).clock(ticking(now))
}

fn number(event: &Event, member: &str) -> i64 {
    event.data.get(member).and_then(|value| value.as_i64()).unwrap_or(0)
}

fn is_caused_by(event: &Event, position: Position) -> bool {
    event.cause == Some(Cause::Event(position))
}

/// What is set aside of `bill`, and what was skipped, as the log tells.
fn aside(db: &Db) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut aside, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    for event in events(db, "$reaction.*") {
        let Some(Value::Object(members)) = event.data.get("setAside") else {
            continue;
        };
        for position in members.keys().map(|position| position.parse().unwrap()) {
            match event.kind.as_str() {
                "$reaction.failed" => drop(aside.insert(position)),
                "$reaction.skipped" => drop((aside.remove(&position), skipped.insert(position))),
                _ => drop(aside.remove(&position)),
            }
        }
    }
    (aside, skipped)
}

/// What happens before the crash: a chain of two reactions, one that fails, a schedule. What is noted tells when all was defined.
fn script(durability: Durability, now: &Arc<AtomicI64>) -> Trace {
    let disk = SimulatedDisk::new();
    let db = live(&disk, durability, now).create(PATH).unwrap();
    let idle = || wait_until("all to be idle", || db.is_idle().unwrap());
    for text in [
        "DEFINE VERB Send ON Ship REQUIRE state.ok = 1 EMIT sent",
        "DEFINE VERB Bill ON Order EMIT billed",
        "DEFINE REACTION ask ON 'Order.paid' DO EMIT Ship.asked (target.id) {ok: data.ok}",
        "DEFINE REACTION send ON 'Ship.asked' DO PERFORM Send Ship (target.id)",
        "DEFINE REACTION bill ON 'Order.paid' WHERE data.bill = 1 DO PERFORM Bill Order (target.id)",
        "DEFINE SCHEDULE often EVERY 1m DO EMIT Report.requested NEW {at: NOW}",
        "DROP VERB Bill",
    ] {
        run(&db, text);
    }
    idle();
    disk.note(1);
    let mut dice = Random(7);
    let mut order = 0;
    let mut pay = |orders: u64, bills: bool| {
        for _ in 0..orders {
            let bill = u64::from(bills && order % 4 == 0);
            let ok = u64::from(order % 3 > 0);
            db.append(paid(order).member("ok", ok).member("bill", bill)).unwrap();
            if dice.next().is_multiple_of(3) {
                now.fetch_add(1000 * MINUTE, Ordering::SeqCst);
            }
            thread::sleep(Duration::from_millis(dice.next() % 40));
            order += 1;
        }
    };
    pay(12, true);
    idle();
    let (failed, _) = aside(&db);
    let failed: Vec<u64> = failed.into_iter().collect();
    assert_eq!(failed.len(), 3);
    run(&db, &format!("SKIP REACTION bill #{}", failed[0]));
    pay(2, false);
    run(&db, "DEFINE VERB Bill ON Order EMIT billed");
    run(&db, &format!("RETRY REACTION bill #{}", failed[1]));
    pay(4, true);
    idle();
    let trace = disk.trace();
    db.close().unwrap();
    trace
}

/// How often each outcome was seen, so that no test passes for want of any.
#[derive(Debug, Default)]
struct Seen {
    sent: usize,
    refused: usize,
    billed: usize,
    aside: usize,
    skipped: usize,
    retried: usize,
    runs: usize,
    /// What was done after the crash.
    after: usize,
}

/// Opens what a crash has left, has somebody skip or retry, lets it run, and holds each trigger to one outcome.
fn held(disk: &SimulatedDisk, durability: Durability, now: &Arc<AtomicI64>, skip: bool, seen: &mut Seen) {
    let options = || live(disk, durability, now);
    let db = options().live(false).open(PATH).unwrap();
    let done = |db: &Db| events(db, "Ship.*").len() + events(db, "Report.*").len();
    let before = done(&db);
    let (failed, _) = aside(&db);
    let settled = failed.first().copied();
    run(&db, "DEFINE VERB Bill ON Order EMIT billed");
    if let Some(settled) = settled {
        run(&db, &format!("{} REACTION bill #{settled}", if skip { "SKIP" } else { "RETRY" }));
    }
    db.close().unwrap();
    let db = options().open(PATH).unwrap();
    wait_until("all to be idle again", || db.is_idle().unwrap());
    seen.after += done(&db) - before;

    let (shipped, reactions) = (events(&db, "Ship.*"), events(&db, "$reaction.refused"));
    let billed = events(&db, "Order.billed");
    let (failed, skipped) = aside(&db);
    for order in events(&db, "Order.paid") {
        let at = order.position;
        let asked: Vec<&Event> =
            shipped.iter().filter(|event| event.kind.last() == "asked" && is_caused_by(event, at)).collect();
        assert_eq!(asked.len(), 1, "of {at}");
        let sent = shipped.iter().filter(|event| is_caused_by(event, asked[0].position)).count();
        let refused = reactions.iter().filter(|event| is_caused_by(event, asked[0].position)).count();
        let expected = if number(&order, "ok") == 1 { (1, 0) } else { (0, 1) };
        assert_eq!((sent, refused), expected, "of {at}");
        let billed = billed.iter().filter(|event| is_caused_by(event, at)).count();
        let (failed, skipped) = (usize::from(failed.contains(&at.0)), usize::from(skipped.contains(&at.0)));
        let outcomes = (billed, failed, skipped);
        let wanted = usize::from(number(&order, "bill") == 1);
        assert_eq!(billed + failed + skipped, wanted, "billed, set aside, skipped: {outcomes:?} of {at}");
        if settled == Some(at.0) {
            assert_eq!((skipped, billed), if skip { (1, 0) } else { (0, 1) }, "{at}");
            seen.retried += usize::from(!skip);
        }
        seen.sent += sent;
        seen.refused += refused;
        seen.billed += billed;
        seen.aside += failed;
        seen.skipped += skipped;
    }
    instants(&db, now, seen);
    db.close().unwrap();
}

/// Each instant of the schedule has one run, or is told to be missed.
fn instants(db: &Db, now: &Arc<AtomicI64>, seen: &mut Seen) {
    let time = |event: &Event, member: &str| -> Timestamp {
        let value = event.data.get(member).unwrap();
        value.as_text().unwrap().parse().unwrap()
    };
    let defined = events(db, "$schedule.defined")[0].recorded.as_millis();
    let mut runs: BTreeMap<i64, usize> = BTreeMap::new();
    for run in events(db, "Report.requested") {
        *runs.entry(time(&run, "at").as_millis()).or_default() += 1;
    }
    let missed: Vec<(i64, i64)> = events(db, "$schedule.missed")
        .iter()
        .map(|event| (time(event, "first").as_millis(), time(event, "last").as_millis()))
        .collect();
    let mut instant = defined + MINUTE;
    while instant <= now.load(Ordering::SeqCst) / 1000 {
        let ran = runs.remove(&instant).unwrap_or(0);
        // For all that were missed it runs once, at the last of them.
        let is_missed = missed.iter().any(|(first, last)| (*first..*last).contains(&instant));
        assert!(ran == 1 || ran == 0 && is_missed, "{ran} runs for {}", Timestamp::from_millis(instant));
        seen.runs += ran;
        instant += MINUTE;
    }
    assert!(runs.is_empty(), "{runs:?}");
}

fn each_trigger_has_one_outcome(durability: Durability) {
    let now = Arc::new(AtomicI64::new(1_700_000_000_000_000));
    let trace = script(durability, &now);
    let (mut images, mut seen) = (0, Seen::default());
    crash(&trace, |disk, _, seed| {
        // Which is skipped, and which retried, is no matter of the fate.
        held(&disk, durability, &now, seed % 2 == 0, &mut seen);
        images += 1;
    });
    assert!(images >= POINTS, "{images}");
    let least = images / 8;
    let Seen { sent, refused, billed, aside, skipped, retried, runs, after } = seen;
    for (count, what) in [
        (sent, "sent"),
        (refused, "refused"),
        (billed, "billed"),
        (aside, "set aside"),
        (skipped, "skipped"),
        (retried, "retried"),
        (runs, "runs"),
        (after, "done after the crash"),
    ] {
        assert!(count >= least, "{count} {what} of {images} crashes: {seen:?}");
    }
}

#[test]
fn each_trigger_has_one_outcome_where_appends_are_synced() {
    each_trigger_has_one_outcome(Durability::Sync);
}

#[test]
fn each_trigger_has_one_outcome_where_the_disk_follows_later() {
    each_trigger_has_one_outcome(Durability::Interval(Duration::from_millis(250)));
}
