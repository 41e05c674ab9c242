//! A disk that fails or runs full: what stops, what goes on, and that nothing acknowledged is lost.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::held::{open, rows};
use super::{one, path, tiny};
use crate::entity::Position;
use crate::error::Error;
use crate::event::NewEvent;
use crate::store::Store;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Failure, Fate, Kind, SimulatedDisk};
use crate::store::journal::Side;
use crate::store::snapshot::ScanDirection;

const TABLES: &str = "shop.bygone";

fn paid() -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", 1)).member("text", "x".repeat(100))
}

/// A store with some events in its tables and some in its memtable.
fn begun(disk: &SimulatedDisk) -> Store {
    let store = Store::create(path(), tiny(disk)).unwrap();
    (0..3).for_each(|_| drop(store.append(one(paid())).unwrap()));
    store.checkpoint().unwrap();
    (0..3).for_each(|_| drop(store.append(one(paid())).unwrap()));
    store
}

/// Appends until one is refused; its error.
fn append_until_refused(store: &Store) -> Error {
    (0..100).find_map(|_| store.append(one(paid())).err()).expect("an append is refused")
}

fn append_until_taken(store: &Store) -> Position {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match store.append(one(paid())) {
            Ok(outcome) => return outcome.events[0].0,
            Err(error) => assert!(Instant::now() < until, "no append is taken any more: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn length(store: &Store) -> u64 {
    rows(&store.snapshot(), ScanDirection::Ascending).unwrap().len() as u64
}

#[test]
fn after_a_failed_write_of_the_journal_reads_go_on_and_writes_do_not() {
    let disk = SimulatedDisk::new();
    let store = begun(&disk);
    // The failure is the append's, and not that of who makes room ahead of it.
    while store.shared().log.wants_maintenance() {
        thread::sleep(Duration::from_millis(1));
    }
    disk.faults().fail_after(1, Failure::of(Kind::Write).named("-b"));
    assert_eq!(store.append(one(paid())).unwrap_err().kind(), "io");
    for _ in 0..3 {
        let error = store.append(one(paid())).unwrap_err();
        assert!(error.kind() == "stopped" && error.to_string().contains("open it again"), "{error}");
        assert_eq!(store.submit(one(paid())).unwrap_err().kind(), "stopped");
    }
    assert_eq!((length(&store), store.snapshot().head()), (6, Position(6)));
    assert_eq!(store.snapshot().version(&("Order", 1).into()).unwrap().0, 6);
    store.close().unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    assert_eq!(store.append(one(paid())).unwrap().events[0].0, Position(7));
}

#[test]
fn a_full_disk_fails_only_what_needs_room() {
    let disk = SimulatedDisk::new();
    let store = begun(&disk);
    let held: u64 = [path().to_owned(), Side::A.path(path()), Side::B.path(path())]
        .iter()
        .map(|path| disk.open(path).unwrap().len().unwrap())
        .sum();
    disk.faults().full_at(held);
    let large = || NewEvent::new("Order.paid").member("text", "x".repeat(100_000));
    for _ in 0..2 {
        let error = store.append(one(large())).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
            "{error}"
        );
        // What fits into the space there is goes in.
        store.append(one(paid())).unwrap();
    }
    assert_eq!(length(&store), 8);
    disk.faults().not_full();
    assert_eq!(store.append(one(large())).unwrap().events[0].0, Position(9));
    let found = disk.crash(Fate::LoseAll, 0);
    assert_eq!(open(&tiny(&found)).unwrap().snapshot().head(), Position(9));
    store.close().unwrap();
}

#[test]
fn a_disk_that_is_full_from_the_start_can_be_written_to_once_there_is_room() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    let room = disk.open(path()).unwrap().len().unwrap();
    // None, enough for one segment, enough for both but not for what the tables need.
    for more in [0, 9_000, 2 * 8192] {
        disk.faults().full_at(room + more);
        if let Err(error) = store.append(one(paid())) {
            assert!(matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull));
            assert_eq!(length(&store), 0);
        }
    }
    disk.faults().not_full();
    append_until_taken(&store);
    store.close().unwrap();
}

#[test]
fn a_checkpoint_that_fails_keeps_its_memtable_and_tells_who_waits() {
    for kind in [Kind::Sync, Kind::Write, Kind::SetLen] {
        let disk = SimulatedDisk::new();
        let store = begun(&disk);
        disk.faults().fail_after(1, Failure::of(kind).named(TABLES).forever());
        if kind == Kind::SetLen {
            // Lengths change rarely: the tables have to grow.
            disk.faults().fail_after(1, Failure::of(Kind::Write).named(TABLES).forever());
        }
        let error = append_until_refused(&store);
        assert_eq!(error.kind(), "io", "{error}");
        let head = store.snapshot().head();
        assert!(
            head >= Position(20),
            "a memtable is frozen and another one filled before anybody waits: {head}"
        );
        assert_eq!(length(&store), head.0);
        assert!(store.checkpoint().is_err());
        assert!(store.shared().background.failure().is_some());
        // All of it is durable: a crash now loses nothing.
        let found = disk.crash(Fate::LoseAll, 0);
        assert_eq!(open(&tiny(&found)).unwrap().snapshot().head(), head);

        disk.faults().clear();
        assert_eq!(append_until_taken(&store), head.next());
        store.checkpoint().unwrap();
        assert!(store.shared().background.failure().is_none());
        store.close().unwrap();
        assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), head.next());
    }
}

#[test]
fn reads_go_on_while_checkpoints_fail() {
    let disk = SimulatedDisk::new();
    begun(&disk).close().unwrap();
    // Without a cache, every read is one of the disk.
    let store = Store::open(path(), tiny(&disk).cache(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0u64;
            while !done.load(Ordering::Relaxed) {
                let log = rows(&store.snapshot(), ScanDirection::Ascending);
                assert!(log.is_ok(), "after {reads} reads: {}", log.unwrap_err());
                reads += 1;
            }
            reads
        });
        for n in 0..15 {
            disk.faults().fail_after(1 + n % 7, Failure::of(Kind::Write).named(TABLES));
            disk.faults().fail_after(1 + n % 2, Failure::of(Kind::Sync).named(TABLES));
            (0..12).for_each(|_| drop(store.append(one(paid()))));
            thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        println!("{} reads while checkpoints failed", reader.join().unwrap());
    });
    disk.faults().clear();
    let head = append_until_taken(&store);
    assert_eq!(length(&store), head.0);
}

#[test]
fn an_error_of_one_read_is_not_the_end_of_reading() {
    let disk = SimulatedDisk::new();
    let store = begun(&disk);
    store.close().unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Read).named(TABLES));
    let first = rows(&store.snapshot(), ScanDirection::Ascending);
    let second = rows(&store.snapshot(), ScanDirection::Ascending);
    assert_eq!(second.map(|rows| rows.len()), Ok(6), "after {first:?}");
    store.append(one(paid())).unwrap();
    store.checkpoint().unwrap();
}

#[test]
fn closing_on_a_disk_that_fails_says_so_and_loses_nothing() {
    for n in 1..40 {
        let disk = SimulatedDisk::new();
        let store = begun(&disk);
        disk.faults().fail_after(n, Failure::any().forever());
        let closed = store.close();
        let faults = disk.faults();
        drop(store);
        faults.clear();
        let store = Store::open(path(), tiny(&disk)).unwrap_or_else(|e| panic!("failure {n}: {e}"));
        assert_eq!(length(&store), 6, "failure {n}, closing: {closed:?}");
        drop(store);
        for fate in Fate::ALL {
            let found = disk.crash(fate, n);
            assert_eq!(open(&tiny(&found)).unwrap().snapshot().head(), Position(6), "failure {n}, {fate:?}");
        }
    }
}

#[test]
fn opening_on_a_disk_that_fails_can_be_tried_again() {
    let disk = SimulatedDisk::new();
    let store = begun(&disk);
    let crashed = disk.crash(Fate::KeepAll, 0);
    drop(store);
    for n in 1..60 {
        for kind in [None, Some(Kind::Read), Some(Kind::Open)] {
            let disk = crashed.crash(Fate::KeepAll, 0);
            let failure = kind.map_or_else(Failure::any, Failure::of).forever();
            disk.faults().fail_after(n, failure);
            let first = Store::open(path(), tiny(&disk)).map(drop);
            disk.faults().clear();
            let store =
                Store::open(path(), tiny(&disk)).unwrap_or_else(|e| panic!("failure {n} {kind:?}: {e}"));
            assert_eq!(length(&store), 6, "failure {n} {kind:?}: {first:?}");
        }
    }
}

/// What cannot be read is not called something else: whoever believed that would put another file in its place.
#[test]
fn a_disk_that_cannot_be_read_says_nothing_of_the_file() {
    let disk = SimulatedDisk::new();
    Store::create(path(), tiny(&disk)).unwrap().close().unwrap();
    let mut refused = 0;
    for kind in [Kind::Read, Kind::Look] {
        for nth in 1..50 {
            disk.faults().fail_after(nth, Failure::of(kind));
            if let Err(error) = Store::open(path(), tiny(&disk)) {
                refused += 1;
                assert!(error.to_string().contains("simulated failure"), "{kind:?} {nth}: {error}");
            }
            disk.faults().clear();
        }
    }
    assert!(refused > 10, "{refused}");
    assert!(Store::open(path(), tiny(&disk)).is_ok());
}

#[test]
fn a_creation_that_fails_leaves_no_database_or_a_whole_one() {
    for n in 1..60 {
        let disk = SimulatedDisk::new();
        disk.faults().fail_after(n, Failure::any().forever());
        let created = Store::create(path(), tiny(&disk)).map(drop);
        disk.faults().clear();
        let store = match disk.exists(path()).unwrap() {
            true => Store::open(path(), tiny(&disk)),
            false => Store::create(path(), tiny(&disk)),
        };
        let store = store.unwrap_or_else(|e| panic!("failure {n}, {created:?}: {e}"));
        store.append(one(paid())).unwrap();
    }
}

#[test]
fn a_store_that_is_dropped_after_a_failure_lets_go_of_its_lock() {
    let disk = SimulatedDisk::new();
    let store = Arc::new(begun(&disk));
    disk.faults().fail_after(1, Failure::any().forever());
    assert!(store.append(one(paid())).is_err());
    drop(store);
    disk.faults().clear();
    assert_eq!(length(&Store::open(path(), tiny(&disk)).unwrap()), 6);
}

#[test]
fn a_database_that_has_no_room_to_recover_says_what_to_do() {
    for full in [true, false] {
        let disk = SimulatedDisk::new();
        let store = begun(&disk);
        // More than there is room for in the tables, until they grow.
        store.append(one(NewEvent::new("Order.paid").member("text", "x".repeat(4_000_000)))).unwrap();
        let found = disk.crash(Fate::KeepAll, 0);
        drop(store);
        if full {
            found.faults().full_at(0);
        }
        let mut refused = 0;
        for n in 1..60 {
            let tried = if full { found.clone() } else { found.crash(Fate::KeepAll, 0) };
            if !full {
                tried.faults().fail_after(n, Failure::of(Kind::Write).forever());
            }
            let Err(error) = Store::open(path(), tiny(&tried)).map(drop) else { break };
            refused += 1;
            let text = error.to_string();
            assert_eq!(error.kind(), "unopenable", "{text}");
            assert!(text.contains("shop.bygone") && text.contains("--read-only"), "{text}");
            assert!(!full || text.contains("make room"), "{text}");
            let store = Store::open(path(), tiny(&tried).read_only(true)).unwrap();
            assert_eq!(length(&store), 7);
            if full {
                break;
            }
        }
        assert!(refused > 0);
    }
}
