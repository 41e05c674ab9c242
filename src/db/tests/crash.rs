//! Crashes: at many points of what was written, each with every fate of what was not synced.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::{PATH, events, on};
use crate::store::disk::simulated::random::Random;
use crate::store::disk::simulated::{Crashes, Fate, Operation, SimulatedDisk, Trace};
use crate::{Db, Delivery, NewEvent, Pattern};

/// So many points of a trace are tried.
pub(super) const POINTS: usize = 48;

/// Where to crash: before what was about to become durable, and anywhere.
fn points(trace: &Trace) -> Vec<usize> {
    let mut crashes = trace.crashes();
    let (mut before_sync, mut others) = (Vec::new(), Vec::new());
    loop {
        if !crashes.notes().is_empty() {
            match crashes.next_operation() {
                Some(Operation::Sync { .. }) => before_sync.push(crashes.point()),
                _ => others.push(crashes.point()),
            }
        }
        if !crashes.advance() {
            break;
        }
    }
    let some = |points: &[usize]| -> Vec<usize> {
        let step = points.len().div_ceil(POINTS / 2).max(1);
        points.iter().step_by(step).copied().collect()
    };
    let mut points = [some(&before_sync), some(&others)].concat();
    points.sort_unstable();
    points
}

/// Calls back with what is found after each crash.
pub(super) fn crash(trace: &Trace, mut found: impl FnMut(SimulatedDisk, &Crashes, u64)) {
    let mut crashes = trace.crashes();
    for (seed, point) in (1..).zip(points(trace)) {
        assert!(crashes.advance_to(point));
        for fate in Fate::ALL {
            found(crashes.image(fate, seed), &crashes, seed);
        }
    }
}

/// What a named subscription wants.
fn wanted(number: u64) -> Pattern {
    ["Order.*", "*", "*.paid", "Stock.counted"][number as usize % 4].parse().unwrap()
}

#[test]
fn named_subscriptions_go_on_after_a_crash_and_miss_nothing() {
    const NAMED: u64 = 60;
    const EVENTS: u64 = 240;
    let disk = SimulatedDisk::new();
    let db = on(&disk).create(PATH).unwrap();
    let open = |db: &Db, number: u64| db.subscribe(wanted(number));
    let name = |number: u64| format!("subscriber {number}");
    let mut named: Vec<_> =
        (0..NAMED).map(|number| open(&db, number).from_start().durable(&name(number)).unwrap()).collect();
    disk.note(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Random(3);
            for n in 0..EVENTS {
                let kind = ["Order.paid", "Order.sent", "Stock.counted"][dice.next() as usize % 3];
                db.append(NewEvent::new(kind).on((kind.split('.').next().unwrap(), n % 9))).unwrap();
                thread::sleep(Duration::from_millis(dice.next() % 4));
            }
        });
        for (part, chunk) in named.chunks_mut(NAMED as usize / 4).enumerate() {
            let disk = &disk;
            scope.spawn(move || {
                let mut dice = Random(part as u64 + 11);
                let first = part as u64 * (NAMED / 4);
                for _ in 0..40 {
                    for (number, named) in (first..).zip(chunk.iter_mut()) {
                        for _ in 0..dice.next() % 12 {
                            let Some(delivery) = named.next_timeout(Duration::ZERO) else { break };
                            let Delivery::Event(event) = delivery.unwrap() else { continue };
                            if !dice.next().is_multiple_of(3) {
                                // Before it is acknowledged: the disk may have it before that returns.
                                disk.note(number << 32 | event.position.0);
                                named.acknowledge(event.position).unwrap();
                            }
                        }
                    }
                    thread::sleep(Duration::from_millis(dice.next() % 30));
                }
            });
        }
    });
    let trace = disk.trace();
    drop(named);
    db.close().unwrap();
    let (mut kept, mut again) = (0, 0);
    crash(&trace, |disk, crashes, seed| {
        let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
        for note in crashes.notes() {
            let last = acknowledged.entry(note >> 32).or_default();
            *last = (*last).max(note & u64::from(u32::MAX));
        }
        let db = on(&disk).open(PATH).unwrap();
        let log = events(&db, "*");
        // A few of them each time: they take turns.
        for number in (0..NAMED).filter(|number| (number + seed) % 5 == 0) {
            let named = open(&db, number).until_now().durable(&name(number)).unwrap();
            let place = named.cursor().position().unwrap();
            let acknowledged = acknowledged.get(&number).copied().unwrap_or(0);
            let mine = || log.iter().filter(|event| wanted(number).matches(&event.kind));
            // What was not acknowledged comes again.
            let skipped = mine().find(|event| event.position <= place && event.position.0 > acknowledged);
            assert!(skipped.is_none(), "{number} is at {place}, behind {skipped:?}");
            let expected: Vec<u64> =
                mine().map(|event| event.position.0).filter(|position| *position > place.0).collect();
            let told: Vec<u64> = named
                .filter_map(|delivery| match delivery.unwrap() {
                    Delivery::Event(event) => Some(event.position.0),
                    Delivery::CaughtUp(_) => None,
                })
                .collect();
            assert_eq!(told, expected, "{number}");
            kept += usize::from(place.0 > 0);
            again += told.iter().filter(|position| **position <= acknowledged).count();
        }
        db.close().unwrap();
    });
    // Places were kept, and some of what was acknowledged last was not.
    assert!(kept > 500 && again > 50, "{kept} places, {again} again");
}
