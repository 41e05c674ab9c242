//! Databases that share a log: they agree, whatever gets lost between them and the log, and notice where the log is not what it was.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::shared::{LogFaults, SharedLog};
use crate::cancel::Cancel;
use crate::entity::{Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::event::{Event, Expect, NewEvent, codec};
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::disk::memory::MemoryDisk;
use crate::store::log_progress::WaitResult;
use crate::store::snapshot::ScanDirection;
use crate::store::verify::chain;
use crate::store::{FaultInjection, Options, Store};
use crate::time::{Clock, Timestamp};

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

/// Options with small limits. Nothing is read of the log that nobody asks for.
fn options(log: &Arc<SharedLog>) -> Options {
    let mut options = Options::new().disk(Arc::new(MemoryDisk::new())).memtable(7, 1 << 20).cache(256 << 10);
    options.log = Some(log.handle());
    options.by_hand = true;
    options
}

fn database(log: &Arc<SharedLog>) -> Store {
    Store::create(path(), options(log)).unwrap()
}

fn broken(log: &Arc<SharedLog>, injection: Option<FaultInjection>) -> Store {
    let mut options = options(log);
    options.injection = injection;
    Store::create(path(), options).unwrap()
}

fn paid(order: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", order))
}

fn append(store: &Store, event: NewEvent) -> Result<AppendOutcome> {
    store.append(AppendRequest { events: vec![event], ..AppendRequest::default() })
}

fn events(store: &Store) -> Vec<Event> {
    let log = store.snapshot();
    let rows = log.log(PositionRange::ALL, ScanDirection::Ascending);
    rows.map(|row| row.and_then(|(position, bytes)| codec::decode(position, bytes)).unwrap()).collect()
}

fn head(store: &Store) -> u64 {
    store.snapshot().head().0
}

/// How many events each of the writers appends.
const EACH: u64 = 25;

/// Some databases, with two writers each, append at once; some of it with keys that all of them claim. Says what is wrong then.
fn write_at_once(
    databases: u64,
    seed: u64,
    faults: LogFaults,
    injection: Option<FaultInjection>,
) -> Result<(), String> {
    let log = SharedLog::new(seed);
    log.set_faults(faults);
    let stores: Vec<Store> = (0..databases)
        .map(|number| {
            // Their clocks are not of one mind, and stand still.
            let mut options = options(&log)
                .clock(Clock::new(move || Timestamp::from_millis(1_700_000_000_000 + number as i64)));
            options.injection = injection;
            Store::create(path(), options).unwrap()
        })
        .collect();
    let begin = Barrier::new(stores.len() * 2);
    std::thread::scope(|scope| {
        let begin = &begin;
        for (store, number) in stores.iter().zip(0..) {
            for half in 0..2 {
                let writer = number * 2 + half;
                scope.spawn(move || {
                    begin.wait();
                    for n in 0..EACH {
                        append(store, paid(n % 5).member("writer", writer).member("n", n)).unwrap();
                        let claim = NewEvent::new("Mail.sent").on(("Mail", n)).key(&format!("claim-{n}"));
                        append(store, claim).unwrap();
                        // Else one that is quick is done before another begins.
                        std::thread::sleep(Duration::from_micros(100));
                    }
                });
            }
        }
    });
    log.settle();
    for store in &stores {
        store.shared().commits.catch_up().map_err(|error| error.to_string())?;
    }
    let agreed = agreed(&stores, databases * 2);
    for store in stores {
        store.close().map_err(|error| error.to_string())?;
    }
    agreed
}

/// Whether databases have the same log, with everything in it once and in order.
fn agreed(stores: &[Store], writers: u64) -> Result<(), String> {
    let log = events(&stores[0]);
    if log.len() as u64 != writers * EACH + EACH {
        return Err(format!(
            "{} events, of {writers} writers with {EACH} each, and as many claims",
            log.len()
        ));
    }
    let mut once = HashSet::new();
    for event in &log {
        let what = (event.target.clone(), event.data.to_string());
        if !once.insert(what.clone()) {
            return Err(format!("{what:?} is there twice"));
        }
    }
    for (before, after) in log.iter().zip(&log[1..]) {
        if before.recorded > after.recorded || before.id >= after.id {
            return Err(format!("{} and {} are out of order", before.position, after.position));
        }
    }
    let first = chain(&stores[0].snapshot()).unwrap();
    for store in stores {
        for event in &log {
            let found = store.snapshot().position_of(&event.id).unwrap();
            if found != Some(event.position) {
                return Err(format!("the id of {} is found at {found:?}", event.position));
            }
        }
        if events(store) != log || chain(&store.snapshot()).unwrap() != first {
            return Err("they do not have the same log".to_owned());
        }
    }
    Ok(())
}

#[test]
fn databases_that_write_at_once_agree() {
    for databases in 1..=3 {
        write_at_once(databases, databases, LogFaults::default(), None).unwrap();
    }
}

#[test]
fn databases_agree_whatever_is_lost_on_the_way() {
    for seed in 0..6 {
        write_at_once(2 + seed % 2, seed, LogFaults::SOME, None)
            .unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    }
}

#[test]
fn a_database_goes_on_where_it_was_when_it_is_opened_again() {
    let log = SharedLog::new(1);
    let (first, disk) = (database(&log), Arc::new(MemoryDisk::new()));
    let second = Store::create(path(), options(&log).disk(disk.clone())).unwrap();
    for n in 0..20 {
        append(if n % 2 == 0 { &first } else { &second }, paid(n % 3)).unwrap();
    }
    second.close().unwrap();
    (0..20).for_each(|n| drop(append(&first, paid(n % 3)).unwrap()));
    let second = Store::open(path(), options(&log).disk(disk)).unwrap();
    assert_eq!(events(&second), events(&first));
    let third = database(&log);
    assert_eq!(chain(&third.snapshot()).unwrap(), chain(&first.snapshot()).unwrap());
    append(&second, paid(1)).unwrap();
    append(&first, paid(1)).unwrap();
    assert_eq!((head(&first), head(&second), head(&third)), (42, 41, 40));
}

#[test]
fn whoever_takes_in_all_that_there_is_reads_what_others_were_told_before() {
    let log = SharedLog::new(2);
    let (writer, reader) = (database(&log), database(&log));
    log.set_faults(LogFaults { unread: 200, ..LogFaults::default() });
    for n in 0..40 {
        append(&writer, paid(n)).unwrap();
        assert_eq!(reader.take_in_all(&Cancel::default()).unwrap(), Position(n + 1));
    }
    assert_eq!(events(&reader), events(&writer));
}

/// As where a setting of servers changed under those who have asked for it.
#[test]
fn of_groups_that_are_too_large_together_only_that_is_refused_which_is_so_alone() {
    let log = SharedLog::new(1);
    let store = database(&log);
    log.set_faults(LogFaults { takes: Some(2_000), ..LogFaults::default() });
    let large = 4;
    let groups = (0..9).map(|n| {
        let text = "x".repeat(if n == large { 4_000 } else { 300 });
        let event = paid(n).member("text", text.as_str());
        store.submit(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap()
    });
    for (n, group) in groups.collect::<Vec<_>>().into_iter().enumerate() {
        match group.wait() {
            Ok(_) => assert_ne!(n as u64, large),
            Err(error) => assert_eq!((n as u64, error.kind()), (large, "tooLarge")),
        }
    }
    assert_eq!(head(&store), 8);
    assert!(log.frames() > 1);
}

#[test]
fn whoever_waits_is_told_of_what_others_append() {
    let log = SharedLog::new(1);
    let (writer, mut options) = (database(&log), options(&log));
    options.by_hand = false;
    let reader = Store::create(path(), options).unwrap();
    append(&writer, paid(1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let moved = reader.shared().log_progress.wait_past(Position(0), Some(deadline), &|| false);
    assert_eq!(moved, WaitResult::To(Position(1)));
    assert_eq!(events(&reader), events(&writer));
}

#[test]
fn a_frame_without_an_answer_is_recorded_once() {
    for faults in [
        LogFaults { lost_answer: 1000, ..LogFaults::default() },
        LogFaults { lost_frame: 500, ..LogFaults::default() },
        LogFaults { late: 500, ..LogFaults::default() },
        LogFaults { doubled: 1000, ..LogFaults::default() },
    ] {
        let log = SharedLog::new(3);
        log.set_faults(faults);
        let store = database(&log);
        for n in 0..20 {
            assert_eq!(append(&store, paid(n)).unwrap().events[0].0, Position(n + 1));
        }
        log.settle();
        assert_eq!((head(&store), log.frames()), (20, 20), "{faults:?}");
    }
}

#[test]
fn what_is_not_known_in_time_can_be_repeated_with_its_key() {
    for arrives in [false, true] {
        let log = SharedLog::new(3);
        let (store, other) = (database(&log), database(&log));
        let faults = LogFaults { lost_frame: 1000, ..LogFaults::default() };
        let late = LogFaults { late: 1000, ..LogFaults::default() };
        log.set_longest_doubt(Duration::ZERO);
        log.set_faults(if arrives { late } else { faults });
        let unknown = append(&store, paid(1).key("k")).unwrap_err();
        assert!(matches!(unknown, Error::Unknown { .. }), "{unknown}");
        assert!(unknown.to_string().contains("repeat it with the same KEY"), "{unknown}");
        log.set_faults(LogFaults::default());
        if arrives {
            log.settle();
        }
        let again = append(&store, paid(1).key("k")).unwrap();
        assert_eq!((again.events[0].0, head(&store)), (Position(1), 1));
        append(&other, paid(2)).unwrap();
        log.settle();
        append(&store, paid(2)).unwrap();
        assert_eq!((head(&store), log.frames()), (3, 3), "it arrives: {arrives}");
    }
}

#[test]
fn a_request_is_admitted_after_what_others_appended() {
    let log = SharedLog::new(1);
    let (first, second) = (database(&log), database(&log));
    append(&first, paid(1)).unwrap();
    let refused = append(&second, paid(1).expect(Expect::New)).unwrap_err();
    assert!(refused.is_conflict(), "{refused}");
    let bytes = append(&second, paid(1)).unwrap().events[0].1.clone();
    assert_eq!(Record::open(Position(2), &bytes).unwrap().version().map(|version| version.0), Some(2));
}

fn refuses_by_the_end_of_the_log(injection: Option<FaultInjection>) -> bool {
    let log = SharedLog::new(1);
    let (first, second) = (database(&log), broken(&log, injection));
    append(&first, paid(1)).unwrap();
    // By what it has applied so far, there is no such order.
    append(&second, paid(1).expect(Expect::Version(Version(1)))).is_ok()
}

fn notices_a_fork(injection: Option<FaultInjection>) -> bool {
    let log = SharedLog::new(1);
    let (first, second) = (database(&log), broken(&log, injection));
    append(&first, paid(1)).unwrap();
    second.shared().commits.catch_up().unwrap();
    let other = SharedLog::new(2);
    let elsewhere = database(&other);
    (2..4).for_each(|n| drop(append(&elsewhere, paid(n)).unwrap()));
    log.replace_with(&other);
    let noticed = second.shared().commits.catch_up();
    if let Err(error) = &noticed {
        assert!(error.to_string().contains("goes on from other events"), "{error}");
        assert!(append(&second, paid(9)).is_err(), "it takes no more");
        assert_eq!(events(&second).len(), 1, "it is read as before");
    }
    noticed.is_err()
}

#[test]
fn a_refusal_is_decided_by_the_end_of_the_log() {
    assert!(refuses_by_the_end_of_the_log(None));
}

/// Whether ids grow along the log where two take turns, within one millisecond.
fn ids_grow(injection: Option<FaultInjection>) -> bool {
    let log = SharedLog::new(1);
    let at_once = Clock::new(|| Timestamp::from_millis(1_700_000_000_000));
    let stores = [(); 2].map(|()| {
        let mut options = options(&log).clock(at_once.clone());
        options.injection = injection;
        Store::create(path(), options).unwrap()
    });
    (0..20).for_each(|n| drop(append(&stores[n % 2], paid(1)).unwrap()));
    stores[0].shared().commits.catch_up().unwrap();
    events(&stores[0]).windows(2).all(|two| two[0].id < two[1].id)
}

#[test]
fn ids_grow_whoever_makes_them() {
    assert!(ids_grow(None));
}

#[test]
fn a_fork_of_the_log_is_noticed() {
    assert!(notices_a_fork(None));
}

#[test]
fn a_hole_in_the_log_is_noticed() {
    let log = SharedLog::new(1);
    let (first, second) = (database(&log), database(&log));
    (0..3).for_each(|n| drop(append(&first, paid(n)).unwrap()));
    log.leave_out(Position(2));
    let hole = append(&second, paid(1)).unwrap_err();
    assert!(hole.to_string().contains("begins with #3 after #1"), "{hole}");
    assert_eq!(events(&second).len(), 1);
}

#[test]
fn a_log_that_lost_what_is_applied_is_noticed() {
    let log = SharedLog::new(1);
    let (writer, reader) = (database(&log), database(&log));
    (0..3).for_each(|n| drop(append(&writer, paid(n)).unwrap()));
    reader.shared().commits.catch_up().unwrap();
    log.cut_after(Position(1));
    let lost = append(&writer, paid(1)).unwrap_err();
    assert!(lost.to_string().contains("nothing from #2 to #3"), "{lost}");
    let lost = reader.shared().commits.catch_up().unwrap_err();
    assert!(lost.to_string().contains("its end at #1"), "{lost}");
    assert_eq!(events(&reader).len(), 3);
}

/// Each fault that is put in is noticed by those same eyes.
mod controls {
    use super::*;

    #[test]
    fn a_refusal_without_a_look_at_the_log_is_noticed() {
        assert!(!refuses_by_the_end_of_the_log(Some(FaultInjection::NoBarrier)));
    }

    #[test]
    fn a_frame_that_goes_on_from_other_events_is_noticed() {
        assert!(!notices_a_fork(Some(FaultInjection::IgnoreChain)));
    }

    #[test]
    fn ids_without_regard_to_those_of_others_are_noticed() {
        assert!(!ids_grow(Some(FaultInjection::ForgetIds)));
    }

    #[test]
    fn a_request_that_is_admitted_again_while_in_doubt_is_noticed() {
        let lost = LogFaults { lost_answer: 200, ..LogFaults::default() };
        let fault = write_at_once(2, 1, lost, Some(FaultInjection::StageInDoubt)).unwrap_err();
        assert!(fault.contains("events, of") || fault.contains("twice"), "{fault}");
    }
}
